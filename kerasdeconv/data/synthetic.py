"""Synthetic samples of every task for tests, examples, and calibration without real data.

They have the statistics that matter to a network's activations, not its task's difficulty: a card
says what calibrating with them costs against real pictures.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kerasdeconv.data.solids import solid
from kerasdeconv.data.synthetic_parts import ellipse, ramp, smooth_noise
from kerasdeconv.data.synthetic_scenes import blobs, digit, room, shapes
from kerasdeconv.errors import closest
from kerasdeconv.imaging import to_uint8


def synthetic_samples(
    kind: str, count: int, size: tuple[int, ...], seed: int = 0
) -> list[np.ndarray]:
    """Makes pictures, the same ones for the same seed.

    Args:
        kind: "nuclei" (microscopy), "textures" (photographs), "shapes" (things of some classes),
            "rooms" (what a depth camera sees), "digits" (one each, white on black), "solids"
            (bodies, one each), or "blobs" (scans).
        count: How many.
        size: Height and width; depth, height and width for scans.
        seed: Seed.

    Returns:
        uint8 pictures, height x width x 3, from black to white; scans are float32, depth x height x
        width, raw intensities in a scale of their own each.

    Raises:
        ValueError: No such kind, or one of another rank.
    """
    return [pixels for pixels, _ in synthetic_pairs(kind, count, size, seed)]


def synthetic_pairs(
    kind: str, count: int, size: tuple[int, ...], seed: int = 0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Makes pictures with their labels: `synthetic_samples` and, for each, what is in it.

    Returns:
        Pairs of a picture and the number of the object at each pixel (0 is background), int32; for
        "shapes" and "blobs" the number of the class; for "digits" that of the digit, plus one; for
        "solids" 1 where the body is; for "rooms" the depth in metres, float32, 0 where there is no
        measurement.
    """
    if kind not in _KINDS:
        raise ValueError(f"No such samples. {closest(kind, _KINDS)} Received: {kind!r}")
    if len(size) != sample_rank(kind) or min(size) < 1:
        raise ValueError(
            f"The samples {kind!r} have {sample_rank(kind)} sides of 1 or more. Received: {size}"
        )
    return [_KINDS[kind](np.random.default_rng([seed, i]), size) for i in range(count)]


def sample_rank(kind: str) -> int:
    """How many sides the samples of a kind have."""
    return 3 if kind == "blobs" else 2


def _nuclei(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses with soft edges: bright on black (fluorescence) or violet on pink (H&E)."""
    stained = rng.uniform() < 0.3
    labels = np.zeros(size, np.int32)
    cover = np.zeros(size)
    for number in range(1, int(rng.integers(8, 60)) + 1):
        inside = ellipse(rng, size, rng.uniform(4, 16))
        labels[inside > 0.5] = number
        cover = np.maximum(cover, inside * rng.uniform(0.4, 1.0))
    grain = smooth_noise(rng, size, 2)
    if stained:
        back, front = np.array([225.0, 175.0, 205.0]), np.array([95.0, 55.0, 135.0])
        picture = back + cover[..., None] * (front - back) + 18 * grain[..., None]
        picture += 25 * smooth_noise(rng, size, 12)[..., None]
    else:
        gray = rng.uniform(4, 25) + rng.uniform(60, 235) * cover * (1 + 0.12 * grain) + 2 * grain
        picture = np.repeat(gray[..., None], 3, axis=-1)
    return to_uint8(picture), labels


def _textures(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
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
        inside = ellipse(rng, size, radius)[..., None]
        shade = rng.uniform(0, 255, 3) + rng.uniform(0, 30) * ramp(rng, size)[..., None]
        picture = picture * (1 - inside) + inside * shade
        labels[inside[..., 0] > 0.5] = number
    picture += rng.uniform(0, 6) * smooth_noise(rng, size, 1)[..., None]
    low, high = picture.min(), picture.max()
    return to_uint8((picture - low) * (255 / (high - low))), labels


_Pair = tuple[np.ndarray, np.ndarray]
_KINDS: dict[str, Callable[[np.random.Generator, tuple[int, ...]], _Pair]] = {
    "nuclei": _nuclei,
    "textures": _textures,
    "shapes": shapes,
    "rooms": room,
    "digits": digit,
    "solids": solid,
    "blobs": blobs,
}
