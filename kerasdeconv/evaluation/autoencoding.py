"""Autoencoders: the error of their pictures; and of variational ones the evidence lower bound."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import models, runtime
from kerasdeconv.evaluation.base import Measured, Progress, answers, kept_pictures
from kerasdeconv.evaluation.subjects import KerasPredictor
from kerasdeconv.metrics import active_latents, bernoulli_nats, gaussian_kl

_DRAWS = 4  # of the latents of a picture
_BATCH = 100


def autoencoding(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """The mean squared error of pixels in [0, 1]; with a posterior also its nats.

    A file gives no pictures but those of the posterior's means. The negative evidence lower bound
    is of latents that are drawn: it is measured where the decoder can be asked alone, of a model.
    """
    color = predictor.convention.color or "gray"
    pictures = kept_pictures(data, recipe, color).pixels
    given, *others = answers(predictor, pictures, progress)
    error = (given.astype(np.float64) - pictures) / 255
    figures: dict[str, Any] = {"mse": float(np.mean(error**2))}
    if others:
        (posterior,) = others
        kl = float(gaussian_kl(posterior).sum(axis=1).mean())
        figures |= {
            "nats_of_means": float(bernoulli_nats(pictures, given).mean()),
            "kl": kl,
            "active_latents": active_latents(posterior),
        }
        if isinstance(predictor, KerasPredictor):
            drawn = _nats_of_draws(predictor.model, pictures, posterior)
            figures = {"negative_elbo": drawn + kl, "nats_of_draws": drawn} | figures
    return Measured(figures, len(pictures))


def _nats_of_draws(model: keras.Model, pictures: np.ndarray, posterior: np.ndarray) -> float:
    """Nats of a picture from latents drawn from its posterior, the same ones each time."""
    _, decoder = models.split(model)
    rng = np.random.default_rng(0)
    total = 0.0
    for start in range(0, len(pictures), _BATCH):
        part = slice(start, start + _BATCH)
        mean, log_variance = np.split(posterior[part], 2, axis=-1)
        for _ in range(_DRAWS):
            latents = mean + np.exp(log_variance / 2) * rng.normal(size=mean.shape)
            given = decoder.predict_on_batch(latents.astype(np.float32))
            total += bernoulli_nats(pictures[part], given).sum()
    return float(total / (_DRAWS * len(pictures)))
