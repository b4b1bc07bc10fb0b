"""Bodies told from a view: overlap of voxels, distance of points."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.data.solid_views import SolidViews, read_solids
from kerasdeconv.evaluation.base import Pair, comparing
from kerasdeconv.metrics import chamfer_distance, mask_iou


def _kept(data: str | Path, recipe: str | Path | None) -> SolidViews:
    """The bodies of a folder that a recipe keeps for validation; all without one."""
    if recipe is None:
        return read_solids(data)
    from kerasdeconv.train.parts import part_of, solid_parts
    from kerasdeconv.train.recipe import read_recipe

    return part_of(read_recipe(recipe).data, Path(data), solid_parts)


def _reading(kind: str) -> Any:
    def read(data: str | Path, recipe: str | Path | None) -> Sequence[Pair]:
        views = _kept(data, recipe)
        return [([views.view(i)], views.target(i, kind)) for i in range(len(views.pixels))]

    return read


def _overlap(wanted: Sequence[Any], answers: Sequence[list[np.ndarray]]) -> dict[str, Any]:
    """The mean over the bodies; occupied is what is as likely as not."""
    ious = [mask_iou(w > 0, got >= 0.5) for w, (got,) in zip(wanted, answers, strict=True)]
    return {"voxel_iou": float(np.mean(ious))}


def _distance(wanted: Sequence[Any], answers: Sequence[list[np.ndarray]]) -> dict[str, Any]:
    found = [chamfer_distance(w, got) for w, (got,) in zip(wanted, answers, strict=True)]
    return {"chamfer_distance": float(np.mean(found))}


voxels = comparing(_reading("voxels"), _overlap)
points = comparing(_reading("points"), _distance)
