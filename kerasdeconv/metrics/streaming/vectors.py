"""Streaming metrics of vectors: end-point error, and the angle between directions."""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasdeconv.losses.base import spread
from kerasdeconv.losses.vectors import cosines
from kerasdeconv.metrics.streaming.averages import WeightedMean


class VectorMetric(WeightedMean):
    """Base of the means over all pixels with a vector on the last axis."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: batch x sides x channels.
            y_pred: The same shape.
            sample_weight: Weight of each pixel, batch x sides, or of each sample.
        """
        ops = keras.ops
        wanted = ops.convert_to_tensor(y_true, dtype=self.dtype)
        got = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        weights = self.known(wanted)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            weights = weights * spread(given, len(got.shape))
        self.add(self.of_pixels(wanted, got), weights)

    def known(self, wanted: Any) -> Any:
        """1 where there is a true vector, batch x sides."""
        return keras.ops.ones_like(wanted[..., 0])

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        """The value of each pixel, batch x sides."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class EndPointError(VectorMetric):
    """Mean length of the difference of two vectors, in their unit, see `end_point_error`.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, *, name: str = "end_point_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._direction = "down"  # Keras' early stopping asks for it

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        return keras.ops.sqrt(keras.ops.sum((got - wanted) ** 2, axis=-1))


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class AngularError(VectorMetric):
    """Mean angle between two directions in degrees, see `angular_errors`.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, *, name: str = "angular_error", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._direction = "down"  # Keras' early stopping asks for it

    def known(self, wanted: Any) -> Any:
        return keras.ops.cast(keras.ops.any(wanted != 0, axis=-1), self.dtype)

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        ops = keras.ops
        return ops.arccos(ops.clip(cosines(wanted, got), -1.0, 1.0)) * (180 / math.pi)
