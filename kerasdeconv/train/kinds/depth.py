"""Pictures with depth: to learn it, or the surface normals that follow from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv.data.depth import DepthPatches
from kerasdeconv.data.normals import NormalPatches
from kerasdeconv.metrics import AbsRel, AngularError, DeltaAccuracy
from kerasdeconv.train.kinds.base import Datasets, Kind
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
    training, validation = labelled_parts(data, folder)
    options |= {"patch": data.sides or data.patch, "batch_size": data.batch, "seed": recipe.seed}
    varied: dict[str, Any] = {"augmentation": data.augmentation} if data.augmentation else {}
    steps = max(1, len(validation) // data.batch)
    return (
        patches(training, steps=data.steps, **varied, **options),
        patches(validation or training, steps=steps, augment=False, **options),
    )


DEPTH = Kind(_depth, _FIELDS, lambda model: [AbsRel(), DeltaAccuracy()])
NORMALS = Kind(_normals, (*_FIELDS, "focal"), lambda model: [AngularError()])
