"""Depth, and the surface normals that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.depth import depth_pairs
from kerasdeconv.data.normals import REACH, normals_from_depth
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import Measured, Progress, kept
from kerasdeconv.evaluation.subjects import tile_of
from kerasdeconv.metrics import abs_rel, angular_errors, delta_accuracy, rmse


def depth(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Over all pixels of all pictures whose depth is known, beside their median as every answer."""
    pairs = list(_answers(predictor, data, recipe, progress, lambda depth: depth[..., None]))
    wanted = np.concatenate([truth.ravel() for truth, _ in pairs])
    got = np.concatenate([answer.ravel() for _, answer in pairs])
    figures = {
        "abs_rel": abs_rel(wanted, got),
        "rmse": rmse(wanted, got),
        "delta1": delta_accuracy(wanted, got),
        "abs_rel_of_median": abs_rel(wanted, np.full_like(wanted, np.median(wanted[wanted > 0]))),
    }
    return Measured(figures, len(pairs))


def normals(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Over all pixels of all pictures whose normals are known; the camera is the recipe's.

    Raises:
        DataError: No recipe says the camera's focal length.
    """
    focal = _focal(recipe)
    pairs = list(
        _answers(
            predictor,
            data,
            recipe,
            progress,
            lambda depth: normals_from_depth(depth, focal=focal, reach=REACH),
        )
    )
    errors = np.concatenate([angular_errors(wanted, got) for wanted, got in pairs])
    figures = {"mean_angle": float(np.mean(errors)), "median_angle": float(np.median(errors))}
    for most in (11.25, 22.5, 30):
        figures[f"within_{int(most)}"] = float(np.mean(errors < most))
    return Measured(figures, len(pairs))


def _answers(
    predictor: runtime.Predictor,
    data: str | Path,
    recipe: str | Path | None,
    progress: Progress,
    truth: Callable[[np.ndarray], np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What is wanted of each picture, made of its depth, and what is answered."""
    samples = kept(depth_pairs, data, recipe)
    for done, sample in enumerate(samples, start=1):
        image, distance = sample.read()
        yield truth(distance), predictor.predict_tiled(image, tile=tile_of(predictor, image))
        progress(done, len(samples))


def _focal(recipe: str | Path | None) -> float:
    from kerasdeconv.train.recipe import read_recipe

    focal = read_recipe(recipe).data.focal if recipe is not None else 0.0
    if focal <= 0:
        raise DataError(
            "Normals follow from depth and the camera's focal length: give a recipe that says it. "
            f"Received: recipe={None if recipe is None else str(recipe)!r}"
        )
    return focal
