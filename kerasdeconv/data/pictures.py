"""Whole pictures of one size, as autoencoders and generators learn from: arrays or folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kerasdeconv.data.archives import read_arrays
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, read_image


class Pictures(NamedTuple):
    """Pictures of one size.

    Attributes:
        pixels: uint8, N x height x width x channels.
        labels: Class of each picture, int32, or None where nothing says it.
    """

    pixels: np.ndarray
    labels: np.ndarray | None = None

    @property
    def groups(self) -> list[str] | None:
        """A name for each picture's class, by which they are split: files may be in its order."""
        return None if self.labels is None else [f"{label:09}" for label in self.labels]

    def part(self, chosen: np.ndarray) -> Pictures:
        """The pictures of some numbers."""
        return Pictures(self.pixels[chosen], None if self.labels is None else self.labels[chosen])


def read_pictures(folder: str | Path, color: str = "gray") -> Pictures:
    """Reads all pictures of a folder into memory.

    Args:
        folder: Holds one .npz file with `x` (N x height x width, or with channels; uint8) and, if
            there are classes, `y` (N); or picture files of one size, in the order of their names.
        color: "gray" for one channel, "rgb" for three.

    Raises:
        DataError: There are no pictures, or they are not of one size, or not as described.
        ValueError: No such colour.
    """
    if color not in ("gray", "rgb"):
        raise ValueError(f"color must be 'gray' or 'rgb'. Received: {color!r}")
    folder = Path(folder)
    archives = sorted(folder.glob("*.npz")) if folder.is_dir() else []
    if len(archives) > 1:
        raise DataError(f"The folder holds several .npz files. Received: {str(folder)!r}")
    if archives:
        pixels, *classes = read_arrays(archives[0], ["x"], more=["y"])
        return _checked(pixels, classes[0] if classes else None, color, archives[0])
    paths = list_images(folder)
    read = [read_image(path, {"gray": "L", "rgb": "RGB"}[color]) for path in paths]
    for path, picture in zip(paths, read, strict=True):
        if picture.shape != read[0].shape:
            raise DataError(
                f"Pictures must be of one size, {read[0].shape[:2]} as the first. "
                f"Received: {picture.shape[:2]} in {str(path)!r}"
            )
    return _checked(np.stack(read), None, color, folder)


def _checked(x: np.ndarray, y: np.ndarray | None, color: str, where: Path) -> Pictures:
    pixels = x[..., None] if x.ndim == 3 else x
    channels = {"gray": 1, "rgb": 3}[color]
    if pixels.ndim != 4 or pixels.shape[-1] != channels or pixels.dtype != np.uint8 or not x.size:
        raise DataError(
            f"Pictures must be uint8, N x height x width x {channels}. "
            f"Received: {x.dtype} {x.shape} in {str(where)!r}"
        )
    if y is not None and (y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer)):
        raise DataError(
            f"Classes must be {len(x)} whole numbers. "
            f"Received: {y.dtype} {y.shape} in {str(where)!r}"
        )
    return Pictures(pixels, None if y is None else y.astype(np.int32))


class PictureBatches(RandomPatches):
    """Random batches of whole pictures, each its own target: for autoencoders and the like.

    Data sets with other inputs or targets are made of it by overriding `sample`.

    Args:
        pictures: What to draw from, uint8, N x height x width x channels.
        batch_size: Samples in a batch.
        steps: Batches in an epoch.
        seed: Seed of all random choices.
        augment: Without it every epoch is the same.
    """

    def __init__(
        self,
        pictures: np.ndarray,
        *,
        batch_size: int = 64,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        if not len(pictures):
            raise ValueError("There must be pictures to draw from. Received: none")
        self.pictures = pictures

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draws one picture, float32 in [0, 255]."""
        return self.pictures[rng.integers(len(self.pictures))].astype(np.float32)

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Makes one sample, see `RandomPatches`."""
        picture = self.draw(rng)
        return picture, picture


class CodedPictures(PictureBatches):
    """Random batches of codes, and of the pictures that those made of them are to look like.

    Codes are normally distributed, and have nothing to do with the pictures beside them.

    Args:
        pictures: See `PictureBatches`.
        code: Length of a code.
        **options: See `PictureBatches`.
    """

    def __init__(self, pictures: np.ndarray, *, code: int, **options: Any) -> None:
        super().__init__(pictures, **options)
        self.code = code

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Makes one sample, see `RandomPatches`."""
        return rng.normal(size=self.code).astype(np.float32), self.draw(rng)


class ClassifiedPictures(PictureBatches):
    """Random batches of whole pictures, and the class of each.

    Args:
        pictures: What to draw from, with classes.
        batch_size: Samples in a batch.
        **options: See `PictureBatches`.

    Raises:
        DataError: The pictures have no classes.
    """

    def __init__(self, pictures: Pictures, *, batch_size: int = 64, **options: Any) -> None:
        super().__init__(pictures.pixels, batch_size=batch_size, **options)
        if pictures.labels is None:
            raise DataError(f"The pictures have no classes. Received: {len(self.pictures)} of them")
        self.labels = pictures.labels

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Makes one sample, see `RandomPatches`."""
        number = rng.integers(len(self.pictures))
        return self.pictures[number].astype(np.float32), self.labels[number]


class PosteriorBatches(PictureBatches):
    """Random batches of whole pictures for variational autoencoders, with weights of both losses.

    What the posterior costs has a weight that rises linearly from 0 to 1 in the first epochs (see
    `kerasdeconv.losses.GaussianKL`): it is the sample weight of the second output. It follows from
    epoch and step alone, so that a training that was interrupted goes on with the right one; in
    `fit`, `kerasdeconv.data.patches.FollowEpoch` says which epoch it is.

    Args:
        pictures: See `PictureBatches`.
        annealing: In how many epochs it rises; 0 for a weight of 1 all along, as it is without
            `augment`.
        **options: See `PictureBatches`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, pictures: np.ndarray, *, annealing: int = 0, **options: Any) -> None:
        super().__init__(pictures, **options)
        if annealing < 0:
            raise ValueError(f"annealing must be 0 or more. Received: {annealing}")
        self.annealing = annealing

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        picture, target = super().__getitem__(index)
        weight = 1.0
        if self.annealing and self.augment:
            weight = min(1.0, (self.epoch + (index + 1) / self.steps) / self.annealing)
        ones = np.ones(len(picture), np.float32)
        # The loss of the posterior has no target.
        return picture, (target, 0 * ones[:, None]), (ones, np.float32(weight) * ones)
