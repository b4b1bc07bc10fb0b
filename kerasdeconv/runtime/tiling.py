"""Runs a network over a picture or volume of any size, tile by tile, without a seam. NumPy only."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

# Pooling and strides sample a grid. Tiles that start on a multiple of it see the same grid as the
# whole picture does; 32 covers five halvings, as deep as common decoders go.
_GRID = 32


class Span(NamedTuple):
    """One tile along one axis: where it starts, and which pixels of the picture it answers for."""

    start: int
    core_start: int
    core_stop: int


def spans(length: int, tile: int, halo: int) -> list[Span]:
    """Places tiles along an axis.

    The first and the last sit flush with the borders, so that a network pads with zeros only where
    it would pad the whole picture. Each pixel is answered for by one tile, and lies at least `halo`
    away from each edge of that tile that is not a border of the picture.

    Args:
        length: Pixels along the axis.
        tile: Pixels of a tile along the axis.
        halo: Pixels that a tile needs around its core.

    Raises:
        ValueError: The halo leaves no core.
    """
    if length <= tile:
        return [Span(0, 0, length)]
    step = tile - 2 * halo
    if step <= 0:
        raise ValueError(
            f"A tile must be larger than two halos. Received: tile={tile}, halo={halo}"
        )
    largest_power_of_2 = 1 << (step.bit_length() - 1)
    step -= step % min(math.gcd(tile, _GRID), largest_power_of_2)
    starts = [*range(0, length - tile, step), length - tile]
    # Any cut that leaves both neighbours their halo will do: the middle of their overlap.
    cuts = [(after + before + tile) // 2 for before, after in itertools.pairwise(starts)]
    edges = [0, *cuts, length]
    return [Span(start, edges[i], edges[i + 1]) for i, start in enumerate(starts)]


def tiled(
    run: Callable[[np.ndarray], np.ndarray],
    image: np.ndarray,
    tile: int | tuple[int, ...],
    halo: int,
    scale: int = 1,
) -> np.ndarray:
    """Runs a function over a picture or a volume by tiles and joins their cores.

    The answer equals `run(image)` where `halo` is at least the function's receptive radius. A
    picture smaller than a tile is padded by repeating its edge and the answer cropped.

    Args:
        run: Takes the sides of a tile (x channels) and gives an answer `scale` times as large on
            each side, with any or no channels.
        image: height x width (x channels); for volumes depth x height x width (x channels).
        tile: Side of a picture's tiles in pixels, or all their sides: (height, width), depth first
            for volumes.
        halo: Overlap that each tile needs on each inner side, in pixels.
        scale: Answer pixels per picture pixel.

    Returns:
        The answer for the whole picture, of the type that `run` gives.

    Raises:
        ValueError: The picture is empty, tile, halo or scale makes no sense, or `run` gives another
            size.
    """
    tile = (tile, tile) if isinstance(tile, int) else tile
    axes = len(tile)
    if min(tile) < 1 or halo < 0 or scale < 1:
        raise ValueError(
            "tile and scale must be positive, halo must not be negative. "
            f"Received: tile={tile}, halo={halo}, scale={scale}"
        )
    sides = image.shape[:axes]
    if len(sides) < axes or not all(sides):
        raise ValueError(f"A picture must have pixels. Received: shape {image.shape}")
    missing = [(0, max(want - side, 0)) for want, side in zip(tile, sides, strict=True)]
    image = np.pad(image, missing + [(0, 0)] * (image.ndim - axes), mode="edge")

    answer: np.ndarray | None = None
    expected = tuple(side * scale for side in tile)
    for place in itertools.product(*(spans(*axis, halo) for axis in zip(sides, tile, strict=True))):
        window = (slice(at.start, at.start + side) for at, side in zip(place, tile, strict=True))
        part = run(image[tuple(window)])
        if part.shape[:axes] != expected:
            wanted, got = (" x ".join(map(str, s)) for s in (expected, part.shape[:axes]))
            raise ValueError(
                f"A tile of {' x '.join(map(str, tile))} pixels must give {wanted}. Received: {got}"
            )
        if answer is None:
            answer = np.empty((*(side * scale for side in sides), *part.shape[axes:]), part.dtype)
        core = tuple(_scaled(at, 0, scale) for at in place)
        answer[core] = part[tuple(_scaled(at, at.start, scale) for at in place)]
    assert answer is not None  # a picture with pixels has at least one tile
    return answer


def _scaled(span: Span, origin: int, scale: int) -> slice:
    """The core of a tile as a slice of an answer that begins at pixel `origin`."""
    return slice((span.core_start - origin) * scale, (span.core_stop - origin) * scale)
