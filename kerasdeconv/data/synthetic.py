"""Synthetic pictures for tests, examples, and calibration without real data. NumPy alone.

They have the statistics that matter to a network's activations, not its task's difficulty: a card
says what calibrating with them costs against real pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasdeconv.errors import closest
from kerasdeconv.imaging import to_uint8


def synthetic_samples(
    kind: str, count: int, size: tuple[int, int], seed: int = 0
) -> list[np.ndarray]:
    """Makes pictures, the same ones for the same seed.

    Args:
        kind: "nuclei" (microscopy) or "textures" (photographs).
        count: How many.
        size: Height and width.
        seed: Seed.

    Returns:
        uint8 pictures, height x width x 3, from black to white.

    Raises:
        ValueError: No such kind.
    """
    return [pixels for pixels, _ in synthetic_pairs(kind, count, size, seed)]


def synthetic_pairs(
    kind: str, count: int, size: tuple[int, int], seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Makes pictures with their labels: `synthetic_samples` and, for each, what is in it.

    Returns:
        Pairs of a picture and the number of the object at each pixel (0 is background), int32.
    """
    if kind not in _KINDS:
        raise ValueError(f"No such samples. {closest(kind, _KINDS)} Received: {kind!r}")
    return [_KINDS[kind](np.random.default_rng([seed, i]), size) for i in range(count)]


def _nuclei(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses with soft edges: bright on black (fluorescence) or violet on pink (H&E)."""
    stained = rng.uniform() < 0.3
    labels = np.zeros(size, np.int32)
    cover = np.zeros(size)
    for number in range(1, int(rng.integers(8, 60)) + 1):
        inside = _ellipse(rng, size, rng.uniform(4, 16))
        labels[inside > 0.5] = number
        cover = np.maximum(cover, inside * rng.uniform(0.4, 1.0))
    grain = _smooth_noise(rng, size, 2)
    if stained:
        back, front = np.array([225.0, 175.0, 205.0]), np.array([95.0, 55.0, 135.0])
        picture = back + cover[..., None] * (front - back) + 18 * grain[..., None]
        picture += 25 * _smooth_noise(rng, size, 12)[..., None]
    else:
        gray = rng.uniform(4, 25) + rng.uniform(60, 235) * cover * (1 + 0.12 * grain) + 2 * grain
        picture = np.repeat(gray[..., None], 3, axis=-1)
    return to_uint8(picture), labels


def _textures(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Dead leaves: opaque shapes over each other, their sizes by a power law.

    Their edges and spectra are those of photographs (Lee, Mumford and Huang, "Occlusion models for
    natural images", 2001).
    """
    picture = np.full((*size, 3), rng.uniform(0, 255, 3))
    labels = np.zeros(size, np.int32)
    largest = max(size) / 2
    for number in range(1, 151):
        # The inverse of the cumulative distribution of radii with density r^-3 on [2, largest].
        u = rng.uniform()
        radius = 1 / np.sqrt(u / largest**2 + (1 - u) / 4.0)
        inside = _ellipse(rng, size, radius)[..., None]
        shade = rng.uniform(0, 255, 3) + rng.uniform(0, 30) * _ramp(rng, size)[..., None]
        picture = picture * (1 - inside) + inside * shade
        labels[inside[..., 0] > 0.5] = number
    picture += rng.uniform(0, 6) * _smooth_noise(rng, size, 1)[..., None]
    low, high = picture.min(), picture.max()
    return to_uint8((picture - low) * (255 / (high - low))), labels


_KINDS: dict[
    str, Callable[[np.random.Generator, tuple[int, int]], tuple[np.ndarray, np.ndarray]]
] = {"nuclei": _nuclei, "textures": _textures}


def _grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    return np.meshgrid(*(np.arange(side, dtype=float) for side in size), indexing="ij")


def _ellipse(rng: np.random.Generator, size: tuple[int, int], radius: float) -> np.ndarray:
    """An ellipse at a random place, 1 inside and 0 outside, its edge one or two pixels wide."""
    y, x = _grid(size)
    y, x = y - rng.uniform(0, size[0]), x - rng.uniform(0, size[1])
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    along = (np.cos(angle) * x + np.sin(angle) * y) / stretch
    across = np.cos(angle) * y - np.sin(angle) * x
    distance = radius - np.hypot(along, across)
    return 1 / (1 + np.exp(-np.clip(3 * distance, -50, 50)))


def _ramp(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A linear shade in a random direction, from about -1 to 1."""
    y, x = _grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return (np.cos(angle) * (2 * x / size[1] - 1) + np.sin(angle) * (2 * y / size[0] - 1)) / 1.5


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], width: int) -> np.ndarray:
    """Gaussian noise blurred by a box of a width, with unit variance."""
    noise = rng.normal(size=(size[0] + width - 1, size[1] + width - 1))
    for axis in (0, 1):
        sums = np.cumsum(noise, axis=axis)
        sums = np.insert(sums, 0, 0, axis=axis)
        side = size[axis]
        ahead, behind = (
            np.take(sums, np.arange(start, start + side), axis=axis) for start in (width, 0)
        )
        noise = ahead - behind
    return noise / width
