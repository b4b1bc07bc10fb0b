"""Whole pictures, as generators learn to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv import zoo
from kerasdeconv.data.pictures import CodedPictures
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe
from kerasdeconv.zoo.cards import Card


def picture_color(card: Card) -> str:
    """The colour of the pictures that an entry makes: what it takes, or its `channels` say."""
    return card.convention.color or {1: "gray", 3: "rgb"}[card.arguments["channels"]]


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    """Codes and pictures for adversarial training."""
    data, card = recipe.data, zoo.card(recipe.entry)
    if recipe.fit.adversarial is None:
        raise ValueError(
            f"{recipe.entry!r} learns against a discriminator: give [fit.adversarial]. "
            f"Received: adversarial={recipe.fit.adversarial}"
        )
    training, held = picture_parts(data, folder, picture_color(card))
    options: dict[str, Any] = {
        "code": card.arguments["input_shape"][-1],
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    held_pixels = held.pixels if len(held.pixels) else training.pixels
    return (
        CodedPictures(training.pixels, steps=data.steps, **options),
        CodedPictures(held_pixels, steps=4, augment=False, **options),
    )


GENERATION = Kind(_datasets, ("last",), adversarial=True)
