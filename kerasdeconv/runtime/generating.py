"""Pictures out of nothing but a seed: generators from codes, and diffusion. NumPy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from kerasdeconv.imaging import to_uint8
from kerasdeconv.runtime.diffusion import Progress, sample

if TYPE_CHECKING:
    from kerasdeconv.runtime.predictor import Predictor

_AT_ONCE = 100  # codes, where a network takes any number


def generate(
    predictor: Predictor,
    count: int,
    *,
    seed: int = 0,
    steps: int = 25,
    eta: float = 0.0,
    progress: Progress = lambda done, total: None,
) -> np.ndarray:
    """Makes pictures, the same ones for the same seed.

    Args:
        predictor: Of a network of the task "generation": from codes, normally distributed numbers,
            to pictures; or one whose convention has a `diffusion`.
        count: How many.
        seed: Of the codes, or of the noise that pictures are made of.
        steps: Diffusion: steps from noise to a picture, see `kerasdeconv.runtime.diffusion.sample`.
        eta: Diffusion: see there.
        progress: Called with how much is done, and of how much.

    Returns:
        uint8, count x height x width x channels.

    Raises:
        ValueError: The network is of another task or leaves its size open, or a number is out of
            range.
    """
    task, shape = predictor.convention.task, predictor.input_shape[1:]
    if task != "generation" or None in shape:
        raise ValueError(
            "Only networks of the task 'generation' with a fixed size make pictures of a seed. "
            f"Received: task {task!r}, inputs of {shape}"
        )
    if predictor.convention.diffusion is None and len(shape) != 1:
        raise ValueError(
            "A generator makes pictures from codes, and diffusion from noise. Received: inputs of "
            f"shape {shape}, convention.diffusion=None"
        )
    if count < 1:
        raise ValueError(f"count must be 1 or more. Received: {count}")
    sides = [side for side in shape if side is not None]
    start = np.random.default_rng(seed).standard_normal((count, *sides)).astype(np.float32)
    if predictor.convention.diffusion is not None:
        pictures = sample(predictor, start, steps=steps, eta=eta, seed=seed + 1, progress=progress)
        return to_uint8((pictures + 1) * 127.5)
    answers = []
    for first in range(0, count, _AT_ONCE):
        answers.append(predictor.run_batch(start[first : first + _AT_ONCE]))
        progress(min(first + _AT_ONCE, count), count)
    return to_uint8(np.concatenate(answers))
