"""Depthwise transposed convolution, the spatial half of a separable one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.layers.depth_to_space import DepthToSpace
from kerasdeconv.layers.polyphase import phase_taps, same_crop
from kerasdeconv.layers.ranks import per_axis


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthwiseConvTranspose(keras.layers.Layer):
    """Transposed convolution of each channel by itself, "same" padding, without bias, 2D or 3D.

    A kernel of k1 x ... x kn x channels. Followed by a 1 x 1 convolution it is a separable
    transposed convolution (FastDepth, Wofk et al. 2019, compares such decoders). Keras has no such
    layer. It is computed exactly as one depthwise convolution with a kernel for each output phase,
    and an interleave: see `kerasdeconv.layers.polyphase`.

    Args:
        kernel_size: Kernel size, or one for each spatial axis.
        strides: Upsampling factor, or one for each spatial axis.
        kernel_initializer: Start of the kernel.
    """

    def __init__(
        self,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 2,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel_size = kernel_size if isinstance(kernel_size, int) else tuple(kernel_size)
        self.strides = strides if isinstance(strides, int) else tuple(strides)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        rank, channels = len(input_shape) - 2, input_shape[-1]
        self._kernel_sizes = per_axis(self.kernel_size, rank)
        self._factors = per_axis(self.strides, rank)
        self._axes = [
            phase_taps(k, s, same_crop(k, s))
            for k, s in zip(self._kernel_sizes, self._factors, strict=True)
        ]
        self.kernel = self.add_weight(
            name="kernel",
            shape=(*self._kernel_sizes, channels),
            initializer=self.kernel_initializer,
        )
        self.interleave = DepthToSpace(self._factors, dtype=self.dtype_policy)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        factors = per_axis(self.strides, len(sides))
        grown = [None if side is None else side * s for side, s in zip(sides, factors, strict=True)]
        return (batch, *grown, channels)

    def call(self, inputs: Any) -> Any:
        channels = inputs.shape[-1]
        kernels = self._phase_kernels()
        margins = [(-a.first, a.taps.shape[1] - 1 + a.first) for a in self._axes]
        x = keras.ops.pad(inputs, [(0, 0), *margins, (0, 0)])
        x = _depthwise_valid(x, kernels)  # channels are ordered (channel, phase)
        batch, *sides, _ = keras.ops.shape(x)
        x = keras.ops.reshape(x, (batch, *sides, channels, -1))
        x = keras.ops.swapaxes(x, -1, -2)
        phases = int(np.prod(self._factors))
        x = keras.ops.reshape(x, (batch, *sides, phases * channels))
        return self.interleave(x)

    def _phase_kernels(self) -> Any:
        """Ordinary depthwise kernels of all phases: m1 x ... x mn x channels x phases."""
        kernel, rank = self.kernel, len(self._axes)
        kernel = keras.ops.pad(kernel, [(0, 1)] * rank + [(0, 0)])
        for axis, (taps, _) in enumerate(self._axes):
            # Axis k becomes (phase, support); the phases of earlier axes stand in front.
            kernel = keras.ops.take(kernel, taps, axis=2 * axis)
        order = [2 * a + 1 for a in range(rank)] + [2 * rank] + [2 * a for a in range(rank)]
        kernel = keras.ops.transpose(kernel, order)
        supports = [a.taps.shape[1] for a in self._axes]
        return keras.ops.reshape(kernel, (*supports, kernel.shape[rank], -1))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def _depthwise_valid(x: Any, kernel: Any) -> Any:
    """Depthwise convolution without padding; volumes as a sum of 2D ones over depth slices.

    No backend has a depthwise convolution of volumes.
    """
    if len(kernel.shape) == 4:
        return keras.ops.depthwise_conv(x, kernel, data_format="channels_last")
    batch, depth, height, width, channels = keras.ops.shape(x)
    thick = kernel.shape[0]
    planes = depth - thick + 1
    total = None
    for tap in range(thick):
        slices = x[:, tap : tap + planes]
        flat = keras.ops.reshape(slices, (batch * planes, height, width, channels))
        part = _depthwise_valid(flat, kernel[tap])
        total = part if total is None else total + part
    _, rows, columns, out = keras.ops.shape(total)
    return keras.ops.reshape(total, (batch, planes, rows, columns, out))
