"""Vectors of length 1."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class UnitVectors(keras.layers.Layer):
    """Divides the vectors on the last axis by their lengths; those of length 0 stay.

    Keras' `UnitNormalization` takes the root of 0, and is not a number there in XNNPACK. Written in
    this way TFLite makes one operator of it, L2_NORMALIZATION, which has integers of 8 bits.
    """

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, inputs: Any) -> Any:
        ops = keras.ops
        squares = ops.sum(ops.square(inputs), axis=-1, keepdims=True)
        return inputs * ops.rsqrt(ops.maximum(squares, 1e-12))
