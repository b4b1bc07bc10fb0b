"""Group normalization in operators on four axes, each of which has integers of 8 bits.

Keras' own layer takes the groups apart on a fifth axis. Here each channel is averaged over the
pixels by itself, and then those of a group. Source of the function: Wu and He, "Group
normalization" (2018).

TFLite has integers for means, sums and products, and slow ones for squares of differences. ONNX
Runtime has them for average poolings, sums and products alone; in TFLite a pooling has the scale of
what it reads, many times too coarse for the mean of squares.
"""

from __future__ import annotations

import functools
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.activations import scale_depthwise
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers.folded import FoldedGroupNormalization


def _is_group_norm(graph: Graph, node: Node) -> bool:
    """Whether it normalizes pictures, channels last."""
    layer: Any = node.layer
    is_norm = type(layer) is keras.layers.GroupNormalization and len(node.output.shape) == 4
    return is_norm and layer.axis in (-1, 3)


def on_four_axes(layer: Any, channels: int, depth: int = 1) -> keras.layers.Layer:
    """The same normalization of folded volumes, or of pictures, which have a depth of 1."""
    normed = FoldedGroupNormalization(
        depth,
        _groups(layer, channels),
        epsilon=layer.epsilon,
        center=layer.center,
        scale=layer.scale,
        name=layer.name,
        dtype="float32",
    )
    normed.build((None, None, None, channels))
    normed.set_weights(layer.get_weights())
    return normed


def _groups(layer: Any, channels: int) -> int:
    return channels if layer.groups == -1 else layer.groups


def _moments(graph: Graph, node: Node) -> Replacement | None:
    """Mean and variance by the runtime's own means."""
    wiring = Wiring()
    made = wiring.add(on_four_axes(node.layer, known(node.output)[-1]), *node.inputs)
    return wiring.replace([node], made, f"{node.layer.name}: on four axes")


def _mean(graph: Graph, node: Node) -> Replacement | None:
    """Averages over the map by the runtime's mean, over the channels by small convolutions."""
    return _by_convolutions(node, keras.layers.GlobalAveragePooling2D, {"keepdims": True})


def _pool(graph: Graph, node: Node) -> Replacement | None:
    """Averages over the map by poolings as large as it, over the channels by small convolutions."""
    window = {"pool_size": known(node.output)[1:3]}
    return _by_convolutions(node, keras.layers.AveragePooling2D, window)


def _by_convolutions(node: Node, pooling: Any, options: dict[str, Any]) -> Replacement:
    """Mean and variance, of sums and products alone.

    A 1 x 1 convolution with one number for each pair of channels in a group averages what is left
    of the channels, one pixel, and gives each its group's average.
    """
    layer, name, wiring = node.layer, node.layer.name, Wiring()
    (x,), channels = node.inputs, known(node.output)[-1]
    groups = _groups(layer, channels)

    def averaged(values: Value, part: str, factor: float, shift: float) -> Value:
        """Averages over the pixels and the channels of each group."""
        pool = pooling(**options, name=f"{name}_{part}_pool", dtype="float32")
        each = wiring.add(pool, values)
        return wiring.add(_averaging(channels, groups, factor, shift, f"{name}_{part}"), each)

    less = averaged(x, "mean", -1.0, 0.0)
    # In this order: Keras takes a vector that is added to a map for a bias, of which tf2onnx allows
    # a convolution but one.
    centred = wiring.add(keras.layers.Add(name=f"{name}_centre", dtype="float32"), less, x)
    square = keras.layers.Multiply(name=f"{name}_square", dtype="float32")
    variance = averaged(wiring.add(square, centred, centred), "variance", 1.0, layer.epsilon)
    factor = wiring.add(layers.ReciprocalRoot(name=f"{name}_root", dtype="float32"), variance)
    if layer.scale:
        gamma = keras.ops.convert_to_numpy(layer.gamma)
        factor = wiring.add(scale_depthwise(gamma, f"{name}_scale"), factor)
    made = wiring.add(keras.layers.Multiply(name=name, dtype="float32"), centred, factor)
    if layer.center:
        beta = keras.ops.convert_to_numpy(layer.beta).tolist()
        shift = keras.layers.Rescaling(1.0, beta, name=f"{name}_shift", dtype="float32")
        made = wiring.add(shift, made)
    return wiring.replace([node], made, f"{name}: on four axes")


def _averaging(channels: int, groups: int, factor: float, shift: float, name: str) -> Any:
    """A 1 x 1 convolution that gives every channel the average of its group."""
    size = channels // groups
    if size == 1:
        layer, kernel = keras.layers.DepthwiseConv2D, np.full((channels, 1), factor)
    else:
        layer = functools.partial(keras.layers.Conv2D, channels)
        kernel = np.kron(np.eye(groups), np.full((size, size), factor / size))
    made = layer(1, name=name, dtype="float32")
    made.build((None, None, None, channels))
    made.set_weights([kernel[None, None], np.full(channels, shift)])
    return made


GROUP_NORMALIZATION = Family(
    "group_normalization", _is_group_norm, {"moments": _moments, "mean": _mean, "pool": _pool}
)
