"""Losses for maps of vectors and of distances: flow, disparity, surface normals, smoothness."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss, named

_NOTHING = 1e-12  # squared length, below which a vector has no direction


@named("end_point_error")
class EndPointError(DenseLoss):
    """The length of the difference of two vectors, smooth at zero: sqrt(|d|^2 + epsilon^2).

    Dosovitskiy et al., "FlowNet: learning optical flow with convolutional networks" (2015), section
    4.2. For one channel (disparity) it is an absolute error.

    Args:
        epsilon: Error below which the loss is about quadratic, in units of the vectors.
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, epsilon: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if epsilon <= 0:
            raise ValueError(f"epsilon must be more than 0. Received: {epsilon}")
        self.epsilon = epsilon

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        values = ops.sqrt(ops.sum((y_pred - y_true) ** 2, axis=-1) + self.epsilon**2)
        return values if weights is None else values * weights

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon}


@named("cosine_distance")
class CosineDistance(DenseLoss):
    """One minus the cosine of the angle between two vectors.

    Eigen and Fergus, "Predicting depth, surface normals and semantic labels with a common
    multi-scale convolutional architecture" (2015), equation 2. True vectors of length 0 are unknown
    and don't count.

    Args:
        **kwargs: See `DenseLoss`.
    """

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        known = ops.cast(ops.any(y_true != 0, axis=-1), y_pred.dtype)
        values = known * (1 - cosines(y_true, y_pred))
        return values if weights is None else values * weights


def cosines(y_true: Any, y_pred: Any) -> Any:
    """The cosine of the angle between two vectors on the last axis; 0 where one has no length."""
    ops = keras.ops
    squares = [ops.sum(v * v, axis=-1) for v in (y_true, y_pred)]
    known = (squares[0] > _NOTHING) & (squares[1] > _NOTHING)
    # The square root of 0 has no gradient.
    lengths = [ops.sqrt(ops.where(known, square, 1.0)) for square in squares]
    return ops.where(known, ops.sum(y_true * y_pred, axis=-1) / (lengths[0] * lengths[1]), 0.0)


@named("edge_aware_smoothness")
class EdgeAwareSmoothness(DenseLoss):
    """How much a map changes from pixel to pixel, where its guide does not.

    Godard et al., "Unsupervised monocular depth estimation with left-right consistency" (CVPR
    2017), equation 3: the mean of |d map| exp(-sharpness |d guide|), along the rows and along the
    columns, added. The target is the guide: the picture, or the true map, of any channels, of which
    the mean change counts. A pair of neighbours counts as much as the one with the lesser weight.

    Args:
        sharpness: How soon a change of the guide allows one of the map, in 1 / units of the guide:
            1 for pictures in [0, 1], 1 / 255 for those in [0, 255].
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, sharpness: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if sharpness < 0:
            raise ValueError(f"sharpness must be 0 or more. Received: {sharpness}")
        self.sharpness = sharpness

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        total: Any = 0.0
        sides = tuple(range(1, len(y_pred.shape) - 1))
        for axis in sides:
            edges = ops.mean(ops.abs(_change(y_true, axis)), axis=-1)
            changes = ops.mean(ops.abs(_change(y_pred, axis)), axis=-1)
            values = changes * ops.exp(-self.sharpness * edges)
            if weights is not None:
                values = values * ops.minimum(*_neighbours(weights, axis))
            total = total + ops.mean(values, axis=sides)
        return total

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"sharpness": self.sharpness}


def _change(x: Any, axis: int) -> Any:
    before, behind = _neighbours(x, axis)
    return behind - before


def _neighbours(x: Any, axis: int) -> tuple[Any, Any]:
    """All pixels but the last along an axis, and all but the first; both all where there is one."""
    if x.shape[axis] == 1:
        return x, x
    index = [slice(None)] * len(x.shape)
    parts = []
    for part in (slice(None, -1), slice(1, None)):
        index[axis] = part
        parts.append(x[tuple(index)])
    return parts[0], parts[1]
