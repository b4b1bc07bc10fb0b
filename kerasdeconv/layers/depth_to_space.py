"""Depth to space (pixel shuffle, voxel shuffle)."""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasdeconv.layers.ranks import per_axis


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthToSpace(keras.layers.Layer):
    """Interleaves channels into space: N x H x W x (s*s*C) becomes N x sH x sW x C, 3D likewise.

    Channels are ordered block first (TensorFlow's order, ONNX's "DCR"): the first C channels go to
    the upper left pixel of each block. Source: Shi et al., "Real-time single image and video
    super-resolution using an efficient sub-pixel convolutional neural network" (2016).

    Args:
        block_size: Upsampling factor, or one for each spatial axis.

    Raises:
        ValueError: The channels are no multiple of the product of the factors.
    """

    def __init__(self, block_size: int | tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = block_size if isinstance(block_size, int) else tuple(block_size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        block = per_axis(self.block_size, len(sides))
        if channels is None or channels % math.prod(block):
            raise ValueError(
                f"The channels must be a multiple of {math.prod(block)}. Received: {channels}"
            )
        grown = [None if side is None else side * s for side, s in zip(sides, block, strict=True)]
        return (batch, *grown, channels // math.prod(block))

    def call(self, inputs: Any) -> Any:
        rank = len(inputs.shape) - 2
        block = per_axis(self.block_size, rank)
        channels = self.compute_output_shape(inputs.shape)[-1]
        if rank == 2 and block[0] == block[1] > 1:
            return keras.ops.depth_to_space(inputs, block[0], data_format="channels_last")
        batch, *sides, _ = keras.ops.shape(inputs)
        x = keras.ops.reshape(inputs, (batch, *sides, *block, channels))
        axes = [axis for i in range(rank) for axis in (1 + i, 1 + rank + i)]
        x = keras.ops.transpose(x, (0, *axes, 2 * rank + 1))
        grown = [side * s for side, s in zip(sides, block, strict=True)]
        return keras.ops.reshape(x, (batch, *grown, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}
