"""The reciprocal of a square root."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ReciprocalRoot(keras.layers.Layer):
    """`1 / sqrt(x)`, of positive numbers."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(input_shape)

    def call(self, inputs: Any) -> Any:
        return keras.ops.rsqrt(inputs)
