"""Places drawn by class, so that rare classes are seen as often as common ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kerasdeconv.errors import DataError


class ClassBalance:
    """Draws a share of all patches around a pixel of a class, all classes equally often.

    A class is drawn first, then a group of pictures that have it, then one of these, then one of
    its pixels, each time with equal chances.

    Args:
        share: Share of the patches that are drawn this way; the others are not drawn here.
        labels: Gives the class numbers at each pixel of each picture.
        groups: Numbers of the pictures of each group.
        ignore: The label of pixels that belong to no class.

    Raises:
        DataError: A share is to be drawn, and there is no pixel of any class.
        ValueError: The share is out of range.
    """

    def __init__(
        self,
        share: float,
        labels: Callable[[], Sequence[np.ndarray]],
        groups: Sequence[Sequence[int]],
        ignore: int = 255,
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"balance must be from 0 to 1. Received: {share}")
        self.share = share
        self._labels = labels() if share else []
        present = [set(np.unique(part).tolist()) - {ignore} for part in self._labels]
        self.classes = sorted(set().union(*present))
        if share and not self.classes:
            raise DataError(f"No pixel belongs to a class. Received: {len(present)} pictures")
        having = [[[i for i in group if c in present[i]] for group in groups] for c in self.classes]
        self._having = [[group for group in part if group] for part in having]

    def draw(self, rng: np.random.Generator) -> tuple[int, tuple[int, ...]] | None:
        """Draws the number of a picture and a pixel of it; None where the place is left open."""
        if not self.share or rng.uniform() >= self.share:
            return None
        chosen = int(rng.integers(len(self.classes)))
        group = self._having[chosen][rng.integers(len(self._having[chosen]))]
        index = group[rng.integers(len(group))]
        labels = self._labels[index]
        places = np.flatnonzero(labels == self.classes[chosen])
        place = np.unravel_index(places[rng.integers(len(places))], labels.shape)
        return index, tuple(int(coordinate) for coordinate in place)
