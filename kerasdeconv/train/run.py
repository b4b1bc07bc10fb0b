"""Runs a recipe: data, network, Keras' own `fit`, checkpoints, weights."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.instances import InstancePatches
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.data.segmentation import IGNORE, SegmentationPatches
from kerasdeconv.data.splits import split
from kerasdeconv.data.super_resolution import SuperResolutionPatches, high_resolution_images
from kerasdeconv.data.volumes import LabelledVolume, VolumePatches
from kerasdeconv.errors import DataError, closest
from kerasdeconv.losses import WeightedSum
from kerasdeconv.metrics import MeanIoU
from kerasdeconv.train.devices import data_parallel
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.train.precision import mix_precision
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import CompressRecipe, FitRecipe, Recipe
from kerasdeconv.train.schedules import make_schedule
from kerasdeconv.train.stopping import StopEarly


def run(
    recipe: Recipe,
    *,
    data: str | Path,
    out: str | Path,
    fresh: bool = False,
    tensorboard: bool = False,
    devices: int = 1,
) -> keras.Model:
    """Trains a network by a recipe.

    A run that was interrupted goes on after its last whole epoch when it is started again with the
    same folder.

    Args:
        recipe: What to train, on what, and how.
        data: Folder that holds the recipe's data folders.
        out: Where `weights.npz`, `log.csv` and the checkpoints go.
        fresh: Whether to start over instead of going on.
        tensorboard: Whether to write logs for TensorBoard, too, into `tensorboard/` in `out`.
        devices: Devices that share each batch, see `kerasdeconv.train.devices`.

    Returns:
        The trained network.

    Raises:
        DataError: A data folder is missing or cannot be used.
        UnknownModel: The recipe names no zoo entry.
        ValueError: The recipe is one for an export, or names something that does not exist, or
            there are not as many devices.
        WeightsError: The weights to start from are missing or damaged, or none fits.
    """
    if recipe.compress != CompressRecipe():
        raise ValueError(
            "Weights are compressed by an export that trains: kerasdeconv export --qat RECIPE. "
            f"Received: compress={recipe.compress}"
        )
    if tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ValueError(
            "Logs for TensorBoard need the package: pip install tensorboard. "
            f"Received: tensorboard={tensorboard}"
        )
    out = Path(out)
    keras.utils.set_random_seed(recipe.seed)
    with data_parallel(devices, recipe.data.batch):
        model = _compiled(recipe, out)
        training, validation = make_datasets(recipe, Path(data))
        if fresh:  # not before the recipe has proved to be sound
            _clear(out)
        _fit(model, recipe.fit, (training, validation), out, tensorboard=tensorboard)
    zoo.save_weights(model, out / "weights.npz")
    return model


def _compiled(recipe: Recipe, out: Path) -> keras.Model:
    """The network with the weights to start from, an optimizer and a loss."""
    model = zoo.load(recipe.entry, weights=None)
    if recipe.start:
        zoo.load_weights(model, out.parent / recipe.start, partial=True)
    mix_precision(model, recipe.fit.precision)
    model.compile(
        optimizer=make_optimizer(recipe.fit, recipe.fit.epochs * recipe.data.steps),
        loss=WeightedSum(recipe.fit.loss),
        weighted_metrics=_metrics(recipe.data.kind, model.output_shape[-1]),
    )
    return model


def _clear(out: Path) -> None:
    """Removes what a run left in its folder, and nothing else there."""
    for leftover in ("checkpoint", "tensorboard", "log.csv", "weights.npz"):
        shutil.rmtree(out / leftover, ignore_errors=True)
        (out / leftover).unlink(missing_ok=True)


def _fit(
    model: keras.Model,
    fit: FitRecipe,
    parts: tuple[RandomPatches, RandomPatches],
    out: Path,
    *,
    tensorboard: bool,
) -> None:
    """Trains a compiled network, with logs and checkpoints."""
    training, validation = parts
    out.mkdir(parents=True, exist_ok=True)
    checkpoint, table = out / "checkpoint", out / "log.csv"
    log = keras.callbacks.CSVLogger(str(table), append=checkpoint.exists())
    progress = Progress(fit.epochs)
    callbacks = [FollowEpoch(training)]
    if fit.patience:  # before the log, which empties the file of an earlier run
        callbacks.append(StopEarly(fit.patience, table if checkpoint.exists() else None))
    callbacks += [
        log,
        # Two checkpoints: one may be cut off while it is written.
        keras.callbacks.BackupAndRestore(
            str(checkpoint), double_checkpoint=True, delete_checkpoint=False
        ),
        progress,
    ]
    if tensorboard:
        callbacks.append(keras.callbacks.TensorBoard(str(out / "tensorboard")))
    try:
        model.fit(
            training,
            validation_data=validation,
            epochs=fit.epochs,
            verbose=0,
            shuffle=False,  # batches are random as it is; a shuffled order could not be resumed
            callbacks=callbacks,
        )
    finally:  # Ctrl-C too gives back the file and the terminal's cursor
        log.on_train_end()
        progress.on_train_end()


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
    for name in (*recipe.data.folders, *recipe.data.validation_folders):
        if not (folder / name).is_dir():
            raise DataError(f"No such data folder. Received: {str(folder / name)!r}")
    return _DATASETS[kind](recipe, folder)


def make_optimizer(fit: FitRecipe, steps: int) -> keras.optimizers.Optimizer:
    """Builds Adam(W) with a schedule and a running average of the weights."""
    return keras.optimizers.AdamW(
        make_schedule(fit, steps),
        weight_decay=fit.weight_decay,
        global_clipnorm=fit.clip_norm or None,
        use_ema=fit.average > 0,
        ema_momentum=fit.average or 0.99,
    )


def _segmentation(recipe: Recipe, folder: Path) -> tuple[RandomPatches, RandomPatches]:
    data = recipe.data
    training, validation = labelled_parts(data, folder)
    options: dict[str, Any] = {"patch": data.patch, "batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, len(validation) // data.batch)
    varied: dict[str, Any] = {"augmentation": data.augmentation, "balance": data.balance}
    if isinstance(training[0], LabelledVolume):
        options["patch"] = data.sides or data.patch
        return (
            VolumePatches(training, steps=data.steps, **varied, **options),
            VolumePatches(validation or training, steps=steps, augment=False, **options),
        )
    return (
        SegmentationPatches(training, zoom=data.zoom, steps=data.steps, **varied, **options),
        SegmentationPatches(validation or training, steps=steps, augment=False, **options),
    )


def _instances(recipe: Recipe, folder: Path) -> tuple[RandomPatches, RandomPatches]:
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


def _super_resolution(recipe: Recipe, folder: Path) -> tuple[RandomPatches, RandomPatches]:
    data = recipe.data
    card = zoo.card(recipe.entry)
    scale, color = card.convention.scale, card.convention.color
    if data.augmentation is not None or data.balance:
        raise ValueError(
            "augmentation and balance are for segmentation; super-resolution turns and mirrors. "
            f"Received: {data.augmentation}, balance={data.balance}"
        )
    parts = [
        [image for name in names for image in high_resolution_images(folder / name, color)]
        for names in (data.folders, data.validation_folders)
    ]
    training, validation = parts
    if not data.validation_folders:
        training, validation = split(training, data.validation, seed=data.split_seed)
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
    return [MeanIoU(max(classes, 2), ignore=IGNORE)]
