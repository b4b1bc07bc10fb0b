"""Where in a sequence of steps a network is, as waves of many lengths."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np


@keras.saving.register_keras_serializable(package="kerasdeconv")
class StepEmbedding(keras.layers.Layer):
    """Turns the number of a step into sines and cosines: N x 1 integers become N x channels.

    Wavelengths go from 2 pi steps to 10000 times that, geometrically: the position encoding of
    Vaswani et al., "Attention is all you need" (2017), as Ho et al., "Denoising diffusion
    probabilistic models" (2020), lay it out: all sines, then all cosines. It is looked up in a
    table, which is computed, not stored: so a file in 8 bits tells every step from its neighbours,
    which 8 bits for the step itself could not.

    Args:
        steps: How many there are: 0 to steps - 1.
        channels: Even, and 4 or more.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, steps: int, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps < 1 or channels < 4 or channels % 2:
            raise ValueError(
                "steps must be 1 or more, channels even and 4 or more. "
                f"Received: {steps}, {channels}"
            )
        self.steps, self.channels = int(steps), int(channels)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return (input_shape[0], self.channels)

    def compute_output_spec(self, inputs: Any) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), self.compute_dtype)

    def call(self, inputs: Any) -> Any:
        table = keras.ops.convert_to_tensor(self._table(), dtype=self.compute_dtype)
        return keras.ops.take(table, keras.ops.cast(inputs[:, 0], "int32"), axis=0)

    def _table(self) -> np.ndarray:
        half = self.channels // 2
        frequencies = np.exp(-math.log(10000) / (half - 1) * np.arange(half))
        angles = np.arange(self.steps)[:, None] * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1).astype(np.float32)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "steps": self.steps, "channels": self.channels}
