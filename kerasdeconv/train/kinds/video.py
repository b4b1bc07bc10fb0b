"""Videos of whole pictures that move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.pictures import Pictures
from kerasdeconv.data.video import MovingPictures
from kerasdeconv.metrics import PSNR
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import Recipe

_VALIDATING = 128  # videos


def _datasets(recipe: Recipe, folder: Path) -> Datasets:
    data, card = recipe.data, zoo.card(recipe.entry)
    frames, height, width, channels = card.arguments["input_shape"]
    parts = picture_parts(data, folder, "rgb" if channels == 3 else "gray")

    def make(part: Pictures, **options: Any) -> MovingPictures:
        horizon = card.arguments.get("horizon", 10)
        sides = (height, width)
        return MovingPictures(part.pixels, frames=frames, horizon=horizon, sides=sides, **options)

    return both_parts(recipe, parts, make, validating=max(1, _VALIDATING // data.batch))


def _metrics(model: keras.Model) -> list[keras.metrics.Metric]:
    """PSNR of all frames of a video together; `kerasdeconv evaluate` has that of each frame."""
    return [PSNR()]


VIDEO = Kind(_datasets, ("last",), _metrics)
