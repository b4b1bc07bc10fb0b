"""Comparing networks that find objects: the same ones, whatever order rounding put them in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kerasdeconv.runtime.detection import box_ious

# Boxes that overlap by this are of one object.
_SAME = 0.5

Answer = Sequence[np.ndarray]


def in_order(
    expected: Answer, got: Answer, threshold: float
) -> tuple[list[np.ndarray], float, float]:
    """Brings the objects of a picture into the order in which the model found them.

    Objects are sorted by score, and where two scores differ by less than the rounding of a
    precision, either comes first. So each object of the model is paired with the one of the file
    whose box overlaps most. One whose score is as near to the least that an object may have as the
    scores of the pairs lie apart may be found by one of the two alone. All others should be found
    by both, and pairs should have the same masks, boxes and scores.

    Args:
        expected: The model's masks, boxes and scores, K x ... each.
        got: The file's.
        threshold: Least score of an object; others are 0.

    Returns:
        The file's answer, paired, with the model's own where there is no pair to compare; and how
        much both found and how much but one, as sums of scores.
    """
    pairs = _pairs(expected, got)
    scores, others = expected[2], got[2]
    # Where both found nothing, what fills the rest up is compared, too.
    rest = [np.flatnonzero(part == 0).tolist() for part in (scores, others)]
    ordered = [np.array(part) for part in expected]
    for here, there in [*pairs, *zip(*rest, strict=False)]:
        for part, other in zip(ordered, got, strict=True):
            part[here] = other[there]
    slack = max((float(abs(scores[i] - others[j])) for i, j in pairs), default=0.0)
    # Where all places are taken, the last one's score is the least.
    cut = max(threshold, min(scores.min(), others.min())) + slack
    alone = [
        np.delete(part, [pair[side] for pair in pairs])
        for side, part in enumerate([scores, others])
    ]
    missed = sum(float(part[part > cut].sum()) for part in alone)
    return ordered, sum(float(scores[here]) for here, _ in pairs), missed


def _pairs(expected: Answer, got: Answer) -> list[tuple[int, int]]:
    """Which objects are the same: those first whose boxes and scores are most alike."""
    ious = box_ious(expected[1], got[1])
    likeness = ious - np.abs(expected[2][:, None] - got[2][None])
    real = (expected[2] > 0)[:, None] & (got[2] > 0)[None]
    likeness[~real | (ious < _SAME)] = -np.inf
    pairs = []
    while likeness.max() > -np.inf:
        here, there = np.unravel_index(likeness.argmax(), likeness.shape)
        pairs.append((int(here), int(there)))
        likeness[here], likeness[:, there] = -np.inf, -np.inf
    return pairs
