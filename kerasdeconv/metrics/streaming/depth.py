"""Streaming metrics of depth: relative error, root mean squared error, accuracy up to a factor."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import spread
from kerasdeconv.losses.depth import depths
from kerasdeconv.metrics.streaming.averages import WeightedMean


class DepthMetric(WeightedMean):
    """Base of the means over all pixels whose depth is known: more than 0."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Depths, batch x sides, with or without a last axis of 1.
            y_pred: Depths, batch x sides x 1.
            sample_weight: Weight of each pixel, batch x sides, or of each sample.

        Raises:
            ValueError: The shapes do not belong together.
        """
        ops = keras.ops
        y_pred = ops.convert_to_tensor(y_pred, self.dtype)
        wanted, got = depths(y_true, y_pred)
        known = wanted > 0
        weights = ops.cast(known, self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            weights = weights * spread(given, len(y_pred.shape))
        self.add(self.of_pixels(ops.where(known, wanted, 1.0), got), weights)

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        """The value of each pixel, batch x sides."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class AbsRel(DepthMetric):
    """Mean of |got - wanted| / wanted, see `abs_rel`.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, *, name: str = "abs_rel", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._direction = "down"  # Keras' early stopping asks for it

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        return keras.ops.abs(got - wanted) / wanted


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class RMSE(DepthMetric):
    """Root of the mean squared error, in the unit of the depths, see `rmse`.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, *, name: str = "rmse", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self._direction = "down"  # Keras' early stopping asks for it

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        return (got - wanted) ** 2

    def result(self) -> Any:
        return keras.ops.sqrt(super().result())


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class DeltaAccuracy(DepthMetric):
    """Share of pixels that are right up to a factor, see `delta_accuracy`.

    Args:
        threshold: The factor, more than 1; 1.25, 1.25^2 and 1.25^3 by custom.
        name: Name of the metric.
        dtype: What it counts in; float32 by default.

    Raises:
        ValueError: The factor is 1 or less.
    """

    def __init__(
        self, threshold: float = 1.25, *, name: str = "delta_accuracy", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)
        if threshold <= 1:
            raise ValueError(f"threshold must be more than 1. Received: {threshold}")
        self.threshold = threshold
        self._direction = "up"  # Keras' early stopping asks for it

    def of_pixels(self, wanted: Any, got: Any) -> Any:
        ops = keras.ops
        close = ops.logical_and(got < self.threshold * wanted, wanted < self.threshold * got)
        return ops.cast(close, got.dtype)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"threshold": self.threshold}
