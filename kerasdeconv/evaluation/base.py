"""What all measures share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.pictures import Pictures, read_pictures

_BATCH = 100  # samples that a network is given at once
Progress = Callable[[int, int], None]
# The inputs of a sample, as the network takes them without the batch axis, and what is wanted.
Pair = tuple[Sequence[np.ndarray], Any]
Measure = Callable[[runtime.Predictor, "str | Path", "str | Path | None", Progress], "Measured"]


class Measured(NamedTuple):
    """The figures of a subject on a folder, and over how many pictures they were taken."""

    figures: dict[str, Any]
    pictures: int


def kept(
    read: Callable[[str | Path], list[Any]], data: str | Path, recipe: str | Path | None
) -> list[Any]:
    """Reads the validation part of a recipe; everything without one."""
    if recipe is None:
        return read(data)
    from kerasdeconv.train.parts import validation_part
    from kerasdeconv.train.recipe import read_recipe

    return validation_part(read_recipe(recipe).data, Path(data))


def comparing(
    read: Callable[[str | Path, str | Path | None], Sequence[Pair]],
    figures: Callable[[Sequence[Any], Sequence[list[np.ndarray]]], dict[str, Any]],
) -> Measure:
    """Makes the measure of a task whose network takes each sample whole.

    Args:
        read: Reads the samples of a folder, or the validation part of a recipe.
        figures: Computes the figures of all samples: from what is wanted of each, and from the
            outputs that each got, without the batch axis.
    """

    def measure(
        predictor: runtime.Predictor,
        data: str | Path,
        recipe: str | Path | None,
        progress: Progress,
    ) -> Measured:
        pairs, answers = read(data, recipe), []
        for done, (inputs, _) in enumerate(pairs, start=1):
            outputs = predictor.run(*(np.asarray(part)[None] for part in inputs))
            answers.append([output[0] for output in outputs])
            progress(done, len(pairs))
        return Measured(figures([wanted for _, wanted in pairs], answers), len(pairs))

    return measure


def answers(
    predictor: runtime.Predictor, samples: np.ndarray, progress: Progress
) -> list[np.ndarray]:
    """Runs a network with one input on any number of samples, some at once.

    Args:
        predictor: The network.
        samples: Of its input's shape, without or with another batch axis.
        progress: Called with how many are done.

    Returns:
        Each output for all of them.
    """
    parts = []
    for start in range(0, len(samples), _BATCH):
        parts.append(predictor.run_many(samples[start : start + _BATCH]))
        progress(min(start + _BATCH, len(samples)), len(samples))
    return [np.concatenate(output) for output in zip(*parts, strict=True)]


def kept_pictures(
    data: str | Path, recipe: str | Path | None, color: str, training: bool = False
) -> Pictures:
    """Reads the whole pictures of a folder that a recipe keeps for validation; all without one.

    Args:
        data: One data folder of the recipe.
        recipe: The recipe.
        color: "gray" or "rgb".
        training: Whether those are wanted instead that it trains on.

    Raises:
        DataError: The folder cannot be used, or nothing of it is for validation.
    """
    if recipe is None:
        return read_pictures(data, color)
    from kerasdeconv.train.parts import part_of, picture_parts
    from kerasdeconv.train.recipe import read_recipe

    parts = functools.partial(picture_parts, color=color)
    return part_of(read_recipe(recipe).data, Path(data), parts, training=training)
