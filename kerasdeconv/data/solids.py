"""Solid bodies with a view, voxels and points of each: what a network that sees shape learns from.

A body is a union of parts, a part what several quadrics have in common, for each of which
x^T diag(s) x + l z + c <= 0. Slabs, ellipsoids, cylinders and cones are such, so that one
intersection with a line serves all of them.

Bodies lie in the cube [-1, 1]^3 of the camera: x to the right, y down, z away. The camera looks
along z without perspective. Most bodies are their own mirror image through the middle, so that one
view says what the back is like.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Where light of each colour comes from. Three of them tell the direction of a surface by its
# colour, as photometric stereo does (Woodham 1980) with three pictures.
_LIGHTS = np.array([[-0.7, -0.4, -0.6], [0.7, -0.4, -0.6], [0.0, 0.8, -0.6]])
_AMBIENT = 0.15


class Part(NamedTuple):
    """What several quadrics have in common.

    Attributes:
        middle: Where the part's origin is, 3.
        rows: A quadric in each row: s (3), l, c.
    """

    middle: np.ndarray
    rows: np.ndarray


class Solid(NamedTuple):
    """A union of parts, turned.

    Attributes:
        parts: In the body's own axes.
        turn: Rotation from the body's axes to the camera's, 3 x 3.
    """

    parts: tuple[Part, ...]
    turn: np.ndarray


def draw_solid(rng: np.random.Generator) -> Solid:
    """Draws a body of any of `KINDS`, of any size, turned any way."""
    kinds = list(KINDS.values())
    parts = kinds[rng.integers(len(kinds))](rng)
    w, x, y, z = (q := rng.normal(size=4)) / np.linalg.norm(q)
    turn = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    return Solid(parts, turn)


def occupancy(solid: Solid, side: int = 32) -> np.ndarray:
    """Which voxels have their middle inside: bool, side (away) x side (down) x side (right)."""
    middles = (np.arange(side) + 0.5) * (2 / side) - 1
    z, y, x = np.meshgrid(middles, middles, middles, indexing="ij")
    points = np.stack([x, y, z], axis=-1) @ solid.turn
    inside = [(_values(part, points) <= 0).all(axis=-1) for part in solid.parts]
    return np.logical_or.reduce(inside)


def render(solid: Solid, size: tuple[int, int]) -> np.ndarray:
    """What the camera sees: uint8, height x width x 3, black where there is nothing.

    The cube fills the shorter side. A white and dull surface (Lambert) is lit by a red, a green and
    a blue light.
    """
    rows, columns = ((np.arange(n) + 0.5 - n / 2) * (2 / min(size)) for n in size)
    starts = np.stack(np.broadcast_arrays(columns, rows[:, None], -2.0), axis=-1) @ solid.turn
    forwards = np.broadcast_to(solid.turn[2], starts.shape)
    nearest, normals = np.full(size, np.inf), np.zeros((*size, 3))
    for part in solid.parts:
        near, far, row = _crossing(part, starts, forwards)
        seen = (near < far) & (near < nearest)
        nearest[seen] = near[seen]
        places = starts[seen] + near[seen][:, None] * forwards[seen] - part.middle
        quadric = part.rows[row[seen]]
        slope = 2 * quadric[:, :3] * places
        slope[:, 2] += quadric[:, 3]
        normals[seen] = slope / np.maximum(np.linalg.norm(slope, axis=-1, keepdims=True), 1e-12)
    lights = _LIGHTS / np.linalg.norm(_LIGHTS, axis=-1, keepdims=True)
    shade = _AMBIENT + (1 - _AMBIENT) * np.clip(normals @ solid.turn.T @ lights.T, 0, 1)
    return np.where(np.isfinite(nearest)[..., None], np.rint(255 * shade), 0).astype(np.uint8)


def surface_points(rng: np.random.Generator, solid: Solid, count: int) -> np.ndarray:
    """Draws points evenly over the surface: count x 3, (x, y, z) of the camera.

    Lines of any place and direction pass any piece of surface as often as it is large (Crofton),
    so that the points in which they do are spread evenly.
    """
    found = np.zeros((0, 3))
    while len(found) < count:
        found = np.concatenate([found, _crossings(rng, solid, count)])
    return rng.permutation(found)[:count] @ solid.turn.T


def _crossings(rng: np.random.Generator, solid: Solid, lines: int) -> np.ndarray:
    """Where random lines pass the surface, in the body's axes."""
    forwards = rng.normal(size=(lines, 3))
    forwards /= np.linalg.norm(forwards, axis=-1, keepdims=True)
    # A point of the ball that holds the body, brought to the disk behind its middle, evenly.
    aside = np.cross(forwards, rng.normal(size=(lines, 3)))
    aside /= np.linalg.norm(aside, axis=-1, keepdims=True)
    starts = np.sqrt(rng.uniform(size=(lines, 1))) * aside
    found = []
    for part in solid.parts:
        near, far, _ = _crossing(part, starts, forwards)
        hit = near < far
        for away in (near, far):
            points = starts[hit] + away[hit][:, None] * forwards[hit]
            others = [other for other in solid.parts if other is not part]
            covered = [(_values(other, points) < 0).all(axis=-1) for other in others]
            found.append(points[~np.any(covered, axis=0)] if covered else points)
    return np.concatenate(found)


