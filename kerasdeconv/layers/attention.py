"""Self-attention between the pixels of a map."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class PixelAttention(keras.layers.Layer):
    """Lets every pixel read all pixels: `PixelAttention()([queries, keys, values])`.

    Dot-product attention with one head (Vaswani et al., "Attention is all you need", 2017, equation
    1) over the pixels of N x H x W x C maps. It has no weights and no factor of its own: the
    queries come scaled by `C ** -0.5`, which a convolution before them can take over.
    """

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        queries, _, values = input_shape
        return (*queries[:-1], values[-1])

    def call(self, inputs: list[Any]) -> Any:
        queries, keys, values = (_as_rows(x) for x in inputs)
        scores = keras.ops.matmul(queries, keras.ops.transpose(keys, (0, 2, 1)))
        read = keras.ops.matmul(keras.ops.softmax(scores, axis=-1), values)
        sides = keras.ops.shape(inputs[0])[1:3]
        return keras.ops.reshape(read, (-1, *sides, values.shape[-1]))


def _as_rows(x: Any) -> Any:
    """One row a pixel: N x H x W x C to N x (H*W) x C."""
    height, width = keras.ops.shape(x)[1:3]
    return keras.ops.reshape(x, (-1, height * width, x.shape[-1]))


def pixel_attention(x: Any, *, kernel_initializer: Any = "glorot_uniform", name: str) -> Any:
    """Self-attention of a map: 1 x 1 convolutions to queries, keys and values, and one behind.

    Args:
        x: N x H x W x C.
        kernel_initializer: Start of the last convolution's kernel.
        name: Prefix of the layers' names.

    Returns:
        A map of the same shape; a shortcut around it is up to the caller.
    """
    channels = x.shape[-1]
    queries, keys, values = (
        keras.layers.Conv2D(channels, 1, name=f"{name}_{part}")(x)
        for part in ("query", "key", "value")
    )
    queries = keras.layers.Rescaling(channels**-0.5, name=f"{name}_scale")(queries)
    x = PixelAttention(name=f"{name}_read")([queries, keys, values])
    return keras.layers.Conv2D(
        channels, 1, kernel_initializer=kernel_initializer, name=f"{name}_project"
    )(x)
