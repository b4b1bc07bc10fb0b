"""Vectors of length 1."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class UnitVectors(keras.layers.Layer):
    """Divides the vectors on the last axis by their lengths; those of length 0 stay.

    Unlike Keras' `UnitNormalization` it takes no root of 0, for which XNNPACK answers that 0 times
    the result is not a number.
    """

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        ops = keras.ops
        squares = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squares, 1e-12))
