"""Whole pictures, each its own target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.pictures import PictureBatches, Pictures, PosteriorBatches
from kerasdeconv.metrics import ActiveLatents, GaussianKL
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe

_POSTERIOR = "posterior"  # the output that only variational autoencoders have


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    color = zoo.card(recipe.entry).convention.color
    has_posterior = _POSTERIOR in recipe.fit.losses
    if data.annealing and not has_posterior:
        raise ValueError(
            f"Only the loss of a {_POSTERIOR} can be annealed. Received: annealing={data.annealing}"
        )

    def make(part: Pictures, **options: Any) -> PictureBatches:
        if has_posterior:
            return PosteriorBatches(part.pixels, annealing=data.annealing, **options)
        return PictureBatches(part.pixels, **options)

    return both_parts(recipe, picture_parts(data, folder, color or "gray"), make)


def _metrics(model: keras.Model) -> Any:
    """What the posterior says, where there is one."""
    if _POSTERIOR not in model.output_names:
        return []
    latents = model.get_layer(_POSTERIOR).output.shape[-1] // 2
    return {_POSTERIOR: [GaussianKL(), ActiveLatents(latents)]}


AUTOENCODING = Kind(_datasets, ("last", "annealing"), _metrics)
