"""A new part of a network that is faded in."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class FadeIn(keras.layers.Layer):
    """Goes from one map to another: `(1 - alpha) * old + alpha * new`.

    Karras et al., "Progressive growing of GANs for improved quality, stability, and variation"
    (ICLR 2018), figure 2. `alpha` is a weight that no gradient changes; see
    `kerasdeconv.train.FadeInOver`.

    Args:
        alpha: What it starts with, in [0, 1].
        **kwargs: Keras' own.

    Raises:
        ValueError: It is not in [0, 1].

    Inputs and output have one shape.
    """

    def __init__(self, alpha: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= alpha <= 1:
            raise ValueError(f"alpha must be in [0, 1]. Received: {alpha}")
        self.start = alpha
        self.alpha = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(alpha),
            trainable=False,
            name="alpha",
        )

    def call(self, inputs: tuple[Any, Any]) -> Any:
        """Mixes an old and a new map."""
        old, new = inputs
        alpha = keras.ops.cast(self.alpha, self.compute_dtype)
        return (1 - alpha) * old + alpha * new

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.start}
