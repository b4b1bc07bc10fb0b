"""High-resolution pictures, which are shrunk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv import zoo
from kerasdeconv.data.splits import split
from kerasdeconv.data.super_resolution import SuperResolutionPatches, high_resolution_images
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.recipe import Recipe


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    card = zoo.card(recipe.entry)
    scale, color = card.convention.scale, card.convention.color
    parts = [
        [image for name in names for image in high_resolution_images(folder / name, color)]
        for names in (data.folders, data.validation_folders)
    ]
    training, validation = parts
    if not data.validation_folders:
        training, validation = split(training, data.validation, seed=data.split_seed)
    levels = [scale]
    if card.arguments.get("progressive"):  # a target for each doubling
        levels = [scale >> level for level in range(scale.bit_length() - 1)]
    options: dict[str, Any] = {
        "scale": scale,
        "levels": levels,
        "patch": data.patch,
        "border": data.border,
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    return (
        SuperResolutionPatches(training, shrinks=data.shrinks, steps=data.steps, **options),
        SuperResolutionPatches(validation or training, steps=16, augment=False, **options),
    )


SUPER_RESOLUTION = Kind(_datasets, ("patch", "border", "shrinks"))
