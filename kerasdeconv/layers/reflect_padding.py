"""Padding by reflection."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ReflectPadding(keras.layers.Layer):
    """Continues a map beyond its borders by its mirror image, the border pixel not repeated.

    Keras pads with zeros alone, which a picture's border answers with a visible edge.

    Args:
        margin: Pixels on each side of each spatial axis; the map must be larger.

    Raises:
        ValueError: The map is not larger than the margin.
    """

    def __init__(self, margin: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.margin = int(margin)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        if any(side is not None and side <= self.margin for side in sides):
            raise ValueError(
                f"Sides must be more than {self.margin} to be reflected. Received: {tuple(sides)}"
            )
        grown = [None if side is None else side + 2 * self.margin for side in sides]
        return (batch, *grown, channels)

    def call(self, inputs: Any) -> Any:
        self.compute_output_shape(inputs.shape)  # refuses what is too small
        margins = [(self.margin, self.margin)] * (len(inputs.shape) - 2)
        return keras.ops.pad(inputs, [(0, 0), *margins, (0, 0)], mode="reflect")

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "margin": self.margin}
