"""Pictures and volumes with class numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv.data.segmentation import IGNORE, SegmentationPatches
from kerasdeconv.data.volumes import LabelledVolume, VolumePatches
from kerasdeconv.metrics import MeanIoU
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.train.recipe import DataRecipe, Recipe

# Which labels, of which samples; shared by all kinds with labels.
LABELLED = ("labels", "field", "outside", "values", "held_out")
# What is cut out of them, and how it is varied.
VARIED = ("patch", "zoom", "augmentation", "balance")


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    training, validation = labelled_parts(data, folder)
    options: dict[str, Any] = {"patch": data.patch, "batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, len(validation) // data.batch)
    varied: dict[str, Any] = {"augmentation": data.augmentation, "balance": data.balance}
    volumes = isinstance(training[0], LabelledVolume)
    idle = "zoom" if volumes else "sides"
    if (value := getattr(data, idle)) != getattr(DataRecipe, idle):
        raise ValueError(
            f"{'Volumes' if volumes else 'Pictures'} have no use for {idle}. Received: {value!r}"
        )
    if volumes:
        options["patch"] = data.sides or data.patch
        return (
            VolumePatches(training, steps=data.steps, **varied, **options),
            VolumePatches(validation or training, steps=steps, augment=False, **options),
        )
    return (
        SegmentationPatches(training, zoom=data.zoom, steps=data.steps, **varied, **options),
        SegmentationPatches(validation or training, steps=steps, augment=False, **options),
    )


def mean_iou(model: keras.Model) -> list[keras.metrics.Metric]:
    """The mean IoU over a model's classes; two for one channel."""
    return [MeanIoU(max(model.output_shape[-1], 2), ignore=IGNORE)]


SEGMENTATION = Kind(_datasets, (*LABELLED, *VARIED, "sides", "spacing"), mean_iou)
