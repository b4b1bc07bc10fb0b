"""Draws from a posterior, as variational autoencoders take them."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="kerasdeconv")
class Sampling(keras.layers.Layer):
    """Draws latents from their posterior in training; gives its means otherwise.

    The reparameterization of Kingma and Welling, "Auto-encoding variational Bayes" (2014), section
    2.4: mean + standard deviation * noise, through which gradients go. In inference nothing is
    random, so that a file gives what the model gives.

    Args:
        seed: Seed of the noise; another one each time without it.

    It takes means, then log variances, N x 2 latents, and gives N x latents.
    """

    def __init__(self, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.seed = seed
        self._noise = keras.random.SeedGenerator(seed)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        *front, both = input_shape
        return (*front, None if both is None else both // 2)

    def call(self, inputs: Any, training: bool = False) -> Any:
        ops = keras.ops
        latents = inputs.shape[-1] // 2
        mean = inputs[..., :latents]
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=self._noise)
        return mean + ops.exp(inputs[..., latents:] / 2) * noise

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}
