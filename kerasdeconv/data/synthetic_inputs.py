"""Synthetic samples of what is no picture: the very arrays that a network takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasdeconv.data.motion import moved
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.errors import closest

Shapes = Sequence[tuple[int, ...]]


def synthetic_inputs(
    kind: str, count: int, shapes: Shapes, seed: int = 0
) -> list[list[np.ndarray]]:
    """Makes samples of all inputs of a network, the same ones for the same seed.

    Args:
        kind: One of `INPUTS`: "codes" (normally distributed numbers), or "picture_pairs" (two
            pictures in [0, 255] on six channels, the second of which has moved).
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


def _picture_pairs(rng: np.random.Generator, shapes: Shapes) -> list[np.ndarray]:
    ((height, width, _),) = shapes
    seed = int(rng.integers(2**31))
    (picture,) = synthetic_samples("textures", 1, (height, width), seed)
    first, second, _ = moved(rng, picture, (height, width), shift=8.0)
    return [np.concatenate([first, second], axis=-1)]


INPUTS: dict[str, Callable[[np.random.Generator, Shapes], list[np.ndarray]]] = {
    "codes": _codes,
    "picture_pairs": _picture_pairs,
}
