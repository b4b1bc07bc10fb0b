"""Pictures with instances, to be found and to have their masks drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.centres import CentrePatches
from kerasdeconv.metrics import MeanIoU
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.kinds.instances import instance_patches
from kerasdeconv.train.kinds.segmentation import LABELLED, VARIED
from kerasdeconv.train.recipe import Recipe


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    stride = zoo.card(recipe.entry).arguments.get("centre_stride", 4)
    return instance_patches(recipe, folder, CentrePatches, centre_stride=stride)


def _metrics(model: keras.Model) -> dict[str, Any]:
    return {"masks": [MeanIoU(2)]}


DETECTION = Kind(
    _datasets,
    (*LABELLED, *VARIED, "boxes", "jitter"),
    _metrics,
    {"form": "training", "boxes": None},
)
