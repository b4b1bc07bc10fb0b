"""Objects of a picture of any size: found in tiles, joined, and pasted back. NumPy only."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from kerasdeconv.runtime.instances import grid_of, paste_mask

if TYPE_CHECKING:
    from kerasdeconv.runtime.predictor import Predictor


class Found(NamedTuple):
    """The objects that were found in a picture, the surest first.

    Attributes:
        masks: K x H x W of the whole picture: bool, or probabilities, float32.
        boxes: K x 4: y0, x0, y1, x1 in pixels; edges of pixels lie at whole numbers.
        scores: K probabilities.
    """

    masks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray


def box_ious(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each box with each: K x 4 and L x 4 to K x L."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=-1)
    areas = [np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), axis=1) for boxes in (one, other)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.divide(both, union, out=np.zeros_like(both), where=union > 0)


def suppress(boxes: np.ndarray, scores: np.ndarray, overlap: float) -> np.ndarray:
    """Picks boxes, the surest first, and none that overlaps with a surer one by more.

    Args:
        boxes: K x 4.
        scores: K.
        overlap: Greatest intersection over union of two boxes.

    Returns:
        Indices of the boxes that stay.
    """
    order = np.argsort(-scores, kind="stable")
    ious = box_ious(boxes, boxes)
    kept: list[int] = []
    for index in order:
        if (ious[index, kept] <= overlap).all():
            kept.append(int(index))
    return np.array(kept, int)


def find(
    predictor: Predictor,
    picture: np.ndarray,
    *,
    score: float,
    threshold: float | None,
    overlap: float,
    tile: int | tuple[int, ...] | None,
) -> Found:
    """Asks for the objects of a picture of any size; see `Predictor.find_instances`.

    Tiles overlap by half, and each answers for the objects whose middle is nearer to its own than
    to that of another tile: what a border cuts off lies whole in the next one.

    Args:
        predictor: Of a network that gives masks, boxes and scores.
        picture: H x W x C, as the network takes it.
        score: Least score.
        threshold: Least probability of a pixel of a mask, or None for probabilities.
        overlap: See `suppress`.
        tile: Side of the tiles, or (height, width), where the network leaves it free.

    Raises:
        ValueError: The network finds no objects.
    """
    sides = predictor.tile_sides(tile)
    rows, columns = (_spans(picture.shape[axis], sides[axis]) for axis in (0, 1))
    answers = [
        _find_in_tile(predictor, picture, (*rows[i], *columns[j]), sides, score)
        for i in range(len(rows))
        for j in range(len(columns))
    ]
    masks, boxes, scores = (np.concatenate(part) for part in zip(*answers, strict=True))
    kept = suppress(boxes, scores, overlap)
    whole = np.zeros((len(kept), *picture.shape[:2]), np.float32 if threshold is None else bool)
    for answer, mask, box in zip(whole, masks[kept], boxes[kept], strict=True):
        span, part = paste_mask(mask, box, picture.shape[:2])
        answer[span] = part if threshold is None else part >= threshold
    return Found(whole, boxes[kept], scores[kept])


def _spans(length: int, tile: int) -> list[tuple[float, float, int]]:
    """Where each tile answers along an axis, from and to, and where it starts."""
    starts = grid_of(length, tile)
    middles = [start + tile / 2 for start in starts]
    ends = [(a + b) / 2 for a, b in itertools.pairwise(middles)]
    return list(zip([-np.inf, *ends], [*ends, np.inf], starts, strict=True))


def _find_in_tile(
    predictor: Predictor,
    picture: np.ndarray,
    place: tuple[float, float, int, float, float, int],
    sides: tuple[int, ...],
    least: float,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Masks over their boxes, boxes in the picture and scores of what one tile answers for."""
    top, bottom, y, left, right, x = place
    part = picture[y : y + sides[0], x : x + sides[1]]
    missing = [(0, side - have) for side, have in zip(sides, part.shape, strict=False)]
    part = np.pad(part, [*missing, (0, 0)], mode="edge")
    batch = predictor.input_shape[0] or 1
    outputs = predictor.run(np.repeat(part[None], batch, axis=0))
    if len(outputs) != 3 or outputs[0].ndim != 5 or outputs[1].shape[-1] != 4:
        raise ValueError(
            "This network does not find instances: masks, boxes and scores. "
            f"Received: outputs of {[output.shape for output in outputs]}"
        )
    masks, boxes, scores = (output[0] for output in outputs)
    if predictor.convention.output == "logits":
        masks = 1 / (1 + np.exp(-np.clip(masks, -80, 80)))
    # What was found in pixels that only fill the tile up is not there.
    limits = np.array(picture.shape[:2] * 2, np.float32)
    boxes = np.clip(boxes + np.array([y, x, y, x], np.float32), 0, limits)
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    own = (middles >= (top, left)).all(axis=1) & (middles < (bottom, right)).all(axis=1)
    real = (boxes[:, :2] < boxes[:, 2:]).all(axis=1) & (scores > 0) & (scores >= least)
    return masks[own & real][..., 0], boxes[own & real], scores[own & real]
