"""Pictures with depth: to learn it, or the surface normals that follow from it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from kerasdeconv.data.depth import DepthPatches
from kerasdeconv.data.normals import NormalPatches
from kerasdeconv.metrics import AbsRel, AngularError, DeltaAccuracy
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.train.recipe import Recipe

_FIELDS = ("held_out", "patch", "sides", "augmentation")


def _depth(recipe: Recipe, folder: Path) -> Datasets:
    return _datasets(DepthPatches, recipe, folder)


def _normals(recipe: Recipe, folder: Path) -> Datasets:
    if recipe.data.focal <= 0:
        raise ValueError(
            f"Normals need the camera's focal length in pixels. Received: focal={recipe.data.focal}"
        )
    return _datasets(NormalPatches, recipe, folder, focal=recipe.data.focal)


def _datasets(
    patches: type[DepthPatches], recipe: Recipe, folder: Path, **options: Any
) -> Datasets:
    data = recipe.data
    options["patch"] = data.sides or data.patch
    if data.augmentation:
        options["augmentation"] = data.augmentation
    return both_parts(recipe, labelled_parts(data, folder), functools.partial(patches, **options))


DEPTH = Kind(_depth, _FIELDS, lambda model: [AbsRel(), DeltaAccuracy()])
NORMALS = Kind(_normals, (*_FIELDS, "focal"), lambda model: [AngularError()])
