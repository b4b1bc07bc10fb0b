"""Instance segmentation data: patches with boxes, and a small mask for each box."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasdeconv.data.segmentation import LabelledImage, SegmentationPatches
from kerasdeconv.runtime.instances import interpolation

# What a border of a patch leaves of an instance is not learned from below this many pixels.
_LEAST_SIDE = 6


def instance_boxes(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the box around each instance.

    Args:
        numbers: H x W, the number of the instance at each pixel, 0 for the background.

    Returns:
        The K numbers that occur, rising, and their boxes, K x 4 float32: y0, x0, y1, x1, where
        edges of pixels lie at whole numbers.
    """
    present = np.unique(numbers[numbers > 0])
    boxes = np.zeros((len(present), 4), np.float32)
    for box, number in zip(boxes, present, strict=True):
        inside = numbers == number
        rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
        box[:] = rows[0], columns[0], rows[-1] + 1, columns[-1] + 1
    return present, boxes


def box_target(inside: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    """Samples an instance on the grid of a box's mask.

    Args:
        inside: H x W bool.
        box: y0, x0, y1, x1 in the picture.
        size: Side of the mask.

    Returns:
        size x size float32: 1 where the instance, interpolated at the centre of the cell, is 0.5 or
        more, 0 elsewhere.
    """
    weights = []
    for axis in (0, 1):
        start, stop = box[axis], box[axis + 2]
        places = start + (np.arange(size) + 0.5) / size * (stop - start) - 0.5
        weights.append(interpolation(places, inside.shape[axis]))
    rows, columns = weights
    # Sums of a few float32 weights: a half may come out a rounding below.
    return (rows @ inside.astype(np.float32) @ columns.T >= 0.5 - 1e-5).astype(np.float32)


class InstancePatches(SegmentationPatches):
    """Random patches with boxes around instances, and the mask of each.

    Batches are `((image, boxes), masks, weights)`: N x p x p x 3 float32 in [0, 255], N x K x 4
    (y0, x0, y1, x1 in pixels of the patch), N x K x M x M x 1 with 0 or 1, and N x K x M x M with
    0 for boxes that only fill a patch up to K, and 1 for all others.

    Args:
        samples: Labelled pictures whose masks are instance numbers; they are read into memory.
        boxes: Boxes K of a patch; where there are more instances, some are drawn.
        mask_size: Side M of a mask.
        jitter: How far the edges of a box are moved at most, as a share of its sides.
        patch: See `SegmentationPatches`.
        zoom: See `SegmentationPatches`.
        augmentation: See `SegmentationPatches`.
        balance: See `SegmentationPatches`; the classes are background and instances.
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether to vary patches and boxes; without it boxes are those of the instances.

    Raises:
        ValueError: There is not at least one box, or the jitter is out of range.
    """

    def __init__(
        self,
        samples: Sequence[LabelledImage],
        *,
        boxes: int = 16,
        mask_size: int = 28,
        jitter: float = 0.05,
        **options: Any,
    ) -> None:
        if boxes < 1 or not 0 <= jitter < 0.5:
            raise ValueError(
                "boxes must be 1 or more, jitter at least 0 and less than 0.5. "
                f"Received: {boxes}, {jitter}"
            )
        self.boxes, self.mask_size, self.jitter = boxes, mask_size, jitter
        super().__init__(samples, **options)

    def read(self, sample: LabelledImage) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture and its instance numbers."""
        return sample.read_instances()

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """Background (0) and instances (1), for the balance."""
        return (labels > 0).astype(np.uint8)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        images, labels = super().__getitem__(index)
        rng = np.random.default_rng([self.seed, self.epoch if self.augment else 0, index, 1])
        parts = [self._instances(rng, numbers[..., 0]) for numbers in labels]
        stacked = [np.stack(part) for part in zip(*parts, strict=True)]
        return self.batch(images, labels[..., 0], stacked)

    def batch(self, images: np.ndarray, numbers: np.ndarray, parts: Any) -> tuple[Any, ...]:
        """Arranges a batch.

        Args:
            images: N x p x p x 3.
            numbers: Instance numbers, N x p x p.
            parts: Boxes, masks and weights.
        """
        boxes, masks, weights = parts
        return (images, boxes), masks, weights

    def _instances(
        self, rng: np.random.Generator, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws instances of one patch: their boxes, masks and weights."""
        side, size = len(numbers), self.mask_size
        present, tight = instance_boxes(numbers)
        found = np.flatnonzero(~slivers(tight, side))
        if len(found) > self.boxes:
            found = rng.permutation(found)[: self.boxes]
        # The whole patch stands where there is no instance left.
        boxes = np.tile(np.array([0, 0, side, side], np.float32), (self.boxes, 1))
        masks = np.zeros((self.boxes, size, size, 1), np.float32)
        weights = np.zeros((self.boxes, size, size), np.float32)
        for place, index in enumerate(found):
            box = self._moved(rng, tight[index], side) if self.augment else tight[index]
            boxes[place], weights[place] = box, 1
            masks[place, ..., 0] = box_target(numbers == present[index], box, size)
        return boxes, masks, weights

    def _moved(self, rng: np.random.Generator, box: np.ndarray, side: int) -> np.ndarray:
        extents = np.tile(box[2:] - box[:2], 2)
        moved = box + rng.uniform(-self.jitter, self.jitter, 4) * extents
        return np.clip(moved, 0, side).astype(np.float32)


def slivers(boxes: np.ndarray, side: int) -> np.ndarray:
    """Which instances are cut off by the border of a patch, with little left."""
    cut = (boxes[:, :2] <= 0).any(axis=1) | (boxes[:, 2:] >= side).any(axis=1)
    return cut & ((boxes[:, 2:] - boxes[:, :2]).min(axis=1) < _LEAST_SIDE)
