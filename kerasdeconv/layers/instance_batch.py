"""Instances of a picture as a batch of their own, and back."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class InstancesToBatch(keras.layers.Layer):
    """Puts the instances of all pictures into one batch: N x K x ... becomes (N*K) x ...

    So one network runs on each instance alone.
    """

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, count, *rest = input_shape
        return (None if batch is None or count is None else batch * count, *rest)

    def call(self, inputs: Any) -> Any:
        return keras.ops.reshape(inputs, (-1, *keras.ops.shape(inputs)[2:]))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class BatchToInstances(keras.layers.Layer):
    """Undoes `InstancesToBatch`: `BatchToInstances()([x, like])`.

    x is (N*K) x ..., `like` any N x K x ... with the number K; N x K x ... comes out.
    """

    def __init__(self, **kwargs: Any) -> None:
        # `like` gives its shape alone; large box coordinates would lose digits for nothing.
        super().__init__(autocast=False, **kwargs)

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        values, like = input_shape
        return (*like[:2], *values[1:])

    def call(self, inputs: list[Any]) -> Any:
        values, like = inputs
        shape = (-1, keras.ops.shape(like)[1], *keras.ops.shape(values)[1:])
        return keras.ops.reshape(values, shape)
