"""The training and validation parts of the labelled data that a recipe names."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdeconv.data.depth import depth_pairs
from kerasdeconv.data.pairs import picture_files
from kerasdeconv.data.segmentation import labelled_samples
from kerasdeconv.data.splits import split
from kerasdeconv.errors import DataError
from kerasdeconv.train.recipe import DataRecipe

# How samples are read, of kinds of data that have no labels of pixels.
_READERS: dict[str, Callable[[Path], list[Any]]] = {
    "depth": depth_pairs,
    "normals": depth_pairs,
    "flow": picture_files,
    "disparity": picture_files,
}


def labelled_parts(data: DataRecipe, folder: Path) -> tuple[list[Any], list[Any]]:
    """Reads which samples a recipe trains on, and on which it is validated.

    Args:
        data: The recipe's data.
        folder: What holds its data folders.

    Raises:
        DataError: A folder is missing or cannot be used, or a held-out name fits nothing.
        ValueError: The recipe says in several ways what is for validation, or what is outside of no
            field.
    """
    samples = [sample for name in data.folders for sample in _samples(data, folder / name)]
    if data.validation_folders:
        _check_one_way(data)
        held = [s for name in data.validation_folders for s in _samples(data, folder / name)]
    else:
        samples, held = _split(data, samples)
    if data.outside is not None:
        samples = [dataclasses.replace(sample, outside=data.outside) for sample in samples]
    return samples, held


def validation_part(data: DataRecipe, folder: Path) -> list[Any]:
    """Reads the samples of one data folder on which a recipe is validated.

    Raises:
        DataError: The folder cannot be used, or nothing of it is for validation.
    """
    samples = _samples(data, folder)
    if not data.validation_folders:
        held = _split(data, samples)[1]
    else:
        ends = [Path(name).parts for name in data.validation_folders]
        held = samples if any(folder.parts[-len(end) :] == end for end in ends) else []
    if not held:
        wanted = " or ".join(data.validation_folders) or "a folder that it names"
        raise DataError(
            f"The recipe leaves nothing of this folder for validation; it wants {wanted}. "
            f"Received: {str(folder)!r}"
        )
    return held


def _samples(data: DataRecipe, folder: Path) -> list[Any]:
    if data.kind in _READERS:
        return _READERS[data.kind](folder)
    if data.outside is not None and not data.field:
        raise ValueError(f"Nothing is outside without a field. Received: outside={data.outside}")
    return labelled_samples(
        folder,
        labels=data.labels,
        field=data.field,
        values=data.values,
        spacing=data.spacing,
    )


def _split(data: DataRecipe, samples: list[Any]) -> tuple[list[Any], list[Any]]:
    """Whole pictures or volumes, by name or at random, stratified by group."""
    if not data.held_out:
        groups = [sample.group for sample in samples]
        return split(samples, data.validation, groups=groups, seed=data.split_seed)
    _check_one_way(data)
    names = [sample.image.name.split(".")[0] for sample in samples]
    for pattern in data.held_out:
        if not fnmatch.filter(names, pattern):
            raise DataError(f"No picture has a name like this. Received: held_out={pattern!r}")
    held = {name for pattern in data.held_out for name in fnmatch.filter(names, pattern)}
    parts: tuple[list[Any], list[Any]] = ([], [])
    for name, sample in zip(names, samples, strict=True):
        parts[name in held].append(sample)
    return parts


def _check_one_way(data: DataRecipe) -> None:
    if data.held_out and data.validation_folders:
        raise ValueError(
            "Give held_out or validation_folders. "
            f"Received: {list(data.held_out)} and {list(data.validation_folders)}"
        )
