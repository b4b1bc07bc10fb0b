"""Super-resolution training data: luma patches with their degraded twins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasdeconv.data.patches import RandomPatches, dihedral
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, luma, read_image, resize_bicubic, to_uint8


def high_resolution_lumas(folder: str | Path) -> list[np.ndarray]:
    """Reads the pictures of a folder, or of its subfolder `HR`, as 8-bit luma (BT.601).

    Raises:
        DataError: There is no such folder, no picture in it, or one that cannot be read.
    """
    folder = Path(folder)
    inner = folder / "HR"
    paths = list_images(inner if inner.is_dir() else folder)
    return [to_uint8(luma(read_image(path))) for path in paths]


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
    """Random pairs of low- and high-resolution luma patches, with pixel weights.

    Batches are `(low, high, weights)`: N x p x p x 1 and N x sp x sp x 1, float32 in [0, 255], and
    N x sp x sp with 0 on the border, where a network with zero padding cannot know better, and 1
    elsewhere.

    Args:
        lumas: High-resolution pictures, height x width, uint8.
        scale: Upsampling factor s.
        patch: Side p of a low-resolution patch.
        border: Low-resolution pixels along the border of a patch that don't count in the loss.
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
        lumas: Sequence[np.ndarray],
        *,
        scale: int,
        patch: int = 32,
        border: int = 4,
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
        for image in lumas:
            for shrink in shrinks:
                size = image if shrink == 1.0 else to_uint8(resize_bicubic(image, shrink))
                pairs.append(degrade(size, scale))
        self.pairs = [pair for pair in pairs if min(pair[0].shape) >= patch]
        if not self.pairs:
            raise DataError(
                f"No image is {patch * scale} pixels wide and high. Received: {len(lumas)}"
            )
        areas = np.array([low.size for low, _ in self.pairs], dtype=float)
        self._chances = areas / areas.sum()
        self._weights = np.zeros((patch * scale,) * 2, np.float32)
        inner = slice(border * scale, (patch - border) * scale)
        self._weights[inner, inner] = 1.0

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts one pair of patches; large pictures are chosen more often."""
        low, high = self.pairs[rng.choice(len(self.pairs), p=self._chances)]
        p, s = self.patch, self.scale
        y, x = (rng.integers(side - p + 1) for side in low.shape)
        low, high = low[y : y + p, x : x + p], high[y * s : (y + p) * s, x * s : (x + p) * s]
        if self.augment:
            low, high = dihedral(rng, low, high)
        return low[..., None].astype("float32"), high[..., None].astype("float32"), self._weights
