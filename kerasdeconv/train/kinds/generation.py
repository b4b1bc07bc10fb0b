"""Whole pictures, as generators learn to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv import zoo
from kerasdeconv.data.noised import NoisedPictures
from kerasdeconv.data.pictures import CodedPictures, PictureBatches, Pictures
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe
from kerasdeconv.zoo.cards import Card

_STEPS = 16  # batches of validation


def picture_color(card: Card) -> str:
    """The colour of the pictures that an entry makes: what it takes, or its `channels` say."""
    return card.convention.color or {1: "gray", 3: "rgb"}[card.arguments["channels"]]


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    """Pictures with noise for diffusion; codes and pictures for adversarial training."""
    card = zoo.card(recipe.entry)
    diffusion = card.convention.diffusion
    if diffusion is None and recipe.fit.adversarial is None:
        raise ValueError(
            f"{recipe.entry!r} learns against a discriminator: give [fit.adversarial]. "
            f"Received: adversarial={recipe.fit.adversarial}"
        )

    def make(part: Pictures, **options: Any) -> PictureBatches:
        if diffusion is not None:
            return NoisedPictures(part.pixels, diffusion, **options)
        return CodedPictures(part.pixels, code=card.arguments["input_shape"][-1], **options)

    parts = picture_parts(recipe.data, folder, picture_color(card))
    return both_parts(recipe, parts, make, validating=_STEPS)


GENERATION = Kind(_datasets, ("last",), adversarial=True)
