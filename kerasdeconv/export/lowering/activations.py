"""Activations that stand by themselves, for runtimes that are slow at them in integers.

Measured with LiteRT on x86 in int8, between two 3 x 3 convolutions on 128 x 128 x 32 that take 4.1
ms by themselves: a standing ReLU adds 7.2 ms, as "clamp" nothing that can be measured; hard-swish
adds 2.0 ms, as "product" nothing; PReLU as "sum" adds 0.4 ms, and by two convolutions with ReLU, of
x and of -x, 3.5 ms. Between the narrow convolutions of FSRCNN (12 channels) those "halves" are the
faster form, and the more precise one: one rounding in the place of four. ONNX Runtime has an
integer sigmoid, and no integer tanh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering import fold
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring
from kerasdeconv.graph import Graph, Node

# Layers into which TensorFlow's converter fuses a ReLU by itself.
FUSING = (
    keras.layers.Add,
    keras.layers.Multiply,
    keras.layers.Subtract,
    keras.layers.MaxPooling2D,
    keras.layers.AveragePooling2D,
    keras.layers.Rescaling,
)


def _is_prelu(graph: Graph, node: Node) -> bool:
    """Whether it is a PReLU on pictures whose slopes differ from channel to channel at most."""
    layer: Any = node.layer
    return (
        type(layer) is keras.layers.PReLU
        and len(node.output.shape) == 4
        and tuple(layer.alpha.shape[:-1]) == (1, 1)
    )


def _slopes(node: Node) -> np.ndarray:
    return np.ravel(keras.ops.convert_to_numpy(node.layer.alpha))


def _leaky(graph: Graph, node: Node) -> Replacement | None:
    """A PReLU with one slope for all channels is a leaky ReLU."""
    slopes, name = _slopes(node), node.layer.name
    if np.ptp(slopes) or slopes[0] < 0:
        return None
    wiring = Wiring()
    layer = keras.layers.LeakyReLU(float(slopes[0]), name=name, dtype="float32")
    return wiring.replace([node], wiring.add(layer, *node.inputs), f"{name}: as a leaky ReLU")


def _halves(graph: Graph, node: Node) -> Replacement | None:
    """PReLU as `relu(x) - a relu(-x)`: the convolution before it makes both, with a fused ReLU.

    The one behind it takes them together, and the sign of the slopes; their size is in the first,
    so that both halves are about as large.
    """
    before, after = fold.convolution_before(graph, node), graph.only_consumer(node.output)
    if before is None or after is None or not all(map(_mixes_channels, (before, after))):
        return None
    if before.layer.activation is not keras.activations.linear:
        return None
    slopes, wiring = _slopes(node).astype(np.float64), Wiring()
    (below,) = np.nonzero(slopes)  # the others have no half below zero
    slopes = slopes[below]
    kernel, bias = (
        np.concatenate([array, -np.abs(slopes) * array[..., below]], axis=-1)
        for array in fold.weights(before.layer)
    )
    halves = fold.rebuilt(before.layer, kernel, bias, filters=len(bias), activation="relu")
    kernel, bias = fold.weights(after.layer)
    negative = -np.sign(slopes)[:, None] * kernel[..., below, :]
    joined = fold.rebuilt(after.layer, np.concatenate([kernel, negative], axis=-2), bias)
    made = wiring.add(joined, wiring.add(halves, *before.inputs))
    why = f"{node.layer.name}: both halves by the convolution before it, joined by the next"
    return wiring.replace([before, node, after], made, why)


def _mixes_channels(node: Node) -> bool:
    return type(node.layer) is keras.layers.Conv2D and node.layer.groups == 1


def _sum(graph: Graph, node: Node) -> Replacement | None:
    """PReLU as `a x + relu((1 - a) x)`, and as `x - relu((1 - a) x)` where the slope exceeds 1."""
    return _summed(node, _scale)


def _depthwise(graph: Graph, node: Node) -> Replacement | None:
    """The sum, its factors as depthwise convolutions: ONNX Runtime is slow at the products."""
    return _summed(node, scale_depthwise)


def _summed(
    node: Node, scale: Callable[[np.ndarray, str], keras.layers.Layer]
) -> Replacement | None:
    slopes, name = _slopes(node).astype(np.float64), node.layer.name
    (x,), wiring = node.inputs, Wiring()
    sloped = wiring.add(scale(np.minimum(slopes, 1), f"{name}_slope"), x)
    rest = wiring.add(scale(1 - slopes, f"{name}_rest"), x)
    rest = wiring.add(keras.layers.ReLU(name=f"{name}_relu", dtype="float32"), rest)
    if slopes.max() > 1:
        rest = wiring.add(scale(np.where(slopes > 1, -1, 1), f"{name}_sign"), rest)
    made = wiring.add(keras.layers.Add(name=name, dtype="float32"), sloped, rest)
    return wiring.replace([node], made, f"{name}: a slope, and the rest through a ReLU")


def _scale(factors: np.ndarray, name: str) -> keras.layers.Layer:
    return keras.layers.Rescaling(factors.tolist(), name=name, dtype="float32")


def scale_depthwise(factors: np.ndarray, name: str) -> keras.layers.Layer:
    """Multiplies each channel by a factor."""
    layer = keras.layers.DepthwiseConv2D(1, name=name, dtype="float32")
    layer.build((None, None, None, len(factors)))
    layer.set_weights([factors[None, None, :, None], np.zeros(len(factors))])
    return layer


def _is_hard_swish(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    known = isinstance(layer, keras.layers.Activation) and len(node.output.shape) == 4
    return known and layer.activation is keras.activations.hard_silu


def _product(graph: Graph, node: Node) -> Replacement | None:
    """Hard-swish as `x relu6(x + 3)`, whose sixth the convolution behind it takes over.

    Howard et al., "Searching for MobileNetV3" (2019), section 5.2. With the factor written out, the
    converter would find the operator again.
    """
    after = graph.only_consumer(node.output)
    if after is None or type(after.layer) not in fold.CONVOLUTIONS:
        return None
    (x,), name, wiring = node.inputs, node.layer.name, Wiring()
    shifted = wiring.add(keras.layers.Rescaling(1.0, 3.0, name=f"{name}_shift", dtype="float32"), x)
    gate = wiring.add(keras.layers.ReLU(6.0, name=f"{name}_gate", dtype="float32"), shifted)
    product = wiring.add(keras.layers.Multiply(name=name, dtype="float32"), x, gate)
    kernel, bias = fold.weights(after.layer)
    made = wiring.add(fold.rebuilt(after.layer, kernel / 6, bias), product)
    return wiring.replace([node, after], made, f"{name}: a product, its sixth in the next layer")


def _is_tanh(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    known = isinstance(layer, keras.layers.Activation) or type(layer) in fold.CONVOLUTIONS
    return known and layer.activation is keras.activations.tanh


def _by_sigmoid(graph: Graph, node: Node) -> Replacement:
    """Tanh as `2 sigmoid(2 x) - 1`, whose end a Rescaling behind it takes over.

    Where that makes pixels of [-1, 1], nothing is left of it but `255 sigmoid(2 x)`.
    """
    layer, old, wiring = node.layer, [node], Wiring()
    name = layer.name
    if type(layer) in fold.CONVOLUTIONS:
        kernel, bias = fold.weights(layer)
        squash = fold.rebuilt(layer, 2 * kernel, 2 * bias, activation="sigmoid")
        squashed = wiring.add(squash, *node.inputs)
    else:
        twice = keras.layers.Rescaling(2.0, name=f"{name}_twice", dtype="float32")
        squash = keras.layers.Activation("sigmoid", name=name, dtype="float32")
        squashed = wiring.add(squash, wiring.add(twice, *node.inputs))
    gain, shift = 2.0, -1.0
    after = graph.only_consumer(node.output)
    if after is not None and type(after.layer) is keras.layers.Rescaling:
        affine = fold.affine_of(after)
        if affine is not None and affine.gain.ndim == affine.shift.ndim == 0:
            old.append(after)
            gain, shift = 2 * float(affine.gain), float(affine.shift - affine.gain)
    spread = keras.layers.Rescaling(gain, shift, name=f"{name}_spread", dtype="float32")
    why = f"{name}: tanh by a sigmoid of twice the value"
    return wiring.replace(old, wiring.add(spread, squashed), why)


def _is_standing_relu(graph: Graph, node: Node) -> bool:
    """Whether it is a ReLU that no layer before it takes in."""
    if fold.fused_activation(node.layer) not in ("relu", "relu6") or len(node.output.shape) != 4:
        return False
    before = graph.producer(node.inputs[0])
    return before is not None and type(before.layer) not in (*FUSING, *fold.CONVOLUTIONS)


def _clamp(graph: Graph, node: Node) -> Replacement | None:
    """A pooling of single pixels, into which the converter fuses the ReLU.

    XNNPACK takes no ReLU of integers, and takes such a pooling as a clamp.
    """
    wiring, name = Wiring(), node.layer.name
    pooling = keras.layers.MaxPooling2D(1, 1, name=f"{name}_clamp", dtype="float32")
    pooled = wiring.add(pooling, *node.inputs)
    made = wiring.add(fold.copied(node.layer), pooled)
    return wiring.replace([node], made, f"{name}: inside a pooling of single pixels")


FAMILIES = (
    Family(
        "prelu",
        _is_prelu,
        {"leaky": _leaky, "halves": _halves, "depthwise": _depthwise, "sum": _sum},
    ),
    Family("hard_swish", _is_hard_swish, {"product": _product}),
    Family("relu", _is_standing_relu, {"clamp": _clamp}),
)
# Before transposed convolutions, which may have it inside, are taken apart.
TANH = Family("tanh", _is_tanh, {"sigmoid": _by_sigmoid})
