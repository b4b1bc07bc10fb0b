"""The training and validation parts of the labelled data that a recipe names."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from kerasdeconv.data.depth import depth_pairs
from kerasdeconv.data.pairs import picture_files
from kerasdeconv.data.pictures import Pictures, read_pictures
from kerasdeconv.data.segmentation import labelled_samples
from kerasdeconv.data.solid_views import SolidViews, read_solids
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
        held = samples if _is_one_of(folder, data.validation_folders) else []
    if not held:
        raise _nothing_of(data, folder)
    return held


def _is_one_of(folder: Path, names: Sequence[str]) -> bool:
    """Whether a folder is one that a recipe names, below whatever holds its data."""
    ends = [Path(name).parts for name in names]
    return any(folder.parts[-len(end) :] == end for end in ends)


def _nothing_of(data: DataRecipe, folder: Path) -> DataError:
    wanted = " or ".join(data.validation_folders) or "a folder that it names"
    return DataError(
        f"The recipe leaves nothing of this folder for validation; it wants {wanted}. "
        f"Received: {str(folder)!r}"
    )


def picture_parts(data: DataRecipe, folder: Path, color: str) -> tuple[Pictures, Pictures]:
    """Reads which whole pictures a recipe trains on, and on which it is validated.

    Args:
        data: The recipe's data.
        folder: What holds its data folders.
        color: "gray" or "rgb".

    Raises:
        DataError: A folder is missing or cannot be used, or its pictures are of another size.
        ValueError: The recipe says in several ways what is for validation.
    """

    def read(name: str) -> Pictures:
        return read_pictures(folder / name, color)

    return _parts(data, read, _joined)


def solid_parts(data: DataRecipe, folder: Path) -> tuple[SolidViews, SolidViews]:
    """Reads which bodies a recipe trains on, and on which it is validated.

    Raises:
        DataError: A folder is missing or cannot be used, or its bodies are of another size.
        ValueError: The recipe says in several ways what is for validation.
    """
    return _parts(data, lambda name: read_solids(folder / name), _joined_solids)


_Whole = TypeVar("_Whole", Pictures, SolidViews)


def _parts(
    data: DataRecipe, read: Callable[[str], _Whole], join: Callable[[list[_Whole]], _Whole]
) -> tuple[_Whole, _Whole]:
    """The training and validation parts of what is read whole."""
    training = join([read(name) for name in data.folders])
    if data.validation_folders:
        if data.last:
            raise ValueError(
                "Give last or validation_folders. "
                f"Received: {data.last} and {list(data.validation_folders)}"
            )
        return training, join([read(name) for name in data.validation_folders])
    numbers = list(range(len(training.pixels)))
    if data.last and not data.last < len(numbers):
        raise ValueError(
            f"Validation must leave some of the {len(numbers)} pictures for training. "
            f"Received: {data.last}"
        )
    if data.last:
        kept, held = numbers[: -data.last], numbers[-data.last :]
    else:
        kept, held = split(numbers, data.validation, groups=training.groups, seed=data.split_seed)
    return training.part(np.array(kept, int)), training.part(np.array(held, int))


def part_of(
    data: DataRecipe,
    folder: Path,
    parts: Callable[[DataRecipe, Path], tuple[_Whole, _Whole]],
    *,
    training: bool = False,
) -> _Whole:
    """Reads what of one data folder a recipe is validated on.

    Args:
        data: The recipe's data.
        folder: The data folder.
        parts: `picture_parts`, with a colour, or `solid_parts`.
        training: Whether what it trains on is wanted instead.

    Raises:
        DataError: The folder cannot be used, or nothing of it is for validation.
    """
    alone = dataclasses.replace(data, folders=(str(folder),), validation_folders=())
    if not data.validation_folders:
        return parts(alone, Path())[0 if training else 1]
    if not _is_one_of(folder, data.folders if training else data.validation_folders):
        raise _nothing_of(data, folder)
    return parts(dataclasses.replace(alone, last=0, validation=0.0), Path())[0]


def _joined_solids(parts: list[SolidViews]) -> SolidViews:
    shapes = {tuple(values.shape[1:] for values in part) for part in parts}
    if len(shapes) > 1:
        raise DataError(f"Solids of all folders must be of one size. Received: {sorted(shapes)}")
    return SolidViews(*(np.concatenate(values) for values in zip(*parts, strict=True)))


def _joined(parts: list[Pictures]) -> Pictures:
    sizes = {part.pixels.shape[1:] for part in parts}
    if len(sizes) > 1:
        raise DataError(f"Pictures of all folders must be of one size. Received: {sorted(sizes)}")
    labels = [part.labels for part in parts if part.labels is not None]
    return Pictures(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate(labels) if len(labels) == len(parts) else None,
    )


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
