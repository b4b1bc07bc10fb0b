"""Nearest upsampling, alone and before a convolution."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering import forms
from kerasdeconv.export.lowering.interleaving import Upsampling, forms_of
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node
from kerasdeconv.layers import NearestResize


def _is_nearest(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    return (
        type(layer) is keras.layers.UpSampling2D
        and layer.interpolation == "nearest"
        and layer.data_format == "channels_last"
        and max(layer.size) > 1
    )


def _convolution_behind(graph: Graph, node: Node) -> Node | None:
    """The ordinary convolution that alone reads a nearest upsampling."""
    after = graph.only_consumer(node.output)
    if after is None or type(after.layer) is not keras.layers.Conv2D:
        return None
    layer = after.layer
    plain = set(layer.strides) == {1} and layer.groups == 1
    return after if plain and layer.data_format == "channels_last" else None


def _is_nearest_convolution(graph: Graph, node: Node) -> bool:
    return _is_nearest(graph, node) and _convolution_behind(graph, node) is not None


def _take_apart(graph: Graph, node: Node) -> Upsampling | None:
    """The phases of a nearest upsampling and a convolution. See `forms.of_nearest`."""
    after = _convolution_behind(graph, node)
    if after is None:
        return None
    layer = after.layer
    phases = forms.of_nearest(
        keras.ops.convert_to_numpy(layer.kernel).astype(np.float64),
        node.layer.size,
        known(node.inputs[0])[1:3],
        layer.padding,
        layer.dilation_rate,
    )
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None
    return Upsampling([node, after], phases, bias, layer.activation, layer.name)


def _concatenated(graph: Graph, node: Node) -> Replacement | None:
    """Copies side by side, then cut into rows again: whole rows and pixels are moved."""
    layer: Any = node.layer
    (x,), (s, t) = node.inputs, layer.size
    _, height, width, channels = known(x)
    wiring, name = Wiring(), layer.name
    wide = x
    if t > 1:
        wide = wiring.add(_concatenate(f"{name}_columns", -1), *[wide] * t)
    if s > 1:
        wide = wiring.add(_concatenate(f"{name}_rows", 2), *[wide] * s)
    shape = (height * s, width * t, channels)
    large = wiring.add(keras.layers.Reshape(shape, name=f"{name}_shape", dtype="float32"), wide)
    return wiring.replace([node], large, f"{name}: copies joined and reshaped")


def _resized(graph: Graph, node: Node) -> Replacement | None:
    """The runtime's own resize operator instead of what the converters make."""
    wiring = Wiring()
    layer = NearestResize(node.layer.size, name=node.layer.name, dtype="float32")
    made = wiring.add(layer, node.inputs[0])
    return wiring.replace([node], made, f"{node.layer.name}: one resize operator")


def _concatenate(name: str, axis: int) -> keras.layers.Layer:
    return keras.layers.Concatenate(axis=axis, name=name, dtype="float32")


NEAREST_CONVOLUTION = Family(
    "nearest_convolution",
    _is_nearest_convolution,
    forms_of(_take_apart, ("joint", "split", "rows")),
    lambda node: max(node.layer.size),
)
NEAREST = Family(
    "nearest",
    _is_nearest,
    {"concat": _concatenated, "resize": _resized},
    lambda node: max(node.layer.size),
)
