"""Synthetic samples of what is no picture: the very arrays that a network takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasdeconv.convention import Diffusion
from kerasdeconv.data.flow import moved
from kerasdeconv.data.motion import moving
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.data.synthetic_scenes import digit
from kerasdeconv.errors import closest
from kerasdeconv.runtime.diffusion import noised, signal_shares

Shapes = Sequence[tuple[int, ...]]


def synthetic_inputs(
    kind: str, count: int, shapes: Shapes, seed: int = 0
) -> list[list[np.ndarray]]:
    """Makes samples of all inputs of a network, the same ones for the same seed.

    Args:
        kind: One of `INPUTS`: "codes" (normally distributed numbers), "noised_digits" (gray
            pictures at a step of their way to noise, and the step, by the default `Diffusion`),
            "moving_digits" (frames, each frames x height x width x channels, pixels in [0, 255]),
            or "picture_pairs" (two pictures in [0, 255] on six channels, the second moved).
        count: How many.
        shapes: Shape of each input, without the batch axis.
        seed: Seed.

    Returns:
        Samples of one float32 array an input.

    Raises:
        ValueError: No such kind.
    """
    if kind not in INPUTS:
        raise ValueError(f"No such inputs. {closest(kind, INPUTS)} Received: {kind!r}")
    samples = [INPUTS[kind](np.random.default_rng([seed, i]), shapes) for i in range(count)]
    return [[part.astype(np.float32) for part in sample] for sample in samples]


def _codes(rng: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    return [rng.normal(size=shape) for shape in shapes]


def _noised_digits(rng: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    """Any step is as likely as any other, as a sampler goes them one by one."""
    diffusion = Diffusion()
    picture = digit(rng, shapes[0][:2])[0][None, ..., :1] / 127.5 - 1
    steps = rng.integers(diffusion.steps, size=(1, *shapes[1]))
    noise = rng.normal(size=picture.shape)
    return [noised(picture, noise, steps[:, 0], signal_shares(diffusion))[0], steps[0]]


def _moving_digits(rng: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    """Two digits that move, of the size that they have in Moving MNIST: 28 of 64 pixels."""
    videos = []
    for frames, height, width, channels in shapes:
        side = max(1, round(28 / 64 * min(height, width)))
        digits = synthetic_samples("digits", 2, (side, side), int(rng.integers(2**31)))
        pictures = np.stack(digits)[..., :1].repeat(channels, axis=-1)
        videos.append(moving(rng, pictures, frames, (height, width)))
    return videos


def _picture_pairs(rng: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    ((height, width, _),) = shapes
    seed = int(rng.integers(2**31))
    (picture,) = synthetic_samples("textures", 1, (height, width), seed)
    first, second, _ = moved(rng, picture, (height, width), shift=8.0)
    return [np.concatenate([first, second], axis=-1)]


INPUTS: dict[str, Callable[[np.random.Generator, Shapes], list[np.ndarray]]] = {
    "codes": _codes,
    "noised_digits": _noised_digits,
    "moving_digits": _moving_digits,
    "picture_pairs": _picture_pairs,
}
