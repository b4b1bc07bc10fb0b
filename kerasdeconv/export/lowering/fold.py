"""Foldings: layers that disappear into the convolution beside them.

Each takes a graph and a node, rewrites the graph around the node if it can, and says whether it
did. All are exact: the new kernel and bias compute the same function to float rounding.

BatchNormalization and Rescaling are one thing here, `gain * x + shift` a channel. Between it and
the convolution there may be layers that only move values about.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.graph import Graph, Node, Value

_TRANSPOSED = (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
# These classes alone: one derived from them may do anything with its kernel.
CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dense,
    *_TRANSPOSED,
)
# What runs inside a convolution in the runtimes.
_FUSED_ACTIVATIONS = ("relu", "relu6", "tanh", "sigmoid")
_ZERO_PADDING = (keras.layers.ZeroPadding2D, keras.layers.ZeroPadding3D)
_MOVES = (
    keras.layers.Cropping2D,
    keras.layers.Cropping3D,
    layers.CropLike,
    layers.ReflectPadding,
)
_COPIES = (keras.layers.UpSampling3D, layers.NearestResize)


@dataclasses.dataclass(frozen=True)
class Affine:
    """`gain * x + shift`, each one number or one a channel."""

    gain: np.ndarray
    shift: np.ndarray


def split_separable(graph: Graph, node: Node) -> bool:
    """Takes a separable convolution apart into its two."""
    layer = node.layer
    if type(layer) is not keras.layers.SeparableConv2D or layer.data_format != "channels_last":
        return False
    deep = keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
        depth_multiplier=layer.depth_multiplier,
        use_bias=False,
        name=f"{layer.name}_depthwise",
        dtype="float32",
    )
    deep.build(node.inputs[0].shape)
    deep.set_weights([_array(layer.depthwise_kernel)])
    kernel = _array(layer.pointwise_kernel)
    point = keras.layers.Conv2D(
        layer.filters, 1, activation=layer.activation, name=layer.name, dtype="float32"
    )
    point.build((None, None, None, kernel.shape[-2]))
    point.set_weights([kernel, _array(layer.bias) if layer.use_bias else np.zeros(layer.filters)])
    middle = Value((*node.output.shape[:-1], kernel.shape[-2]), "float32")
    graph.replace(
        [node],
        [Node(deep, node.inputs, [middle]), Node(point, [middle], node.outputs)],
        f"{layer.name}: taken apart into a depthwise and a 1 x 1 convolution",
    )
    return True


def fix_crop(graph: Graph, node: Node) -> bool:
    """Crops by numbers where a map was cropped to the size of another one."""
    if type(node.layer) is not layers.CropLike or len(node.output.shape) != 4:
        return False
    margins = []
    for have, want in zip(node.inputs[0].shape[1:3], node.output.shape[1:3], strict=True):
        if have is None or want is None:
            return False
        offset = node.layer.offset
        start = (have - want) // 2 if offset is None else offset
        margins.append((start, have - want - start))
    crop = keras.layers.Cropping2D(tuple(margins), name=node.layer.name, dtype="float32")
    graph.replace(
        [node], [Node(crop, node.inputs[:1], node.outputs)], f"{crop.name}: crops by {margins}"
    )
    return True


def bias_everywhere(graph: Graph, node: Node) -> bool:
    """Gives a convolution without bias one of zeros, so that what follows can fold into it."""
    if type(node.layer) not in CONVOLUTIONS or node.layer.use_bias:
        return False
    layer = rebuilt(node.layer, *weights(node.layer))
    graph.replace([node], [Node(layer, node.inputs, node.outputs)], f"{layer.name}: bias added")
    return True


def fold_into_convolution_before(graph: Graph, node: Node) -> bool:
    """Folds an affine layer into the convolution before it.

    The kernel is multiplied by the gain along its output channels and the bias becomes
    `bias * gain + shift` (Ioffe and Szegedy 2015, section 3.1). Through zeros that were put around
    the map only the gain can go; the shift, which is in the zeros' place too, stays behind.
    """
    affine = affine_of(node)
    if affine is None:
        return False
    moves, convolution = _way_up(graph, node)
    if convolution is None or not convolution.linear:
        return False
    gain, shift = affine.gain, affine.shift
    padded = any(type(move.layer) in _ZERO_PADDING for move in moves) and np.any(shift)
    if padded and np.all(gain == 1):
        return False
    for move in moves:  # from the affine layer up
        if type(move.layer) is layers.DepthToSpace:
            blocks = math.prod(layers.per_axis(move.layer.block_size, len(move.output.shape) - 2))
            gain, shift = (np.tile(v, blocks) if v.ndim else v for v in (gain, shift))
    kernel, bias = weights(convolution.layer)
    layer = rebuilt(
        convolution.layer,
        _times_outputs(convolution.layer, kernel, gain),
        bias * gain + (0 if padded else shift),
    )
    why = f"{node.layer.name}: folded into {layer.name}"
    new = [Node(layer, convolution.inputs, convolution.outputs), *reversed(moves)]
    if padded:
        rest = keras.layers.Rescaling(1.0, affine.shift, name=node.layer.name, dtype="float32")
        new.append(Node(rest, node.inputs, node.outputs))
    else:
        last = new[-1]
        new[-1] = Node(last.layer, last.inputs, node.outputs, last.call)
    graph.replace([convolution, *moves, node], new, why)
    return True


def fold_into_convolution_after(graph: Graph, node: Node) -> bool:
    """Folds an affine layer into the convolution behind it.

    Before a zero-padded convolution only a gain can fold: a shift would have to be in the padding
    too; an unpadded one takes both.
    """
    affine = affine_of(node)
    if affine is None or not keras.backend.is_float_dtype(node.inputs[0].dtype):
        return False  # a Rescaling is also what makes bytes real numbers
    moves, after = _way_down(graph, node)
    if after is None or type(after.layer) is keras.layers.Dense:
        return False
    shifts = bool(np.any(affine.shift))
    padded = any(type(move.layer) in _ZERO_PADDING for move in moves)
    padded |= type(after.layer) in _TRANSPOSED or after.layer.padding != "valid"
    if shifts and padded:
        return False
    kernel, bias = weights(after.layer)
    if shifts:  # every output sees the whole kernel
        bias = bias + _seen(after.layer, kernel, affine.shift)
    layer = rebuilt(after.layer, _times_inputs(after.layer, kernel, affine.gain), bias)
    way = [Node(move.layer, move.inputs, move.outputs, move.call) for move in moves]
    end = Node(layer, after.inputs, after.outputs)
    (way[0] if way else end).inputs = [*node.inputs, *(way[0].inputs[1:] if way else [])]
    why = f"{node.layer.name}: folded into {layer.name}"
    graph.replace([node, *moves, after], [*way, end], why)
    return True


def fuse_activation(graph: Graph, node: Node) -> bool:
    """Puts an elementwise activation into the convolution before it.

    Layers that only move values about may stand between them: it does not matter which comes first.
    """
    name = fused_activation(node.layer)
    if name is None:
        return False
    moves, convolution = _way_up(graph, node)
    if convolution is None or not convolution.linear:
        return False
    if name == "sigmoid" and any(type(move.layer) in _ZERO_PADDING for move in moves):
        return False  # of zero it is a half
    layer = _activated(graph, convolution, name)
    new = [Node(layer, convolution.inputs, convolution.outputs), *reversed(moves)]
    last = new[-1]
    new[-1] = Node(last.layer, last.inputs, node.outputs, last.call)
    graph.replace([convolution, *moves, node], new, f"{node.layer.name}: fused into {layer.name}")
    return True


def fuse_activation_into_branches(graph: Graph, node: Node) -> bool:
    """Puts an activation behind joined branches into the convolutions that all of them end in."""
    name = fused_activation(node.layer)
    joined = graph.producer(node.inputs[0]) if name is not None else None
    if name is None or joined is None or type(joined.layer) is not keras.layers.Concatenate:
        return False
    if graph.only_consumer(joined.output) is not node:
        return False
    ends = [graph.producer(value) for value in joined.inputs]
    found = [end for end in ends if end is not None and type(end.layer) in CONVOLUTIONS]
    alone = all(graph.only_consumer(value) is joined for value in joined.inputs)
    if len(found) < len(ends) or not alone or not all(end.linear for end in found):
        return False
    new = [Node(_activated(graph, end, name), end.inputs, end.outputs) for end in found]
    last = Node(joined.layer, joined.inputs, node.outputs, joined.call)
    names = ", ".join(end.layer.name for end in found)
    graph.replace([*found, joined, node], [*new, last], f"{node.layer.name}: fused into {names}")
    return True


def _activated(graph: Graph, convolution: Node, name: str) -> Any:
    """A convolution's layer with an activation."""
    if not graph.owns(convolution.layer):
        return rebuilt(convolution.layer, *weights(convolution.layer), activation=name)
    convolution.layer.activation = keras.activations.get(name)  # without a copy of all its weights
    return convolution.layer


