"""Depth data: pictures with the distance of what each pixel shows."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_files, list_images, read_image

_SUFFIXES = (".png", ".tif", ".tiff", ".npy")
# Mirrored left and right: gravity tells what is up. Intensities as segmentation varies them.
_AUGMENTATION = Augmentation(
    flip=(1,), gamma=(0.67, 1.5), gain=(0.7, 1.42), color=(0.92, 1.08), offset=15
)


@dataclasses.dataclass(frozen=True)
class DepthPair:
    """A picture and where its depth is.

    Attributes:
        image: Picture file.
        depth: Depth file: PNG in 16 bits, TIFF in 16 bits or floats, or NumPy; 0 where there is no
            measurement.
        unit: What 1 in the depth file is in metres.
        group: What kind of picture it is, for stratified splits; may be "".
    """

    image: Path
    depth: Path
    unit: float = 0.001
    group: str = ""

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture (uint8, H x W x 3) and the depth in metres (float32, H x W).

        Depth is 0 where there is no measurement.

        Raises:
            DataError: A file cannot be read, the two differ in size, or the depth is not what a
                camera measures.
        """
        image = read_image(self.image)
        return image, self.unit * _read_depth(self.depth, image.shape[:2])


def depth_pairs(
    folder: str | Path, *, color: str = "color", depth: str = "depth", unit: float = 0.001
) -> list[DepthPair]:
    """Lists the pictures of a folder with the depth files of the same name.

    Args:
        folder: The folder.
        color: Folder of the pictures in it.
        depth: Folder of the depth files in it: .png, .tif, .tiff or .npy.
        unit: What 1 in a depth file is in metres; by default depth is in millimetres.

    Raises:
        DataError: There are no pictures, or one has no depth file, or several.
        ValueError: The unit is no length.
    """
    if not 0 < unit < math.inf:
        raise ValueError(f"unit must be metres, more than 0. Received: {unit}")
    folder = Path(folder)
    files: dict[str, list[Path]] = {}
    for path in list_files(folder / depth, _SUFFIXES, "depth"):
        files.setdefault(path.stem, []).append(path)
    pairs = []
    for image in list_images(folder / color):
        found = files.get(image.stem, [])
        if len(found) != 1:
            raise DataError(
                f"An image must have one file of depth in {str(folder / depth)!r}, this one has "
                f"{len(found)}. Received: {image.name}"
            )
        pairs.append(DepthPair(image, found[0], unit))
    return pairs


def _read_depth(path: Path, sides: tuple[int, ...]) -> np.ndarray:
    """Reads depth as it is stored, float32, and checks it."""
    try:
        if path.suffix.lower() == ".npy":
            values = np.load(path)
        else:
            with PIL.Image.open(path) as file:
                values = np.asarray(file)
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DataError(f"Not a readable depth file ({error}). Received: {str(path)!r}") from None
    if values.dtype.kind not in "uif" or values.dtype.itemsize < 2:
        raise DataError(
            f"Depth must be in 16 bits or more, this is {values.dtype}: a picture of depth is not "
            f"enough. Received: {str(path)!r}"
        )
    if values.shape != sides:
        raise DataError(
            f"Depth must be one channel of its image's size {sides}, this is {values.shape}. "
            f"Received: {str(path)!r}"
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        raise DataError(
            "Depth must be 0 where there is no measurement, and has negative, infinite or "
            f"undefined numbers (NaN). Received: {str(path)!r}"
        )
    return values.astype(np.float32)


class DepthPatches(RandomPatches):
    """Random patches of pictures with their depth, mirrored and changed in brightness.

    Batches are `(image, depth, weights)`: N x h x w x 3 float32 in [0, 255], N x h x w x 1 in
    metres, and N x h x w with 1 where depth was measured and 0 elsewhere.

    Args:
        pairs: Pictures with depth; they are read into memory.
        patch: Side of a patch, or its height and width.
        limit: Metres from which on a measurement does not count.
        augmentation: What to vary. Depth is not interpolated.
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether to vary patches; without it they are cut from the middle, one picture after
            the other.

    Raises:
        DataError: A file cannot be read, or a picture is smaller than a patch.
        ValueError: The augmentation magnifies, which would put things nearer than depth says.
    """

    def __init__(
        self,
        pairs: Sequence[DepthPair],
        *,
        patch: int | tuple[int, ...] = 256,
        limit: float = math.inf,
        augmentation: Augmentation = _AUGMENTATION,
        batch_size: int = 8,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        if augmentation.zoom != (1.0, 1.0):
            raise ValueError(
                "What is magnified is nearer than its depth says: depth takes no zoom. "
                f"Received: {augmentation.zoom}"
            )
        self.sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
        self.limit, self.augmentation = limit, augmentation
        self._pairs = [pair.read() for pair in pairs]
        for pair, (_, depth) in zip(pairs, self._pairs, strict=True):
            if any(have < want for have, want in zip(depth.shape, self.sides, strict=True)):
                raise DataError(
                    f"A picture must be as large as a patch of {self.sides}, this one is "
                    f"{depth.shape}. Received: {str(pair.image)!r}"
                )

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self.augment:
            return super().__getitem__(index)
        samples = [self._middle(*pair) for pair in self.in_turn(index, self._pairs)]
        return tuple(np.stack(part) for part in zip(*samples, strict=True))

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts and varies one patch."""
        pair = self._pairs[rng.integers(len(self._pairs))]
        image, depth = self.augmentation.patch(rng, *pair, self.sides)
        return self._parts(self.augmentation.vary(rng, image, (0.0, 255.0)), depth)

    def _middle(self, image: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
        starts = [(h - w) // 2 for h, w in zip(image.shape[:2], self.sides, strict=True)]
        window = tuple(slice(s, s + want) for s, want in zip(starts, self.sides, strict=True))
        return self._parts(image[window].astype(np.float32), depth[window])

    def _parts(self, image: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
        weights = ((depth > 0) & (depth < self.limit)).astype(np.float32)
        return image, depth[..., None], weights
