"""Losses for clouds of points."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss, named

_AT_ONCE = 256  # points that are compared with all others at once: memory stays bounded


@named("chamfer")
class Chamfer(DenseLoss):
    """The chamfer distance of two clouds, of squared distances.

    Fan et al., "A point set generation network for 3D object reconstruction from a single image"
    (CVPR 2017), section 3.2: from each point to the nearest of the other cloud, both ways. Here the
    mean over each cloud instead of the sum, so that clouds of other sizes compare.

    Targets are points, batch x M x coordinates, answers batch x K x coordinates. Weights are one
    for each sample.

    Args:
        **kwargs: See `DenseLoss`.
    """

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        values = chamfer(y_true, y_pred)
        return values if weights is None else values * sample_weights(weights)


def chamfer(y_true: Any, y_pred: Any) -> Any:
    """The chamfer distance of each sample; see `Chamfer`.

    Args:
        y_true: batch x M x coordinates.
        y_pred: batch x K x coordinates.

    Returns:
        One number a sample.

    Raises:
        ValueError: The shapes do not belong together.
    """
    ops = keras.ops
    shapes = tuple(y_true.shape), tuple(y_pred.shape)
    if [len(shape) for shape in shapes] != [3, 3] or shapes[0][-1] != shapes[1][-1]:
        raise ValueError(
            f"Points must be batch x number x coordinates. Received: {shapes[0]} and {shapes[1]}"
        )
    there = ops.mean(_to_nearest(y_true, y_pred), axis=-1)
    return there + ops.mean(_to_nearest(y_pred, y_true), axis=-1)


def sample_weights(weights: Any) -> Any:
    """Weights of samples, of those that are spread over points.

    Raises:
        ValueError: Points have weights of their own.
    """
    if weights.shape[-1] != 1:
        raise ValueError(
            f"Clouds take one weight for each sample. Received: {tuple(weights.shape)}"
        )
    return weights[:, 0]


def _to_nearest(points: Any, others: Any) -> Any:
    """The squared distance of each point to the nearest of the others, batch x number.

    Which one is nearest is found first, a part of the points at a time and without a gradient: so
    no table of all distances is kept for it.
    """
    ops = keras.ops
    fixed, targets = ops.stop_gradient(points), ops.stop_gradient(others)
    count = points.shape[1]
    nearest = []
    for start in range(0, count, _AT_ONCE):
        part = fixed[:, start : start + _AT_ONCE, None]
        # Coordinate by coordinate: one square more is kept, not three.
        away = sum(
            (part[..., axis] - targets[:, None, :, axis]) ** 2 for axis in range(points.shape[-1])
        )
        nearest.append(ops.argmin(away, axis=-1))
    chosen = ops.concatenate(nearest, axis=1)
    found = ops.take_along_axis(others, chosen[..., None], axis=1)
    return ops.sum((points - found) ** 2, axis=-1)
