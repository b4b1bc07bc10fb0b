"""Views of solid bodies with their voxels and points, from a folder, to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kerasdeconv.data.archives import read_arrays
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.errors import DataError

TARGETS = ("voxels", "points")


class SolidViews(NamedTuple):
    """Views of bodies, and the bodies.

    Attributes:
        pixels: uint8, N x height x width x 3.
        voxels: Which are occupied, eight to a byte, uint8, N x side x side x side/8: away, down,
            right.
        points: On the surface, N x number x 3: right, down, away, in [-1, 1].
    """

    pixels: np.ndarray
    voxels: np.ndarray
    points: np.ndarray

    @property
    def groups(self) -> None:
        """They are of no classes."""
        return None

    def part(self, chosen: np.ndarray) -> SolidViews:
        """The bodies of some numbers."""
        return SolidViews(*(values[chosen] for values in self))

    def view(self, number: int) -> np.ndarray:
        """The view of one body, float32 in [0, 255]."""
        return self.pixels[number].astype(np.float32)

    def target(self, number: int, kind: str) -> np.ndarray:
        """One body, float32: side x side x side x 1 voxels, or its points.

        Args:
            number: Which body.
            kind: One of `TARGETS`.
        """
        if kind == "points":
            return self.points[number].astype(np.float32)
        return np.unpackbits(self.voxels[number], axis=-1)[..., None].astype(np.float32)


def read_solids(folder: str | Path) -> SolidViews:
    """Reads the bodies of a folder of `write_synthetic("solids", ...)` into memory.

    Raises:
        DataError: There are none, or they are not as described.
    """
    path = Path(folder) / "solids.npz"
    views = SolidViews(*read_arrays(path, ["x", "voxels", "points"]))
    shapes = tuple(values.shape for values in views)
    ranks = [len(shape) for shape in shapes]
    if ranks != [4, 4, 3] or len({shape[0] for shape in shapes}) > 1 or not len(views.pixels):
        raise DataError(
            "Solids must be as many pictures, grids and clouds. "
            f"Received: {shapes} in {str(path)!r}"
        )
    return views


class SolidBatches(RandomPatches):
    """Batches of views and bodies: at random, or one after the other.

    Args:
        views: What to draw from.
        target: What of the bodies, one of `TARGETS`.
        batch_size: Samples in a batch.
        steps: Batches in an epoch.
        seed: Seed of all random choices.
        augment: Whether bodies are drawn; without it they come in their order.
    """

    def __init__(
        self,
        views: SolidViews,
        *,
        target: str,
        batch_size: int = 32,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        if target not in TARGETS:
            raise ValueError(f"target must be one of {TARGETS}. Received: {target!r}")
        self.views, self.target = views, target

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        if self.augment:
            return super().__getitem__(index)
        samples = [self._of(i) for i in self.in_turn(index, range(len(self.views.pixels)))]
        return tuple(np.stack(parts) for parts in zip(*samples, strict=True))

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Makes one sample: a view in [0, 255], and the body."""
        return self._of(int(rng.integers(len(self.views.pixels))))

    def _of(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        return self.views.view(number), self.views.target(number, self.target)
