"""Random weights that keep a deep network's maps in a sane range, for work where only time counts.

A network as Keras starts it lets maps grow or fade from layer to layer, and its BatchNorms know no
statistics: integers of 8 bits then hold nothing of it. Here every kernel is scaled by what comes
out of it, layer by layer (Mishkin and Matas, "All you need is a good init", ICLR 2016,
https://arxiv.org/abs/1511.06422), and BatchNorms get the statistics of a sample.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.graph import Node, Value, read

_KERNELS = ("pointwise_kernel", "kernel", "depthwise_kernel")
# A trained network's biases are not zero. Converters drop zeros, and then leave an activation after
# a transposed convolution unfused, which would make the stock files slower than they are.
_BIAS, _PIXEL_BIAS = 0.1, 0.01
_LEAD = 6.0  # standard deviations by which the first class leads, so that few pixels tie


def scale_weights(model: keras.Model, sample: Any, convention: Convention | None = None) -> None:
    """Scales an untrained model's weights in place, so that every map has a deviation of about 1.

    Networks that put out pixels keep the kernels that their builders start with, which suit pixels.

    Args:
        model: Functional or Sequential, with the shapes of `sample` or free ones.
        sample: An array, or a list of one array an input.
        convention: What comes out. Where it is classes, the first one gets a lead.

    Raises:
        LoweringError: The model is subclassed or was never built.
    """
    output = convention.output if convention else "tensor"
    graph = read(model)
    if output == "pixels":
        for node in graph.nodes:
            _draw_bias(node.layer, _PIXEL_BIAS)
        return
    classes = None
    if output in ("probabilities", "logits", "labels"):
        classes = model.outputs[0].shape[-1]
    arrays = sample if isinstance(sample, list) else [sample]
    maps: dict[Value, Any] = dict(
        zip(graph.inputs, map(keras.ops.convert_to_tensor, arrays), strict=True)
    )
    seen: set[int] = set()
    for node in graph.nodes:
        inputs = [maps[value] for value in node.inputs]
        if id(node.layer) not in seen:
            seen.add(id(node.layer))
            _settle(node, inputs, classes)
        made = keras.tree.flatten(node.call(node.layer, inputs))
        maps.update(zip(node.outputs, made, strict=True))


def _settle(node: Node, inputs: list[Any], classes: int | None) -> None:
    """Scales a kernel so that its map has a deviation of 1; gives a BatchNorm its statistics."""
    layer = node.layer
    if isinstance(layer, keras.layers.BatchNormalization):
        x = np.asarray(inputs[0])
        axes = tuple(axis for axis in range(x.ndim) if axis != layer.axis % x.ndim)
        layer.moving_mean.assign(x.mean(axes))
        layer.moving_variance.assign(x.var(axes))
    found = (getattr(layer, name, None) for name in _KERNELS)
    kernel = next((kernel for kernel in found if kernel is not None), None)
    if kernel is None:
        return
    deviation = float(np.std(np.asarray(_linear(node, inputs))))
    if deviation > 0:
        kernel.assign(np.asarray(kernel) / deviation)
    _draw_bias(layer, _BIAS, classes)


def _draw_bias(layer: Any, deviation: float, classes: int | None = None) -> None:
    """Draws a layer's bias; where there is one a class, the first class gets the lead."""
    bias = getattr(layer, "bias", None)
    if bias is None:
        return
    drawn = np.random.default_rng(0).normal(0, deviation, bias.shape)
    if classes == bias.shape[0]:
        drawn += _LEAD * np.eye(1, classes)[0]
    bias.assign(drawn)


def _linear(node: Node, inputs: list[Any]) -> Any:
    """What a layer makes without its activation."""
    layer = node.layer
    activation = getattr(layer, "activation", None)
    if activation is None:
        return node.call(layer, inputs)
    layer.activation = keras.activations.linear
    try:
        return node.call(layer, inputs)
    finally:
        layer.activation = activation
