"""Whole pictures, as generators learn to make them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import zoo
from kerasdeconv.data.noised import NoisedPictures
from kerasdeconv.data.pictures import CodedPictures, PictureBatches
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe
from kerasdeconv.zoo.cards import Card

_STEPS = 16  # batches of validation


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

    def batches(pictures: np.ndarray, **options: Any) -> PictureBatches:
        options |= {"batch_size": data.batch, "seed": recipe.seed}
        if diffusion is not None:
            return NoisedPictures(pictures, diffusion, **options)
        return CodedPictures(pictures, code=card.arguments["input_shape"][-1], **options)

    parts = picture_parts(data, folder, picture_color(card))
    training, held = (part.pixels for part in parts)
    return (
        batches(training, steps=data.steps),
        batches(held if len(held) else training, steps=_STEPS, augment=False),
    )


GENERATION = Kind(_datasets, ("last",), adversarial=True)
