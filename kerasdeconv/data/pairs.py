"""Pairs of pictures with what lies between them: what flow and disparity share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.ndimage

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.patches import RandomPatches, dihedral
from kerasdeconv.imaging import list_images, read_image

# Of each of the two pictures by itself: two exposures differ a little.
_AUGMENTATION = Augmentation(gamma=(0.9, 1.1), gain=(0.9, 1.1), color=(0.95, 1.05), noise=4)


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture file.

    Attributes:
        image: The file.
        group: What kind of picture it is, for stratified splits; may be "".
    """

    image: Path
    group: str = ""

    def read(self) -> np.ndarray:
        """Reads it: uint8, H x W x 3.

        Raises:
            DataError: The file cannot be read.
        """
        return read_image(self.image)


def picture_files(folder: str | Path) -> list[Picture]:
    """Lists the pictures of a folder, or of its subfolder `HR`.

    Raises:
        DataError: There is no such folder, or no picture in it.
    """
    inner = Path(folder) / "HR"
    return [Picture(path) for path in list_images(inner if inner.is_dir() else folder)]


class Pair(NamedTuple):
    """Two pictures, H x W x 3 in [0, 255], and the truth between them, H x W x channels."""

    first: np.ndarray
    second: np.ndarray
    truth: np.ndarray


class PairPatches(RandomPatches):
    """Random pairs of pictures made of single ones, so that the truth is known exactly.

    Batches are `(pair, truth)`: N x h x w x 6, float32 in [0, 255], the first picture's channels
    and then the second's, and N x h/s x w/s x channels in pixels of the input, the mean over each
    s x s pixels. For networks with an output a level, `truth` is a tuple of one a stride.

    Args:
        images: Pictures, uint8, height x width x 3, of any size: they are continued by mirroring.
        patch: Side of a patch, or its height and width.
        strides: Strides s of the outputs, the finest first.
        shift: Greatest motion in pixels, see `pair`.
        augmentation: How intensities vary, in each picture by itself.
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether every epoch has pairs of its own.

    Raises:
        ValueError: The sides of a patch are no multiples of the strides, or the shift is negative.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        *,
        patch: int | tuple[int, ...] = 128,
        strides: Sequence[int] = (1,),
        shift: float = 8.0,
        augmentation: Augmentation = _AUGMENTATION,
        batch_size: int = 8,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        self.sides = (patch, patch) if isinstance(patch, int) else tuple(patch)
        self.strides = tuple(strides)
        if any(side % stride for side in self.sides for stride in self.strides):
            raise ValueError(
                f"The sides of a patch must be multiples of the strides {self.strides}. "
                f"Received: {self.sides}"
            )
        if shift < 0:
            raise ValueError(f"shift must be 0 or more. Received: {shift}")
        self.shift, self.augmentation = shift, augmentation
        self._images = list(images)

    def pair(self, rng: np.random.Generator) -> Pair:
        """Makes a pair of the size of a patch."""
        raise NotImplementedError

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Makes a pair and varies its intensities."""
        first, second, truth = self.pair(rng)
        seen = [self.augmentation.vary(rng, part, (0.0, 255.0)) for part in (first, second)]
        targets = tuple(shrink(truth, stride) for stride in self.strides)
        return np.concatenate(seen, axis=-1), targets if len(targets) > 1 else targets[0]

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        """Draws a picture, turned or mirrored."""
        return dihedral(rng, self._images[rng.integers(len(self._images))])[0]


def sample_at(image: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Interpolates a picture linearly; what lies beyond its border is mirrored.

    Args:
        image: Height x width x channels.
        places: Rows and columns, 2 x h x w.

    Returns:
        h x w x channels, float32.
    """
    channels = [
        scipy.ndimage.map_coordinates(
            image[..., channel], places, np.float32, order=1, mode="reflect"
        )
        for channel in range(image.shape[-1])
    ]
    return np.stack(channels, axis=-1)


def shrink(truth: np.ndarray, stride: int) -> np.ndarray:
    """Means over each stride x stride pixels; values keep their unit."""
    height, width, channels = truth.shape
    blocks = truth.reshape(height // stride, stride, width // stride, stride, channels)
    return blocks.mean(axis=(1, 3), dtype=np.float32)


def enlarge(answer: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    """Enlarges a map bilinearly, pixel centres at half integers; values keep their unit.

    Args:
        answer: h x w x channels.
        sides: The new height and width.
    """
    axes = [
        (np.arange(want) + 0.5) * have / want - 0.5
        for want, have in zip(sides, answer.shape[:2], strict=True)
    ]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    channels = [
        scipy.ndimage.map_coordinates(answer[..., c], places, np.float32, order=1, mode="nearest")
        for c in range(answer.shape[-1])
    ]
    return np.stack(channels, axis=-1)
