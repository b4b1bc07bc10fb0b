"""Synthetic samples with several classes, with depth, and in three dimensions."""

from __future__ import annotations

import numpy as np

from kerasdeconv.data.synthetic_parts import grid, ramp, smooth_noise
from kerasdeconv.imaging import to_uint8

# Colours of discs, rectangles and rings, about which those of single ones vary.
_COLORS = np.array([[200.0, 70.0, 60.0], [70.0, 170.0, 80.0], [80.0, 90.0, 210.0]])
# Segments a to g of a seven-segment display: where each begins (y, x), and its direction.
_SEGMENTS = {
    "a": (-1, -0.5, 0, 1),
    "b": (-1, 0.5, 1, 0),
    "c": (0, 0.5, 1, 0),
    "d": (1, -0.5, 0, 1),
    "e": (0, -0.5, 1, 0),
    "f": (-1, -0.5, 1, 0),
    "g": (0, -0.5, 0, 1),
}
_DIGITS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")
# Intensities of the background and the classes of a scan, before it gets a scale of its own.
_INTENSITIES = (0.0, 1.0, 2.0)


def shapes(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Discs (1), rectangles (2) and rings (3) over each other, on a gray background (0).

    Returns:
        uint8, height x width x 3, and class numbers, int32.
    """
    picture = 110 + 40 * ramp(rng, size)[..., None] + 10 * smooth_noise(rng, size, 3)[..., None]
    picture = np.repeat(picture, 3, axis=-1)
    labels = np.zeros(size, np.int32)
    y, x = grid(size)
    for _ in range(int(rng.integers(6, 13))):
        label, radius = int(rng.integers(1, 4)), rng.uniform(0.08, 0.2) * min(size)
        dy, dx = y - rng.uniform(0, size[0]), x - rng.uniform(0, size[1])
        angle = rng.uniform(0, np.pi)
        along, across = (
            np.cos(angle) * dx + np.sin(angle) * dy,
            np.cos(angle) * dy - np.sin(angle) * dx,
        )
        away = np.hypot(along, across)
        inside = {
            1: away < radius,
            2: (np.abs(along) < radius) & (np.abs(across) < 0.6 * radius),
            3: (away < radius) & (away > 0.55 * radius),
        }[label]
        labels[inside] = label
        picture[inside] = _COLORS[label - 1] + rng.uniform(-40, 40, 3)
    picture += 6 * smooth_noise(rng, size, 1)[..., None]
    return to_uint8(picture), labels


def room(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A room with tiles on its walls and boxes on its floor, as a depth camera sees it.

    A pinhole camera looks along z, y points down. Every surface is a plane.

    Returns:
        uint8, height x width x 3, and the depth along the camera's axis in metres, whole
        millimetres, float32; 0 in some spots and along the left sides of things, where a camera
        has no measurement.
    """
    focal = 0.9 * max(size)
    v, u = grid(size)
    rays = np.stack([(u - (size[1] - 1) / 2), v - (size[0] - 1) / 2, np.full(size, focal)], -1)
    rays = rays / focal @ _turned(rng.uniform(-0.5, 0.5), rng.uniform(-0.1, 0.25)).T
    low = np.array([-rng.uniform(1.2, 3), -rng.uniform(1, 1.5), -3.0])
    high = np.array([rng.uniform(1.2, 3), rng.uniform(1, 1.6), rng.uniform(2.5, 6)])
    depth, surface = _leaving(rays, low, high)
    for number in range(int(rng.integers(1, 4))):
        sides = rng.uniform([0.3, 0.3, 0.3], [0.9, 1.2, 0.9])
        corner = np.array([rng.uniform(low[0], high[0]), high[1], rng.uniform(1.2, high[2])])
        near, face = _entering(rays, corner - sides, corner)
        hidden = near < depth
        depth = np.where(hidden, near, depth)
        surface = np.where(hidden, 6 * (number + 1) + face, surface)
    colors = rng.uniform(60, 230, (surface.max() + 1, 3))
    tiles = np.floor(depth[..., None] * rays / rng.uniform(0.25, 0.6) + 1e-6).sum(axis=-1) % 2
    picture = colors[surface] * (0.75 + 0.25 * tiles[..., None]) * (1.1 - 0.08 * depth)[..., None]
    picture += 3 * smooth_noise(rng, size, 1)[..., None]
    hole = smooth_noise(rng, size, max(2, min(size) // 16)) > 2.2
    jump = np.diff(surface, axis=1) != 0
    hole[:, 1:] |= jump & (np.diff(depth, axis=1) < -0.1)
    return to_uint8(picture), np.where(hole, 0, np.rint(1000 * depth) / 1000).astype(np.float32)


def digit(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """One digit of seven segments, slanted and turned, its strokes of a random width.

    Returns:
        uint8, height x width x 3, white on black, and the digit plus one where it is, int32.
    """
    number = int(rng.integers(10))
    y, x = grid(size)
    side = min(size)
    # Coordinates in which the digit is two squares of side 1, one above the other.
    y, x = (y - size[0] / 2) / (0.32 * side), (x - size[1] / 2) / (0.32 * side)
    y, x = y - rng.uniform(-0.15, 0.15), x - rng.uniform(-0.15, 0.15)
    angle, slant = rng.uniform(-0.15, 0.15), rng.uniform(-0.1, 0.4)
    y, x = np.cos(angle) * y - np.sin(angle) * x, np.cos(angle) * x + np.sin(angle) * y
    x = (x + slant * y) / rng.uniform(0.7, 1.1)
    away = np.full(size, np.inf)
    for top, left, down, right in (_SEGMENTS[s] for s in _DIGITS[number]):
        along = np.clip((y - top) * down + (x - left) * right, 0, 1)
        away = np.minimum(away, np.hypot(y - top - down * along, x - left - right * along))
    stroke = np.clip(0.5 + (rng.uniform(0.1, 0.2) - away) * 0.32 * side, 0, 1)
    return to_uint8(255 * np.repeat(stroke[..., None], 3, axis=-1)), np.where(
        stroke > 0.5, number + 1, 0
    ).astype(np.int32)


def blobs(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A scan of ellipsoids: some bright ones (1), some brighter ones (2), and background (0).

    The scale of intensities is that of no other scan, so they tell the class only when they are
    normalized.

    Returns:
        Raw intensities, whole numbers in float32, and class numbers, int32.
    """
    labels = np.zeros(size, np.int32)
    axes = grid(size)
    for label in (1, 2):
        for _ in range(int(rng.integers(2, 5))):
            middle, radii = rng.uniform(0, size), rng.uniform(0.12, 0.28, 3) * size
            parts = zip(axes, middle, radii, strict=True)
            labels[sum(((axis - m) / r) ** 2 for axis, m, r in parts) < 1] = label
    scan = np.take(_INTENSITIES, labels) + 0.15 * smooth_noise(rng, size, 2)
    scan += 0.15 * smooth_noise(rng, size, 1)
    gain, offset = 100 * np.exp(rng.uniform(-1, 1)), rng.uniform(100, 1000)
    return np.rint(offset + gain * scan).astype(np.float32), labels


def _turned(yaw: float, pitch: float) -> np.ndarray:
    """The rotation of a camera that looks aside and down, in radians."""
    (cy, sy), (cp, sp) = ((np.cos(a), np.sin(a)) for a in (yaw, pitch))
    aside = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return aside @ np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])


def _distances(
    rays: np.ndarray, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How far along a ray each pair of planes of a box lies, the nearer and the farther ones."""
    away = np.where(np.abs(rays) < 1e-9, 1e-9, rays)
    return np.minimum(low / away, high / away), np.maximum(low / away, high / away)


def _leaving(rays: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays from within a box leave it, and through which of its six sides."""
    _, far = _distances(rays, low, high)
    axis = far.argmin(axis=-1)
    forwards = np.take_along_axis(rays, axis[..., None], axis=-1)[..., 0] > 0
    return far.min(axis=-1), 2 * axis + forwards


def _entering(rays: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays from outside enter a box, infinity if they don't, and through which side."""
    near, far = _distances(rays, low, high)
    axis = near.argmax(axis=-1)
    enter = near.max(axis=-1)
    forwards = np.take_along_axis(rays, axis[..., None], axis=-1)[..., 0] > 0
    hit = (enter > 0) & (enter < far.min(axis=-1))
    return np.where(hit, enter, np.inf), 2 * axis + forwards
