"""Masks of boxes: runs a network on a picture and boxes, and puts its masks back. NumPy only.

A box is (y0, x0, y1, x1) in pixels of the picture. Edges of pixels lie at whole numbers: the whole
picture is (0, 0, height, width), a single pixel (y, x, y + 1, x + 1).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kerasdeconv.runtime.predictor import Predictor

# Networks halve their maps five times at most: tiles that start on this grid see the same pixels.
_GRID = 32
_FREE_BOXES = 64  # at once, where a network takes any number: memory stays bounded


def check_boxes(boxes: Any, sides: tuple[int, int]) -> np.ndarray:
    """Checks boxes against the picture that they are in.

    Args:
        boxes: K x 4, or anything that NumPy makes such an array of; no box at all is an empty list.
        sides: Height and width of the picture.

    Returns:
        K x 4, float32.

    Raises:
        ValueError: Another shape, or a box that is empty, in another order of its numbers, not
            finite, or not in the picture.
    """
    try:
        array = np.asarray(boxes, np.float32)
    except (TypeError, ValueError):
        raise ValueError(f"Boxes must be K x 4 numbers. Received: {boxes!r}") from None
    if array.size == 0:
        return array.reshape(0, 4)
    if array.ndim != 2 or array.shape[1] != 4:
        raise ValueError(
            f"Boxes must be K x 4 numbers: y0, x0, y1, x1 each. Received: shape {array.shape}"
        )
    height, width = sides
    for box in array:
        y0, x0, y1, x1 = box.tolist()
        if not (y0 < y1 and x0 < x1):
            raise ValueError(
                "A box must be y0, x0, y1, x1 with y0 < y1 and x0 < x1, in pixels. "
                f"Received: {box.tolist()}"
            )
        if y0 < 0 or x0 < 0 or y1 > height or x1 > width:
            raise ValueError(
                f"A box must be y0, x0, y1, x1 in the picture of {height} x {width} pixels. "
                f"Received: {box.tolist()}"
            )
    return array


def box_masks(
    predictor: Predictor,
    picture: np.ndarray,
    boxes: np.ndarray,
    *,
    labels: Sequence[int] | None = None,
    tile: int | tuple[int, ...] | None = None,
) -> np.ndarray:
    """Asks for the mask of each box of a picture of any size.

    A picture larger than the network's is cut into overlapping tiles, and each box is asked for in
    the tile in which it lies deepest. As many boxes as the network takes are run at once.

    Args:
        predictor: Of a network that takes pictures and boxes.
        picture: H x W x C, as the network takes it.
        boxes: K x 4, see `check_boxes`.
        labels: Class number of each box, where the network has several classes.
        tile: Side of the tiles, or (height, width), where the network leaves it free.

    Returns:
        Probabilities of the masks over their boxes, K x M x M, float32.

    Raises:
        ValueError: The network takes no boxes, a box does not fit into a tile, or there is not one
            label a box.
    """
    shapes = predictor.input_shapes
    if len(shapes) != 2 or len(shapes[1]) != 3 or shapes[1][-1] != 4:
        raise ValueError(f"This network takes no boxes. Received: inputs of {list(shapes)}")
    sides = _tile(predictor, boxes, tile)
    groups: dict[tuple[int, ...], list[int]] = {}
    starts = np.stack([_starts(picture.shape[a], sides[a], boxes[:, [a, a + 2]]) for a in (0, 1)])
    for index, start in enumerate(starts.T.tolist()):
        groups.setdefault(tuple(start), []).append(index)
    answers: list[np.ndarray | None] = [None] * len(boxes)
    for (top, left), members in groups.items():
        part = picture[top : top + sides[0], left : left + sides[1]]
        missing = [(0, side - have) for side, have in zip(sides, part.shape, strict=False)]
        part = np.pad(part, [*missing, (0, 0)], mode="edge")
        masks = _run(predictor, part, boxes[members] - np.array([top, left, top, left]))
        for index, mask in zip(members, masks, strict=True):
            answers[index] = mask
    if not answers:
        return np.zeros((0, 1, 1), np.float32)
    return _probabilities(predictor, np.stack(answers), labels)  # type: ignore[arg-type]


def paste_mask(mask: np.ndarray, box: np.ndarray, sides: tuple[int, int]) -> tuple[Any, np.ndarray]:
    """Puts the mask of a box back on the pixels of the picture, as Mask R-CNN does.

    The mask covers the box: it is interpolated bilinearly at the centres of the pixels that lie in
    the box, and continued by its border at the box's edge. Source: He et al. 2017, section 3.1.

    Args:
        mask: M x M.
        box: y0, x0, y1, x1.
        sides: Height and width of the picture.

    Returns:
        Which part of the picture it is, as two slices, and the mask on these pixels, float32;
        outside it is 0.
    """
    spans, weights = [], []
    for axis in (0, 1):
        start, stop = float(box[axis]), float(box[axis + 2])
        first = max(math.ceil(start - 0.5), 0)
        last = min(math.ceil(stop - 0.5), sides[axis])  # the first centre behind the box
        cells = mask.shape[axis]
        places = (np.arange(first, last) + 0.5 - start) * (cells / (stop - start)) - 0.5
        weights.append(interpolation(places, cells))
        spans.append(slice(first, max(first, last)))
    rows, columns = weights
    return tuple(spans), rows @ mask.astype(np.float32) @ columns.T


def interpolation(places: np.ndarray, length: int) -> np.ndarray:
    """The weights of linear interpolation: places x length, the ends continued by their values."""
    clipped = np.clip(places, 0, length - 1)
    weights = np.maximum(1 - np.abs(clipped[:, None] - np.arange(length)), 0)
    return weights.astype(np.float32)


def _tile(
    predictor: Predictor, boxes: np.ndarray, tile: int | tuple[int, ...] | None
) -> tuple[int, ...]:
    """Sides of the tiles: at least as large as every box, where the network leaves them free."""
    if tile is not None or None not in predictor.input_shape[1:3]:
        return predictor.tile_sides(tile)
    largest = (boxes[:, 2:] - boxes[:, :2]).max(axis=0, initial=0)
    free = [
        max(side, _GRID * math.ceil(n / _GRID))
        for side, n in zip(predictor.tile_sides(None), largest, strict=True)
    ]
    wanted = predictor.input_shape[1:3]
    return (wanted[0] or free[0], wanted[1] or free[1])


def grid_of(length: int, tile: int) -> list[int]:
    """Where tiles that overlap by half start along an axis; the last one ends with it."""
    if length <= tile:
        return [0]
    step = max(tile // 2 - tile // 2 % _GRID, 1) if tile >= 2 * _GRID else max(tile // 2, 1)
    return [*range(0, length - tile, step), length - tile]


def _starts(length: int, tile: int, edges: np.ndarray) -> list[int]:
    """Where the tile of each box starts along one axis.

    Raises:
        ValueError: A box is longer than a tile.
    """
    grid = np.array(grid_of(length, tile))
    starts = []
    for low, high in edges.tolist():
        if high - low > tile:
            raise ValueError(
                f"A box must fit into the network's {tile} pixels: shrink the picture. "
                f"Received: a box of {high - low:g}"
            )
        # A border of the picture is no border of a tile.
        before = np.where(grid > 0, low - grid, np.inf)
        behind = np.where(grid + tile < length, grid + tile - high, np.inf)
        depths = np.minimum(before, behind)
        best = int(depths.argmax())
        start = int(grid[best])
        if depths[best] < 0:
            start = min(max(round((low + high - tile) / 2), 0), length - tile)
        starts.append(start)
    return starts


def _run(predictor: Predictor, part: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Runs one tile with any number of boxes, in groups that are filled up."""
    batch = predictor.input_shape[0] or 1
    count = predictor.input_shapes[1][1] or min(len(boxes), _FREE_BOXES)
    answers = []
    for start in range(0, len(boxes), batch * count):
        group = boxes[start : start + batch * count]
        missing = batch * count - len(group)
        full = np.concatenate([group, np.repeat(group[-1:], missing, axis=0)])
        pictures = np.repeat(part[None], batch, axis=0)
        masks = predictor.run(pictures, full.reshape(batch, count, 4))[0]
        answers.append(masks.reshape(batch * count, *masks.shape[2:])[: len(group)])
    return np.concatenate(answers)


