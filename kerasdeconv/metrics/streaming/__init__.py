"""The streaming Keras metrics, which are registered with Keras when this is imported."""

# Before anything else: as soon as Keras is there, this package is imported.
import keras  # noqa: F401

from kerasdeconv.metrics.streaming.depth import RMSE, AbsRel, DeltaAccuracy
from kerasdeconv.metrics.streaming.generation import FID, ActiveLatents, GaussianKL, InceptionScore
from kerasdeconv.metrics.streaming.labels import DiceCoefficient, MeanIoU, PixelAccuracy
from kerasdeconv.metrics.streaming.masks import MaskAveragePrecision
from kerasdeconv.metrics.streaming.pictures import PSNR, SSIM
from kerasdeconv.metrics.streaming.solids import ChamferDistance, VoxelIoU
from kerasdeconv.metrics.streaming.vectors import AngularError, EndPointError

__all__ = [
    "FID",
    "PSNR",
    "RMSE",
    "SSIM",
    "AbsRel",
    "ActiveLatents",
    "AngularError",
    "ChamferDistance",
    "DeltaAccuracy",
    "DiceCoefficient",
    "EndPointError",
    "GaussianKL",
    "InceptionScore",
    "MaskAveragePrecision",
    "MeanIoU",
    "PixelAccuracy",
    "VoxelIoU",
]
