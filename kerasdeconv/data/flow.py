"""Optical flow of pictures that are moved smoothly: known exactly, for any folder of pictures."""

from __future__ import annotations

import numpy as np

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.pairs import Pair, PairPatches, sample_at

# Beside the shift: turned, magnified and bent.
_MOTION = Augmentation(rotate=4.0, zoom=(0.95, 1.05), elastic=4.0)


class FlowPatches(PairPatches):
    """Pairs of a picture and the same picture moved: shifted, turned, magnified and bent.

    The flow at a pixel of the first picture is by how many pixels what is there is farther right,
    and farther down, in the second. `shift` is the greatest shift along each axis; the rest adds
    some pixels. Nothing hides anything, but what leaves the patch is not seen again.

    Batches and arguments are those of `PairPatches`.
    """

    def pair(self, rng: np.random.Generator) -> Pair:
        return moved(rng, self.picture(rng), self.sides, self.shift)


def moved(
    rng: np.random.Generator, picture: np.ndarray, sides: tuple[int, ...], shift: float
) -> Pair:
    """Shows a part of a picture twice, the second time moved.

    Both are samples of one picture, at places from which the flow follows: no picture is warped by
    an inverse that would have to be approximated.

    Args:
        rng: Where random numbers come from.
        picture: Height x width x 3.
        sides: Height and width of the pair.
        shift: Greatest shift along each axis in pixels.
    """
    axes = [np.arange(side) - (side - 1) / 2 for side in sides]
    places = np.stack(np.meshgrid(*axes, indexing="ij"))
    # What the first picture shows at a place, the second shows where it has moved to.
    motion = _MOTION.offsets(rng, sides)[0] - places
    motion = motion + rng.uniform(-shift, shift, (2, 1, 1))
    # Not on whole pixels, so that both are interpolated and none is the sharper.
    spare = [max(have - want, 0) for have, want in zip(picture.shape[:2], sides, strict=True)]
    middle = [rng.uniform(0, s) + (n - 1) / 2 for s, n in zip(spare, sides, strict=True)]
    second = places + np.reshape(middle, (2, 1, 1))
    flow = np.stack([motion[1], motion[0]], axis=-1).astype(np.float32)
    return Pair(sample_at(picture, second + motion), sample_at(picture, second), flow)
