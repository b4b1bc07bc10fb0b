"""Training for 8 bits by a recipe, as a step of an export."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasdeconv.data.patches import FollowEpoch
from kerasdeconv.errors import ExportError
from kerasdeconv.export.candidates import Candidate, Prepared, finish_lowered, prepare_lowered
from kerasdeconv.export.job import Job
from kerasdeconv.export.quantization.weights import with_kernels
from kerasdeconv.export.training.aware import QuantizeAware, aware_of, resized
from kerasdeconv.export.training.compress import (
    SPARSE_INFERENCE,
    Compressed,
    cluster,
    compressed_size,
    prune,
    sparsity,
    unique_weights,
)
from kerasdeconv.losses import WeightedSum
from kerasdeconv.train.kinds import make_datasets
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import Recipe, read_recipe
from kerasdeconv.train.schedules import make_schedule


@dataclasses.dataclass(frozen=True)
class Lesson:
    """What a network is trained with before it becomes integers.

    Attributes:
        recipe: As for `kerasdeconv train`. Its learning rate is the part of a typical weight by
            which a weight changes in a step, at most.
        data: Folder that holds the recipe's data folders.
    """

    recipe: Recipe
    data: Path


def read_lesson(job: Job, recipe: str | Path, data: str | Path | None) -> Lesson:
    """Reads a recipe and checks it against what is exported.

    Raises:
        DataError: There is no such recipe.
        ExportError: The file is not one that training rounds for, or no data is given.
        ValueError: The recipe is wrong, or for another network.
    """
    read = read_recipe(recipe)
    require_trainable(job)
    card = job.subject.card
    if card is None or card.name != read.entry:
        raise ValueError(
            f"The recipe is for {read.entry!r}: export that, or a model like it (like=). "
            f"Received: {job.subject.name!r}"
        )
    if read.start or read.fit.weight_decay or read.fit.statistics:
        raise ValueError(
            "Training for 8 bits starts from the model that is exported, without weight decay, and "
            "BatchNormalization is folded: there are no statistics. "
            f"Received: start={read.start!r}, weight_decay={read.fit.weight_decay}, "
            f"statistics={read.fit.statistics}"
        )
    if read.arguments:
        raise ValueError(
            "Training for 8 bits is of the network that is exported, with its arguments. "
            f"Received: arguments={read.arguments}"
        )
    if read.fit.losses or read.fit.adversarial:
        raise ValueError(
            "Training for 8 bits has one loss for every output: give loss. "
            f"Received: losses={read.fit.losses!r}, adversarial={read.fit.adversarial}"
        )
    if data is None:
        raise ExportError(
            "The recipe needs data: give the folder that holds its data folders. "
            f"Received: data=None for {str(recipe)!r}"
        )
    return Lesson(read, Path(data))


def require_trainable(job: Job) -> None:
    """Refuses what no training rounds for.

    Raises:
        ExportError: The file is none of int8 in TFLite, or differs from what is trained.
    """
    if job.precision != "int8" or job.target.format != "tflite":
        raise ExportError(
            "Training rounds as int8 TFLite files do. "
            f"Received: {job.precision} {job.target.format} with a recipe to train by"
        )
    if job.head is not None or job.allow_float or job.fold_doors:
        raise ExportError(
            "A network that is trained for 8 bits keeps its head and doors and leaves no layer in "
            f"float. Received: head={job.head!r}, allow_float={sorted(job.allow_float)}, "
            f"fold_doors={job.fold_doors}"
        )


def make_trained(
    job: Job,
    lesson: Lesson | QuantizeAware,
    folder: Path,
    *,
    tune: bool,
    progress: Callable[[str], None],
) -> tuple[Candidate, keras.Model, dict[str, Any]]:
    """Makes the file of a network that is, or was, trained for 8 bits.

    Returns:
        The file; the trained network that rounds as it does; and what the report says of the
        training.

    Raises:
        DataError: The data cannot be used.
        ExportError: A package is missing, or the network cannot be trained or converted.
        TargetError: The target does not take it.
    """
    if isinstance(lesson, QuantizeAware):
        aware, said = lesson, dict[str, Any]()
        prepared = Prepared(aware.source, [], [], {})
    else:
        prepared = prepare_lowered(job, tune=tune, progress=progress)
        progress("training for 8 bits")
        aware, said = _train(job, prepared, lesson)
    progress("converting")
    path = folder / "trained.tflite"
    path.write_bytes(aware.to_tflite(door=job.door, pixel_output=job.pixels))
    said = {
        **said,
        **aware.history,
        "sparsity": sparsity(path),
        "unique_weights": unique_weights(path),
        "gzip_bytes": compressed_size(path),
        "sparse_inference": SPARSE_INFERENCE,
    }
    return finish_lowered(job, prepared, path), aware.rounded(), said


def _train(job: Job, prepared: Prepared, lesson: Lesson) -> tuple[QuantizeAware, dict[str, Any]]:
    """Trains the lowered network for 8 bits.

    Returns:
        The network, and what the report says of where its training came from.

    Raises:
        DataError: The data cannot be used.
        ExportError: A package is missing, or the lowered network does not take the patches.
    """
    recipe = lesson.recipe
    keras.utils.set_random_seed(recipe.seed)
    training, validation = make_datasets(recipe, lesson.data)
    patch = keras.tree.flatten(training[0][0])[0].shape
    model = prepared.model
    original: keras.Model | None = job.subject.model
    batch = patch[0] if len(patch) > 4 else None

    def fit(made: Compressed | QuantizeAware, epochs: int) -> dict[str, list[float]]:
        return made.fit(
            training,
            loss=WeightedSum(recipe.fit.loss),
            epochs=epochs,
            learning_rate=make_schedule(recipe.fit, epochs * recipe.data.steps),
            average=recipe.fit.average,
            validation_data=validation,
            callbacks=[FollowEpoch(training), Progress(epochs)],
        )

    keep, kernels = None, prepared.kernels
    if recipe.compress.sparsity or recipe.compress.clusters:
        # Both follow the weights that there are: none are rounded before.
        small = resized(model, original, patch[1:-1], job.pixels)
        small = _compressed(small, recipe, batch, fit)
        model.set_weights(small.get_weights())
        original, kernels = None, {}
        keep = "clusters" if recipe.compress.clusters else "zeros"
    with with_kernels(model, kernels):  # it begins where calibration alone ends
        aware = aware_of(
            model,
            original,
            job.samples_for(model),
            job.subject.convention,
            train_size=patch[1:-1],
            method=job.ranges,
            keep=keep,
            batch=batch,
        )
    fit(aware, recipe.fit.epochs)
    return aware, {"recipe": dataclasses.asdict(recipe), "data": str(lesson.data)}


def _compressed(
    model: keras.Model, recipe: Recipe, batch: int | None, fit: Callable[[Any, int], Any]
) -> keras.Model:
    """Prunes, then clusters what is left."""
    asked = recipe.compress
    steps = asked.epochs * recipe.data.steps
    if asked.sparsity:
        # The last half trains what is left.
        often = max(1, steps // 40)
        made = prune(model, asked.sparsity, steps=steps // 2, frequency=often, batch=batch)
        fit(made, asked.epochs)
        model = made.to_keras()
    if asked.clusters:
        made = cluster(model, asked.clusters, keep_zeros=asked.sparsity > 0, batch=batch)
        fit(made, asked.epochs)
        model = made.to_keras()
    return model
