"""Outlines of objects as COCO writes them: polygons and run lengths.

Polygons are filled where the centre of a pixel is inside, which keeps their area; Pillow fills what
an edge touches, too, and makes objects a third of a pixel wider all around.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

# No picture has as many pixels on a side.
_FAR = 1e9


def outline_mask(outline: Any, sides: tuple[int, int]) -> np.ndarray:
    """Finds the pixels of an object.

    Args:
        outline: Polygons, each x0, y0, x1, y1, ..., or run lengths.
        sides: Height and width of the picture.

    Returns:
        bool, height x width.
    """
    if isinstance(outline, Mapping):
        return rle_decode(outline)
    masks = [fill_polygon(np.reshape(part, (-1, 2)), sides) for part in outline]
    return np.logical_or.reduce(masks)


def outline_fault(outline: Any, sides: tuple[int, int]) -> str:
    """Says what is wrong with a segmentation of the JSON; "" if nothing is.

    Args:
        outline: Polygons or run lengths.
        sides: Height and width of the picture.
    """
    if isinstance(outline, dict):
        if outline.get("size") != list(sides):
            return f"Run lengths must have their image's size {list(sides)}"
        counts = outline.get("counts")
        whole = isinstance(counts, list) and all(type(count) is int for count in counts)
        if not whole and not isinstance(counts, str):
            return "Run lengths need counts, a list of whole numbers or a string"
        try:
            rle_decode(outline)
        except (ValueError, OverflowError) as error:
            return str(error).partition(" Received")[0].rstrip(".")
        return ""
    sound = isinstance(outline, list) and bool(outline) and all(map(_is_polygon, outline))
    return "" if sound else "A segmentation must be polygons of three or more x, y, or run lengths"


def _is_polygon(part: Any) -> bool:
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        # NaN and infinity are not below, either.
        and all(type(number) in (int, float) and abs(number) < _FAR for number in part)
    )


def fill_polygon(corners: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """Finds the pixels whose centres are in a polygon, by the even-odd rule.

    Args:
        corners: N x 2: x and y of the corners, where edges of pixels lie at whole numbers.
        sides: Height and width of the picture.

    Returns:
        bool, height x width.
    """
    height, width = sides
    starts, ends = np.asarray(corners, float), np.roll(corners, -1, axis=0)
    # Rows whose middles an edge crosses: from its upper end on, and its lower end no more.
    tops, bottoms = (
        np.clip(np.ceil(side(starts[:, 1], ends[:, 1]) - 0.5), 0, height).astype(int)
        for side in (np.minimum, np.maximum)
    )
    counts = bottoms - tops
    edges = np.repeat(np.arange(len(starts)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + tops[edges]
    (x0, y0), (x1, y1) = starts[edges].T, ends[edges].T
    crossings = x0 + (rows + 0.5 - y0) * (x1 - x0) / (y1 - y0)
    columns = np.clip(np.ceil(crossings - 0.5), 0, width).astype(int)
    crossed = np.zeros((height, width + 1), np.int32)
    np.add.at(crossed, (rows, columns), 1)
    return np.cumsum(crossed[:, :width], axis=1) % 2 == 1


def rle_decode(rle: Mapping[str, Any]) -> np.ndarray:
    """Reads COCO's run lengths.

    Args:
        rle: `size`, height and width, and `counts`, the lengths of runs of 0 and 1 in turn, column
            by column: a list, or a string that holds them compressed.

    Returns:
        bool, height x width.

    Raises:
        ValueError: The runs are not as long as the picture is large.
    """
    height, width = rle["size"]
    counts = rle["counts"]
    runs = np.array(_decompress(counts) if isinstance(counts, str) else counts, dtype=int)
    if (runs < 0).any() or runs.sum() != height * width:
        raise ValueError(
            f"Runs must be 0 or longer and {height * width} together. Received: {runs.sum()}"
        )
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def rle_encode(mask: np.ndarray, *, compressed: bool = False) -> dict[str, Any]:
    """Writes a mask, height x width, as COCO's run lengths. See `rle_decode`."""
    flat = np.asarray(mask, bool).T.ravel()
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    counts = np.diff([0, *changes, flat.size]).tolist()
    if flat.size and flat[0]:  # the first run is one of 0
        counts = [0, *counts]
    return {"size": list(mask.shape), "counts": _compress(counts) if compressed else counts}


def _compress(counts: list[int]) -> str:
    """Writes each run, from the fourth on less the last but one, in digits of five bits.

    The lowest digit comes first. A digit's sixth bit says that another follows, the fifth bit of
    the last one is the sign; characters begin at "0".
    """
    text = []
    for n, count in enumerate(counts):
        rest, more = count - counts[n - 2] if n > 2 else count, True
        while more:
            digit, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if digit & 0x10 else 0)
            text.append(chr(48 + digit + 0x20 * more))
    return "".join(text)


def _decompress(text: str) -> list[int]:
    """Undoes `_compress`."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64:
            raise ValueError(f"Compressed runs have no such character. Received: {character!r}")
        value |= (digit & 0x1F) << shift
        shift += 5
        if not digit & 0x20:
            if digit & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError(f"Compressed runs are cut off. Received: {text[-20:]!r}")
    return counts
