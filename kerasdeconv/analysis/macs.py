"""Multiply-accumulates of a layer or operation: `count`.

Convolutions, products of matrices and what is made of them count; the border is not left out, so
that padded taps count as any other. Elementwise arithmetic, normalization, activations, pooling,
resizing and moving data count nothing, as is usual. A transposed convolution multiplies every input
pixel with the whole kernel, whatever is cropped afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv import layers as ours
from kerasdeconv.graph import Node, dissolve

# Where Keras keeps the layers and operations that do arithmetic pixel by pixel, or none.
_FREE_LAYERS = tuple(
    f"keras.src.layers.{part}."
    for part in (
        *("activations", "merging", "normalization", "pooling", "preprocessing"),
        *("regularization", "reshaping", "core.identity", "core.embedding", "core.masking"),
    )
)
_FREE_OPERATIONS = ("keras.src.ops.numpy", "keras.src.ops.nn", "keras.src.ops.core")
_FREE_MODULES = (*_FREE_OPERATIONS, "keras.src.ops.math", "keras.src.ops.image")
# What is not free among them, and has no rule.
_UNKNOWN = {
    *("SpectralNormalization", "MelSpectrogram", "STFTSpectrogram", "RandomElasticTransform"),
    *("Map", "Scan", "AssociativeScan", "WhileLoop", "ForiLoop", "Cond", "Switch", "VectorizedMap"),
    *("Correlate", "Cross", "Kron", "Corrcoef", "FFT", "FFT2", "IFFT2", "RFFT", "IRFFT"),
    *("STFT", "ISTFT", "CDist", "Polar", "GaussianBlur", "ElasticTransform", "SobelEdges"),
    *("SSIM", "CTCLoss", "CTCDecode"),
}

Tensors = Sequence[keras.KerasTensor]


def count(node: Node, inputs: Tensors, outputs: Tensors) -> int | None:
    """Counts the multiply-accumulates of one use of a layer or operation.

    Args:
        node: The use.
        inputs: Shapes of what it reads.
        outputs: Shapes of what it makes.

    Returns:
        The count; None where it is not known. Custom layers are counted by the `keras.layers` and
        `keras.ops` that they are made of.
    """
    layer = node.layer
    if any(None in tensor.shape for tensor in (*inputs, *outputs)):
        return None  # inside a layer that does not know its own shapes
    for kind in type(layer).__mro__:
        if kind in _LAYERS and type(layer).call is kind.call:  # type: ignore[attr-defined]
            return _LAYERS[kind](layer, inputs, outputs)
    place, name = type(layer).__module__, type(layer).__name__
    if not isinstance(layer, keras.layers.Layer):
        if name in _OPERATIONS and place.startswith("keras."):
            args, kwargs = node.call(lambda *a, **k: (a, k), list(inputs))
            return _OPERATIONS[name](layer, [*args, *kwargs.values()], outputs[0])
        return 0 if place.startswith(_FREE_MODULES) and name not in _UNKNOWN else None
    if place.startswith(_FREE_LAYERS) and name not in _UNKNOWN:
        return 0
    return _inside(node, inputs)


def _inside(node: Node, inputs: Tensors) -> int | None:
    graph = dissolve(node, inputs)
    if graph is None:
        return None
    total = 0
    for inner in graph.nodes:
        shapes = [
            [keras.KerasTensor(value.shape, value.dtype) for value in values]
            for values in (inner.inputs, inner.outputs)
        ]
        macs = count(inner, *shapes)
        if macs is None:
            return None
        total += macs
    return total


def _elements(tensor: Any) -> int:
    return math.prod(tensor.shape)


def _positions(tensor: Any, layer: Any) -> int:
    """Batch times pixels of a map."""
    first = getattr(layer, "data_format", None) == "channels_first"
    return _elements(tensor) // tensor.shape[1 if first else -1]


def _convolution(layer: Any, inputs: Tensors, outputs: Tensors) -> int:
    # The kernel is k1 x ... x kn x (channels of a group) x filters.
    return _positions(outputs[0], layer) * _elements(layer.kernel)


def _separable(layer: Any, inputs: Tensors, outputs: Tensors) -> int:
    weights = _elements(layer.depthwise_kernel) + _elements(layer.pointwise_kernel)
    return _positions(outputs[0], layer) * weights


def _transposed(layer: Any, inputs: Tensors, outputs: Tensors) -> int:
    return _positions(inputs[0], layer) * _elements(layer.kernel)


def _dense(layer: Any, inputs: Tensors, outputs: Tensors) -> int:
    return _elements(outputs[0]) * inputs[0].shape[-1]


def _einsum_dense(layer: Any, inputs: Tensors, outputs: Tensors) -> int | None:
    return _einsum(layer.equation, [inputs[0], layer.kernel], outputs[0])


def _multi_head(layer: Any, inputs: Tensors, outputs: Tensors) -> int | None:
    """Projections in and out, scores and weighted sums."""
    config = layer.get_config()
    if not 2 <= len(inputs) <= 3 or config.get("use_gate") or config.get("sliding_window"):
        return None
    query, value, key = (*inputs, inputs[1])[:3]
    everywhere = set(range(1, len(query.shape) - 1))
    if set(config["attention_axes"] or everywhere) != everywhere:
        return None
    heads, width = config["num_heads"], config["key_dim"]
    value_width = config["value_dim"] or width
    asked, known = math.prod(query.shape[:-1]), math.prod(value.shape[1:-1])
    inside = width * (_elements(query) + _elements(key)) + value_width * _elements(value)
    outside = value_width * _elements(outputs[0])
    return heads * (inside + outside + asked * known * (width + value_width))


def _dot_layer(layer: Any, inputs: Tensors, outputs: Tensors) -> int:
    axis = layer.axes if isinstance(layer.axes, int) else layer.axes[0]
    return _elements(outputs[0]) * inputs[0].shape[axis]


def _einsum(equation: str, operands: Sequence[Any], output: Any) -> int | None:
    """Elements of the output times the sides that are summed over."""
    left, _, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != 2:
        return 0 if len(terms) == 1 else None
    sides: dict[str, int] = {}
    for term, operand in zip(terms, operands, strict=True):
        front, _, back = term.partition("...")
        shape = tuple(operand.shape)
        sides |= dict(zip(front, shape, strict=False))
        sides |= dict(zip(reversed(back), reversed(shape), strict=False))
    return _elements(output) * math.prod(n for label, n in sides.items() if label not in right)


def _tensordot(op: Any, operands: Sequence[Any], output: Any) -> int:
    first = operands[0].shape
    if isinstance(op.axes, int):
        return _elements(output) * math.prod(first[len(first) - op.axes :])
    axes = op.axes[0]
    return _elements(output) * math.prod(
        first[axis] for axis in ([axes] if isinstance(axes, int) else axes)
    )


def _product(op: Any, operands: Sequence[Any], output: Any) -> int:
    """Sums along the last axis of the first operand."""
    return _elements(output) * operands[0].shape[-1]


def _kernel_operation(op: Any, operands: Sequence[Any], output: Any) -> int:
    return _positions(output, op) * sum(_elements(kernel) for kernel in operands[1:])


def _transposed_operation(op: Any, operands: Sequence[Any], output: Any) -> int:
    return _positions(operands[0], op) * _elements(operands[1])


def _attention(op: Any, operands: Sequence[Any], output: Any) -> int:
    """Scores and weighted sum: batch x queries x heads x keys x (width of a head), twice."""
    query, key = operands[0], operands[1]
    return 2 * _elements(query) * key.shape[1]


LayerRule = Callable[[Any, Tensors, Tensors], "int | None"]
OperationRule = Callable[[Any, Sequence[Any], Any], "int | None"]

_LAYERS: dict[type, LayerRule] = {
    **{getattr(keras.layers, f"Conv{n}D"): _convolution for n in (1, 2, 3)},
    **{getattr(keras.layers, f"DepthwiseConv{n}D"): _convolution for n in (1, 2)},
    **{getattr(keras.layers, f"SeparableConv{n}D"): _separable for n in (1, 2)},
    **{getattr(keras.layers, f"Conv{n}DTranspose"): _transposed for n in (1, 2, 3)},
    ours.DepthwiseConvTranspose: _transposed,
    keras.layers.Dense: _dense,
    keras.layers.EinsumDense: _einsum_dense,
    keras.layers.Dot: _dot_layer,
    keras.layers.MultiHeadAttention: _multi_head,
}
_OPERATIONS: dict[str, OperationRule] = {
    **dict.fromkeys(("Matmul", "Dot", "Inner", "Vdot"), _product),
    **dict.fromkeys(("Conv", "DepthwiseConv", "SeparableConv"), _kernel_operation),
    "ConvTranspose": _transposed_operation,
    "Einsum": lambda op, operands, output: _einsum(op.subscripts, operands, output),
    "Tensordot": _tensordot,
    "DotProductAttention": _attention,
}
