"""Noised pictures, as diffusion networks learn from."""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasdeconv.convention import Diffusion
from kerasdeconv.data.pictures import PictureBatches
from kerasdeconv.runtime.diffusion import noised, prediction_target, signal_shares


class NoisedPictures(PictureBatches):
    """Random batches of whole pictures at random steps of their way to noise.

    A sample is ((noised picture, step), what the network shall tell of it). The steps of a batch
    are spread evenly: one is drawn at random, the others follow in equal distances, so that the
    loss of a batch depends less on which it drew (Kingma et al., "Variational diffusion models",
    2021, appendix I.1). Ho et al. (2020) draw each by itself.

    Args:
        pictures: What to draw from, uint8, N x height x width x channels.
        diffusion: How they become noise, and what is told of them.
        **options: Those of `PictureBatches`.
    """

    def __init__(self, pictures: np.ndarray, diffusion: Diffusion, **options: Any) -> None:
        super().__init__(pictures, **options)
        self.diffusion = diffusion
        self._shares = signal_shares(diffusion)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rng, count = self.rng(index), self.batch_size
        spread = (rng.uniform() + np.arange(count) / count) % 1
        steps = (spread * self.diffusion.steps).astype(np.int32)
        pictures = np.stack([self.draw(rng) for _ in range(count)]) / 127.5 - 1
        noise = rng.standard_normal(pictures.shape)
        inputs = noised(pictures, noise, steps, self._shares)
        target = prediction_target(pictures, noise, steps, self._shares, self.diffusion.prediction)
        return (inputs.astype(np.float32), steps[:, None]), target.astype(np.float32)
