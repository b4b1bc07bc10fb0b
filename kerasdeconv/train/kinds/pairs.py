"""Pairs of pictures, made of single ones: to learn flow or disparity."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import zoo
from kerasdeconv.data.flow import FlowPatches
from kerasdeconv.data.pairs import PairPatches
from kerasdeconv.data.stereo import DisparityPatches
from kerasdeconv.metrics import EndPointError
from kerasdeconv.models.coarse_to_fine import COARSEST
from kerasdeconv.train.kinds.base import Datasets, Kind, both_parts
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.train.recipe import Recipe

_STEPS = 16  # batches of validation


def _flow(recipe: Recipe, folder: Path) -> Datasets:
    return _datasets(FlowPatches, 2, recipe, folder)


def _disparity(recipe: Recipe, folder: Path) -> Datasets:
    return _datasets(DisparityPatches, 1, recipe, folder)


def _datasets(patches: type[PairPatches], finest: int, recipe: Recipe, folder: Path) -> Datasets:
    """Data for a network whose finest output has a level; with all levels where it gives them."""
    data = recipe.data
    arguments = zoo.card(recipe.entry).arguments | recipe.arguments
    levels = range(finest, COARSEST + 1) if arguments.get("multiscale") else (finest,)
    parts = [[sample.read() for sample in part] for part in labelled_parts(data, folder)]
    make = functools.partial(
        patches,
        patch=data.sides or data.patch,
        strides=[2**level for level in levels],
        shift=data.shift,
    )
    return both_parts(recipe, (parts[0], parts[1]), make, validating=_STEPS)


def _end_point_error(model: keras.Model) -> list[Any]:
    """That of the finest output."""
    finest, others = [EndPointError()], model.outputs[1:]
    return [finest, *([] for _ in others)] if others else finest


_FIELDS = ("held_out", "patch", "sides", "shift")
FLOW = Kind(_flow, _FIELDS, _end_point_error)
DISPARITY = Kind(_disparity, _FIELDS, _end_point_error)
