"""Pictures with instances, given by their boxes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv import zoo
from kerasdeconv.data.instances import InstancePatches
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.kinds.segmentation import LABELLED, VARIED, mean_iou
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.train.recipe import Recipe


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data = recipe.data
    arguments = zoo.card(recipe.entry).arguments
    if arguments.get("boxes") not in (None, data.boxes):
        raise ValueError(
            f"{recipe.entry!r} takes {arguments['boxes']} boxes. Received: boxes={data.boxes}"
        )
    training, validation = labelled_parts(data, folder)
    options: dict[str, Any] = {
        "boxes": data.boxes,
        "mask_size": 2 * arguments.get("size", 14),
        "patch": data.patch,
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    steps = max(1, len(validation) // data.batch)
    return (
        InstancePatches(
            training,
            zoom=data.zoom,
            augmentation=data.augmentation,
            balance=data.balance,
            jitter=data.jitter,
            steps=data.steps,
            **options,
        ),
        InstancePatches(validation or training, steps=steps, augment=False, **options),
    )


INSTANCES = Kind(_datasets, (*LABELLED, *VARIED, "boxes", "jitter"), mean_iou)
