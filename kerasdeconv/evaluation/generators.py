"""Generators: FID and Inception Score of the pictures that they make of codes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from kerasdeconv import runtime, zoo
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import Measured, Progress, answers, kept_pictures
from kerasdeconv.evaluation.generation import generation, inception
from kerasdeconv.imaging import to_uint8

_CLASSIFIER = "classifier.mnist"


def generators(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Scores as many pictures as are held out, rounded to bytes, of codes that are always the same.

    Features are those of `classifier.mnist` where it takes such pictures, and Inception v3's
    otherwise.
    """
    if len(predictor.input_shapes) != 1 or len(predictor.input_shape) != 2:
        raise ValueError(
            "Only generators of pictures from codes have this measure. "
            f"Received: inputs of shapes {predictor.input_shapes}"
        )
    first = predictor.run_many(_codes(predictor, 1))[0]
    color = {1: "gray", 3: "rgb"}[first.shape[-1]]
    held = kept_pictures(data, recipe, color).pixels
    learned = kept_pictures(data, recipe, color, training=True).pixels
    if held.shape[1:] != first.shape[1:]:
        raise DataError(
            f"The network makes pictures of shape {first.shape[1:]}. "
            f"Received: {held.shape[1:]} in {str(data)!r}"
        )
    made = to_uint8(answers(predictor, _codes(predictor, len(held)), progress)[0])
    figures = generation(
        made, reference=learned, held_out=held, classifier=_classifier(held.shape[1:])
    )
    return Measured(figures, len(made))


def _codes(predictor: runtime.Predictor, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    length = predictor.input_shape[-1] or 0  # a code has a length; sides of pictures may be None
    return rng.normal(size=(count, length)).astype(np.float32)


def _classifier(shape: tuple[int, ...]) -> keras.Model | str:
    """What gives features of pictures of a shape."""
    known = zoo.card(_CLASSIFIER).arguments["input_shape"]
    return _CLASSIFIER if shape == known else inception(shape)  # type: ignore[arg-type]
