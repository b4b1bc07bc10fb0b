"""What all measures share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

Progress = Callable[[int, int], None]


class Measured(NamedTuple):
    """The figures of a subject on a folder, and over how many pictures they were taken."""

    figures: dict[str, Any]
    pictures: int


def kept(
    read: Callable[[str | Path], list[Any]], data: str | Path, recipe: str | Path | None
) -> list[Any]:
    """Reads the validation part of a recipe; everything without one."""
    if recipe is None:
        return read(data)
    from kerasdeconv.train.parts import validation_part
    from kerasdeconv.train.recipe import read_recipe

    return validation_part(read_recipe(recipe).data, Path(data))
