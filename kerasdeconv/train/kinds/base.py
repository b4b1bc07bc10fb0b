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
