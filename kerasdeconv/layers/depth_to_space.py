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
        self.compute_output_shape(inputs.shape)  # refuses what does not fit
        return depth_to_space(inputs, per_axis(self.block_size, len(inputs.shape) - 2))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}


def depth_to_space(x: Any, block: tuple[int, ...]) -> Any:
    """Interleaves channels, which are ordered block first, into space.

    Args:
        x: N x sides x (product of the block * C).
        block: Factor of each spatial axis.
    """
    if len(block) == 2 and block[0] == block[1] > 1:
        return keras.ops.depth_to_space(x, block[0], data_format="channels_last")
    if len(block) == 2:
        return _rows_to_space(x, block)
    # An axis at a time, because TFLite transposes six axes at most.
    for axis, factor in enumerate(block, start=1):
        if factor > 1:
            batch, *sides, channels = keras.ops.shape(x)
            x = keras.ops.reshape(x, (batch, *sides, factor, channels // factor))
            x = keras.ops.moveaxis(x, -2, axis + 1)
            sides[axis - 1] = sides[axis - 1] * factor
            x = keras.ops.reshape(x, (batch, *sides, channels // factor))
    return x


def _rows_to_space(x: Any, block: tuple[int, ...]) -> Any:
    """Depth to space of pictures on four axes, which some targets have no more of.

    Row-major, the order H, s, W, t, C of row phases laid side by side is that of the large map.
    """
    high, wide = block
    batch, height, width, channels = keras.ops.shape(x)
    if high > 1:
        x = keras.ops.concatenate(keras.ops.split(x, high, axis=-1), axis=2)
    return keras.ops.reshape(x, (batch, height * high, width * wide, channels // (high * wide)))


def space_to_depth(x: Any, block: tuple[int, ...]) -> Any:
    """Undoes `depth_to_space`: N x sides x C to channels ordered block first.

    Args:
        x: A map whose sides are multiples of the block.
        block: Factor of each spatial axis.
    """
    if len(block) == 2 and block[0] == block[1] > 1:
        return keras.ops.space_to_depth(x, block[0], data_format="channels_last")
    for axis, factor in reversed(list(enumerate(block, start=1))):
        if factor > 1:
            batch, *sides, channels = keras.ops.shape(x)
            small = [*sides[: axis - 1], sides[axis - 1] // factor, *sides[axis:]]
            split = [*small[:axis], factor, *small[axis:]]
            x = keras.ops.reshape(x, (batch, *split, channels))
            x = keras.ops.moveaxis(x, axis + 1, -2)
            x = keras.ops.reshape(x, (batch, *small, factor * channels))
    return x
