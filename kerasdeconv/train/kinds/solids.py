"""Views of solid bodies, for networks that tell the body: its voxels, or points on its surface."""

from __future__ import annotations

import functools
from pathlib import Path

import keras

from kerasdeconv.data.solid_views import SolidBatches
from kerasdeconv.metrics import ChamferDistance, VoxelIoU
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import solid_parts
from kerasdeconv.train.recipe import Recipe


def _datasets(target: str, recipe: Recipe, folder: Path) -> Datasets:
    make = functools.partial(SolidBatches, target=target)
    return both_parts(recipe, solid_parts(recipe.data, folder), make)


def _voxel_iou(model: keras.Model) -> list[keras.metrics.Metric]:
    return [VoxelIoU()]


def _chamfer_distance(model: keras.Model) -> list[keras.metrics.Metric]:
    return [ChamferDistance()]


VOXELS = Kind(functools.partial(_datasets, "voxels"), ("last",), _voxel_iou)
POINTS = Kind(functools.partial(_datasets, "points"), ("last",), _chamfer_distance)
