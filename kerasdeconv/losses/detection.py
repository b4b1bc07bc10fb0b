"""Losses for finding objects: of the heat map of their centres, and of their boxes."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss, named, shares

_LEAST = 1e-7  # how near to 0 and 1 probabilities come


@named("centre_focal")
class CentreFocal(DenseLoss):
    """The focal loss of a heat map in which cells near a centre are hardly wrong.

    Law and Deng, "CornerNet" (2018), equation 1, as Zhou, Wang and Krähenbühl, "Objects as points"
    (2019), take it: the sum over all cells of -(1 - p)^alpha log p at centres, where the target y
    is 1, and of -(1 - y)^beta p^alpha log(1 - p) elsewhere, over the number of centres.

    Args:
        alpha: How much less cells count that are right already.
        beta: How much less those count that are near a centre.
        **kwargs: See `DenseLoss`.

    Targets are 1 at centres and fall to 0 around them, answers probabilities, batch x sides x 1.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, alpha: float = 2.0, beta: float = 4.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if alpha < 0 or beta < 0:
            raise ValueError(f"alpha and beta must be 0 or more. Received: {alpha}, {beta}")
        self.alpha, self.beta = alpha, beta

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        _check("Heat maps", y_true, y_pred, 1)
        y, p = y_true[..., 0], ops.clip(y_pred[..., 0], _LEAST, 1 - _LEAST)
        is_centre = ops.cast(y >= 1, p.dtype)
        values = -is_centre * (1 - p) ** self.alpha * ops.log(p)
        values -= (1 - is_centre) * (1 - y) ** self.beta * p**self.alpha * ops.log(1 - p)
        means = None
        if weights is not None:
            weights, means = shares(weights)
            values, is_centre = values * weights, is_centre * weights
        sides = tuple(range(1, len(p.shape)))
        count = ops.maximum(ops.sum(is_centre, axis=sides), 1.0)
        values = ops.sum(values, axis=sides) / count
        return values if means is None else values * means

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha, "beta": self.beta}


@named("box_giou")
class BoxGIoU(DenseLoss):
    """1 less the generalized intersection over union of boxes, cell by cell.

    Rezatofighi et al., "Generalized intersection over union" (CVPR 2019), equation 3:
    GIoU = I / U - (C - U) / C, where C is the area of the least box around both. It is the same
    for objects of any size.

    Targets and answers are the distances of the top, left, bottom and right edges from a point in
    the box, positive, batch x sides x 4. Cells are counted by their weights.
    """

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        _check("Distances", y_true, y_pred, 4)
        both = _area(ops.minimum(y_true, y_pred))
        hull = _area(ops.maximum(y_true, y_pred))
        union = _area(y_true) + _area(y_pred) - both
        giou = ops.divide_no_nan(both, union) - ops.divide_no_nan(hull - union, hull)
        return 1 - giou if weights is None else (1 - giou) * weights


def _area(distances: Any) -> Any:
    """Area of boxes by the distances of their edges from a point in them."""
    return (distances[..., 0] + distances[..., 2]) * (distances[..., 1] + distances[..., 3])


def _check(what: str, y_true: Any, y_pred: Any, channels: int) -> None:
    """Refuses targets and answers that do not belong together.

    Raises:
        ValueError: They differ in shape or have other channels.
    """
    given = tuple(y_true.shape), tuple(y_pred.shape)
    if any(len(shape) < 3 or shape[-1] != channels for shape in given) or (
        len(given[0]) != len(given[1])
    ):
        raise ValueError(
            f"{what} must be batch x sides x {channels}. Received: {given[0]} and {given[1]}"
        )
