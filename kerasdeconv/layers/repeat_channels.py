"""Repeats of a map's channels."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kerasdeconv")
class RepeatChannels(keras.layers.Layer):
    """Repeats all channels some times: N x H x W x C becomes N x H x W x (times * C), block first.

    Before depth to space this is nearest-neighbour upsampling: the "anchor" of Du et al., "Anchor-
    based plain net for mobile image super-resolution" (2021). It is computed as a 1 x 1
    convolution with ones and zeros, which runs where other convolutions do; concatenation and
    tiling leave the fast integer kernels of phones.

    Args:
        times: How often.

    Raises:
        ValueError: It is less than 1.
    """

    def __init__(self, times: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if times < 1:
            raise ValueError(f"times must be 1 or more. Received: {times}")
        self.times = int(times)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *front, channels = input_shape
        return (*front, None if channels is None else self.times * channels)

    def call(self, inputs: Any) -> Any:
        rank, channels = len(inputs.shape) - 2, inputs.shape[-1]
        ones = np.tile(np.eye(channels, dtype=np.float32), self.times)
        kernel = keras.ops.convert_to_tensor(
            ones.reshape([1] * rank + list(ones.shape)), dtype=self.compute_dtype
        )
        return keras.ops.conv(inputs, kernel, data_format="channels_last")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "times": self.times}
