"""Weight scales of int8 ONNX files with which no CPU's integer kernels saturate.

x86 CPUs without VNNI multiply bytes with VPMADDUBSW: two neighbouring products, unsigned
activations times signed weights, are added in 16 bits and clipped to [-32768, 32767]. Two weights
of 127 under two activations of 255 should give 64770 and give 32767, so that the same file
computes something else there than on a CPU with VNNI. Nothing is ever clipped where the positive
weights of each pair add up to 128 at most, and the negative ones to -128: 255 * 128 = 32640.

What ONNX Runtime pairs (its MLAS library, `QLinearConv`, `QGemm`, `QLinearMatMul`): products 2i and
2i + 1 of each output. A convolution lays them out by kernel position, then by input channel, in
either layout of its input; signed activations are shifted to unsigned ones first. A depthwise
convolution widens each byte before it multiplies, and pairs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# The most that two weights of one sign may add up to: 255 * 128 fits 16 bits, 255 * 129 does not.
PAIR_LIMIT = 128
# The most that one weight may be; ONNX Runtime's own limit for symmetric weights.
WEIGHT_LIMIT = 127


def weight_scales(products: np.ndarray) -> np.ndarray:
    """Finds the smallest scale of each output with which no pair of its weights saturates.

    Args:
        products: Float weights, (outputs, products), in the order in which a kernel adds them up.

    Returns:
        Scales, float32, (outputs,): for most outputs max |w| / 127 as ever, and a larger one only
        where two large weights of one sign are neighbours. 1 where all weights are 0.
    """
    weights = products.astype(np.float32)
    wide = weights.astype(np.float64)
    most = np.maximum(
        np.abs(wide).max(axis=1) / WEIGHT_LIMIT, pair_sums(wide).max(axis=(1, 2)) / PAIR_LIMIT
    )
    scales = most.astype(np.float32)
    scales[scales < np.finfo(np.float32).tiny] = 1.0
    # Two weights that add up to 128 do so when rounded, too: both are rounded up only where
    # their fractions add up to more than 1. But the scale itself was rounded, to float32, and that
    # may tip a weight over.
    while (over := pair_sums(_rounded(weights, scales)).max(axis=(1, 2)) > PAIR_LIMIT).any():
        scales[over] = np.nextafter(scales[over], np.float32(np.inf))
    return scales


def pair_sums(products: np.ndarray) -> np.ndarray:
    """Adds up neighbours of one sign.

    Args:
        products: Weights, (outputs, products).

    Returns:
        Sizes of the sums, (outputs, 2, pairs): of the positive weights, of the negative ones.
    """
    even = np.pad(products, ((0, 0), (0, products.shape[1] % 2)))
    pairs = even.reshape(len(even), -1, 2)
    signs = np.stack([np.maximum(pairs, 0), np.maximum(-pairs, 0)], axis=1)
    return signs.sum(axis=-1)


def _rounded(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """The integers that ONNX Runtime's quantizer makes of weights."""
    return np.rint(weights / scales[:, None])


def safe_scales(proto: Any) -> dict[str, list[dict[str, Any]]]:
    """Finds scales for all weights of a float model that kernels which add in pairs will read.

    Args:
        proto: The float model, as it goes into ONNX Runtime's `quantize_static`.

    Returns:
        Its option `TensorQuantOverrides`: by the name of a weight, one entry an output.
    """
    from onnx import TensorProto, numpy_helper
    from onnxruntime.quantization import QuantType

    constants = {t.name: t for t in proto.graph.initializer if t.data_type == TensorProto.FLOAT}
    found: dict[str, tuple[int | None, np.ndarray]] = {}
    for node in proto.graph.node:
        name = node.input[1] if len(node.input) > 1 else ""
        if node.op_type not in _PAIRED or name not in constants:
            continue
        axis, products = _PAIRED[node.op_type](node, numpy_helper.to_array(constants[name]))
        if not products.size:
            continue
        scales = weight_scales(products)
        if name in found and found[name][0] != axis:  # shared: rows to one, columns to another
            axis, scales = None, np.concatenate([scales, found[name][1]])
        if axis is None:
            scales = scales.max(keepdims=True)
        found[name] = (axis, scales)
    fixed = {"quant_type": QuantType.QInt8, "zero_point": np.int8(0)}
    return {
        name: [fixed | {"scale": s} | ({} if axis is None else {"axis": axis}) for s in scales]
        for name, (axis, scales) in found.items()
    }


def _of_conv(node: Any, weights: np.ndarray) -> tuple[int | None, np.ndarray]:
    """Weights (outputs, inputs of a group, *kernel): position by position, then channel."""
    groups = next((a.i for a in node.attribute if a.name == "group"), 1)
    outputs, inputs = weights.shape[:2]
    if inputs == 1 and outputs == groups:
        return 0, np.empty((outputs, 0), np.float32)  # depthwise: no pairs
    return 0, np.moveaxis(weights, 1, -1).reshape(outputs, -1)


def _of_gemm(node: Any, weights: np.ndarray) -> tuple[int | None, np.ndarray]:
    turned = any(a.name == "transB" and a.i for a in node.attribute)
    return (0, weights) if turned else (1, weights.T)


def _of_matmul(node: Any, weights: np.ndarray) -> tuple[int | None, np.ndarray]:
    """Matrices in a stack share one scale: an axis cannot say which column of which."""
    if weights.ndim == 2:
        return 1, weights.T
    if weights.ndim == 1:
        return None, weights[None]
    return None, np.swapaxes(weights, -1, -2).reshape(-1, weights.shape[-2])


# How each operator lays its weights out in the order of addition: (axis of the outputs, products).
_PAIRED = {"Conv": _of_conv, "Gemm": _of_gemm, "MatMul": _of_matmul}
