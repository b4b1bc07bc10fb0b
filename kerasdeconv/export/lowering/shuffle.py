"""Depth to space, for targets that lack it."""

from __future__ import annotations

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring, known
from kerasdeconv.graph import Graph, Node


def _is_shuffle(graph: Graph, node: Node) -> bool:
    return type(node.layer) is layers.DepthToSpace and len(node.output.shape) == 4


def _by_rows(graph: Graph, node: Node) -> Replacement | None:
    """Row phases side by side, then cut into rows again. Four axes, nothing but moves.

    Behind a convolution that nothing else reads, each row phase is a convolution of its own, and
    nothing has to be cut out of its output.
    """
    wiring, name = Wiring(), node.layer.name
    s, t = layers.per_axis(node.layer.block_size, 2)
    _, height, width, channels = known(node.inputs[0])
    before = graph.producer(node.inputs[0])
    old = [node]
    if s == 1:
        parts = [node.inputs[0]]
    elif (
        before is not None
        and type(before.layer) is keras.layers.Conv2D
        and before.layer.groups == 1
        and graph.only_consumer(before.output) is node
    ):
        old = [before, node]
        parts = [wiring.add(layer, before.inputs[0]) for layer in _cut(before.layer, s)]
    else:
        columns = channels // s
        parts = [
            wiring.add(
                layers.SliceChannels(i * columns, columns, name=f"{name}_{i}", dtype="float32"),
                node.inputs[0],
            )
            for i in range(s)
        ]
    wide = parts[0]
    if s > 1:
        joined = keras.layers.Concatenate(axis=2, name=f"{name}_rows", dtype="float32")
        wide = wiring.add(joined, *parts)
    shape = (height * s, width * t, channels // (s * t))
    large = wiring.add(keras.layers.Reshape(shape, name=name, dtype="float32"), wide)
    return wiring.replace(old, large, f"{name}: row phases joined and reshaped")


def _cut(layer: keras.layers.Conv2D, parts: int) -> list[keras.layers.Conv2D]:
    """Convolutions to equal parts of a convolution's output channels."""
    weights = [keras.ops.convert_to_numpy(layer.kernel)]
    weights.append(
        keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    )
    cut = zip(*(np.split(array, parts, axis=-1) for array in weights), strict=True)
    made = []
    for i, (kernel, bias) in enumerate(cut):
        copy = keras.layers.Conv2D(
            kernel.shape[-1],
            layer.kernel_size,
            strides=layer.strides,
            padding=layer.padding,
            dilation_rate=layer.dilation_rate,
            activation=layer.activation,
            name=f"{layer.name}_{i}",
            dtype="float32",
        )
        copy.build((None, None, None, kernel.shape[-2]))
        copy.set_weights([kernel, bias])
        made.append(copy)
    return made


def _transposed(graph: Graph, node: Node) -> Replacement | None:
    """A transposed convolution whose kernel has a single one for each input channel."""
    block = layers.per_axis(node.layer.block_size, 2)
    channels = known(node.output)[-1]
    inputs = known(node.inputs[0])[-1]
    kernel = np.eye(inputs, dtype=np.float32).reshape(*block, channels, inputs)
    layer = keras.layers.Conv2DTranspose(
        channels, block, strides=block, padding="same", name=node.layer.name, dtype="float32"
    )
    layer.build(node.inputs[0].shape)
    layer.set_weights([kernel, np.zeros(channels)])
    wiring = Wiring()
    made = wiring.add(layer, node.inputs[0])
    return wiring.replace([node], made, f"{layer.name}: as a transposed convolution")


DEPTH_TO_SPACE = Family(
    "depth_to_space",
    _is_shuffle,
    {"rows": _by_rows, "transposed": _transposed},
    lambda node: max(layers.per_axis(node.layer.block_size, 2)),
)
