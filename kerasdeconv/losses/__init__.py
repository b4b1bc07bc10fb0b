"""Losses beyond Keras' own, for pictures and volumes: each a `keras.losses.Loss`, and they add.

`Dice() + 0.5 * CrossEntropy(ignore=255)` is a loss, too. Where pixel weights are given
(`sample_weight`, batch x sides), or one for each sample, every loss counts pixels by them, and is
multiplied by their mean.
"""

# Before anything else: as soon as Keras is there, this package is imported.
import keras  # noqa: F401

from kerasdeconv.losses.adversarial import (
    ADVERSARIAL_LOSSES,
    AdversarialLoss,
    adversarial_loss,
    gradient_penalty,
    r1_penalty,
)
from kerasdeconv.losses.base import DenseLoss, NamedLoss, WeightedSum
from kerasdeconv.losses.depth import ScaleInvariantDepth
from kerasdeconv.losses.detection import BoxGIoU, CentreFocal
from kerasdeconv.losses.labels import LabelLoss
from kerasdeconv.losses.latents import BernoulliNats, GaussianKL
from kerasdeconv.losses.perceptual import Perceptual, TotalVariation, gram_matrix
from kerasdeconv.losses.pictures import L1, SSIM, Charbonnier, charbonnier, ssim_map
from kerasdeconv.losses.pixels import Boundary, CrossEntropy, Focal
from kerasdeconv.losses.points import Chamfer
from kerasdeconv.losses.regions import Dice, Jaccard, Lovasz, Tversky, sparse_dice
from kerasdeconv.losses.vectors import CosineDistance, EdgeAwareSmoothness, EndPointError

__all__ = [
    "ADVERSARIAL_LOSSES",
    "L1",
    "SSIM",
    "AdversarialLoss",
    "BernoulliNats",
    "Boundary",
    "BoxGIoU",
    "CentreFocal",
    "Chamfer",
    "Charbonnier",
    "CosineDistance",
    "CrossEntropy",
    "DenseLoss",
    "Dice",
    "EdgeAwareSmoothness",
    "EndPointError",
    "Focal",
    "GaussianKL",
    "Jaccard",
    "LabelLoss",
    "Lovasz",
    "NamedLoss",
    "Perceptual",
    "ScaleInvariantDepth",
    "TotalVariation",
    "Tversky",
    "WeightedSum",
    "adversarial_loss",
    "charbonnier",
    "gradient_penalty",
    "gram_matrix",
    "r1_penalty",
    "sparse_dice",
    "ssim_map",
]
