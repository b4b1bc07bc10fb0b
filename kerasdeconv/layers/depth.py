"""The depth of a volume, or the time of a video, as channels of a picture, and back.

Both take four axes at most inside, as fast runtimes do, and any batch and sides.
"""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthToChannels(keras.layers.Layer):
    """Puts the slices of a volume side by side: N x D x H x W x C to N x H x W x (D * C)."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, depth, height, width, channels = input_shape
        return (batch, height, width, depth * channels)

    def call(self, inputs: Any) -> Any:
        batch, depth, height, width, channels = keras.ops.shape(inputs)
        rows = keras.ops.reshape(inputs, (batch, depth, height * width, channels))
        rows = keras.ops.transpose(rows, (0, 2, 1, 3))
        return keras.ops.reshape(rows, (batch, height, width, depth * channels))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ChannelsToDepth(keras.layers.Layer):
    """Undoes `DepthToChannels`: N x H x W x (D * C) to N x D x H x W x C.

    Args:
        depth: Number of slices D.
    """

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = int(depth)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, height, width, channels = input_shape
        return (batch, self.depth, height, width, channels // self.depth)

    def call(self, inputs: Any) -> Any:
        batch, height, width, channels = keras.ops.shape(inputs)
        each = channels // self.depth
        rows = keras.ops.reshape(inputs, (batch, height * width, self.depth, each))
        rows = keras.ops.transpose(rows, (0, 2, 1, 3))
        return keras.ops.reshape(rows, (batch, self.depth, height, width, each))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth}