def affine_of(node: Node) -> Affine | None:
    """What a BatchNormalization or a Rescaling does to each channel; None for anything else."""
    layer: Any = node.layer
    if isinstance(layer, keras.layers.BatchNormalization):
        if layer.axis not in (-1, len(node.output.shape) - 1):
            return None
        gain = 1 / np.sqrt(_array(layer.moving_variance) + layer.epsilon)
        if layer.scale:
            gain = gain * _array(layer.gamma)
        shift = -_array(layer.moving_mean) * gain
        return Affine(gain, shift + _array(layer.beta) if layer.center else shift)
    if type(layer) is keras.layers.Rescaling:
        gain, shift = (np.asarray(v, np.float64) for v in (layer.scale, layer.offset))
        if max(gain.size, shift.size) == 1:
            return Affine(gain.reshape(()), shift.reshape(()))
        if all(v.size == 1 or v.shape[:-1] == (1,) * (v.ndim - 1) for v in (gain, shift)):
            return Affine(*(v.reshape(() if v.size == 1 else -1) for v in (gain, shift)))
    return None


def fused_activation(layer: Any) -> str | None:
    """Name of an activation layer that can be fused into a convolution; None for all others."""
    if isinstance(layer, keras.layers.Activation):
        # By identity: a user's own function may have any name.
        known = {getattr(keras.activations, name): name for name in _FUSED_ACTIVATIONS}
        return known.get(layer.activation)
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope and not layer.threshold:
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value)
    return None


