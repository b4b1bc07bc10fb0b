"""Bicubic upsampling as a convolution with fixed weights."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kerasdeconv.layers.depth_to_space import depth_to_space
from kerasdeconv.layers.ranks import per_axis

_REACH = 2  # input pixels that the kernel sees to each side


@keras.saving.register_keras_serializable(package="kerasdeconv")
class CubicUpsampling(keras.layers.Layer):
    """Enlarges pictures as MATLAB's `imresize(x, factor, "bicubic")` does.

    Keys' cubic convolution with a = -0.5 ("Cubic convolution interpolation for digital image
    processing", IEEE ASSP 1981), pixel centres at half integers, borders mirrored with the border
    pixel repeated. `keras.layers.UpSampling2D` has neither this kernel on every backend nor these
    borders.

    It is computed as one 5 x 5 convolution to all output phases and an interleave, because that is
    fast everywhere and runs in integers. Each channel is by itself, but the kernel is written as a
    full one: it is meant for the few channels of a picture.

    Args:
        factor: Whole upsampling factor.

    Raises:
        ValueError: The factor is less than 1, or a side of the picture less than 2.
    """

    def __init__(self, factor: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if factor < 1:
            raise ValueError(f"factor must be 1 or more. Received: {factor}")
        self.factor = int(factor)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        if any(side is not None and side < _REACH for side in sides):
            raise ValueError(
                f"Sides must be {_REACH} or more to be mirrored. Received: {tuple(sides)}"
            )
        grown = [None if side is None else side * self.factor for side in sides]
        return (batch, *grown, channels)

    def call(self, inputs: Any) -> Any:
        self.compute_output_shape(inputs.shape)  # refuses what is too small
        rank, channels = len(inputs.shape) - 2, inputs.shape[-1]
        x = inputs
        for axis in range(1, rank + 1):
            x = _mirrored(x, axis)
        kernel = keras.ops.convert_to_tensor(
            cubic_kernel(self.factor, rank, channels), dtype=self.compute_dtype
        )
        x = keras.ops.conv(x, kernel, padding="valid", data_format="channels_last")
        return depth_to_space(x, per_axis(self.factor, rank))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


def cubic_kernel(factor: int, rank: int, channels: int) -> np.ndarray:
    """Weights of all output phases: 5 x ... x 5 x channels x (factor^rank * channels).

    Output channels are ordered phase first, as depth to space wants them.
    """
    # Of output q * factor + p from input q, in input pixels.
    offset = (np.arange(factor) + 0.5) / factor - 0.5
    distance = np.abs(np.arange(-_REACH, _REACH + 1) - offset[:, None])
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    taps = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))  # factor x 5
    kernel = np.ones([1] * (2 * rank))
    for axis in range(rank):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = taps.T.shape
        kernel = kernel * taps.T.reshape(shape)
    support, phases = kernel.shape[:rank], math.prod(kernel.shape[rank:])
    kernel = kernel.reshape(*support, 1, phases, 1) * np.eye(channels)[:, None, :]
    return kernel.reshape(*support, channels, phases * channels).astype(np.float32)


def _mirrored(x: Any, axis: int) -> Any:
    """Continues a map by two pixels along an axis, the border pixel repeated.

    Written out, because ONNX has no such padding.
    """

    def part(start: int | None, stop: int | None) -> Any:
        index: list[Any] = [slice(None)] * len(x.shape)
        index[axis] = slice(start, stop)
        return x[tuple(index)]

    parts = [part(1, 2), part(0, 1), x, part(-1, None), part(-2, -1)]
    return keras.ops.concatenate(parts, axis=axis)
