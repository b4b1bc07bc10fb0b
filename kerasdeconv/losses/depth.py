"""Losses for maps of depth."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss, named, shares


@named("scale_invariant_depth")
class ScaleInvariantDepth(DenseLoss):
    """Differences of log depth, of which a part of what all pixels share is forgiven.

    Eigen et al., "Depth map prediction from a single image using a multi-scale deep network"
    (2014), equation 4: mean(d^2) - balance mean(d)^2 with d = log got - log wanted, sample by
    sample.

    Args:
        balance: 1 forgives a wrong scale of the whole map, 0 nothing; the paper trains with 0.5.
        least: Answers below this are taken as this, in units of the depth.
        **kwargs: See `DenseLoss`.

    Targets are depths, batch x sides, with or without a last axis of 1; pixels of 0 or less have no
    depth and don't count. Answers are depths, batch x sides x 1.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, balance: float = 0.5, least: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= balance <= 1 or least <= 0:
            raise ValueError(
                f"balance must be between 0 and 1, least more than 0. Received: {balance}, {least}"
            )
        self.balance, self.least = balance, least

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        wanted, got = depths(y_true, y_pred)
        valid = wanted > 0
        counting = ops.cast(valid, got.dtype)
        means = None
        if weights is not None:
            weights, means = shares(weights)
            counting = counting * weights
        error = ops.log(ops.maximum(got, self.least)) - ops.log(ops.where(valid, wanted, 1.0))
        sides = tuple(range(1, len(got.shape)))
        total = ops.sum(counting, axis=sides)
        first = ops.divide_no_nan(ops.sum(counting * error, axis=sides), total)
        second = ops.divide_no_nan(ops.sum(counting * error**2, axis=sides), total)
        values = second - self.balance * first**2
        return values if means is None else values * means

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"balance": self.balance, "least": self.least}


def depths(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Brings true and answered depths to batch x sides.

    Raises:
        ValueError: The shapes do not belong together.
    """
    ops = keras.ops
    wanted, got = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    given = tuple(wanted.shape), tuple(got.shape)
    if len(wanted.shape) == len(got.shape) and given[0][-1] == 1:
        wanted = wanted[..., 0]
    if given[1][-1] != 1 or len(wanted.shape) != len(got.shape) - 1:
        raise ValueError(
            "Depths must be batch x sides x 1, and the true ones may lack the last axis. "
            f"Received: {given[0]} and {given[1]}"
        )
    return ops.cast(wanted, got.dtype), got[..., 0]
