"""Disparity of flat layers at several distances: known exactly, for any folder of pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kerasdeconv.data.pairs import Pair, PairPatches, sample_at
from kerasdeconv.data.synthetic_parts import grid

_LAYERS = (3, 8)  # least and greatest number of those before the background
_SLANT = 0.1  # greatest part of the range of disparities by which one varies along an axis


class DisparityPatches(PairPatches):
    """Pairs that two cameras beside each other see of flat, slanted layers with pictures on them.

    What is at x in the left picture is at x - disparity in the right one; disparities are 0 to
    `shift` pixels. Nearer layers hide those behind them, in each picture other parts; the truth is
    that of what the left picture shows.

    Batches and arguments are those of `PairPatches`.
    """

    def pair(self, rng: np.random.Generator) -> Pair:
        layers = [_layer(rng, self.sides, self.shift, whole=True)]
        count = int(rng.integers(*_LAYERS, endpoint=True))
        layers += [_layer(rng, self.sides, self.shift) for _ in range(count)]
        pictures = [self.picture(rng) for _ in layers]
        y, x = grid(self.sides)
        seen = []
        for right in (False, True):
            nearest = np.full(self.sides, -np.inf)
            view = np.zeros((*self.sides, 3), np.float32)
            for layer, picture in zip(layers, pictures, strict=True):
                column = layer.left_of(y, x) if right else x
                disparity = layer.disparity(y, column)
                visible = layer.covers(y, column) & (disparity > nearest)
                texture = sample_at(picture, np.stack([y, column]) + layer.start[:, None, None])
                view[visible] = texture[visible]
                nearest[visible] = disparity[visible]
            seen.append((view, nearest))
        (left, truth), (other, _) = seen
        return Pair(left, other, truth[..., None].astype(np.float32))


class _Layer(NamedTuple):
    """A plane with a picture on it, as the left camera sees it.

    Attributes:
        plane: Disparity at the upper left, and its change by row and by column.
        middle: Row and column of the middle of the part that is there.
        radii: Its height and width, halved; infinite for a background.
        round: Whether that part is an ellipse instead of a rectangle.
        start: Where in the picture the upper left lies.
    """

    plane: tuple[float, float, float]
    middle: np.ndarray
    radii: np.ndarray
    round: bool
    start: np.ndarray

    def disparity(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        base, by_row, by_column = self.plane
        return base + by_row * y + by_column * x

    def left_of(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """The column of the left picture whose pixels are at x in the right one."""
        base, by_row, by_column = self.plane
        return (x + base + by_row * y) / (1 - by_column)

    def covers(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        down = np.abs(y - self.middle[0]) / self.radii[0]
        aside = np.abs(x - self.middle[1]) / self.radii[1]
        return down**2 + aside**2 < 1 if self.round else np.maximum(down, aside) < 1


def _layer(
    rng: np.random.Generator, sides: tuple[int, ...], most: float, *, whole: bool = False
) -> _Layer:
    """Draws a layer; a background is whole and far."""
    size = np.array(sides, float)
    slopes = rng.uniform(-_SLANT, _SLANT, 2) * most / size
    middle = rng.uniform(0, size)
    slant = 2 * _SLANT * most
    low, high = (slant, 0.4 * most) if whole else (0.3 * most, most - slant)
    # The disparity in the middle; at no pixel does the plane leave the range of 0 to the greatest.
    base = rng.uniform(low, high) - float(slopes @ middle)
    return _Layer(
        plane=(base, float(slopes[0]), float(slopes[1])),
        middle=middle,
        radii=np.full(2, np.inf) if whole else rng.uniform(0.08, 0.3, 2) * size,
        round=bool(rng.integers(2)),
        start=rng.uniform(0, 1000, 2),
    )
