"""The two parts of a variational autoencoder's negative evidence lower bound, in nats a picture.

Kingma and Welling, "Auto-encoding variational Bayes" (2014), https://arxiv.org/abs/1312.6114,
equation 3: what it costs to say the picture, given the latents, and to say the latents.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss, named


@named("bernoulli_nats")
class BernoulliNats(DenseLoss):
    """Nats in which a picture is said, given the probability that each pixel is white.

    -(x log p + (1 - x) log(1 - p)), summed over a picture, where a gray pixel x is the share in
    which it is white. See `kerasdeconv.metrics.bernoulli_nats`.

    Args:
        peak: White.
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, peak: float = 255.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if peak <= 0:
            raise ValueError(f"peak must be more than 0. Received: {peak}")
        self.peak = peak

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        # So near to 0 and 1 that logarithms are finite, and float32 tells it from 1.
        least = keras.config.epsilon()
        x, p = y_true / self.peak, ops.clip(y_pred / self.peak, least, 1 - least)
        values = -ops.sum(x * ops.log(p) + (1 - x) * ops.log(1 - p), axis=-1)
        if weights is not None:
            values = values * weights
        return ops.sum(values, axis=tuple(range(1, len(values.shape))))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"peak": self.peak}


@named("gaussian_kl")
class GaussianKL(DenseLoss):
    """Nats in which latents are said: KL of their posterior from the standard normal distribution.

    Its weight may rise from 0 in the beginning of a training, so that the decoder learns to use the
    latents before they cost anything (Bowman et al., "Generating sentences from a continuous
    space", 2016, section 3.1): `kerasdeconv.data.PosteriorBatches` gives such sample weights.

    Args:
        free_bits: Nats that a latent may say for nothing, in the mean over a batch: max(free_bits,
            KL) for each, so that none has a reason to say nothing at all (Kingma et al., "Improved
            variational inference with inverse autoregressive flow", 2016, equation 15).
        **kwargs: See `DenseLoss`.

    The answer is a posterior, batch x 2 latents: means, then log variances. Targets are not used.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, free_bits: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if free_bits < 0:
            raise ValueError(f"free_bits must be 0 or more. Received: {free_bits}")
        self.free_bits = free_bits

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        ops = keras.ops
        values = gaussian_kl(y_pred)
        if self.free_bits:
            counted = ops.mean(values, axis=0, keepdims=True) > self.free_bits
            values = ops.where(counted, values, self.free_bits)
        values = ops.sum(values, axis=-1)
        return values if weights is None else values * weights

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"free_bits": self.free_bits}


def gaussian_kl(posterior: Any) -> Any:
    """Nats of each latent, see `kerasdeconv.metrics.gaussian_kl`.

    Args:
        posterior: Means, then log variances: batch x 2 latents.

    Returns:
        batch x latents.
    """
    mean, log_variance = keras.ops.split(posterior, 2, axis=-1)
    return (mean**2 + keras.ops.exp(log_variance) - 1 - log_variance) / 2
