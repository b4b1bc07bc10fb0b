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
    wanted = zoo.card(recipe.entry).arguments.get("boxes")
    if wanted not in (None, recipe.data.boxes):
        raise ValueError(
            f"{recipe.entry!r} takes {wanted} boxes. Received: boxes={recipe.data.boxes}"
        )
    return instance_patches(recipe, folder, InstancePatches)


def instance_patches(
    recipe: Recipe, folder: Path, patches: type[InstancePatches], **options: Any
) -> Datasets:
    """Makes patches with boxes and masks of a size that a recipe's entry draws.

    Args:
        recipe: The recipe.
        folder: What holds its data folders.
        patches: The class of the data sets.
        **options: Its arguments beside those of `InstancePatches`.
    """
    data = recipe.data
    training, validation = labelled_parts(data, folder)
    options |= {
        "boxes": data.boxes,
        "mask_size": 2 * zoo.card(recipe.entry).arguments.get("size", 14),
        "patch": data.patch,
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    steps = max(1, len(validation) // data.batch)
    return (
        patches(
            training,
            zoom=data.zoom,
            augmentation=data.augmentation,
            balance=data.balance,
            jitter=data.jitter,
            steps=data.steps,
            **options,
        ),
        patches(validation or training, steps=steps, augment=False, **options),
    )


INSTANCES = Kind(_datasets, (*LABELLED, *VARIED, "boxes", "jitter"), mean_iou)
