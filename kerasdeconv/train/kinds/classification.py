"""Whole pictures with their classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.pictures import ClassifiedPictures
from kerasdeconv.metrics import PixelAccuracy
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    color = zoo.card(recipe.entry).convention.color
    training, held = picture_parts(data, folder, color or "gray")
    validation = held if len(held.pixels) else training
    options: dict[str, Any] = {"batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, len(validation.pixels) // data.batch)
    return (
        ClassifiedPictures(training, steps=data.steps, **options),
        ClassifiedPictures(validation, steps=steps, augment=False, **options),
    )


def _accuracy(model: keras.Model) -> list[keras.metrics.Metric]:
    return [PixelAccuracy(max(model.output_shape[-1], 2), name="accuracy")]


CLASSIFICATION = Kind(_datasets, ("last",), _accuracy)
