"""Super-resolution training data: patches of luma or RGB with their degraded twins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.data.patches import RandomPatches, dihedral
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, luma, read_image, resize_bicubic, to_uint8


def high_resolution_images(folder: str | Path, color: str | None = "y") -> list[np.ndarray]:
    """Reads the pictures of a folder, or of its subfolder `HR`.

    Args:
        folder: A folder of pictures.
        color: As in a convention: "y" for luma (BT.601), height x width, or "rgb".

    Returns:
        uint8 arrays.

    Raises:
        DataError: There is no such folder, no picture in it, or one that cannot be read.
        ValueError: Another colour.
    """
    if color not in ("y", "rgb"):
        raise ValueError(
            f"Super-resolution is trained and measured on luma or RGB. Received: color={color!r}"
        )
    folder = Path(folder)
    inner = folder / "HR"
    paths = list_images(inner if inner.is_dir() else folder)
    images = (read_image(path) for path in paths)
    return [to_uint8(luma(image)) if color == "y" else image for image in images]


def degrade(image: np.ndarray, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Makes a low-resolution picture as the field's protocol does.

    The picture is cropped to a multiple of the scale, shrunk by MATLAB's antialiased bicubic, and
    rounded to 8 bits.

    Args:
        image: height x width (x channels), in [0, 255].
        scale: Whole shrinking factor.

    Returns:
        The low-resolution picture and the cropped high-resolution one, uint8.
    """
    height, width = (side - side % scale for side in image.shape[:2])
    high = to_uint8(image[:height, :width])
    return to_uint8(resize_bicubic(high, 1 / scale)), high


class SuperResolutionPatches(RandomPatches):
    """Random pairs of low- and high-resolution patches, with pixel weights.

    Batches are `(low, high, weights)`: N x p x p x C and N x sp x sp x C, float32 in [0, 255], and
    N x sp x sp with 0 on the border and 1 elsewhere. For networks with an output a level, `high`
    and `weights` are tuples of one a level.

    Args:
        images: High-resolution pictures, height x width (luma) or height x width x 3, uint8.
        scale: Upsampling factor s.
        levels: Upsampling factors of the outputs, s first, where there are several. The coarser
            targets are the high-resolution picture, shrunk as the low-resolution one is.
        patch: Side p of a low-resolution patch.
        border: Low-resolution pixels along the border of a patch that don't count in the loss. What
            never counts is never learned: a picture then gets a frame of wrong pixels.
        shrinks: The pictures are used in these sizes too (1.0 is the original).
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether patches are turned and mirrored.

    Raises:
        DataError: No picture is as large as a patch.
        ValueError: The border leaves nothing of a patch.
    """

    def __init__(
        self,
        images: Sequence[np.ndarray],
        *,
        scale: int,
        levels: Sequence[int] = (),
        patch: int = 32,
        border: int = 0,
        shrinks: Sequence[float] = (1.0,),
        batch_size: int = 16,
        steps: int = 1000,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        self.scale, self.patch = scale, patch
        if not 0 <= 2 * border < patch:
            raise ValueError(
                f"A border must be 0 or more and less than half a patch of {patch}. "
                f"Received: {border}"
            )
        pairs = []
        for image in images:
            for shrink in shrinks:
                size = image if shrink == 1.0 else to_uint8(resize_bicubic(image, shrink))
                pairs.append(degrade(size, scale))
        self.pairs = [pair for pair in pairs if min(pair[0].shape[:2]) >= patch]
        if not self.pairs:
            raise DataError(
                f"No image is {patch * scale} pixels wide and high. Received: {len(images)}"
            )
        self.levels = tuple(levels) or (scale,)
        self._targets = [[self._shrunk(high, n) for n in self.levels] for _, high in self.pairs]
        areas = np.array([low.size for low, _ in self.pairs], dtype=float)
        self._chances = areas / areas.sum()
        self._weights = tuple(np.zeros((patch * n,) * 2, np.float32) for n in self.levels)
        for weights, level in zip(self._weights, self.levels, strict=True):
            inner = slice(border * level, (patch - border) * level)
            weights[inner, inner] = 1.0

    def _shrunk(self, high: np.ndarray, level: int) -> np.ndarray:
        """The high-resolution picture at `level` times the low-resolution one's size."""
        if level == self.scale:
            return high
        return to_uint8(resize_bicubic(high, level / self.scale))

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Cuts patches from one place of a picture; large pictures are chosen more often."""
        chosen = rng.choice(len(self.pairs), p=self._chances)
        low, p = self.pairs[chosen][0], self.patch
        y, x = (rng.integers(side - p + 1) for side in low.shape[:2])
        patches = [
            image[y * n : (y + p) * n, x * n : (x + p) * n]
            for n, image in zip((1, *self.levels), (low, *self._targets[chosen]), strict=True)
        ]
        if self.augment:
            patches = dihedral(rng, *patches)
        small, *targets = (np.atleast_3d(patch).astype("float32") for patch in patches)
        if len(targets) == 1:
            return small, targets[0], self._weights[0]
        return small, tuple(targets), self._weights  # not lists, which TensorFlow refuses here
