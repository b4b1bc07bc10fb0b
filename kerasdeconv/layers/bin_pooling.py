"""Averages over a fixed number of parts of a picture, whatever its size."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class BinPooling(keras.layers.Layer):
    """Averages a map over bins x bins equal parts, N x H x W x C to N x bins x bins x C.

    Args:
        bins: Parts along each side.

    Raises:
        ValueError: There is not at least one bin, or a side is no multiple of them.
    """

    def __init__(self, bins: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if bins < 1:
            raise ValueError(f"bins must be 1 or more. Received: {bins}")
        self.bins = int(bins)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        if any(side is not None and side % self.bins for side in sides):
            raise ValueError(
                f"Sides must be multiples of {self.bins}, the number of bins. "
                f"Received: {tuple(sides)}"
            )
        return (batch, self.bins, self.bins, channels)

    def call(self, inputs: Any) -> Any:
        self.compute_output_shape(inputs.shape)  # refuses what does not fit
        batch, height, width, channels = keras.ops.shape(inputs)
        parts = (batch, self.bins, height // self.bins, self.bins, width // self.bins, channels)
        x = keras.ops.reshape(inputs, parts)
        # One axis after the other: the sum over a whole part may be too large for float16.
        return keras.ops.mean(keras.ops.mean(x, axis=4), axis=2)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins}
