"""Whole pictures, each its own target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.pictures import PictureBatches, PosteriorBatches
from kerasdeconv.metrics import ActiveLatents, GaussianKL
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe

_POSTERIOR = "posterior"  # the output that only variational autoencoders have


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    color = zoo.card(recipe.entry).convention.color
    training, held = picture_parts(data, folder, color or "gray")
    validation = held if len(held.pixels) else training
    options: dict[str, Any] = {"batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, len(validation.pixels) // data.batch)
    kind: Any = PictureBatches
    annealing = {}
    if _POSTERIOR in recipe.fit.losses:
        kind, annealing = PosteriorBatches, {"annealing": data.annealing}
    elif data.annealing:
        raise ValueError(
            f"Only the loss of a {_POSTERIOR} can be annealed. Received: annealing={data.annealing}"
        )
    return (
        kind(training.pixels, steps=data.steps, **annealing, **options),
        kind(validation.pixels, steps=steps, augment=False, **options),
    )


def _metrics(model: keras.Model) -> Any:
    """What the posterior says, where there is one."""
    if _POSTERIOR not in model.output_names:
        return []
    latents = model.get_layer(_POSTERIOR).output.shape[-1] // 2
    return {_POSTERIOR: [GaussianKL(), ActiveLatents(latents)]}


AUTOENCODING = Kind(_datasets, ("last", "annealing"), _metrics)
