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
        return keras.ops.image.resize(
            source,
            keras.ops.shape(like)[1:-1],
            interpolation="bilinear",
            data_format="channels_last",
        )
