"""Streaming metrics of shapes: overlap of voxels, distance of points."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import spread
from kerasdeconv.losses.points import chamfer, sample_weights
from kerasdeconv.metrics.streaming.averages import WeightedMean


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class VoxelIoU(WeightedMean):
    """Mean over the samples of the intersection over union of occupied voxels, see `mask_iou`.

    Args:
        threshold: Least probability of an occupied voxel.
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(
        self, threshold: float = 0.5, *, name: str = "voxel_iou", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)
        self.threshold = threshold
        self._direction = "up"  # Keras' early stopping asks for it

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: 1 where a voxel is occupied, batch x sides x 1.
            y_pred: Probabilities, the same shape.
            sample_weight: Weight of each sample, or of each voxel, batch x sides.
        """
        ops = keras.ops
        got = ops.convert_to_tensor(y_pred, self.dtype) >= self.threshold
        wanted = ops.convert_to_tensor(y_true, self.dtype) >= 0.5
        weights = ops.ones(ops.shape(got)[:-1], self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            weights = weights * spread(given, len(got.shape))
        sides = tuple(range(1, len(got.shape)))
        both, any_of_them = (
            ops.sum(weights[..., None] * ops.cast(kind(wanted, got), self.dtype), axis=sides)
            for kind in (ops.logical_and, ops.logical_or)
        )
        empty = any_of_them <= 0
        iou = ops.where(empty, 1.0, both / ops.where(empty, 1.0, any_of_them))
        self.add(iou, ops.mean(weights, axis=sides[:-1]))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"threshold": self.threshold}


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class ChamferDistance(WeightedMean):
    """Mean over the samples of the chamfer distance, see `chamfer_distance`.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, *, name: str = "chamfer_distance", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._direction = "down"  # Keras' early stopping asks for it

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Points, batch x M x coordinates.
            y_pred: Points, batch x K x coordinates.
            sample_weight: Weight of each sample.
        """
        ops = keras.ops
        wanted, got = (ops.convert_to_tensor(points, self.dtype) for points in (y_true, y_pred))
        values = chamfer(wanted, got)
        weights = ops.ones(ops.shape(values), self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            weights = weights * sample_weights(spread(given, len(got.shape)))
        self.add(values, weights)
