"""What the streaming metrics share that are means over pixels or pictures."""

from __future__ import annotations

from typing import Any

import keras


class WeightedMean(keras.metrics.Metric):
    """Base of metrics that are a weighted mean of values; NaN before there is one.

    Args:
        name: Name of the metric.
        dtype: What it counts in; float32 by default.
    """

    def __init__(self, name: str, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", dtype=self.dtype, name="total")
        self.count = self.add_variable((), "zeros", dtype=self.dtype, name="count")

    def add(self, values: Any, weights: Any) -> None:
        """Adds values with their weights, of one shape."""
        ops = keras.ops
        values = ops.where(weights > 0, values, 0.0)
        self.total.assign(self.total + ops.cast(ops.sum(weights * values), self.dtype))
        self.count.assign(self.count + ops.cast(ops.sum(weights), self.dtype))

    def result(self) -> Any:
        return known_ratio(*map(keras.ops.convert_to_tensor, (self.total, self.count)))


def known_ratio(part: Any, whole: Any) -> Any:
    """Divides; NaN by 0."""
    ops = keras.ops
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, 1.0), float("nan"))
