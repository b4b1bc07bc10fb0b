"""Flow and disparity, of pairs that are made of single pictures, always the same ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.flow import FlowPatches
from kerasdeconv.data.pairs import PairPatches, enlarge, picture_files
from kerasdeconv.data.stereo import DisparityPatches
from kerasdeconv.evaluation.base import Measured, Progress, kept
from kerasdeconv.metrics import end_point_error

_PAIRS = 8  # made of each picture, on average
_SIDE = 128  # of a pair, for a network that takes any size


def flow(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """The end-point error of the finest output, enlarged bilinearly to the size of the pictures."""
    return _measure(FlowPatches, predictor, data, recipe, progress)


def disparity(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """As `flow`."""
    return _measure(DisparityPatches, predictor, data, recipe, progress)


def _measure(
    patches: type[PairPatches],
    predictor: runtime.Predictor,
    data: str | Path,
    recipe: str | Path | None,
    progress: Progress,
) -> Measured:
    images = [sample.read() for sample in kept(picture_files, data, recipe)]
    sides = tuple(side or _SIDE for side in predictor.input_shape[1:3])
    steps = _PAIRS * len(images)
    options: dict[str, Any] = {"patch": sides, "batch_size": 1, "steps": steps, "augment": False}
    pairs = patches(images, **options, **_motion(recipe))
    errors = []
    for done in range(steps):
        pictures, (truth,) = pairs[done]
        answer = enlarge(predictor.run(pictures)[0][0], sides)
        errors.append([end_point_error(truth, part) for part in (answer, np.zeros_like(truth))])
        progress(done + 1, steps)
    error, zero = (float(mean) for mean in np.mean(errors, axis=0))
    return Measured({"end_point_error": error, "zero": zero}, steps)


def _motion(recipe: str | Path | None) -> dict[str, Any]:
    """How far things move: as a recipe says, or as the data sets have it."""
    if recipe is None:
        return {}
    from kerasdeconv.train.recipe import read_recipe

    return {"shift": read_recipe(recipe).data.shift}
