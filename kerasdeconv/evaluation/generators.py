"""Generators: FID and Inception Score of the pictures that they make of codes or of noise."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from kerasdeconv import runtime, zoo
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import Measured, Progress, kept_pictures
from kerasdeconv.evaluation.generation import generation, inception
from kerasdeconv.runtime import generate

_CLASSIFIER = "classifier.mnist"
_MADE = 2000  # pictures


def generators(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Scores 2,000 pictures, or as many as are held out, rounded to bytes, of a seed.

    FID falls with their number, so that all generators have the same. Diffusion makes them in the
    25 steps of `kerasdeconv.runtime.generate`. Features are those of `classifier.mnist` where it
    takes such pictures, and Inception v3's otherwise.
    """
    first = generate(predictor, 1, steps=1)
    color = {1: "gray", 3: "rgb"}[first.shape[-1]]
    held = kept_pictures(data, recipe, color).pixels
    held = held[np.random.default_rng(0).permutation(len(held))[:_MADE]]
    learned = kept_pictures(data, recipe, color, training=True).pixels
    if held.shape[1:] != first.shape[1:]:
        raise DataError(
            f"The network makes pictures of shape {first.shape[1:]}. "
            f"Received: {held.shape[1:]} in {str(data)!r}"
        )
    made = generate(predictor, len(held), progress=progress)
    figures = generation(
        made, reference=learned, held_out=held, classifier=_classifier(held.shape[1:])
    )
    return Measured(figures, len(made))


def _classifier(shape: tuple[int, ...]) -> keras.Model | str:
    """What gives features of pictures of a shape."""
    known = zoo.card(_CLASSIFIER).arguments["input_shape"]
    return _CLASSIFIER if shape == known else inception(shape)  # type: ignore[arg-type]
