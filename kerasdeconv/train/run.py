"""Runs a recipe: data, network, Keras' own `fit`, checkpoints, weights."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import models, zoo
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.errors import closest
from kerasdeconv.losses import WeightedSum
from kerasdeconv.train.adversarial import Adversarial
from kerasdeconv.train.devices import data_parallel
from kerasdeconv.train.kinds import Datasets, kind_of, make_datasets
from kerasdeconv.train.precision import mix_precision
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import AdversarialRecipe, CompressRecipe, FitRecipe, Recipe
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
        model = _network(recipe, out)
        learner = _learner(recipe, model)
        training, validation = make_datasets(recipe, Path(data))
        if fresh:  # not before the recipe has proved to be sound
            _clear(out)
        _fit(learner, recipe.fit, (training, validation), out, tensorboard=tensorboard)
        estimate_statistics(model, _more_batches(training, recipe.fit))
    zoo.save_weights(model, out / "weights.npz")
    return model


def _network(recipe: Recipe, out: Path) -> keras.Model:
    """The network with the weights to start from."""
    model = zoo.load(recipe.entry, weights=None, **recipe.arguments)
    if recipe.start:
        zoo.load_weights(model, _starting_weights(recipe.start, out), partial=True)
    mix_precision(model, recipe.fit.precision)
    return model


def _learner(recipe: Recipe, model: keras.Model) -> keras.Model:
    """What is fitted, compiled: the network itself, or the game that it learns in."""
    kind, steps = kind_of(recipe), recipe.fit.epochs * recipe.data.steps
    game = recipe.fit.adversarial
    if game is not None:
        if not kind.adversarial:
            raise ValueError(
                "Only generators learn against a discriminator: leave out [fit.adversarial]. "
                f"Received: {recipe.data.kind!r}"
            )
        return make_game(recipe, game, model, steps)
    model.compile(
        optimizer=make_optimizer(recipe.fit, steps),
        loss=make_loss(recipe.fit, model),
        weighted_metrics=kind.metrics(model),
    )
    return model


def make_game(
    recipe: Recipe, game: AdversarialRecipe, generator: keras.Model, steps: int
) -> Adversarial:
    """Builds the discriminator of a recipe, and sets both networks against each other.

    Raises:
        ValueError: There is no such discriminator, or a field has a value that makes no sense.
    """
    fit = recipe.fit
    if fit.loss or fit.losses or fit.patience:
        raise ValueError(
            "Adversarial training has a loss of its own, and no loss to wait for: leave out loss, "
            f"losses and patience. Received: {fit.loss}, {fit.losses}, {fit.patience}"
        )
    if recipe.data.batch % max(game.critic_steps, 1):
        raise ValueError(
            f"A batch must divide into {game.critic_steps} critic_steps. "
            f"Received: batch={recipe.data.batch}"
        )
    if game.discriminator not in models.__all__:
        raise ValueError(
            f"No such builder. {closest(game.discriminator, models.__all__)} "
            f"Received: {game.discriminator!r}"
        )
    build = getattr(models, game.discriminator)
    try:
        discriminator = build(generator.output_shape[1:], **game.arguments)
    except TypeError as error:
        raise ValueError(
            f"{game.discriminator} cannot have these arguments ({error}). "
            f"Received: {game.arguments}"
        ) from None
    mix_precision(discriminator, fit.precision)
    learner = Adversarial(
        generator,
        discriminator,
        loss=game.loss,
        smoothing=game.smoothing,
        penalty=game.penalty,
        r1=game.r1,
        critic_steps=game.critic_steps,
        seed=recipe.seed,
    )
    against = dataclasses.replace(fit, learning_rate=game.rate * fit.learning_rate, average=0.0)
    learner.compile(
        make_optimizer(fit, steps, game.beta_1),
        make_optimizer(against, steps * game.critic_steps, game.beta_1),
    )
    return learner


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


def make_optimizer(fit: FitRecipe, steps: int, beta_1: float = 0.9) -> keras.optimizers.Optimizer:
    """Builds Adam(W) with a schedule and a running average of the weights."""
    return keras.optimizers.AdamW(
        make_schedule(fit, steps),
        beta_1=beta_1,
        weight_decay=fit.weight_decay,
        global_clipnorm=fit.clip_norm or None,
        use_ema=fit.average > 0,
        ema_momentum=fit.average or 0.99,
    )
