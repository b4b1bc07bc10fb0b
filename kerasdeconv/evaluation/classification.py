"""Classification of whole pictures: accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import Measured, Progress, answers, kept_pictures


def classification(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """The share of pictures whose class has the highest score."""
    pictures = kept_pictures(data, recipe, predictor.convention.color or "gray")
    if pictures.labels is None:
        raise DataError(f"The pictures have no classes. Received: {str(data)!r}")
    scores = answers(predictor, pictures.pixels, progress)[0]
    right = runtime.label_map(predictor.convention, scores) == pictures.labels
    return Measured({"accuracy": float(np.mean(right))}, len(right))