def _probabilities(
    predictor: Predictor, masks: np.ndarray, labels: Sequence[int] | None
) -> np.ndarray:
    """Takes the mask of each box's class: K x M x M from K x M x M x classes."""
    output = predictor.convention.output
    if output == "labels" and len(predictor.convention.labels) > 2:
        raise ValueError(
            "Class numbers are no masks, of which each class has its own: export the network with "
            f"head='probabilities'. Received: output={output!r}"
        )
    if masks.ndim == 3:  # labels of a file that gives nothing else
        masks = masks[..., None]
    classes = masks.shape[-1]
    if labels is None and classes > 1:
        raise ValueError(
            f"The network has {classes} classes: give the class of each box. Received: labels=None"
        )
    chosen = np.zeros(len(masks), int) if labels is None else np.asarray(labels)
    fits = chosen.shape == (len(masks),) and chosen.dtype.kind in "iu"
    if not fits or (len(chosen) and not 0 <= chosen.min() <= chosen.max() < classes):
        raise ValueError(
            f"There must be one label a box, {len(masks)}, in 0..{classes - 1}. "
            f"Received: {labels!r}"
        )
    own = masks[np.arange(len(masks)), ..., chosen].astype(np.float32)
    return 1 / (1 + np.exp(-np.clip(own, -80, 80))) if output == "logits" else own
