"""Cropping of skip connections."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class CropLike(keras.layers.Layer):
    """Crops the middle out of a map, to the size of another one: `CropLike()([map, other])`.

    It takes equally much from both ends, so an odd difference is refused: it means that a pooling
    before had dropped a row, and that the two maps no longer lie over each other.

    Raises:
        ValueError: The map is smaller than the other one, or larger by an odd number.
    """

    def _margins(self, sides: tuple[Any, ...], target: tuple[Any, ...]) -> list[int]:
        known = [
            (a, b)
            for a, b in zip(sides, target, strict=True)
            if isinstance(a, int) and isinstance(b, int)
        ]
        if any(a < b or (a - b) % 2 for a, b in known):
            raise ValueError(
                f"A map of {tuple(sides)} cannot be cropped evenly to {tuple(target)}: "
                f"the input size does not fit the network. Received: {self.name}"
            )
        return [(a - b) // 2 for a, b in zip(sides, target, strict=True)]

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        source, like = input_shape
        if None not in (*source[1:-1], *like[1:-1]):
            self._margins(source[1:-1], like[1:-1])
        return (source[0], *like[1:-1], source[-1])

    def call(self, inputs: list[Any]) -> Any:
        source, like = inputs
        batch, *sides, channels = keras.ops.shape(source)
        margins = self._margins(tuple(sides), keras.ops.shape(like)[1:-1])
        # An odd difference that only shows at run time leaves one row too many, which fails in what
        # follows; cutting to the target's size would shift the map by half a pixel in silence.
        kept = [side - 2 * margin for side, margin in zip(sides, margins, strict=True)]
        return keras.ops.slice(source, [0, *margins, 0], (batch, *kept, channels))