def _values(part: Part, points: np.ndarray) -> np.ndarray:
    """The quadrics of a part at points, ... x 3 to ... x rows."""
    places = points - part.middle
    return places**2 @ part.rows[:, :3].T + places[..., 2:] * part.rows[:, 3] + part.rows[:, 4]


def _crossing(
    part: Part, starts: np.ndarray, forwards: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where lines enter and leave a part: not before they leave, where they miss it.

    Returns:
        The distance to the near and to the far side, and the row that the near side is of.
    """
    places, scales = starts - part.middle, part.rows[:, :3]
    a = forwards**2 @ scales.T
    a = np.where(np.abs(a) < 1e-9, 1e-9, a)
    half = (places * forwards) @ scales.T + forwards[..., 2:] * part.rows[:, 3] / 2
    inner = half**2 - a * _values(part, starts)
    root = np.sqrt(np.maximum(inner, 0))
    ends = (-half - root) / a, (-half + root) / a
    low, high = np.minimum(*ends), np.maximum(*ends)
    missed = inner < 0
    near, far = np.where(missed, np.inf, low), np.where(missed, -np.inf, high)
    # A line steeper than a cone passes its point's both sides; the part has the one below alone.
    steep, up = a < 0, forwards[..., 2:] > 0
    near = np.where(steep, np.where(up, -np.inf, high), near)
    far = np.where(steep, np.where(up, low, np.inf), far)
    return near.max(axis=-1), far.min(axis=-1), near.argmax(axis=-1)


def _slabs(x: float, y: float, z: float, middle: tuple[float, float, float] = (0, 0, 0)) -> Part:
    """A box of these half sides."""
    rows = np.zeros((3, 5))
    rows[:, :3] = np.diag([1 / x**2, 1 / y**2, 1 / z**2])
    rows[:, 4] = -1
    return Part(np.array(middle, float), rows)


def _box(rng: np.random.Generator) -> tuple[Part, ...]:
    return (_slabs(*rng.uniform(0.38, 0.57, 3)),)


def _ellipsoid(rng: np.random.Generator) -> tuple[Part, ...]:
    radii = rng.uniform(0.5, 0.95, 3)
    return (Part(np.zeros(3), np.array([[*(1 / radii**2), 0, -1]])),)


def _cylinder(rng: np.random.Generator) -> tuple[Part, ...]:
    radius, half = rng.uniform(0.4, 0.65), rng.uniform(0.35, 0.7)
    side = [1 / radius**2, 1 / radius**2, 0, 0, -1]
    return (Part(np.zeros(3), np.array([side, [0, 0, 1 / half**2, 0, -1]])),)


def _cone(rng: np.random.Generator) -> tuple[Part, ...]:
    """Its point at z = half: x^2 + y^2 <= (radius (half - z) / (2 half))^2 and |z| <= half."""
    radius, half = rng.uniform(0.55, 0.75), rng.uniform(0.45, 0.65)
    side = [1 / radius**2, 1 / radius**2, -1 / (4 * half**2), 1 / (2 * half), -1 / 4]
    return (Part(np.zeros(3), np.array([side, [0, 0, 1 / half**2, 0, -1]])),)


def _bracket(rng: np.random.Generator) -> tuple[Part, ...]:
    """An L of two plates."""
    x, y, z = rng.uniform(0.4, 0.57, 3)
    thick = rng.uniform(0.16, 0.24)
    foot = _slabs(x, thick, z, (0, y - thick, 0))
    return foot, _slabs(thick, y, z, (thick - x, 0, 0))


def _cross(rng: np.random.Generator) -> tuple[Part, ...]:
    x, y, z = rng.uniform(0.45, 0.75), rng.uniform(0.45, 0.65), rng.uniform(0.25, 0.4)
    thick = rng.uniform(0.18, 0.28)
    return _slabs(x, thick, z), _slabs(thick, y, z)


KINDS: dict[str, Callable[[np.random.Generator], tuple[Part, ...]]] = {
    "box": _box,
    "ellipsoid": _ellipsoid,
    "cylinder": _cylinder,
    "cone": _cone,
    "bracket": _bracket,
    "cross": _cross,
}


def solid(rng: np.random.Generator, size: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A view of a body, uint8, height x width x 3, and 1 where it is, int32."""
    height, width = size
    picture = render(draw_solid(rng), (height, width))
    return picture, (picture.max(axis=-1) > 0).astype(np.int32)
