"""Averages: over parts of a map, over windows, and over all of it."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node
from kerasdeconv.layers import BinPooling

_TAPS = 16  # of one convolution; larger windows go along one axis after the other


def fix_bins(graph: Graph, node: Node) -> bool:
    """Averages over windows of a size where a map was averaged over a number of parts."""
    if type(node.layer) is not BinPooling or None in node.inputs[0].shape[1:3]:
        return False
    name, bins = node.layer.name, node.layer.bins
    window = tuple(side // bins for side in known(node.inputs[0])[1:3])
    layer: Any = keras.layers.AveragePooling2D(window, name=name, dtype="float32")
    if bins == 1:
        layer = keras.layers.GlobalAveragePooling2D(keepdims=True, name=name, dtype="float32")
    why = f"{name}: averages over windows of {window}"
    graph.replace([node], [Node(layer, node.inputs, node.outputs)], why)
    return True


def _is_global(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    kind = keras.layers.GlobalAveragePooling2D
    return type(layer) is kind and layer.data_format == "channels_last"


def _window(graph: Graph, node: Node) -> Replacement | None:
    """One window over the whole map, for runtimes that average windows alone in integers."""
    wiring, layer = Wiring(), node.layer
    _, *sides, channels = known(node.inputs[0])
    pool = keras.layers.AveragePooling2D(tuple(sides), name=layer.name, dtype="float32")
    made = wiring.add(pool, node.inputs[0])
    if not layer.keepdims:
        flat = keras.layers.Reshape((channels,), name=f"{layer.name}_shape", dtype="float32")
        made = wiring.add(flat, made)
    return wiring.replace([node], made, f"{layer.name}: averages over one window")


def _is_windowed(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    return (
        type(layer) is keras.layers.AveragePooling2D
        and layer.padding == "valid"
        and layer.data_format == "channels_last"
    )


def _depthwise(graph: Graph, node: Node) -> Replacement | None:
    """Convolutions of each channel by itself with equal weights.

    TFLite's average keeps the scale of what it reads, of which the average of a sparse map fills a
    few steps alone; a convolution has a scale of its own. Without oneDNN TensorFlow's has one
    stride for both axes: where they differ, maxima of windows of 1 take what is wanted.
    """
    layer, x, wiring = node.layer, node.inputs[0], Wiring()
    (height, width), (s, t) = layer.pool_size, layer.strides
    steps = [(f"{layer.name}_rows", (height, 1), (s, 1)), (layer.name, (1, width), (1, t))]
    if height * width <= _TAPS:
        steps = [(layer.name, (height, width), (s, t))]
    for name, window, strides in steps:
        stride = math.gcd(*strides)
        made = keras.layers.DepthwiseConv2D(window, stride, name=name, dtype="float32")
        made.build(x.shape)
        channels = known(x)[-1]
        kernel = np.full((*window, channels, 1), 1 / math.prod(window), np.float32)
        made.set_weights([kernel, np.zeros(channels)])
        x = wiring.add(made, x)
        if strides != (stride, stride):
            rest = (strides[0] // stride, strides[1] // stride)
            taken = keras.layers.MaxPooling2D(1, rest, name=f"{name}_taken", dtype="float32")
            x = wiring.add(taken, x)
    return wiring.replace([node], x, f"{layer.name}: averages by depthwise convolutions")


GLOBAL_AVERAGE = Family("global_average", _is_global, {"window": _window})
AVERAGE = Family("average_pooling", _is_windowed, {"depthwise": _depthwise})
