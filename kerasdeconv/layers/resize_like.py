"""Resizing to the size of another map."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ResizeLike(keras.layers.Layer):
    """Resizes a map bilinearly to the size of another one: `ResizeLike()([map, other])`.

    Pixel centres lie at half integers and borders repeat, as in `UpSampling2D("bilinear")`, which
    does the same where the factor is known. A map of one pixel is spread over the other one.
    """

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        source, like = input_shape
        return (source[0], *like[1:-1], source[-1])

    def call(self, inputs: list[Any]) -> Any:
        source, like = inputs
        sides = keras.ops.shape(like)[1:-1]
        if all(isinstance(side, int) for side in sides):
            return keras.ops.image.resize(
                source, sides, interpolation="bilinear", data_format="channels_last"
            )
        # Keras resizes to numbers alone: sides that are known only at run time go by matrices.
        rows, columns = (
            keras.ops.cast(interpolation_matrix(small, large), source.dtype)
            for small, large in zip(keras.ops.shape(source)[1:-1], sides, strict=True)
        )
        x = keras.ops.einsum("pi,nijc->npjc", rows, source)
        return keras.ops.einsum("qj,npjc->npqc", columns, x)


def interpolation_matrix(small: Any, large: Any) -> Any:
    """Weights, large x small, of the pixels of a short side in those of a long one.

    Args:
        small: Length of the side that is given, a number or a scalar tensor.
        large: Length of the side that is wanted.
    """
    given = keras.ops.arange(small, dtype="float32")
    wanted = keras.ops.arange(large, dtype="float32")
    factor = keras.ops.cast(small, "float32") / keras.ops.cast(large, "float32")
    centers = keras.ops.clip((wanted + 0.5) * factor - 0.5, 0.0, given[-1])
    return keras.ops.relu(1 - keras.ops.abs(centers[:, None] - given[None]))
