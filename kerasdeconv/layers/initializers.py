"""Initializers for upsampling layers."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ICNR(keras.initializers.Initializer):
    """Starts a sub-pixel convolution as nearest-neighbour resize: no checkerboard at the start.

    All output channels that depth-to-space interleaves into one channel get the same kernel.
    Source: Aitken et al., "Checkerboard artifact free sub-pixel convolution" (2017).

    Args:
        blocks: How many channels are interleaved into one: the product of the upsampling factors.
        initializer: What each distinct kernel starts from.
    """

    def __init__(self, blocks: int, initializer: Any = "he_normal") -> None:
        self.blocks = int(blocks)
        self.initializer = keras.initializers.get(initializer)

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        *front, channels = shape
        if channels % self.blocks:
            raise ValueError(
                f"The output channels of a sub-pixel convolution must be a multiple of "
                f"{self.blocks}. Received: {channels}"
            )
        kernel = self.initializer((*front, channels // self.blocks), dtype=dtype)
        return keras.ops.tile(kernel, [1] * len(front) + [self.blocks])

    def get_config(self) -> dict[str, Any]:
        return {
            "blocks": self.blocks,
            "initializer": keras.initializers.serialize(self.initializer),
        }


@keras.saving.register_keras_serializable(package="kerasdeconv")
class BilinearKernel(keras.initializers.Initializer):
    """Starts a transposed convolution as (bi-, tri-)linear upsampling, channel by channel.

    For a kernel of k1 x ... x kn x out x in, as Keras' transposed convolutions have. Each channel
    goes to the channel of the same number. Source: Long et al., "Fully convolutional networks"
    (2015), whose upsampling layers start so.
    """

    def __call__(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        *spatial, outputs, inputs = shape
        kernel = np.ones([1] * len(spatial))
        for axis, size in enumerate(spatial):
            half = math.ceil(size / 2)
            center = half - 1 if size % 2 else half - 0.5
            tent = 1 - np.abs(np.arange(size) - center) / half
            kernel = kernel * tent.reshape([-1 if a == axis else 1 for a in range(len(spatial))])
        full = kernel[..., None, None] * np.eye(outputs, inputs)
        return keras.ops.convert_to_tensor(full, dtype=dtype or keras.config.floatx())

    def get_config(self) -> dict[str, Any]:
        return {}
