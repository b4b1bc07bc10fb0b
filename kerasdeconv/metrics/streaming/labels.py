"""Streaming metrics of class numbers: intersection over union, Dice, pixel accuracy."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import spread
from kerasdeconv.losses.labels import class_numbers
from kerasdeconv.metrics.streaming.averages import known_ratio


class ConfusionMetric(keras.metrics.Metric):
    """Base of the metrics from one confusion matrix over all batches, see `ConfusionMatrix`.

    It takes class numbers, batch x sides (x 1), and probabilities, batch x sides x classes, where
    one channel is the probability of class 1 of two. A label that is neither a class nor `ignore`
    makes the result NaN. Counts are float32: exact up to 2^24 pixels in a cell, rounded beyond.

    Args:
        classes: Number of classes, two or more.
        ignore: Label of pixels that don't count, if there is one.
        threshold: One channel: least probability of class 1.
        name: Name of the metric.
        dtype: What it counts in; float32 by default.

    Raises:
        ValueError: There are not at least two classes.
    """

    def __init__(
        self,
        classes: int,
        ignore: int | None = None,
        *,
        threshold: float = 0.5,
        name: str,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if classes < 2:
            raise ValueError(f"There must be two classes or more. Received: {classes}")
        self.classes, self.ignore, self.threshold = classes, ignore, threshold
        self._direction = "up"  # Keras' early stopping asks for it
        self.counts = self.add_variable(
            (classes, classes), "zeros", dtype=self.dtype, name="counts"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch.

        Args:
            y_true: Class numbers, batch x sides, with or without a last axis of 1.
            y_pred: Probabilities, batch x sides x classes.
            sample_weight: Weight of each pixel, batch x sides, or of each sample.

        Raises:
            ValueError: The shapes do not belong together.
        """
        ops = keras.ops
        y_pred = ops.convert_to_tensor(y_pred)
        channels = y_pred.shape[-1]
        if channels not in (self.classes, 1) or (channels == 1 and self.classes > 2):
            raise ValueError(
                f"Answers must have {self.classes} channels. Received: {tuple(y_pred.shape)}"
            )
        truth = class_numbers(y_true, y_pred)
        if channels == 1:
            guess = ops.cast(y_pred[..., 0] >= self.threshold, "int32")
        else:
            guess = ops.cast(ops.argmax(y_pred, axis=-1), "int32")
        weights = ops.ones(ops.shape(truth), self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            weights = weights * spread(given, len(y_pred.shape))
        known = ops.logical_and(truth >= 0, truth < self.classes)
        weights = ops.where(known, weights, float("nan"))
        if self.ignore is not None:
            weights = ops.where(ops.equal(truth, self.ignore), 0.0, weights)
        cells = self.classes * ops.where(known, truth, 0) + guess
        counts = ops.segment_sum(
            ops.reshape(weights, (-1,)), ops.reshape(cells, (-1,)), self.classes**2
        )
        self.counts.assign(self.counts + ops.reshape(counts, self.counts.shape))

    def sums(self) -> tuple[Any, Any, Any]:
        """Right pixels, true pixels and answered pixels of each class."""
        ops = keras.ops
        counts = ops.convert_to_tensor(self.counts)
        return ops.diagonal(counts), ops.sum(counts, axis=1), ops.sum(counts, axis=0)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "classes": self.classes,
            "ignore": self.ignore,
            "threshold": self.threshold,
        }


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class MeanIoU(ConfusionMetric):
    """Mean intersection over union of the classes that occur, `ConfusionMatrix.mean_iou`.

    Args:
        classes: See `ConfusionMetric`.
        ignore: See `ConfusionMetric`.
        name: Name of the metric.
        **kwargs: See `ConfusionMetric`.
    """

    def __init__(
        self, classes: int, ignore: int | None = None, *, name: str = "mean_iou", **kwargs: Any
    ) -> None:
        super().__init__(classes, ignore, name=name, **kwargs)

    def per_class(self) -> Any:
        """Intersection over union of each class; NaN for one that never occurs."""
        right, true, answered = self.sums()
        return known_ratio(right, true + answered - right)

    def result(self) -> Any:
        return mean_of_known(self.per_class())


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class DiceCoefficient(ConfusionMetric):
    """Mean of the classes' Dice coefficients over all pixels of the set, `ConfusionMatrix.dice`.

    Args:
        classes: See `ConfusionMetric`.
        ignore: See `ConfusionMetric`.
        background: Whether class 0 counts in the mean, too.
        name: Name of the metric.
        **kwargs: See `ConfusionMetric`.
    """

    def __init__(
        self,
        classes: int,
        ignore: int | None = None,
        *,
        background: bool = False,
        name: str = "dice",
        **kwargs: Any,
    ) -> None:
        super().__init__(classes, ignore, name=name, **kwargs)
        self.background = background

    def per_class(self) -> Any:
        """Dice coefficient of each class, of class 0, too; NaN for one that never occurs."""
        right, true, answered = self.sums()
        return known_ratio(2 * right, true + answered)

    def result(self) -> Any:
        values = self.per_class()
        return mean_of_known(values if self.background else values[1:])

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"background": self.background}


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class PixelAccuracy(ConfusionMetric):
    """Share of pixels whose class is right; 0 where there is none.

    Args:
        classes: See `ConfusionMetric`.
        ignore: See `ConfusionMetric`.
        name: Name of the metric.
        **kwargs: See `ConfusionMetric`.
    """

    def __init__(
        self,
        classes: int,
        ignore: int | None = None,
        *,
        name: str = "pixel_accuracy",
        **kwargs: Any,
    ) -> None:
        super().__init__(classes, ignore, name=name, **kwargs)

    def result(self) -> Any:
        right, true, _ = self.sums()
        return keras.ops.divide_no_nan(keras.ops.sum(right), keras.ops.sum(true))


def mean_of_known(values: Any) -> Any:
    """Mean of what is not NaN; NaN where all is."""
    ops = keras.ops
    known = ops.logical_not(ops.isnan(values))
    whole = ops.sum(ops.cast(known, values.dtype))
    return known_ratio(ops.sum(ops.where(known, values, 0.0)), whole)
