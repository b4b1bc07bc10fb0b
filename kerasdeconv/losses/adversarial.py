"""Losses of generators and discriminators, from the discriminator's scores (logits).

A discriminator is asked about real pictures and made ones; the generator is asked what the
discriminator thinks of its own. Each is a mean over all scores, so that a discriminator may give
one a picture or one a patch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras

from kerasdeconv.errors import closest


@dataclasses.dataclass(frozen=True)
class AdversarialLoss:
    """What two networks that play against each other minimize.

    Attributes:
        discriminator: Its loss, from the scores of real and of made pictures.
        generator: Its loss, from the scores of made pictures.
        smooths: Whether `discriminator` takes `smoothing`, too.
    """

    discriminator: Callable[..., Any]
    generator: Callable[[Any], Any]
    smooths: bool = False


def non_saturating_discriminator(real: Any, fake: Any, smoothing: float = 0.0) -> Any:
    """Binary cross-entropy: real pictures are 1, made ones are 0.

    Goodfellow et al., "Generative adversarial nets" (NIPS 2014), section 3.

    Args:
        real: Scores of real pictures.
        fake: Scores of made pictures.
        smoothing: What real pictures lack of 1. Those that are made stay 0: Salimans et al.,
            "Improved techniques for training GANs" (NIPS 2016), section 3.4.
    """
    softplus, mean = keras.ops.softplus, keras.ops.mean
    known = (1 - smoothing) * mean(softplus(-real))
    if smoothing:
        known = known + smoothing * mean(softplus(real))
    return known + mean(softplus(fake))


def non_saturating_generator(fake: Any) -> Any:
    """`-log D(G(z))`, whose gradient stays where the discriminator is sure (section 3, same)."""
    return keras.ops.mean(keras.ops.softplus(-fake))


def hinge_discriminator(real: Any, fake: Any) -> Any:
    """Real pictures are to score 1 or more, made ones -1 or less.

    Lim and Ye, "Geometric GAN" (2017); Miyato et al., "Spectral normalization for generative
    adversarial networks" (ICLR 2018), equation 16.
    """
    relu, mean = keras.ops.relu, keras.ops.mean
    return mean(relu(1 - real)) + mean(relu(1 + fake))


def wasserstein_critic(real: Any, fake: Any) -> Any:
    """The negative of the distance that a critic sees.

    Arjovsky et al., "Wasserstein generative adversarial networks" (ICML 2017), equation 3. It means
    something for a critic without steep slopes: see `gradient_penalty`.
    """
    return keras.ops.mean(fake) - keras.ops.mean(real)


def raise_score(fake: Any) -> Any:
    """The generator's loss against a hinge or a critic: the negative score."""
    return -keras.ops.mean(fake)


ADVERSARIAL_LOSSES = {
    "non_saturating": AdversarialLoss(
        non_saturating_discriminator, non_saturating_generator, smooths=True
    ),
    "hinge": AdversarialLoss(hinge_discriminator, raise_score),
    "wasserstein": AdversarialLoss(wasserstein_critic, raise_score),
}


def adversarial_loss(name: str) -> AdversarialLoss:
    """Finds a loss by its name.

    Raises:
        ValueError: There is no such loss.
    """
    if name not in ADVERSARIAL_LOSSES:
        raise ValueError(
            f"No such adversarial loss. {closest(name, ADVERSARIAL_LOSSES)} Received: {name!r}"
        )
    return ADVERSARIAL_LOSSES[name]


def gradient_penalty(gradients: Any) -> Any:
    """The mean square of how far the slope at each picture is from 1.

    Gulrajani et al., "Improved training of Wasserstein GANs" (NIPS 2017), equation 3, without its
    weight, which is 10 there.

    Args:
        gradients: Of the scores by the pictures, at points between real and made ones, batch x
            anything.
    """
    # The root has no slope at 0, where a critic of zeros starts.
    norms = keras.ops.sqrt(keras.ops.maximum(_squared_norms(gradients), 1e-12))
    return keras.ops.mean((norms - 1) ** 2)


def r1_penalty(gradients: Any) -> Any:
    """Half the mean square of the slope at real pictures.

    Mescheder et al., "Which training methods for GANs do actually converge?" (ICML 2018), equation
    9, without its weight, which is 10 there.

    Args:
        gradients: Of the scores by real pictures, batch x anything.
    """
    return keras.ops.mean(_squared_norms(gradients)) / 2


def _squared_norms(gradients: Any) -> Any:
    return keras.ops.sum(gradients * gradients, axis=tuple(range(1, len(gradients.shape))))
