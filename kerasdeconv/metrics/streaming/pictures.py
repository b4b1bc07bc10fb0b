"""Streaming metrics of pictures: PSNR and SSIM, as super-resolution is measured."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.imaging import rgb_to_ycbcr
from kerasdeconv.losses.base import shares, spread
from kerasdeconv.losses.pictures import middles, ssim_map
from kerasdeconv.metrics.streaming.averages import WeightedMean

# Y of BT.601 is linear in RGB.
_BLACK = float(rgb_to_ycbcr(np.zeros(3))[0])
_LUMA = [float(y) - _BLACK for y in rgb_to_ycbcr(np.eye(3))[:, 0]]


class PictureMetric(WeightedMean):
    """Base of the metrics of each picture, of which the mean over all pictures is taken.

    As `kerasdeconv evaluate` measures: answers are rounded to bytes, of RGB the luma counts (Y of
    BT.601, rounded), and pixels along the border don't.

    Args:
        shave: Pixels along the border that don't count; the scale, by custom.
        round: Whether to round and clip to bytes; only for pixels in [0, 255].
        peak: The range of the values; RGB must be in [0, 255].
        name: Name of the metric.
        dtype: What it computes in; float32 by default.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(
        self,
        *,
        shave: int = 0,
        round: bool = True,
        peak: float = 255.0,
        name: str,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        if shave < 0 or peak <= 0 or (round and peak != 255):
            raise ValueError(
                "shave must be 0 or more, peak more than 0, and rounding is for a peak of 255. "
                f"Received: shave={shave}, peak={peak}, round={round}"
            )
        self.shave, self.round, self.peak = shave, round, peak
        self._direction = "up"  # Keras' early stopping asks for it

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of pictures, or volumes.

        Args:
            y_true: batch x sides x channels, one or three.
            y_pred: The same shape.
            sample_weight: Weight of each picture, or of each pixel, batch x sides.
        """
        ops = keras.ops
        wanted, got = (self._comparable(x) for x in (y_true, y_pred))
        weights = ops.ones(ops.shape(got)[:-1], self.dtype)
        if sample_weight is not None:
            given = ops.convert_to_tensor(sample_weight, self.dtype)
            given = spread(given, len(got.shape))
            weights = weights * self._shaved(given)
        self.add(*self.of_pictures(wanted, got, weights))

    def of_pictures(self, wanted: Any, got: Any, weights: Any) -> tuple[Any, Any]:
        """The figure of each picture, and its weight.

        Args:
            wanted: batch x sides x channels.
            got: The same shape.
            weights: batch x sides.
        """
        raise NotImplementedError

    def _comparable(self, pixels: Any) -> Any:
        ops = keras.ops
        pixels = ops.convert_to_tensor(pixels, self.dtype)
        if self.round:
            pixels = ops.clip(ops.round(pixels), 0.0, 255.0)
        if pixels.shape[-1] == 3:
            pixels = ops.sum(pixels * ops.convert_to_tensor(_LUMA, self.dtype), -1, keepdims=True)
            pixels = pixels + _BLACK
            pixels = ops.round(pixels) if self.round else pixels
        return self._shaved(pixels, channels=1)

    def _shaved(self, pixels: Any, channels: int = 0) -> Any:
        """Cuts the border off sides that are no copies of one pixel."""
        if not self.shave:
            return pixels
        sides = pixels.shape[1 : len(pixels.shape) - channels]
        inner, whole = slice(self.shave, -self.shave), slice(None)
        return pixels[(whole, *(whole if side == 1 else inner for side in sides))]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "shave": self.shave,
            "round": self.round,
            "peak": self.peak,
        }


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class PSNR(PictureMetric):
    """Mean peak signal-to-noise ratio of the pictures in dB, see `psnr`.

    Args:
        name: Name of the metric.
        **kwargs: See `PictureMetric`.
    """

    def __init__(self, *, name: str = "psnr", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def of_pictures(self, wanted: Any, got: Any, weights: Any) -> tuple[Any, Any]:
        ops = keras.ops
        sides = tuple(range(1, len(got.shape) - 1))
        weights, means = shares(weights)
        error = ops.mean(ops.mean((wanted - got) ** 2, axis=-1) * weights, axis=sides)
        same = error <= 0
        value = 10 * ops.log10(self.peak**2 / ops.where(same, 1.0, error))
        return ops.where(same, float("inf"), value), means


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class SSIM(PictureMetric):
    """Mean structural similarity of the pictures, see `ssim`.

    Args:
        name: Name of the metric.
        **kwargs: See `PictureMetric`.
    """

    def __init__(self, *, name: str = "ssim", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)

    def of_pictures(self, wanted: Any, got: Any, weights: Any) -> tuple[Any, Any]:
        ops = keras.ops
        sides = tuple(range(1, len(got.shape) - 1))
        weights, means = shares(middles(weights))
        values = ops.mean(ssim_map(wanted, got, self.peak), axis=-1)
        return ops.mean(values * weights, axis=sides), means
