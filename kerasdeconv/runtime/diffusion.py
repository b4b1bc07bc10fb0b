"""Diffusion: how pictures become noise, and a sampler that goes the other way. NumPy only.

A picture x0 in [-1, 1] at step t is `sqrt(a) x0 + sqrt(1 - a) e`, where e is normally distributed
and `a` the share of the signal at that step. Ho, Jain and Abbeel, "Denoising diffusion
probabilistic models" (2020), equation 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from kerasdeconv.convention import Diffusion

if TYPE_CHECKING:
    from kerasdeconv.runtime.predictor import Predictor

_OFFSET = 0.008  # of the cosine, so that the first steps are no smaller than a pixel's bit
_MOST = 0.999  # noise in one step

Progress = Callable[[int, int], None]


def signal_shares(diffusion: Diffusion) -> np.ndarray:
    """The share of the signal at each step, the paper's alpha bar, falling from almost 1.

    - "linear": the noise in a step grows from 0.0001 to 0.02 in 1000 steps (Ho et al. 2020, section
      4); with another number of steps it is as much larger as they are fewer.
    - "cosine": the share falls as a squared cosine (Nichol and Dhariwal, "Improved denoising
      diffusion probabilistic models", 2021, equation 17).

    Returns:
        float64, one a step.
    """
    steps = diffusion.steps
    if diffusion.noise == "linear":
        added = np.linspace(1e-4, 0.02, steps) * (1000 / steps)
    else:
        places = (np.arange(steps + 1) / steps + _OFFSET) / (1 + _OFFSET)
        falling = np.cos(places * np.pi / 2) ** 2
        added = 1 - falling[1:] / falling[:-1]
    return np.cumprod(1 - np.minimum(added, _MOST))


def noised(
    pictures: np.ndarray, noise: np.ndarray, steps: np.ndarray, shares: np.ndarray
) -> np.ndarray:
    """Pictures at steps of their way to noise.

    Args:
        pictures: N x ..., in [-1, 1].
        noise: As many, normally distributed.
        steps: N whole numbers.
        shares: What `signal_shares` gives.
    """
    share = _each(shares[steps], pictures)
    return np.sqrt(share) * pictures + np.sqrt(1 - share) * noise


def prediction_target(
    pictures: np.ndarray,
    noise: np.ndarray,
    steps: np.ndarray,
    shares: np.ndarray,
    prediction: str,
) -> np.ndarray:
    """What a network shall tell of `noised(...)`: the noise, or `sqrt(a) e - sqrt(1 - a) x0`.

    The latter is the velocity of Salimans and Ho, "Progressive distillation for fast sampling of
    diffusion models" (2022), appendix D.
    """
    if prediction == "noise":
        return noise
    share = _each(shares[steps], pictures)
    return np.sqrt(share) * noise - np.sqrt(1 - share) * pictures


def sample(
    predictor: Predictor,
    noise: np.ndarray,
    *,
    steps: int = 25,
    eta: float = 0.0,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """Makes pictures of noise: the same ones for the same noise, whatever runs the network.

    Song, Meng and Ermon, "Denoising diffusion implicit models" (2021), equation 12; the picture
    that the network sees through the noise is clipped to [-1, 1] at each step.

    Args:
        predictor: Of a network whose convention has a `diffusion`.
        noise: N x H x W x C, normally distributed, of the network's size.
        steps: How many of the network's steps are gone, evenly spaced.
        eta: How much of the noise is drawn anew in a step: 0 is DDIM; 1 is DDPM, which wants all
            steps.
        seed: Of that noise.
        progress: Called with how many steps are done, and how many there are.

    Returns:
        Pictures in [-1, 1], float32.

    Raises:
        ValueError: The network is of another kind, or an argument is out of range.
    """
    diffusion = predictor.convention.diffusion
    if diffusion is None:
        raise ValueError(
            "Only a diffusion network makes pictures of noise in steps. "
            f"Received: convention.diffusion=None, task {predictor.convention.task!r}"
        )
    if not 1 <= steps <= diffusion.steps or not 0 <= eta <= 1:
        raise ValueError(
            f"steps must be in 1..{diffusion.steps}, eta in [0, 1]. Received: {steps}, {eta}"
        )
    rng, shares = np.random.default_rng(seed), signal_shares(diffusion)
    way = np.linspace(diffusion.steps - 1, 0, steps).round().astype(int)
    x = noise.astype(np.float32)
    for done, step in enumerate(way, start=1):
        here, next_share = shares[step], shares[way[done]] if done < steps else 1.0
        told = predictor.run_batch(x, np.full((len(x), 1), step, np.int32))
        picture, rest = _seen_through(told, x, here, diffusion.prediction)
        spread = eta * np.sqrt((1 - next_share) / (1 - here) * (1 - here / next_share))
        x = np.sqrt(next_share) * picture + np.sqrt(1 - next_share - spread**2) * rest
        if spread:
            x = x + spread * rng.standard_normal(x.shape)
        x = x.astype(np.float32)
        progress(done, steps)
    return x


def _seen_through(
    told: np.ndarray, x: np.ndarray, share: float, prediction: str
) -> tuple[np.ndarray, np.ndarray]:
    """The picture in a noised one, clipped, and the noise that is the rest."""
    signal, noise = np.sqrt(share), np.sqrt(1 - share)
    picture = (x - noise * told) / signal if prediction == "noise" else signal * x - noise * told
    picture = np.clip(picture, -1, 1)
    return picture, (x - signal * picture) / noise


def _each(numbers: np.ndarray, like: np.ndarray) -> np.ndarray:
    """One number a sample, to be multiplied onto samples."""
    return numbers.reshape(-1, *[1] * (like.ndim - 1))
