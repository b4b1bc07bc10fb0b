"""Videos of whole pictures that move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.video import MovingPictures
from kerasdeconv.metrics import PSNR
from kerasdeconv.train.kinds.base import Datasets, Kind
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe

_VALIDATING = 128  # videos


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data, card = recipe.data, zoo.card(recipe.entry)
    frames, height, width, channels = card.arguments["input_shape"]
    training, validation = picture_parts(data, folder, "rgb" if channels == 3 else "gray")
    options: dict[str, Any] = {
        "frames": frames,
        "horizon": card.arguments.get("horizon", 10),
        "sides": (height, width),
        "batch_size": data.batch,
        "seed": recipe.seed,
    }
    held = validation if len(validation.pixels) else training
    steps = max(1, _VALIDATING // data.batch)
    return (
        MovingPictures(training.pixels, steps=data.steps, **options),
        MovingPictures(held.pixels, steps=steps, augment=False, **options),
    )


def _metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """PSNR of all frames of a video together; `kerasdeconv evaluate` has that of each frame."""
    return [PSNR()]


VIDEO = Kind(_datasets, ("last",), _metrics)
