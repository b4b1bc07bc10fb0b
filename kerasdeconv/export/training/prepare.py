"""Takes a lowered model apart, so that every scale that integers have has a place to be learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering.head import separate_activation
from kerasdeconv.export.quantization.scales import averages, moves
from kerasdeconv.graph import Graph, Node, build, dissolve, read
from kerasdeconv.layers import RepeatChannels

# Layers for which runtimes have one operator, with a scale of its own behind it.
_SINGLE = frozenset(
    {"Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "Conv2DTranspose", "Conv3DTranspose", "Dense"}
    | {"Add", "Subtract", "Multiply", "ReLU", "Saturating", "PReLU", "LeakyReLU", "ELU", "Softmax"}
    | {"GlobalAveragePooling2D", "Activation", "Concatenate", "Maximum", "Minimum"}
    | {"DepthInterleave", "FoldedBlocks"}
)
# What an operator computes along with a convolution.
_FUSED = ("linear", "relu", "relu6")
# Activations that are several operators, step by step.
_STEPS = {
    keras.activations.silu: lambda x: x * keras.ops.sigmoid(x),
    keras.activations.hard_sigmoid: lambda x: keras.ops.relu6(x + 3.0) * (1 / 6),
    keras.activations.hard_silu: lambda x: x * (keras.ops.relu6(x + 3.0) * (1 / 6)),
}


class Saturating(keras.layers.ReLU):
    """A ReLU whose upper limit is where the range of its integers ends: no operator clips there.

    Args:
        ceiling: The limit.
    """

    def __init__(self, ceiling: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ceiling = float(ceiling)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "ceiling": self.ceiling}


def prepare(model: keras.Model) -> keras.Model:
    """Gives activations that no operator fuses, and batch normalizations, layers of their own.

    Args:
        model: With static shapes.

    Returns:
        A model of the same outputs, with weights of its own.
    """
    graph = read(model)
    copies: dict[int, Any] = {}
    fused = [keras.activations.get(name) for name in _FUSED]
    for node in list(graph.nodes):
        name, activation = type(node.layer).__name__, getattr(node.layer, "activation", None)
        if name in ("BatchNormalization", "Rescaling"):
            _scale_by_convolution(graph, node, copies)
        elif name in _SINGLE - {"Activation", "Softmax"} and activation not in (None, *fused):
            separate_activation(graph, node, copies)
    return build(graph, [value.shape for value in graph.inputs], model.name)


def take_apart(graph: Graph) -> dict[int, Any]:
    """Replaces layers for which runtimes have no operator by the operations that they call.

    Args:
        graph: Of a model with static shapes, changed in place.

    Returns:
        The layer whose weights a node reads, by the node's id, where it is not the node's own.
    """
    owners: dict[int, Any] = {}
    for node in list(graph.nodes):
        node.layer = _saturating(node.layer) or node.layer
        steps = _steps(node.layer)
        if steps is not None:
            node.layer = keras.layers.Activation(steps, name=node.layer.name)
        elif _single(graph, node):
            continue
        inputs = [keras.KerasTensor(value.shape, value.dtype) for value in node.inputs]
        inner = dissolve(node, inputs)
        if inner is None or not inner.nodes or set(inner.outputs) & set(inner.inputs):
            continue
        known = dict(zip(inner.inputs, node.inputs, strict=True))
        known |= dict(zip(inner.outputs, node.outputs, strict=True))
        for part in inner.nodes:
            part.inputs = [known.get(value, value) for value in part.inputs]
            part.outputs = [known.get(value, value) for value in part.outputs]
        owners[id(inner.nodes[0])] = node.layer
        graph.replace([node], inner.nodes, f"{node.layer.name}: taken apart")
    return owners


def _saturating(layer: Any) -> Saturating | None:
    """Makes one of a ReLU with a limit that no operator has; None for any other layer."""
    if type(layer) is not keras.layers.ReLU or layer.max_value in (None, 6.0):
        return None
    if layer.negative_slope or layer.threshold:
        return None
    return Saturating(layer.max_value, name=layer.name)


def _single(graph: Graph, node: Node) -> bool:
    """Whether a runtime has one operator for a node, or it moves values alone."""
    if not isinstance(node.layer, keras.layers.Layer) or type(node.layer).__name__ in _SINGLE:
        return True
    return moves(graph, node, "tflite") or averages(node)


def _steps(layer: Any) -> Callable[[Any], Any] | None:
    """What a layer computes, in operators that can be integers; None where it is one already."""
    if type(layer) is keras.layers.Activation:
        return _STEPS.get(layer.activation)
    if isinstance(layer, RepeatChannels):  # not by a convolution, whose kernel nothing rounds
        return lambda x: keras.ops.concatenate([x] * layer.times, axis=-1)
    return None


def _scale_by_convolution(graph: Graph, node: Node, copies: dict[int, Any]) -> None:
    """A gain and an offset for each channel is a 1 x 1 depthwise convolution."""
    layer = node.layer
    if len(node.output.shape) != 4 or getattr(layer, "axis", -1) not in (-1, 3):
        return
    if id(layer) not in copies:
        convolution = keras.layers.DepthwiseConv2D(1, name=layer.name, trainable=layer.trainable)
        convolution.build(node.output.shape)
        channels = np.zeros(node.output.shape[-1] or 0, np.float32)
        gain, offset = (channels + part for part in _gain_and_offset(layer))
        convolution.set_weights([gain.reshape(1, 1, -1, 1), offset])
        copies[id(layer)] = convolution
    why = f"{layer.name}: as a depthwise convolution"
    graph.replace([node], [Node(copies[id(layer)], node.inputs, node.outputs)], why)


def _gain_and_offset(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(layer, keras.layers.Rescaling):
        return np.asarray(layer.scale, np.float32), np.asarray(layer.offset, np.float32)
    mean, variance = (np.asarray(v) for v in (layer.moving_mean, layer.moving_variance))
    gain = 1 / np.sqrt(variance + layer.epsilon)
    if layer.scale:
        gain = gain * np.asarray(layer.gamma)
    return gain, -mean * gain + (np.asarray(layer.beta) if layer.center else 0)
