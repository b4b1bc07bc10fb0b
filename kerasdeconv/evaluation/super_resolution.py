"""Super-resolution: PSNR and SSIM on luma."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.super_resolution import degrade, high_resolution_images
from kerasdeconv.evaluation.base import Measured, Progress
from kerasdeconv.imaging import luma, to_uint8
from kerasdeconv.metrics import psnr, ssim


def super_resolution(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Luma alone, as the field measures, also for networks that take colour.

    These get the RGB picture shrunk, and the luma of what they give counts. As many border pixels
    as the scale are shaved.
    """
    images = high_resolution_images(data, predictor.convention.color)
    scale, pictures = predictor.convention.scale, []
    for done, image in enumerate(images, start=1):
        low, high = degrade(image, scale)
        got = _enlarged(predictor, low)
        inner = slice(scale, -scale)
        # Rounded, as MATLAB's rgb2ycbcr rounds what it makes of bytes.
        wanted, given = (
            (to_uint8(luma(x)) if x.ndim == 3 else x)[inner, inner] for x in (high, got)
        )
        pictures.append({"psnr_y": psnr(wanted, given), "ssim_y": ssim(wanted, given)})
        progress(done, len(images))
    means = {key: float(np.mean([p[key] for p in pictures])) for key in ("psnr_y", "ssim_y")}
    return Measured({**means, "pictures": pictures}, len(images))


def _enlarged(predictor: runtime.Predictor, low: np.ndarray) -> np.ndarray:
    """Runs a network over luma (height x width) or RGB, tile by tile, to 8 bits."""
    tile = (predictor.input_shape[1] or low.shape[0], predictor.input_shape[2] or low.shape[1])
    halo = min(predictor.convention.halo or max(tile), min(tile) // 4)
    answer = runtime.tiled(
        lambda part: predictor.run_batch(part[None])[0],
        np.atleast_3d(low).astype(np.float32),
        tile,
        halo,
        predictor.convention.scale,
    )
    return to_uint8(answer.reshape(*answer.shape[:2], *low.shape[2:]))
