"""Upsampling without weights: nearest, alone and before a convolution, and bilinear."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering import forms
from kerasdeconv.export.lowering.interleaving import Upsampling, forms_of
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import NearestResize, ResizeLike


def fix_resize(graph: Graph, node: Node) -> bool:
    """Upsamples by a factor where a map was resized to the size of another one."""
    if type(node.layer) is not ResizeLike:
        return False
    pairs = list(zip(node.inputs[0].shape[1:3], node.output.shape[1:3], strict=True))
    if any(small is None or large is None or large % small for small, large in pairs):
        return False
    factors = tuple(large // small for small, large in pairs)  # type: ignore[operator]
    single = all(small == 1 for small, _ in pairs)
    layer = keras.layers.UpSampling2D(
        factors,
        interpolation="nearest" if single else "bilinear",
        name=node.layer.name,
        dtype="float32",
    )
    why = f"{layer.name}: upsamples by {factors}"
    graph.replace([node], [Node(layer, node.inputs[:1], node.outputs)], why)
    return True


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


def _is_bilinear(graph: Graph, node: Node) -> bool:
    layer: Any = node.layer
    return (
        type(layer) is keras.layers.UpSampling2D
        and layer.interpolation == "bilinear"
        and layer.data_format == "channels_last"
        and max(layer.size) > 1
    )


def _axes(graph: Graph, node: Node) -> Replacement | None:
    """Along one axis after the other, a convolution of each channel by itself for every phase."""
    x, wiring, name = node.inputs[0], Wiring(), node.layer.name
    rows, columns = node.layer.size
    if columns > 1:
        x = _interpolated(wiring, x, 2, columns, f"{name}_columns")
    if rows > 1:
        x = _interpolated(wiring, x, 1, rows, f"{name}_rows")
    return wiring.replace([node], x, f"{name}: interpolates along one axis after the other")


def _interpolated(wiring: Wiring, x: Value, axis: int, factor: int, name: str) -> Value:
    """Interpolates along an axis, as `kerasdeconv.layers.LinearUpsampling` does."""
    _, height, width, channels = known(x)
    x = _border_repeated(wiring, x, axis, name)
    # Of each phase's centre from the small pixel's own, in small pixels.
    offsets = (np.arange(factor) + 0.5) / factor - 0.5
    taps = np.maximum(1 - np.abs(np.arange(-1, 2) - offsets[:, None]), 0)
    window = (3, 1) if axis == 1 else (1, 3)
    phases = []
    for phase, weights in enumerate(taps):
        layer = keras.layers.DepthwiseConv2D(window, name=f"{name}_{phase}", dtype="float32")
        layer.build(x.shape)
        kernel = np.tile(weights.reshape(*window, 1, 1), (channels, 1))
        layer.set_weights([kernel, np.zeros(channels)])
        phases.append(wiring.add(layer, x))
    # Side by side on the axis behind, and then cut again.
    wide = wiring.add(_concatenate(f"{name}_phases", axis + 1), *phases)
    shape = (height * factor, width) if axis == 1 else (height, width * factor)
    reshape = keras.layers.Reshape((*shape, channels), name=f"{name}_shape", dtype="float32")
    return wiring.add(reshape, wide)


def _border_repeated(wiring: Wiring, x: Value, axis: int, name: str) -> Value:
    """Continues a map by a pixel at both ends of an axis."""
    side = known(x)[axis]
    ends = []
    for label, cut in (("first", (0, side - 1)), ("last", (side - 1, 0))):
        cropping = (cut, (0, 0)) if axis == 1 else ((0, 0), cut)
        crop = keras.layers.Cropping2D(cropping, name=f"{name}_{label}", dtype="float32")
        ends.append(wiring.add(crop, x) if side > 1 else x)
    return wiring.add(_concatenate(f"{name}_border", axis), ends[0], x, ends[1])


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
BILINEAR = Family(
    "bilinear",
    _is_bilinear,
    {"axes": _axes},
    lambda node: max(node.layer.size),
)
