"""Surface normals from depth, and training data of pictures with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.depth import DepthPair, DepthPatches
from kerasdeconv.data.synthetic_parts import grid

# Intensities as for depth; mirroring is done here, since it turns normals, too.
REACH = 3  # pixels over which differences of measured depth are taken
_AUGMENTATION = Augmentation(gamma=(0.67, 1.5), gain=(0.7, 1.42), color=(0.92, 1.08), offset=15)


def normals_from_depth(
    depth: np.ndarray, *, focal: float | None = None, pitch: float | None = None, reach: int = 1
) -> np.ndarray:
    """Computes which way surfaces face, from central differences of the points that pixels show.

    The normal is the cross product of the surface's steps along a column and along a row. Axes are
    those of the camera: to the right, down, and away from it.

    Args:
        depth: Distance along the camera's axis, height x width; 0 or less where it is not known.
        focal: Focal length in pixels of a pinhole camera whose axis meets the picture's middle.
        pitch: Instead, how far apart pixels are in units of the depth, where all look the same way
            (a height map, a scanner).
        reach: Pixels to either side over which differences are taken: more for noisy depth.

    Returns:
        Unit vectors that face the camera, float32, height x width x 3; zeros where a depth that is
        needed is not known.

    Raises:
        ValueError: Not one of focal and pitch is given, or one is out of range.
    """
    if (focal is None) == (pitch is None) or min(focal or 1, pitch or 1) <= 0 or reach < 1:
        raise ValueError(
            "Give a focal length or a pitch, more than 0, and a reach of 1 or more. "
            f"Received: focal={focal}, pitch={pitch}, reach={reach}"
        )
    depth = np.asarray(depth, float)
    v, u = grid(depth.shape)
    v, u = v - (len(depth) - 1) / 2, u - (depth.shape[1] - 1) / 2
    scale = depth / focal if focal is not None else np.full(depth.shape, pitch)
    points = np.stack([u * scale, v * scale, depth], axis=-1)
    known = depth > 0
    normals = np.zeros(points.shape)
    middle, low, high = slice(reach, -reach), slice(None, -2 * reach), slice(2 * reach, None)
    along = points[middle, high] - points[middle, low]
    down = points[high, middle] - points[low, middle]
    whole = known[middle, high] & known[middle, low] & known[high, middle] & known[low, middle]
    # Down times along: the surface z = constant faces the camera, towards -z.
    cross = np.cross(down, along)
    lengths = np.linalg.norm(cross, axis=-1, keepdims=True)
    whole = (whole & known[middle, middle])[..., None] & (lengths > 0)
    normals[middle, middle] = np.where(whole, cross / np.where(whole, lengths, 1), 0)
    return normals.astype(np.float32)


class NormalPatches(DepthPatches):
    """Random patches of pictures with the surface normals of their depth.

    Batches are `(image, normals, weights)`: N x h x w x 3 float32 in [0, 255], N x h x w x 3 unit
    vectors, and N x h x w with 1 where a normal is known and 0 elsewhere.

    Args:
        pairs: Pictures with depth; they are read into memory.
        focal: Focal length in pixels of the camera.
        reach: Pixels over which differences of depth are taken, see `normals_from_depth`.
        augmentation: How intensities vary. Patches are mirrored left and right half the time.
        **options: As for `DepthPatches`.
    """

    def __init__(
        self,
        pairs: Sequence[DepthPair],
        *,
        focal: float,
        reach: int = REACH,
        augmentation: Augmentation = _AUGMENTATION,
        **options: Any,
    ) -> None:
        super().__init__(pairs, augmentation=augmentation, **options)
        self._pairs = [
            (image, normals_from_depth(depth * (depth < self.limit), focal=focal, reach=reach))
            for image, depth in self._pairs
        ]

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts and varies one patch."""
        image, normals = self._pairs[rng.integers(len(self._pairs))]
        spare = [have - want for have, want in zip(image.shape[:2], self.sides, strict=True)]
        starts = [int(rng.integers(most + 1)) for most in spare]
        window = tuple(slice(s, s + want) for s, want in zip(starts, self.sides, strict=True))
        image, normals = image[window], normals[window]
        if rng.integers(2):
            image, normals = image[:, ::-1], normals[:, ::-1] * np.array([-1, 1, 1], np.float32)
        return self._parts(self.augmentation.vary(rng, image, (0.0, 255.0)), normals)

    def _parts(self, image: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, ...]:
        weights: np.ndarray = np.asarray(depth.any(axis=-1), np.float32)
        return image, depth, weights
