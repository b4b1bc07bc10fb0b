"""Forms of operators on volumes that runtimes have for pictures alone."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.graph import Graph, Node


@keras.saving.register_keras_serializable(package="kerasdeconv")
class FlatPReLU(keras.layers.PReLU):
    """A PReLU with one slope a channel, computed on a volume that is laid out as a picture.

    TFLite's PRELU takes four axes at most, the batch and the channels included.
    """

    def call(self, inputs: Any) -> Any:
        batch, depth, height, width, channels = keras.ops.shape(inputs)
        picture = keras.ops.reshape(inputs, (batch, depth * height, width, channels))
        slopes = keras.ops.reshape(self.alpha, (1, 1, channels))
        # As Keras writes it: TFLite's converter knows these operations for a PRELU.
        activated = keras.ops.relu(picture) + -slopes * keras.ops.relu(-picture)
        return keras.ops.reshape(activated, (batch, depth, height, width, channels))


def flatten_prelu(graph: Graph, node: Node) -> bool:
    """Lays a volume out as a picture for a PReLU whose slopes do not differ in space."""
    layer = node.layer
    if type(layer) is not keras.layers.PReLU or len(node.output.shape) != 5:
        return False
    if set(layer.alpha.shape[:-1]) != {1}:
        return False
    flat = FlatPReLU.from_config({**layer.get_config(), "dtype": "float32"})
    flat.build((None, None, None, None, layer.alpha.shape[-1]))
    flat.set_weights([keras.ops.convert_to_numpy(layer.alpha)])
    graph.replace([node], [Node(flat, node.inputs, node.outputs)], f"{layer.name}: on a flat map")
    return True
