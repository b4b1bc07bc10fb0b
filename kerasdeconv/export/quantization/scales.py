"""Which values of a lowered network are integers, and which of them share a scale.

The same decisions as TFLite's converter and ONNX Runtime's quantizer make, on Keras layers. An
operator that computes gives its output a scale; one that only moves values keeps that of what it
reads. A ReLU behind an operator is part of it: what is between the two is never stored.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.export.lowering.activations import FUSING
from kerasdeconv.export.lowering.fold import CONVOLUTIONS, fused_activation
from kerasdeconv.export.lowering.head import separate_activation
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import folded


def _words(text: str) -> list[str]:
    return text.split()


_RELUS = ("relu", "relu6")
# Classes whose outputs hold values of their first input, and zeros. Operations of `keras.ops` have
# no public classes: their names must do.
_MOVES = _words(
    """
    Reshape Permute Flatten RepeatVector Cropping1D Cropping2D Cropping3D ZeroPadding1D
    ZeroPadding2D ZeroPadding3D MaxPooling1D MaxPooling2D MaxPooling3D GlobalMaxPooling1D
    GlobalMaxPooling2D GlobalMaxPooling3D UpSampling1D UpSampling3D
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D Identity
    Transpose GetItem Pad Squeeze ExpandDims Flip Repeat Tile Take MaxPool Max Amax Copy
    StopGradient Roll Moveaxis Swapaxes Ravel Split BroadcastTo ZerosLike
    """
)
_OWN_MOVES = (
    layers.BatchToInstances,
    layers.CropLike,
    layers.DepthToSpace,
    layers.InstancesToBatch,
    layers.MaxPoolingWithIndices,
    layers.MaxUnpooling,
    layers.NearestResize,
    layers.ReflectPadding,
    layers.Sampling,
    layers.SliceChannels,
    folded.DepthWindow,
    folded.FoldDepth,
    folded.MergeDepth,
    folded.SplitDepth,
    folded.UnfoldDepth,
)
_FUSING = {kind.__name__ for kind in (*FUSING, *CONVOLUTIONS, keras.layers.BatchNormalization)}
_JOINS = ("Concatenate", "DepthInterleave", "FoldedBlocks")
# Selections, which TFLite makes of integers of one scale, as joins. Its range is that of what was
# selected; here, what was left counts too.
_SELECTIONS = ("Maximum", "Minimum", "Where", "Stack")
_AVERAGES = ("AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AveragePool")
# What TFLite gives these, whatever they are: "8-bit quantization specification", LOGISTIC, SOFTMAX
# and TANH. 256 levels of 1/256 end below 1, and of 1/128 from -1 on.
_FIXED: dict[str, dict[str, tuple[float, float]]] = {
    "tflite": {"sigmoid": (0, 255 / 256), "softmax": (0, 255 / 256), "tanh": (-1, 127 / 128)},
    "onnx": {"softmax": (0, 1)},  # ONNX Runtime's `QDQSoftmax`
}


@dataclasses.dataclass(eq=False)
class Scale:
    """What the integers of one or more values stand for.

    Attributes:
        bounds: Least and greatest number that an integer stands for; (0, 0) before calibration.
        fixed: Whether samples have no say in it.
    """

    bounds: tuple[float, float] = (0.0, 0.0)
    fixed: bool = False


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where the integers of a graph are.

    Attributes:
        scales: Of every value that is stored as integers.
        rounded: Those of them that are rounded; the others are copies of such.
        layers: Names of the layers that compute, by node. An activation that is part of another
            layer has that one's name.
        joins: Nodes that join maps whose scales are settled only after the ranges are known.
    """

    scales: dict[Value, Scale]
    rounded: set[Value]
    layers: dict[Node, str]
    joins: list[Node]


def place(graph: Graph, form: str) -> Placement:
    """Decides which values get a scale.

    Args:
        graph: A lowered network. Activations that are operators of their own are taken out of its
            convolutions, in place.
        form: "tflite" or "onnx".
    """
    taken_out = _separate(graph)
    scales = {value: Scale() for value in graph.inputs if _is_float(value)}
    placement = Placement(scales, set(scales), {}, [])
    for node in graph.nodes:
        _place(graph, node, form, placement)
        if node in taken_out:
            placement.layers[node] = taken_out[node]
    return placement


def _separate(graph: Graph) -> dict[Node, str]:
    """Takes activations that are operators of their own out of convolutions.

    Returns:
        The activations, and the names of the layers that they were in.
    """
    known = [keras.activations.get(name) for name in (*_RELUS, "linear")]
    return {
        separate_activation(graph, node): node.layer.name
        for node in list(graph.nodes)
        if type(node.layer) in CONVOLUTIONS and node.layer.activation not in (None, *known)
    }


