"""Losses that compare pictures, or volumes of intensities: Charbonnier, L1, SSIM."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.losses.base import DenseLoss, named

# The window of Wang et al.: 11 pixels, standard deviation 1.5.
WINDOW = 11
_SIGMA = 1.5


@keras.saving.register_keras_serializable(package="kerasdeconv")
def charbonnier(y_true: Any, y_pred: Any, epsilon: float = 0.255) -> Any:
    """The Charbonnier loss, sqrt(d^2 + epsilon^2): an absolute error that is smooth at zero.

    Lai et al., "Deep Laplacian pyramid networks" (2017), equation 2, after Charbonnier et al.
    (1994). Their epsilon is 1e-3 for pixels in [0, 1], which is 0.255 for pixels in [0, 255].

    Args:
        y_true: Any shape.
        y_pred: The same shape.
        epsilon: Error below which the loss is about quadratic, in units of the pixels.

    Returns:
        The mean over the last axis, as Keras' loss functions give it.
    """
    y_pred = keras.ops.convert_to_tensor(y_pred)
    error = y_pred - keras.ops.cast(y_true, y_pred.dtype)
    return keras.ops.mean(keras.ops.sqrt(error * error + epsilon**2), axis=-1)


@named("charbonnier")
class Charbonnier(DenseLoss):
    """The Charbonnier loss, see `charbonnier`.

    Args:
        epsilon: Error below which the loss is about quadratic, in units of the pixels.
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, epsilon: float = 0.255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if epsilon <= 0:
            raise ValueError(f"epsilon must be more than 0. Received: {epsilon}")
        self.epsilon = epsilon

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        values = charbonnier(y_true, y_pred, self.epsilon)
        return values if weights is None else values * weights

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"epsilon": self.epsilon}


@named("l1")
class L1(DenseLoss):
    """The mean absolute error.

    Args:
        **kwargs: See `DenseLoss`.
    """

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        values = keras.ops.mean(keras.ops.abs(y_pred - y_true), axis=-1)
        return values if weights is None else values * weights


@named("ssim")
class SSIM(DenseLoss):
    """One minus the structural similarity, averaged over all whole windows and all channels.

    A window's weight is that of its middle pixel.

    Args:
        peak: The range of the values.
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, peak: float = 255.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if peak <= 0:
            raise ValueError(f"peak must be more than 0. Received: {peak}")
        self.peak = peak

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        values = 1 - keras.ops.mean(ssim_map(y_true, y_pred, self.peak), axis=-1)
        return values if weights is None else values * middles(weights)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"peak": self.peak}


def ssim_map(y_true: Any, y_pred: Any, peak: float) -> Any:
    """Structural similarity in each whole window.

    Gaussian windows of 11 pixels a side with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03:
    Wang et al., "Image quality assessment: from error visibility to structural similarity" (IEEE
    TIP 2004), equation 13. See `kerasdeconv.metrics.ssim` for the same in NumPy.

    Args:
        y_true: batch x sides x channels, two sides or three.
        y_pred: The same shape.
        peak: The range of the values.

    Returns:
        batch x (sides - 10) x channels.

    Raises:
        ValueError: A picture is smaller than a window.
    """
    ops = keras.ops
    x, y = ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred)
    if len(x.shape) < 4 or any(side is not None and side < WINDOW for side in y.shape[1:-1]):
        raise ValueError(
            f"SSIM takes pictures or volumes with sides of {WINDOW} or more. "
            f"Received: {tuple(x.shape)} and {tuple(y.shape)}"
        )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    channels = y.shape[-1]
    # Around the middle of the range: float32 would lose the small difference of large squares.
    u, v = x - peak / 2, y - peak / 2
    means = _blur(ops.concatenate([u, v, u * u, v * v, u * v], axis=-1))
    mean_u, mean_v, uu, vv, uv = (means[..., i * channels : (i + 1) * channels] for i in range(5))
    var_x, var_y, covariance = uu - mean_u**2, vv - mean_v**2, uv - mean_u * mean_v
    mean_x, mean_y = mean_u + peak / 2, mean_v + peak / 2
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))


def middles(weights: Any) -> Any:
    """Cuts pixel weights, batch x sides, to the middles of whole windows; sides of 1 stay."""
    margin = WINDOW // 2
    inner = slice(margin, -margin)
    whole = slice(None)
    return weights[(whole, *(whole if side == 1 else inner for side in weights.shape[1:]))]


def _blur(maps: Any) -> Any:
    """Averages over a Gaussian window, whole windows only, axis by axis."""
    ops = keras.ops
    window = np.exp(-((np.arange(WINDOW) - WINDOW // 2) ** 2) / (2 * _SIGMA**2))
    window /= window.sum()
    rank = len(maps.shape)
    for axis in range(1, rank - 1):
        length = ops.shape(maps)[axis] - WINDOW + 1
        parts = []
        for shift, weight in enumerate(window):
            part = [slice(None)] * rank
            part[axis] = slice(shift, shift + length)
            parts.append(float(weight) * maps[tuple(part)])
        maps = sum(parts[1:], parts[0])
    return maps
