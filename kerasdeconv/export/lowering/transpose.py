"""Transposed convolutions, ordinary and of each channel by itself."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering import forms
from kerasdeconv.export.lowering.interleaving import Upsampling, forms_of
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node, Value

KINDS = (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)


def is_transposed(graph: Graph, node: Node) -> bool:
    """Whether a node is a transposed convolution that upsamples pictures."""
    layer = node.layer
    return (
        type(layer) is keras.layers.Conv2DTranspose
        and set(layer.dilation_rate) == {1}
        and max(layer.strides) > 1
        and layer.data_format == "channels_last"
    )


def take_apart(graph: Graph, node: Node) -> Upsampling | None:
    """The phases of a transposed convolution. See `kerasdeconv.layers.polyphase`."""
    layer = node.layer
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None
    phases = forms.of_transposed(kernel, layer.strides, _reaches(node))
    return Upsampling([node], phases, bias, layer.activation, layer.name)


def _diagonal(node: Node) -> np.ndarray | None:
    """The kernel k1 x k2 x channels of a transposed convolution that does not mix channels."""
    kernel = keras.ops.convert_to_numpy(node.layer.kernel)
    channels = kernel.shape[-1]
    if kernel.shape[-2] != channels or np.any(kernel * (1 - np.eye(channels))):
        return None
    return np.diagonal(kernel, axis1=-2, axis2=-1)


def _diagonal_form(graph: Graph, node: Node) -> Replacement | None:
    """A transposed convolution of each channel by itself, as FCN's bilinear ones are.

    A kernel that is a column times a row (all interpolation is) goes along one axis after the
    other: s1 + s2 convolutions instead of s1 * s2.
    """
    layer, kernel = node.layer, _diagonal(node)
    if kernel is None or kernel.shape[-1] == 1:
        return None
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else None
    reaches = _reaches(node)
    factors = _column_times_row(kernel)
    if factors is None or min(layer.strides) == 1:
        phases = forms.of_transposed(kernel, layer.strides, reaches)
        return Upsampling([node], phases, bias, layer.activation, layer.name).split()
    column, row = factors
    (x,), (s, t) = node.inputs, layer.strides
    height = known(x)[1]
    wide = forms.of_transposed(row[None], (1, t), [forms.Reach(height, 0), reaches[1]])
    first = Upsampling([node], wide, None, None, f"{layer.name}_columns").rows()
    middle = first.new[-1].outputs[-1] = Value((known(x)[0], *wide.sides, known(x)[-1]), "float32")
    stand_in = Node(layer, [middle], node.outputs)
    tall = forms.of_transposed(column[:, None], (s, 1), [reaches[0], forms.Reach(wide.sides[1], 0)])
    second = Upsampling([stand_in], tall, bias, layer.activation, layer.name).rows()
    why = f"{layer.name}: each channel by itself, along one axis after the other"
    return Replacement((node,), (*first.new, *second.new), why)


def _column_times_row(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Takes k1 x k2 x channels apart into k1 x channels and k2 x channels, if it is a product."""
    place = np.abs(kernel).reshape(-1, kernel.shape[-1]).argmax(axis=0)
    rows, columns = np.unravel_index(place, kernel.shape[:2])
    channels = np.arange(kernel.shape[-1])
    peak = kernel[rows, columns, channels]
    if not np.all(peak):
        return None
    column, row = kernel[:, columns, channels], kernel[rows, :, channels].T / peak
    # Products of float32 numbers that were rounded once.
    exact = np.allclose(column[:, None] * row[None], kernel, rtol=0, atol=1e-6 * np.abs(peak).max())
    return (column, row) if exact else None


def _resize_form(graph: Graph, node: Node) -> Replacement | None:
    """FCN's bilinear upsampling with its borders cropped off: a resize operator and a crop.

    A transposed convolution fades into the zeros around the map, a resize repeats the border.
    Between the centres of the outermost pixels the two are the same.
    """
    layer, kernel, after = node.layer, _diagonal(node), graph.only_consumer(node.output)
    if kernel is None or after is None or type(after.layer) is not keras.layers.Cropping2D:
        return None
    stride = layer.strides[0]
    biased = layer.use_bias and np.any(keras.ops.convert_to_numpy(layer.bias))
    plain = layer.padding == "valid" and layer.output_padding is None and not biased
    if set(layer.strides) != {stride} or set(layer.kernel_size) != {2 * stride} or not plain:
        return None
    tent = 1 - np.abs(np.arange(2 * stride) - stride + 0.5) / stride
    bilinear = (tent[:, None] * tent)[..., None]
    if not node.linear or not np.allclose(kernel, bilinear, rtol=0, atol=1e-6):
        return None
    # The large map of the resize begins half a stride behind that of the convolution; its own
    # outermost half a stride lies outside the centres.
    cropping = [tuple(m - stride // 2 for m in side) for side in after.layer.cropping]
    if stride % 2 or any(m < stride // 2 for side in cropping for m in side):
        return None
    wiring, name = Wiring(), layer.name
    large = wiring.add(
        keras.layers.UpSampling2D(stride, interpolation="bilinear", name=name, dtype="float32"),
        node.inputs[0],
    )
    crop = keras.layers.Cropping2D(tuple(cropping), name=after.layer.name, dtype="float32")
    made = wiring.add(crop, large)
    return wiring.replace([node, after], made, f"{name}: a bilinear resize")


def _reaches(node: Node) -> list[forms.Reach]:
    layer = node.layer
    extra = layer.output_padding
    return [
        forms.transposed_reach(
            known(node.inputs[0])[1 + axis],
            layer.kernel_size[axis],
            layer.strides[axis],
            layer.padding,
            extra if extra is None or isinstance(extra, int) else extra[axis],
        )
        for axis in range(2)
    ]


def _is_depthwise(graph: Graph, node: Node) -> bool:
    return type(node.layer) is layers.DepthwiseConvTranspose and len(node.output.shape) == 4


def _take_depthwise_apart(graph: Graph, node: Node) -> Upsampling | None:
    layer: Any = node.layer
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    strides = layers.per_axis(layer.strides, 2)
    reaches = [
        forms.transposed_reach(side, k, s, "same", None)
        for side, k, s in zip(known(node.inputs[0])[1:3], kernel.shape[:2], strides, strict=True)
    ]
    phases = forms.of_transposed(kernel, strides, reaches)
    return Upsampling([node], phases, None, None, layer.name)


TRANSPOSED = Family(
    "transposed_convolution",
    is_transposed,
    {
        **forms_of(take_apart, ("joint", "split", "rows")),
        "diagonal": _diagonal_form,
        "resize": _resize_form,
    },
    lambda node: max(node.layer.strides),
)
DEPTHWISE = Family(
    "depthwise_transposed",
    _is_depthwise,
    forms_of(_take_depthwise_apart, ("split", "rows")),
    lambda node: max(layers.per_axis(node.layer.strides, 2)),
)
