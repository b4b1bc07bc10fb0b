"""What a kind of data has to say."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.train.recipe import Recipe

Datasets = tuple[RandomPatches, RandomPatches]


def _no_metrics(model: keras.Model) -> Any:
    return []


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of data.

    Attributes:
        datasets: Makes the training and validation data of a recipe, below a folder.
        fields: Names of the `DataRecipe` fields that it reads beside those that all kinds read.
        metrics: The weighted metrics to log for a model, also by the name of its output.
        adversarial: Whether they are codes and pictures, where the recipe has `[fit.adversarial]`.
    """

    datasets: Callable[[Recipe, Path], Datasets]
    fields: tuple[str, ...]
    metrics: Callable[[keras.Model], list[Any] | dict[str, Any]] = _no_metrics
    adversarial: bool = False


def both_parts(
    recipe: Recipe,
    parts: tuple[Any, Any],
    make: Callable[..., RandomPatches],
    *,
    validating: int | None = None,
) -> Datasets:
    """Makes the data sets of both parts of what a recipe names.

    Args:
        recipe: The recipe.
        parts: What it trains on, and what it is validated on; training's where that is nothing.
        make: Makes a data set of a part; its options are those of `RandomPatches`.
        validating: Batches of validation; as many as its samples fill when not given.
    """
    data = recipe.data
    training, held = parts
    held = held if _count(held) else training
    options: dict[str, Any] = {"batch_size": data.batch, "seed": recipe.seed}
    steps = max(1, _count(held) // data.batch) if validating is None else validating
    return (
        make(training, steps=data.steps, augment=True, **options),
        make(held, steps=steps, augment=False, **options),
    )


def _count(part: Any) -> int:
    """Samples of a list, or of pictures that were read whole."""
    return len(getattr(part, "pixels", part))
