"""Runs a recipe: data, network, Keras' own `fit`, checkpoints, weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.instances import InstancePatches
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.data.segmentation import (
    SegmentationPatches,
    labelled_images,
    labelled_samples,
)
from kerasdeconv.data.splits import split
from kerasdeconv.data.super_resolution import SuperResolutionPatches, high_resolution_images
from kerasdeconv.data.volumes import LabelledVolume, VolumePatches
from kerasdeconv.errors import DataError, closest
from kerasdeconv.losses import WeightedSum
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import CompressRecipe, DataRecipe, FitRecipe, Recipe


def run(recipe: Recipe, *, data: str | Path, out: str | Path, fresh: bool = False) -> keras.Model:
    """Trains a network by a recipe.

    A run that was interrupted goes on after its last whole epoch when it is started again with the
    same folder.

    Args:
        recipe: What to train, on what, and how.
        data: Folder that holds the recipe's data folders.
        out: Where `weights.npz`, `log.csv` and the checkpoints go.
        fresh: Whether to start over instead of going on.

    Returns:
        The trained network.

    Raises:
        DataError: A data folder is missing or cannot be used.
        UnknownModel: The recipe names no zoo entry.
        ValueError: The recipe is one for an export.
        WeightsError: The weights to start from are missing or damaged, or none fits.
    """
    if recipe.compress != CompressRecipe():
        raise ValueError(
            "Weights are compressed by an export that trains: kerasdeconv export --qat RECIPE. "
            f"Received: compress={recipe.compress}"
        )
    out = Path(out)
    keras.utils.set_random_seed(recipe.seed)
    model = zoo.load(recipe.entry, weights=None)
    if recipe.start:
        zoo.load_weights(model, out.parent / recipe.start, partial=True)
    training, validation = make_datasets(recipe, Path(data))
    model.compile(
        optimizer=make_optimizer(recipe.fit, recipe.fit.epochs * recipe.data.steps),
        loss=WeightedSum(recipe.fit.loss),
        weighted_metrics=_metrics(recipe.data.kind, model.output_shape[-1]),
    )
    if fresh:  # not before the recipe has proved to be sound
        for leftover in ("checkpoint", "log.csv", "weights.npz"):  # nothing else in the folder
            shutil.rmtree(out / leftover, ignore_errors=True)
            (out / leftover).unlink(missing_ok=True)
    out.mkdir(parents=True, exist_ok=True)
    checkpoint = out / "checkpoint"
    log = keras.callbacks.CSVLogger(str(out / "log.csv"), append=checkpoint.exists())
    progress = Progress(recipe.fit.epochs)
    try:
        model.fit(
            training,
            validation_data=validation,
            epochs=recipe.fit.epochs,
            verbose=0,
            shuffle=False,  # batches are random as it is; a shuffled order could not be resumed
            callbacks=[
                FollowEpoch(training),
                log,
                # Two checkpoints: one may be cut off while it is written.
                keras.callbacks.BackupAndRestore(
                    str(checkpoint), double_checkpoint=True, delete_checkpoint=False
                ),
                progress,
            ],
        )
    finally:  # Ctrl-C too gives back the file and the terminal's cursor
        log.on_train_end()
        progress.on_train_end()
    zoo.save_weights(model, out / "weights.npz")
    return model


def make_datasets(recipe: Recipe, folder: Path) -> tuple[RandomPatches, RandomPatches]:
    """Builds the training and validation data of a recipe.

    Raises:
        DataError: A data folder is missing or cannot be used.
        ValueError: No such kind of data, or one that the entry does not learn from.
    """
    kind = recipe.data.kind
    if kind not in _DATASETS:
        raise ValueError(f"No such kind of data. {closest(kind, _DATASETS)} Received: {kind!r}")
    task = zoo.card(recipe.entry).convention.task
    if task != kind:
        raise ValueError(f"{recipe.entry!r} needs data of kind {task!r}. Received: {kind!r}")
    folders = [folder / name for name in recipe.data.folders]
    for path in folders:
        if not path.is_dir():
            raise DataError(f"No such data folder. Received: {str(path)!r}")
    return _DATASETS[kind](recipe, folders)


def split_samples(data: DataRecipe, samples: list[Any]) -> tuple[list[Any], list[Any]]:
    """Splits labelled pictures or volumes as a recipe says: whole ones, stratified by group."""
    groups = [sample.group for sample in samples]
    return split(samples, data.validation, groups=groups, seed=data.split_seed)


def make_optimizer(fit: FitRecipe, steps: int) -> keras.optimizers.Optimizer:
    """Builds Adam(W) with warm-up, cosine decay, and a running average of the weights."""
    return keras.optimizers.AdamW(
        make_schedule(fit, steps),
        weight_decay=fit.weight_decay,
        use_ema=fit.average > 0,
        ema_momentum=fit.average or 0.99,
    )


def make_schedule(fit: FitRecipe, steps: int) -> Any:
    """Builds the learning rate: a linear warm-up, then a cosine to a thousandth."""
    return keras.optimizers.schedules.CosineDecay(
        fit.learning_rate / 100,
        decay_steps=max(1, round(steps * (1 - fit.warmup))),
        alpha=1e-3,
        warmup_target=fit.learning_rate,
        warmup_steps=round(steps * fit.warmup),
    )


def _segmentation(recipe: Recipe, folders: list[Path]) -> tuple[RandomPatches, RandomPatches]:
    data = recipe.data
    samples = [sample for folder in folders for sample in labelled_samples(folder)]
    training, validation = split_samples(data, samples)
    options: dict[str, Any] = {"patch": data.patch, "batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, len(validation) // data.batch)
    if isinstance(samples[0], LabelledVolume):
        options["patch"] = data.sides or data.patch
        return (
            VolumePatches(training, steps=data.steps, **options),
            VolumePatches(validation or training, steps=steps, augment=False, **options),
        )
    return (
        SegmentationPatches(training, zoom=data.zoom, steps=data.steps, **options),
        SegmentationPatches(validation or training, steps=steps, augment=False, **options),
    )


def _instances(recipe: Recipe, folders: list[Path]) -> tuple[RandomPatches, RandomPatches]:
    data = recipe.data
    arguments = zoo.card(recipe.entry).arguments
    if arguments.get("boxes") not in (None, data.boxes):
        raise ValueError(
            f"{recipe.entry!r} takes {arguments['boxes']} boxes. Received: boxes={data.boxes}"
        )
    samples = [sample for folder in folders for sample in labelled_images(folder)]
    training, validation = split_samples(data, samples)
    options: dict[str, Any] = {
        "boxes": data.boxes,
        "mask_size": 2 * arguments.get("size", 14),
        "patch": data.patch,
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    steps = max(1, len(validation) // data.batch)
    return (
        InstancePatches(training, zoom=data.zoom, jitter=data.jitter, steps=data.steps, **options),
        InstancePatches(validation or training, steps=steps, augment=False, **options),
    )


def _super_resolution(recipe: Recipe, folders: list[Path]) -> tuple[RandomPatches, RandomPatches]:
    data = recipe.data
    card = zoo.card(recipe.entry)
    scale, color = card.convention.scale, card.convention.color
    images = [image for folder in folders for image in high_resolution_images(folder, color)]
    training, validation = split(images, data.validation, seed=data.split_seed)
    levels = [scale]
    if card.arguments.get("progressive"):  # a target for each doubling
        levels = [scale >> level for level in range(scale.bit_length() - 1)]
    options: dict[str, Any] = {
        "scale": scale,
        "levels": levels,
        "patch": data.patch,
        "border": data.border,
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    return (
        SuperResolutionPatches(training, shrinks=data.shrinks, steps=data.steps, **options),
        SuperResolutionPatches(validation or training, steps=16, augment=False, **options),
    )


_DATASETS = {
    "segmentation": _segmentation,
    "instance-segmentation": _instances,
    "super-resolution": _super_resolution,
}


def _metrics(kind: str, classes: int) -> list[keras.metrics.Metric]:
    if kind == "super-resolution":
        return []
    if kind == "instance-segmentation":
        # Counts as floats, because the weights are; an epoch has less than 2^24 cells of masks.
        return [keras.metrics.BinaryIoU(name="mean_iou", dtype="float32")]
    if classes == 1:
        return [keras.metrics.BinaryIoU(name="mean_iou")]
    return [keras.metrics.MeanIoU(classes, sparse_y_pred=False, name="mean_iou")]
