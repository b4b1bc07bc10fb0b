"""Kernels as an int8 file holds them: from -127 to 127, with a scale for each output channel."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.fold import CONVOLUTIONS
from kerasdeconv.export.saturation import WEIGHT_LIMIT, weight_scales

_TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_DEPTHWISE = (keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D)


def kernel_of(layer: Any) -> Any:
    """The variable that becomes integers; None for a layer without."""
    known = (*CONVOLUTIONS, keras.layers.Conv1D, *_TRANSPOSED, *_DEPTHWISE)
    return layer.kernel if isinstance(layer, (*known, layers.DepthwiseConvTranspose)) else None


def rounded_kernel(layer: Any, form: str) -> np.ndarray:
    """Rounds a layer's kernel to what the integers in a file stand for.

    Args:
        layer: One with a kernel, see `kernel_of`.
        form: "tflite" or "onnx", whose kernels of convolutions get scales with which processors
            without VNNI do not saturate, see `kerasdeconv.export.saturation`.

    Returns:
        The kernel, float32, of the same shape.
    """
    kernel = keras.ops.convert_to_numpy(kernel_of(layer)).astype(np.float32)
    rows = _by_output(layer, kernel)
    scales = kernel_scales(rows, paired=adds_pairs(layer, form)).astype(np.float32)
    integers = np.clip(np.rint(rows / scales[:, None]), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    return _undo(layer, kernel, (integers * scales[:, None]).astype(np.float32))


def kernel_scales(rows: np.ndarray, *, paired: bool) -> np.ndarray:
    """Finds the scale of each output, 1 where all weights are 0.

    Args:
        rows: Weights, (outputs, products), in the order in which they are added up.
        paired: Whether two neighbours must not saturate, see `kerasdeconv.export.saturation`.
    """
    if paired:
        return weight_scales(rows)
    scales = np.abs(rows).max(axis=1).astype(np.float64) / WEIGHT_LIMIT
    return np.where(scales > 0, scales, 1.0)


def adds_pairs(layer: Any, form: str) -> bool:
    """Whether ONNX Runtime adds a layer's products in pairs: not where channels stay alone."""
    alone = (*_TRANSPOSED, *_DEPTHWISE, layers.DepthwiseConvTranspose)
    if form != "onnx" or isinstance(layer, alone):
        return False
    return getattr(layer, "groups", 1) != layer.kernel.shape[-1] or layer.kernel.shape[-2] > 1


def _by_output(layer: Any, kernel: np.ndarray) -> np.ndarray:
    """The kernel as (outputs, products), in the order in which they are added up."""
    if isinstance(layer, _DEPTHWISE):  # ... x in x multiplier
        return kernel.reshape(-1, math.prod(kernel.shape[-2:])).T
    axis = -2 if isinstance(layer, _TRANSPOSED) else -1
    return np.moveaxis(kernel, axis, 0).reshape(kernel.shape[axis], -1)


def _undo(layer: Any, kernel: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The shape of a kernel for what `_by_output` made of it."""
    if isinstance(layer, _DEPTHWISE):
        return rows.T.reshape(kernel.shape)
    axis = -2 if isinstance(layer, _TRANSPOSED) else -1
    shape = np.moveaxis(kernel, axis, 0).shape
    return np.moveaxis(rows.reshape(shape), 0, axis)
