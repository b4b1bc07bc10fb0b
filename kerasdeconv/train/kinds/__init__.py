"""Kinds of data that recipes train on, one module each: which fields, data sets and metrics.

A kind has the name of the task whose networks learn from it. A new one is a module with a `Kind`,
named in `KINDS`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from kerasdeconv import zoo
from kerasdeconv.errors import DataError, closest
from kerasdeconv.train.kinds.autoencoding import AUTOENCODING
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.kinds.classification import CLASSIFICATION
from kerasdeconv.train.kinds.depth import DEPTH, NORMALS
from kerasdeconv.train.kinds.detection import DETECTION
from kerasdeconv.train.kinds.generation import GENERATION
from kerasdeconv.train.kinds.instances import INSTANCES
from kerasdeconv.train.kinds.pairs import DISPARITY, FLOW
from kerasdeconv.train.kinds.segmentation import SEGMENTATION
from kerasdeconv.train.kinds.solids import POINTS, VOXELS
from kerasdeconv.train.kinds.super_resolution import SUPER_RESOLUTION
from kerasdeconv.train.kinds.video import VIDEO
from kerasdeconv.train.recipe import DataRecipe, Recipe

__all__ = ["KINDS", "Datasets", "Kind", "kind_of", "make_datasets"]

KINDS = {
    "segmentation": SEGMENTATION,
    "instance-segmentation": INSTANCES,
    "instance-detection": DETECTION,
    "super-resolution": SUPER_RESOLUTION,
    "generation": GENERATION,
    "classification": CLASSIFICATION,
    "autoencoding": AUTOENCODING,
    "video": VIDEO,
    "voxels": VOXELS,
    "points": POINTS,
    "depth": DEPTH,
    "normals": NORMALS,
    "flow": FLOW,
    "disparity": DISPARITY,
}
# What every kind reads.
_COMMON = ("kind", "folders", "validation_folders", "validation", "split_seed", "batch", "steps")


def kind_of(recipe: Recipe) -> Kind:
    """Returns the kind of a recipe's data.

    Raises:
        ValueError: There is no such kind, its entry does not learn from it, or a field is given
            that this kind has no use for.
    """
    name = recipe.data.kind
    if name not in KINDS:
        raise ValueError(f"No such kind of data. {closest(name, KINDS)} Received: {name!r}")
    task = zoo.card(recipe.entry).convention.task
    if task != name:
        raise ValueError(f"{recipe.entry!r} needs data of kind {task!r}. Received: {name!r}")
    kind = KINDS[name]
    used = {*_COMMON, *kind.fields}
    for field in dataclasses.fields(DataRecipe):
        value = getattr(recipe.data, field.name)
        if field.name not in used and value != field.default:
            raise ValueError(
                f"Data of kind {name!r} have no use for {field.name}. Received: {value!r}"
            )
    return kind


def make_datasets(recipe: Recipe, folder: Path) -> Datasets:
    """Builds the training and validation data of a recipe.

    Raises:
        DataError: A data folder is missing or cannot be used.
        ValueError: As `kind_of`, or a field has a value that makes no sense.
    """
    kind = kind_of(recipe)
    for name in (*recipe.data.folders, *recipe.data.validation_folders):
        if not (folder / name).is_dir():
            raise DataError(f"No such data folder. Received: {str(folder / name)!r}")
    return kind.datasets(recipe, folder)
