"""Runs a recipe: data, network, Keras' own `fit`, checkpoints, weights."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.losses import WeightedSum
from kerasdeconv.train.devices import data_parallel
from kerasdeconv.train.kinds import Datasets, kind_of, make_datasets
from kerasdeconv.train.precision import mix_precision
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import CompressRecipe, FitRecipe, Recipe
from kerasdeconv.train.schedules import make_schedule
from kerasdeconv.train.statistics import estimate_statistics
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
        estimate_statistics(model, _more_batches(training, recipe.fit))
    zoo.save_weights(model, out / "weights.npz")
    return model


def _compiled(recipe: Recipe, out: Path) -> keras.Model:
    """The network with the weights to start from, an optimizer and a loss."""
    model = zoo.load(recipe.entry, weights=None, **kind_of(recipe).arguments)
    if recipe.start:
        zoo.load_weights(model, _starting_weights(recipe.start, out), partial=True)
    mix_precision(model, recipe.fit.precision)
    model.compile(
        optimizer=make_optimizer(recipe.fit, recipe.fit.epochs * recipe.data.steps),
        loss=make_loss(recipe.fit, model),
        weighted_metrics=kind_of(recipe).metrics(model),
    )
    return model


def _starting_weights(start: str, out: Path) -> Path:
    """The file that a recipe starts from: one by its path, or the trained one of a zoo entry."""
    return out.parent / start if start.endswith(".npz") else zoo.trained_weights(start)


def _clear(out: Path) -> None:
    """Removes what a run left in its folder, and nothing else there."""
    for leftover in ("checkpoint", "tensorboard", "log.csv", "weights.npz"):
        shutil.rmtree(out / leftover, ignore_errors=True)
        (out / leftover).unlink(missing_ok=True)


def _fit(
    model: keras.Model,
    fit: FitRecipe,
    parts: Datasets,
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


def _more_batches(training: RandomPatches, fit: FitRecipe) -> Iterator[Any]:
    """Inputs of the epochs that would come next."""
    for index in range(fit.statistics):
        epoch, batch = divmod(index, len(training))
        training.epoch = fit.epochs + epoch
        yield training[batch][0]


def make_loss(fit: FitRecipe, model: keras.Model) -> Any:
    """Builds the loss of every output, or a dictionary with that of each by its name.

    Raises:
        ValueError: There is no such loss, or no such output, or not one of both.
    """
    if bool(fit.loss) == bool(fit.losses):
        raise ValueError(
            "Give a loss, or the losses of each output. "
            f"Received: loss={fit.loss!r}, losses={fit.losses!r}"
        )
    if not fit.losses:
        return WeightedSum(fit.loss)
    if set(fit.losses) != set(model.output_names):
        raise ValueError(
            f"losses must name the outputs {sorted(model.output_names)}. "
            f"Received: {sorted(fit.losses)}"
        )
    return {output: WeightedSum(terms) for output, terms in fit.losses.items()}


def make_optimizer(fit: FitRecipe, steps: int) -> keras.optimizers.Optimizer:
    """Builds Adam(W) with a schedule and a running average of the weights."""
    return keras.optimizers.AdamW(
        make_schedule(fit, steps),
        weight_decay=fit.weight_decay,
        global_clipnorm=fit.clip_norm or None,
        use_ema=fit.average > 0,
        ema_momentum=fit.average or 0.99,
    )
