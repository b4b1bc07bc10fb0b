"""Losses beyond Keras' own, for pictures and volumes: each a `keras.losses.Loss`, and they add.

`Dice() + 0.5 * CrossEntropy(ignore=255)` is a loss, too. Where pixel weights are given
(`sample_weight`, batch x sides), or one for each sample, every loss counts pixels by them, and is
multiplied by their mean.
"""

# Before anything else: as soon as Keras is there, this package is imported.
import keras  # noqa: F401

from kerasdeconv.losses.base import DenseLoss, NamedLoss, WeightedSum
from kerasdeconv.losses.depth import ScaleInvariantDepth
from kerasdeconv.losses.detection import BoxGIoU, CentreFocal
from kerasdeconv.losses.labels import LabelLoss
from kerasdeconv.losses.pictures import L1, SSIM, Charbonnier, charbonnier, ssim_map
from kerasdeconv.losses.pixels import Boundary, CrossEntropy, Focal
from kerasdeconv.losses.regions import Dice, Jaccard, Lovasz, Tversky, sparse_dice

__all__ = [
    "L1",
    "SSIM",
    "Boundary",
    "BoxGIoU",
    "CentreFocal",
    "Charbonnier",
    "CrossEntropy",
    "DenseLoss",
    "Dice",
    "Focal",
    "Jaccard",
    "LabelLoss",
    "Lovasz",
    "NamedLoss",
    "ScaleInvariantDepth",
    "Tversky",
    "WeightedSum",
    "charbonnier",
    "sparse_dice",
    "ssim_map",
]
