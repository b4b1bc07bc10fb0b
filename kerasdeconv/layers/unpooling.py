"""Max pooling that remembers where each maximum was, and its inverse, in 2D and 3D.

An index says which pixel of its window is the maximum, 0 to one less than the pixels of a window,
counted row by row. So indices do not depend on the size of the map, and both layers are made of
space to depth, comparisons and depth to space, which every runtime has; a scatter by flat addresses
has no builtin operator in TFLite.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks" (ECCV 2014), whose
"switches" these indices are.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasdeconv.layers.depth_to_space import depth_to_space, space_to_depth
from kerasdeconv.layers.ranks import per_axis


@keras.saving.register_keras_serializable(package="kerasdeconv")
class MaxPoolingWithIndices(keras.layers.Layer):
    """Takes the maximum of each window and says which pixel it was: `pooled, indices`.

    Windows do not overlap. Where several pixels are the maximum, the first one counts, as in
    `tf.nn.max_pool_with_argmax`; the gradient goes to it alone.

    Input: N x sides x C, the sides multiples of the window's. Output: N x (sides / window) x C of
    the input's type, and int32 indices of the same shape.

    Args:
        pool_size: Side of a window, or one for each spatial axis.

    Raises:
        ValueError: A side is no multiple of the window's.
    """

    def __init__(self, pool_size: int | tuple[int, ...] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = pool_size if isinstance(pool_size, int) else tuple(pool_size)

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...]
    ) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        batch, *sides, channels = input_shape
        window = per_axis(self.pool_size, len(sides))
        if any(side is not None and side % s for side, s in zip(sides, window, strict=True)):
            raise ValueError(
                f"Sides must be multiples of {window} to be pooled with indices. "
                f"Received: {tuple(sides)}"
            )
        small = [None if side is None else side // s for side, s in zip(sides, window, strict=True)]
        return (batch, *small, channels), (batch, *small, channels)

    def compute_output_spec(self, inputs: Any) -> tuple[Any, Any]:
        pooled, indices = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(pooled, self.compute_dtype), keras.KerasTensor(indices, "int32")

    def call(self, inputs: Any) -> tuple[Any, Any]:
        self.compute_output_shape(inputs.shape)  # refuses what does not fit
        window = per_axis(self.pool_size, len(inputs.shape) - 2)
        x = space_to_depth(inputs, window)
        pooled, *pixels = keras.ops.split(x, math.prod(window), axis=-1)
        indices = keras.ops.zeros_like(pooled, dtype="int32")
        for number, pixel in enumerate(pixels, start=1):
            # Not `maximum`, whose gradient some backends share between equal numbers.
            larger = keras.ops.greater(pixel, pooled)
            pooled = keras.ops.where(larger, pixel, pooled)
            indices = keras.ops.where(larger, number, indices)
        return pooled, indices

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}


@keras.saving.register_keras_serializable(package="kerasdeconv")
class MaxUnpooling(keras.layers.Layer):
    """Puts each pixel where its maximum was, and zeros around it: `MaxUnpooling()([x, indices])`.

    Input: a map, and the indices of a `MaxPoolingWithIndices` of the same window, of the map's
    shape. Output: N x (sides * window) x C.

    Args:
        pool_size: Side of a window, or one for each spatial axis.

    Raises:
        ValueError: The map and the indices differ in shape.
    """

    def __init__(self, pool_size: int | tuple[int, ...] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool_size = pool_size if isinstance(pool_size, int) else tuple(pool_size)

    def compute_output_shape(self, input_shape: list[tuple[int | None, ...]]) -> tuple[Any, ...]:
        source, indices = (tuple(shape) for shape in input_shape)
        pairs = zip(source, indices, strict=False)
        if len(source) != len(indices) or any(a != b and None not in (a, b) for a, b in pairs):
            raise ValueError(
                "The map and the indices that unpool it must have one shape. "
                f"Received: {source} and {indices}"
            )
        batch, *sides, channels = source
        window = per_axis(self.pool_size, len(sides))
        grown = [None if side is None else side * s for side, s in zip(sides, window, strict=True)]
        return (batch, *grown, channels)

    def compute_output_spec(self, inputs: list[Any]) -> Any:
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.KerasTensor(shape, self.compute_dtype)

    def call(self, inputs: list[Any]) -> Any:
        x, indices = inputs
        self.compute_output_shape([x.shape, indices.shape])  # refuses what does not fit
        window = per_axis(self.pool_size, len(x.shape) - 2)
        zeros = keras.ops.zeros_like(x)
        pixels = [
            keras.ops.where(keras.ops.equal(indices, number), x, zeros)
            for number in range(math.prod(window))
        ]
        return depth_to_space(keras.ops.concatenate(pixels, axis=-1), window)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "pool_size": self.pool_size}
