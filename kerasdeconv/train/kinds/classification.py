"""Whole pictures with their classes."""

from __future__ import annotations

from pathlib import Path

import keras

from kerasdeconv import zoo
from kerasdeconv.data.pictures import ClassifiedPictures
from kerasdeconv.metrics import PixelAccuracy
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    color = zoo.card(recipe.entry).convention.color
    parts = picture_parts(recipe.data, folder, color or "gray")
    return both_parts(recipe, parts, ClassifiedPictures)


def _accuracy(model: keras.Model) -> list[keras.metrics.Metric]:
    return [PixelAccuracy(max(model.output_shape[-1], 2), name="accuracy")]


CLASSIFICATION = Kind(_datasets, ("last",), _accuracy)
