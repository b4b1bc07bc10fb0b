"""Cropping of skip connections."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class CropLike(keras.layers.Layer):
    """Crops a window out of a map, of the size of another one: `CropLike()([map, other])`.

    By default it is the middle. It takes equally much from both ends, so an odd difference is
    refused: it means that a pooling before had dropped a row, and that the two maps no longer lie
    over each other.

    Args:
        offset: Where the window begins on each axis; None for the middle.

    Raises:
        ValueError: The map is smaller than the window, or its middle is half a pixel off.
    """

    def __init__(self, offset: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offset = offset

    def _margins(self, sides: tuple[Any, ...], target: tuple[Any, ...]) -> list[int]:
        known = [
            (a, b)
            for a, b in zip(sides, target, strict=True)
            if isinstance(a, int) and isinstance(b, int)
        ]
        if self.offset is not None:
            if any(a < self.offset + b for a, b in known):
                raise ValueError(
                    f"A map of {tuple(sides)} has no window of {tuple(target)} at {self.offset}: "
                    f"the input size does not fit the network. Received: {self.name}"
                )
            return [self.offset] * len(sides)
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
        target = keras.ops.shape(like)[1:-1]
        margins = self._margins(tuple(sides), target)
        # An odd difference that only shows at run time leaves one row too many, which fails in what
        # follows; cutting to the target's size would shift the map by half a pixel in silence.
        kept = [side - 2 * margin for side, margin in zip(sides, margins, strict=True)]
        if self.offset is not None:
            kept = list(target)
        return keras.ops.slice(source, [0, *margins, 0], (batch, *kept, channels))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "offset": self.offset}
