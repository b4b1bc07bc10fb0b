"""Views of solid bodies, for networks that tell the body: its voxels, or points on its surface."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras

from kerasdeconv.data.solid_views import SolidBatches
from kerasdeconv.metrics import ChamferDistance, VoxelIoU
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import solid_parts
from kerasdeconv.train.recipe import Recipe


def _datasets(target: str, recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    training, validation = solid_parts(data, folder)
    options: dict[str, Any] = {"target": target, "batch_size": data.batch, "seed": recipe.seed}
    held = validation if len(validation.pixels) else training
    steps = max(1, len(held.pixels) // data.batch)
    return (
        SolidBatches(training, steps=data.steps, **options),
        SolidBatches(held, steps=steps, augment=False, **options),
    )


def _voxel_iou(model: keras.Model) -> list[keras.metrics.Metric]:
    return [VoxelIoU()]


def _chamfer_distance(model: keras.Model) -> list[keras.metrics.Metric]:
    return [ChamferDistance()]


VOXELS = Kind(functools.partial(_datasets, "voxels"), ("last",), _voxel_iou)
POINTS = Kind(functools.partial(_datasets, "points"), ("last",), _chamfer_distance)
