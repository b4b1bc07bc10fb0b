"""TopCentres: the boxes of the surest centres of a heat map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class TopCentres(keras.layers.Layer):
    """Takes objects off a map of their centres: `TopCentres(100, stride=4)([centres, distances])`.

    A cell is a centre where no other of the 3 x 3 around it is surer, and the surest of all are
    taken: Zhou, Wang and Krähenbühl, "Objects as points" (2019), section 4. There is nothing to
    suppress among the boxes, and all shapes are static, so that any exporter takes it.

    Inputs are the probability that an object's centre lies in a cell, N x H x W x 1, and the
    distances of the box's top, left, bottom and right edges from the middle of the cell, in cells,
    N x H x W x 4.

    Args:
        count: Number K of objects that are taken; at most H * W.
        stride: Picture pixels per cell.
        threshold: Least probability of an object.

    Returns:
        Boxes, N x K x 4 (y0, x0, y1, x1 in pixels, clipped to the picture), and their
        probabilities, N x K, the surest first. Where there are less than K objects, the rest is 0,
        boxes as well: an order among cells of no object would be one of rounding errors.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self, count: int, *, stride: int = 4, threshold: float = 0.05, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if count < 1 or stride < 1 or not 0 < threshold < 1:
            raise ValueError(
                "count and stride must be 1 or more, threshold between 0 and 1. "
                f"Received: {count}, {stride}, {threshold}"
            )
        self.count, self.stride, self.threshold = count, stride, threshold

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, Any]:
        centres, distances = (tuple(shape) for shape in input_shape)
        if centres[:-1] != distances[:-1] or (centres[-1], distances[-1]) != (1, 4):
            raise ValueError(
                "TopCentres takes centres (N, H, W, 1) and distances (N, H, W, 4). "
                f"Received: {centres} and {distances}"
            )
        _, height, width, _ = centres
        if None not in (height, width) and height * width < self.count:
            raise ValueError(
                f"A map of {height} x {width} has no {self.count} centres. Received: {centres}"
            )
        return (centres[0], self.count, 4), (centres[0], self.count)

    def call(self, inputs: Sequence[Any]) -> tuple[Any, Any]:
        ops = keras.ops
        centres, distances = inputs
        height, width = ops.shape(centres)[1:3]
        best = ops.max_pool(centres, 3, strides=1, padding="same")
        chosen = ops.cast(centres >= ops.maximum(best, self.threshold), centres.dtype)
        scores = ops.reshape(centres * chosen, (-1, height * width))
        scores, cells = ops.top_k(scores, self.count)
        boxes = self._boxes(distances, height, width) * chosen
        boxes = ops.reshape(boxes, (-1, height * width, 4))
        return ops.take_along_axis(boxes, cells[..., None], axis=1), scores

    def _boxes(self, distances: Any, height: Any, width: Any) -> Any:
        """The box of every cell, in pixels: N x H x W x 4."""
        ops = keras.ops
        rows = (ops.arange(height, dtype=distances.dtype) + 0.5)[:, None, None]
        columns = (ops.arange(width, dtype=distances.dtype) + 0.5)[None, :, None]
        top, left, bottom, right = ops.split(distances, 4, axis=-1)
        ends = [
            ops.maximum(rows - top, 0.0),
            ops.maximum(columns - left, 0.0),
            ops.minimum(rows + bottom, ops.cast(height, distances.dtype)),
            ops.minimum(columns + right, ops.cast(width, distances.dtype)),
        ]
        return ops.concatenate(ends, axis=-1) * self.stride

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "count": self.count,
            "stride": self.stride,
            "threshold": self.threshold,
        }
