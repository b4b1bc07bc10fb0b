"""Whole pictures, as generators learn to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv import zoo
from kerasdeconv.data.noised import NoisedPictures
from kerasdeconv.data.pictures import CodedPictures
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe
from kerasdeconv.zoo.cards import Card


def picture_color(card: Card) -> str:
    """The colour of the pictures that an entry makes: what it takes, or its `channels` say."""
    return card.convention.color or {1: "gray", 3: "rgb"}[card.arguments["channels"]]


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    """Pictures with noise for diffusion; codes and pictures for adversarial training."""
    data, card = recipe.data, zoo.card(recipe.entry)
    diffusion = card.convention.diffusion
    if diffusion is None and recipe.fit.adversarial is None:
        raise ValueError(
            f"{recipe.entry!r} learns against a discriminator: give [fit.adversarial]. "
            f"Received: adversarial={recipe.fit.adversarial}"
        )
    training, held = picture_parts(data, folder, picture_color(card))
    held_pixels = held.pixels if len(held.pixels) else training.pixels
    options: dict[str, Any] = {"batch_size": data.batch, "seed": recipe.seed}
    if diffusion is not None:
        options["diffusion"] = diffusion
        return (
            NoisedPictures(training.pixels, steps=data.steps, **options),
            NoisedPictures(held_pixels, steps=16, augment=False, **options),
        )
    options["code"] = card.arguments["input_shape"][-1]
    return (
        CodedPictures(training.pixels, steps=data.steps, **options),
        CodedPictures(held_pixels, steps=4, augment=False, **options),
    )


GENERATION = Kind(_datasets, ("last",))
