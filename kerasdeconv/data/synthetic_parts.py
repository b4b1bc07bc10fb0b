"""What synthetic samples are made of: ellipses, ramps and smooth noise."""

from __future__ import annotations

import numpy as np


def grid(size: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The coordinates of each point, one array an axis."""
    return np.meshgrid(*(np.arange(side, dtype=float) for side in size), indexing="ij")


def ellipse(rng: np.random.Generator, size: tuple[int, ...], radius: float) -> np.ndarray:
    """An ellipse at a random place, 1 inside and 0 outside, its edge one or two pixels wide."""
    y, x = grid(size)
    y, x = y - rng.uniform(0, size[0]), x - rng.uniform(0, size[1])
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.6)
    along = (np.cos(angle) * x + np.sin(angle) * y) / stretch
    across = np.cos(angle) * y - np.sin(angle) * x
    distance = radius - np.hypot(along, across)
    return 1 / (1 + np.exp(-np.clip(3 * distance, -50, 50)))


def ramp(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """A linear shade in a random direction, from about -1 to 1."""
    y, x = grid(size)
    angle = rng.uniform(0, 2 * np.pi)
    return (np.cos(angle) * (2 * x / size[1] - 1) + np.sin(angle) * (2 * y / size[0] - 1)) / 1.5


def smooth_noise(rng: np.random.Generator, size: tuple[int, ...], width: int) -> np.ndarray:
    """Gaussian noise of any rank blurred by a box of a width, with unit variance."""
    noise = rng.normal(size=[side + width - 1 for side in size])
    for axis in range(len(size)):
        sums = np.cumsum(noise, axis=axis)
        sums = np.insert(sums, 0, 0, axis=axis)
        side = size[axis]
        ahead, behind = (
            np.take(sums, np.arange(start, start + side), axis=axis) for start in (width, 0)
        )
        noise = ahead - behind
    return noise / width ** (len(size) / 2)
