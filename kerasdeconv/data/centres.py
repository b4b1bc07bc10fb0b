"""Data for networks that find objects: heat maps of centres, and the edges of boxes around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasdeconv.data.instances import InstancePatches, instance_boxes, slivers
from kerasdeconv.data.segmentation import LabelledImage

# Deviation of the bump around a centre, as a share of half the box: Liu et al. 2020, section 3.3,
# where a bump ends at 3 deviations.
_SPREAD = 0.54 / 3
# Least distance of an edge, in cells: the middle of the cell may lie outside a very small box.
_LEAST = 0.1
# Edges are learned where a bump is at least this high.
_NEAR = 0.3


def centre_targets(
    boxes: np.ndarray, sides: tuple[int, int], stride: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Makes what a network should find of boxes.

    The bumps of the heat map are those of Liu et al., "Training-time-friendly network" (AAAI 2020),
    section 3.3: Gaussians as wide and as high as the box asks for. Edges are learned in all cells
    near a centre, weighted by their bump, as in section 3.4, but each object counts the same.

    Args:
        boxes: K x 4: y0, x0, y1, x1 in pixels.
        sides: Height and width of the map.
        stride: Pixels per cell.

    Returns:
        The heat map, H x W x 1: 1 in the cells of the middles of boxes, falling to 0 around them.
        The distances of the top, left, bottom and right edges of the box of a cell from the cell's
        middle, in cells, H x W x 4. And the weights of these, H x W: their mean is 1, and each box
        has the same share, or all are 0 where there is no box. All are float32.
    """
    heat = np.zeros((*sides, 1), np.float32)
    distances = np.full((*sides, 4), _LEAST, np.float32)
    owners = np.full(sides, -1)
    places = [np.arange(side) + 0.5 for side in sides]
    for number, box in enumerate(boxes / stride):
        bumps = []
        for axis in (0, 1):
            low, high = box[axis], box[axis + 2]
            cell = min(int((low + high) / 2), sides[axis] - 1)
            spread = max(_SPREAD * (high - low) / 2, 1e-3)
            bumps.append(np.exp(-(((places[axis] - (cell + 0.5)) / spread) ** 2) / 2))
        bump = np.outer(*bumps)
        mine = (bump >= _NEAR) & (bump > np.where(owners >= 0, heat[..., 0], 0))
        owners[mine] = number
        heat[..., 0] = np.maximum(heat[..., 0], bump)
        rows, columns = np.nonzero(mine)
        edges = [
            places[0][rows] - box[0],
            places[1][columns] - box[1],
            box[2] - places[0][rows],
            box[3] - places[1][columns],
        ]
        distances[mine] = np.maximum(np.stack(edges, axis=-1), _LEAST)
    return heat, distances, _even_weights(heat[..., 0], owners)


def _even_weights(heat: np.ndarray, owners: np.ndarray) -> np.ndarray:
    """Weights of cells by their bumps, so that each owner has as much as another."""
    weights = np.zeros(owners.shape, np.float32)
    present = np.unique(owners[owners >= 0])
    for number in present:
        mine = owners == number
        weights[mine] = heat[mine] * (owners.size / len(present) / heat[mine].sum())
    return weights


class CentrePatches(InstancePatches):
    """Random patches with the heat map and the boxes of all instances, and masks of some.

    Batches are `((image, boxes), (centres, distances, masks), weights)`: image, boxes and masks as
    `InstancePatches` has them, centres and distances as `centre_targets`, N x H x W x 1 and
    N x H x W x 4, and the weights of these three. Boxes of the heat map are not moved; cells of
    what the border of a patch leaves of an instance do not count.

    Args:
        samples: See `InstancePatches`.
        centre_stride: Pixels per cell of the heat map; the patch is a multiple of it.
        **options: See `InstancePatches`.

    Raises:
        ValueError: As `InstancePatches`, or the stride does not divide the patch.
    """

    def __init__(
        self, samples: Sequence[LabelledImage], *, centre_stride: int = 4, **options: Any
    ) -> None:
        super().__init__(samples, **options)
        if centre_stride < 1 or self.patch % centre_stride:
            raise ValueError(
                f"A patch must be a multiple of centre_stride. "
                f"Received: {self.patch}, {centre_stride}"
            )
        self.centre_stride = centre_stride

    def batch(self, images: np.ndarray, numbers: np.ndarray, parts: Any) -> tuple[Any, ...]:
        """Adds what is to be found."""
        boxes, masks, weights = parts
        found = [self._to_find(each) for each in numbers]
        centres, distances, counts, near = (np.stack(part) for part in zip(*found, strict=True))
        return (images, boxes), (centres, distances, masks), (counts, near, weights)

    def _to_find(self, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
        """Heat map and distances of a patch, and the weights of both."""
        stride, side = self.centre_stride, len(numbers) // self.centre_stride
        _, boxes = instance_boxes(numbers)
        cut = slivers(boxes, len(numbers))
        centres, distances, near = centre_targets(boxes[~cut], (side, side), stride)
        counts = np.ones((side, side), np.float32)
        for y0, x0, y1, x1 in boxes[cut]:
            rows = slice(int(y0 // stride), int(-(-y1 // stride)))
            columns = slice(int(x0 // stride), int(-(-x1 // stride)))
            counts[rows, columns] = 0
        counts[centres[..., 0] >= 1] = 1  # of another instance beside it
        return centres, distances, counts, near