def _place(graph: Graph, node: Node, form: str, placement: Placement) -> None:
    """Gives the outputs of a node scales, new ones or those of its inputs."""
    scales, name = placement.scales, node.layer.name
    read = [scales[value] for value in node.inputs if value in scales]
    made = [value for value in node.outputs if _is_float(value)]
    if moves(graph, node, form):
        scales.update(dict.fromkeys(made, read[0]) if read else {})
        return
    before = graph.producer(node.inputs[0]) if node.inputs else None
    if before is not None and before in placement.layers and _fuses(graph, before, node, form):
        name = placement.layers[before]
    joins = type(node.layer).__name__ in (*_JOINS, *(_SELECTIONS if form == "tflite" else ()))
    if joins and read:
        if len({id(scale) for scale in read}) == 1:
            scales.update(dict.fromkeys(made, read[0]))
            return
        if form == "tflite" and not any(scale.fixed for scale in read):
            _tie(scales, read)
            scales.update(dict.fromkeys(made, read[0]))
            return
    if not made:  # numbers of classes, or of pixels
        return
    placement.layers[node] = name
    if _ends_inside(graph, node, form):
        return
    if form == "tflite" and averages(node) and read:
        own = read[0]  # rounded anew, in the scale of what it reads
    else:
        fixed = _FIXED[form].get(activation_of(node.layer))
        own = Scale(bounds=fixed, fixed=True) if fixed else Scale()
    scales.update(dict.fromkeys(made, own))
    placement.rounded.update(made)
    if type(node.layer) is keras.layers.Concatenate or (joins and form == "tflite"):
        placement.joins.append(node)


def _tie(scales: dict[Value, Scale], several: list[Scale]) -> None:
    """Makes one scale of several."""
    old = {id(scale) for scale in several}
    scales.update({value: several[0] for value, scale in scales.items() if id(scale) in old})


def _ends_inside(graph: Graph, node: Node, form: str) -> bool:
    """Whether what a node makes is never stored, since a ReLU is part of the same operator."""
    after = graph.only_consumer(node.output) if len(node.outputs) == 1 else None
    return after is not None and _fuses(graph, node, after, form)


def _fuses(graph: Graph, node: Node, after: Node, form: str) -> bool:
    """Whether the node after one that computes is a ReLU that becomes part of it."""
    if len(node.outputs) > 1 or graph.only_consumer(node.output) is not after:
        return False
    if activation_of(after.layer) not in _RELUS or not _linear(node):
        return False
    # ONNX Runtime takes out any ReLU, since a range that begins at 0 says the same.
    return form == "onnx" or type(node.layer).__name__ in _FUSING


def _linear(node: Node) -> bool:
    return node.linear and activation_of(node.layer) == ""


def moves(graph: Graph, node: Node, form: str) -> bool:
    """Whether each output is an input, or a zero, so that their scale is kept."""
    layer: Any = node.layer
    if isinstance(layer, _OWN_MOVES) or type(layer).__name__ in _MOVES:
        return True
    if type(layer) is keras.layers.UpSampling2D:
        return layer.interpolation == "nearest"
    if isinstance(layer, folded.DepthPooling):
        return layer.mode == "max"
    if isinstance(layer, keras.layers.Activation) and node.linear:
        return True
    if form == "tflite" and activation_of(layer) in _RELUS:
        # A ReLU in a pooling cuts the integers off where zero is.
        before = graph.producer(node.inputs[0])
        return before is not None and isinstance(before.layer, keras.layers.MaxPooling2D)
    return False


def averages(node: Node) -> bool:
    """Whether each output is a mean of inputs."""
    layer: Any = node.layer
    if isinstance(layer, folded.DepthPooling):
        return layer.mode == "average"
    return type(layer).__name__ in _AVERAGES or type(layer) is keras.layers.UpSampling2D


def activation_of(layer: Any) -> str:
    """Name of the activation that a layer or an operation is, "" for all others."""
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    if getattr(layer, "activation", None) is keras.activations.softmax:
        return "softmax"
    if isinstance(layer, keras.layers.Layer):
        return fused_activation(layer) or ""
    name = type(layer).__name__.lower()
    return name if name in (*_RELUS, *_FIXED["tflite"]) else ""


def _is_float(value: Value) -> bool:
    return value.dtype.startswith("float")
