"""The schedule by which a network that has grown fades its new layers in."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers import FadeIn


class FadeInOver(keras.callbacks.Callback):
    """Raises `alpha` of every `FadeIn` layer in equal steps, to 1 in the last of some epochs.

    It follows from the epoch alone, so that a training that was interrupted goes on with the right
    one.

    Args:
        epochs: In how many epochs.

    Raises:
        ValueError: There are none.

    Example:
        >>> game.fit(pictures, epochs=20, callbacks=[FadeInOver(10)])
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        if epochs < 1:
            raise ValueError(f"epochs must be 1 or more. Received: {epochs}")
        self.epochs = epochs

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets all of them, those of inner models too."""
        for layer in self.model._flatten_layers():
            if isinstance(layer, FadeIn):
                layer.alpha.assign(min(1.0, (epoch + 1) / self.epochs))
