"""The streaming metric of instance masks in given boxes: average precision."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import spread
from kerasdeconv.metrics.streaming.averages import known_ratio

# Hits are masks whose intersection is at least 10/20, 11/20, ... 19/20 of their union.
_TWENTIETHS = list(range(10, 20))


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class MaskAveragePrecision(keras.metrics.Metric):
    """Average precision of masks, where the box around each object is given.

    See `mask_average_precision` and `mask_score`: an answer for each box, scored by the mean
    probability of its pixels, a hit where it overlaps the true mask enough, ten thresholds from
    0.50 to 0.95, 101 recalls. Scores are rounded down to `bins` levels, because a metric keeps no
    list; boxes of one level are taken together.

    Args:
        threshold: Least probability of a pixel of a mask.
        bins: Levels of the score between 0 and 1.
        name: Name of the metric.
        dtype: What it counts in; float32 by default.

    Raises:
        ValueError: There are no bins.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        bins: int = 1000,
        name: str = "mask_ap",
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if bins < 1:
            raise ValueError(f"There must be a bin or more. Received: {bins}")
        self.threshold, self.bins = threshold, bins
        self._direction = "up"  # Keras' early stopping asks for it
        self.found = self.add_variable((bins,), "zeros", dtype=self.dtype, name="found")
        self.hits = self.add_variable(
            (bins, len(_TWENTIETHS)), "zeros", dtype=self.dtype, name="hits"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch, as `InstancePatches` makes them.

        Args:
            y_true: 0 or 1, batch x boxes x side x side x 1.
            y_pred: Probabilities, the same shape.
            sample_weight: Weight of each pixel, batch x boxes x side x side; a box without any
                is not there.
        """
        ops = keras.ops
        y_pred = ops.convert_to_tensor(y_pred, self.dtype)
        y_true = ops.convert_to_tensor(y_true, self.dtype)
        axes = tuple(range(2, len(y_pred.shape)))
        got = ops.cast(y_pred >= self.threshold, self.dtype)
        wanted = ops.cast(y_true >= 0.5, self.dtype)
        there = ops.ones(ops.shape(y_pred)[:2], self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            given = spread(given, len(y_pred.shape))
            there = there * ops.cast(ops.any(given > 0, axis=axes[:-1]), self.dtype)
        both, size = ops.sum(wanted * got, axis=axes), ops.sum(got, axis=axes)
        union = ops.sum(wanted, axis=axes) + size - both
        score = ops.divide_no_nan(ops.sum(y_pred * got, axis=axes), size)
        level = ops.clip(ops.cast(score * self.bins, "int32"), 0, self.bins - 1)
        # In whole numbers: 3 of 5 pixels reach 0.60. Two empty masks are equal.
        needed = ops.convert_to_tensor(_TWENTIETHS, self.dtype) * union[..., None]
        hits = ops.cast(20 * both[..., None] >= needed, self.dtype) * there[..., None]
        level = ops.reshape(level, (-1,))
        found = ops.segment_sum(ops.reshape(there, (-1,)), level, self.bins)
        hits = ops.segment_sum(ops.reshape(hits, (-1, len(_TWENTIETHS))), level, self.bins)
        self.found.assign(self.found + found)
        self.hits.assign(self.hits + hits)

    def result(self) -> Any:
        ops = keras.ops
        found = ops.cumsum(ops.flip(self.found, axis=0))[:, None]  # from the surest down
        right = ops.cumsum(ops.flip(self.hits, axis=0), axis=0)
        precision = ops.divide_no_nan(right, found)
        total = found[-1]
        recalls = ops.arange(101, dtype=self.dtype)
        # bins x thresholds x recalls
        reached = 100 * right[..., None] >= recalls * total
        best = ops.max(ops.where(reached, precision[..., None], 0.0), axis=0)
        return known_ratio(ops.mean(best), ops.where(total[0] > 0, 1.0, 0.0))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"threshold": self.threshold, "bins": self.bins}