def rebuilt(layer: Any, kernel: np.ndarray, bias: np.ndarray, **changes: Any) -> Any:
    """Copies a convolution in float32 with another kernel and bias, and other settings."""
    config = {**layer.get_config(), "use_bias": True, "dtype": "float32", **changes}
    for drop in ("lora_rank", "lora_alpha"):
        config.pop(drop, None)  # `layer.kernel` has low-rank changes in it
    for name in ("kernel_initializer", "depthwise_initializer"):
        if name in config:
            config[name] = "zeros"  # drawing numbers for millions of weights takes seconds
    copy = type(layer).from_config(config)
    axis = -2 if not isinstance(layer, _TRANSPOSED) else -1
    copy.build((*[None] * (kernel.ndim - 1), kernel.shape[axis] * config.get("groups", 1)))
    copy.set_weights([kernel, bias])
    return copy


def copied(layer: Any) -> Any:
    """Copies a layer without weights, in float32."""
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


def weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution (zeros where there is no bias)."""
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    if layer.use_bias:
        return kernel, _array(layer.bias)
    outputs = {
        keras.layers.DepthwiseConv2D: math.prod(kernel.shape[-2:]),
        **dict.fromkeys(_TRANSPOSED, kernel.shape[-2]),
    }
    return kernel, np.zeros(outputs.get(type(layer), kernel.shape[-1]))


def _times_outputs(layer: Any, kernel: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiplies a kernel along its output channels."""
    if gain.ndim and isinstance(layer, _TRANSPOSED):
        gain = gain[:, None]  # its kernel is ... x out x in
    elif gain.ndim and isinstance(layer, keras.layers.DepthwiseConv2D):
        gain = gain.reshape(kernel.shape[-2:])
    return _times(kernel, gain)


def _times_inputs(layer: Any, kernel: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiplies a kernel along its input channels."""
    if gain.ndim and not isinstance(layer, _TRANSPOSED):
        groups = getattr(layer, "groups", 1)
        # Output channels of group g read the input channels of group g.
        spread = np.repeat(gain.reshape(groups, -1).T, kernel.shape[-1] // groups, axis=1)
        gain = gain[:, None] if groups == 1 else spread
    return _times(kernel, gain)


def _times(kernel: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiplies in float64 and rounds once, without a kernel of float64 in memory."""
    return np.multiply(kernel, gain, out=np.empty(kernel.shape, np.float32), casting="same_kind")


def _seen(layer: Any, kernel: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a constant in each input channel adds to each output channel."""
    shift = np.broadcast_to(shift, kernel.shape[-2] * getattr(layer, "groups", 1))
    taps = tuple(range(kernel.ndim - 2))
    seen = _times_inputs(layer, kernel, shift).sum(axis=taps, dtype=np.float64)
    return seen.ravel() if isinstance(layer, keras.layers.DepthwiseConv2D) else seen.sum(axis=0)


def convolution_before(graph: Graph, node: Node) -> Node | None:
    """The convolution that feeds this node alone."""
    if len(node.inputs) != 1:
        return None
    before = graph.producer(node.inputs[0])
    if before is None or type(before.layer) not in CONVOLUTIONS:
        return None
    return before if graph.only_consumer(node.inputs[0]) is node else None


def _way_up(graph: Graph, node: Node) -> tuple[list[Node], Node | None]:
    """Layers that only move values from a convolution down to a node, from the node up."""
    moves: list[Node] = []
    while True:
        convolution = convolution_before(graph, node)
        if convolution is not None:
            return moves, convolution
        above = graph.producer(node.inputs[0])
        if above is None or graph.only_consumer(above.outputs[0]) is not node:
            return moves, None
        if not (_moves(above) or type(above.layer) is layers.DepthToSpace):
            return moves, None
        moves.append(above)
        node = above


def _way_down(graph: Graph, node: Node) -> tuple[list[Node], Node | None]:
    """Layers that only move values from a node down to a convolution."""
    moves: list[Node] = []
    while True:
        below = graph.only_consumer(node.output) if len(node.outputs) == 1 else None
        if below is None or node.output is not below.inputs[0]:
            return moves, None
        if type(below.layer) in CONVOLUTIONS:
            return moves, below
        if not _moves(below):
            return moves, None
        moves.append(below)
        node = below


def _moves(node: Node) -> bool:
    """Whether each output pixel is an input pixel, or a zero."""
    layer: Any = node.layer
    if type(layer) is keras.layers.UpSampling2D:
        return layer.interpolation == "nearest" and layer.data_format == "channels_last"
    moves = type(layer) in (*_MOVES, *_COPIES, *_ZERO_PADDING)
    return moves and getattr(layer, "data_format", "channels_last") == "channels_last"


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
