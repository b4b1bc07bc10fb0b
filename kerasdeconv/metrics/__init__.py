"""Measures of quality: definitions in NumPy, and the same as streaming Keras metrics.

The definitions (`psnr`, `ConfusionMatrix`, ...) need no Keras. The metrics (`PSNR`, `MeanIoU`, ...)
go into `model.compile`, and come to the same figures over all batches of an epoch.
"""

import importlib
from typing import Any

_WHERE = {
    "AbsRel": "streaming",
    "ActiveLatents": "streaming",
    "ChamferDistance": "streaming",
    "ConfusionMatrix": "definitions",
    "DeltaAccuracy": "streaming",
    "DiceCoefficient": "streaming",
    "FID": "streaming",
    "FeatureStatistics": "generation",
    "GaussianKL": "streaming",
    "InceptionScore": "streaming",
    "AngularError": "streaming",
    "EndPointError": "streaming",
    "MaskAveragePrecision": "streaming",
    "MeanIoU": "streaming",
    "PSNR": "streaming",
    "PixelAccuracy": "streaming",
    "RMSE": "streaming",
    "SSIM": "streaming",
    "VoxelIoU": "streaming",
    "abs_rel": "definitions",
    "active_latents": "generation",
    "angular_errors": "vectors",
    "average_precision": "definitions",
    "bernoulli_nats": "generation",
    "chamfer_distance": "definitions",
    "found_average_precision": "definitions",
    "found_hits": "definitions",
    "delta_accuracy": "definitions",
    "feature_statistics": "generation",
    "fid": "generation",
    "frechet_distance": "generation",
    "gaussian_kl": "generation",
    "inception_score": "generation",
    "end_point_error": "vectors",
    "known_mean": "definitions",
    "mask_average_precision": "definitions",
    "mask_iou": "definitions",
    "mask_score": "definitions",
    "psnr": "definitions",
    "rmse": "definitions",
    "roc_auc": "definitions",
    "ssim": "definitions",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
