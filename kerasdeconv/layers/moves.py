"""Layers that only move values about, as the lowering needs them."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers.ranks import per_axis


@keras.saving.register_keras_serializable(package="kerasdeconv")
class SliceChannels(keras.layers.Layer):
    """Takes neighbouring channels out of a map: ... x C to ... x count.

    Args:
        start: The first channel.
        count: How many.
    """

    def __init__(self, start: int, count: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start, self.count = int(start), int(count)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (*input_shape[:-1], self.count)

    def call(self, inputs: Any) -> Any:
        return inputs[..., self.start : self.start + self.count]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start, "count": self.count}


@keras.saving.register_keras_serializable(package="kerasdeconv")
class NearestResize(keras.layers.Layer):
    """Repeats rows and columns, N x H x W x C to N x sH x sW x C, by the resize operator.

    `keras.layers.UpSampling2D` gives the same, and reaches the converters as a chain of reshapes
    and tilings.

    Args:
        size: Whole upsampling factor, or one for each axis.
    """

    def __init__(self, size: int | tuple[int, int] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size if isinstance(size, int) else tuple(size)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, *sides, channels = input_shape
        size = per_axis(self.size, 2)
        grown = [None if side is None else side * s for side, s in zip(sides, size, strict=True)]
        return (batch, *grown, channels)

    def call(self, inputs: Any) -> Any:
        sides = self.compute_output_shape(keras.ops.shape(inputs))[1:3]
        return keras.ops.image.resize(
            inputs, sides, interpolation="nearest", data_format="channels_last"
        )

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}
