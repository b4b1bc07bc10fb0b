"""The end of a classifying network: probabilities, logits, or labels."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.errors import ExportError, closest
from kerasdeconv.export.graph import Graph, Node, Value

HEADS = ("probabilities", "logits", "labels")


@keras.saving.register_keras_serializable(package="kerasdeconv")
class Labels(keras.layers.Layer):
    """Turns scores into class numbers, ... x classes to ...; one score is positive or not."""

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape[:-1], dtype="int32")

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf  # exports run on TensorFlow; Keras' argmax needs a Flex operator

        if inputs.shape[-1] == 1:
            return tf.cast(inputs[..., 0] > 0, tf.int32)
        return tf.argmax(inputs, axis=-1, output_type=tf.int32)


def change_head(graph: Graph, head: str | None) -> None:
    """Strips the final softmax or sigmoid, or puts class numbers in its place.

    Args:
        graph: Changed in place.
        head: "logits", "labels", or "probabilities" or None for the network as it is.

    Raises:
        ExportError: The network does not end in softmax or sigmoid.
        ValueError: No such head.
    """
    if head is None:
        return
    if head not in HEADS:
        raise ValueError(f"No such head. {closest(head, HEADS)} Received: {head!r}")
    last = graph.producer(graph.outputs[0])
    activation = getattr(getattr(last, "layer", None), "activation", None)
    if last is None or activation not in (keras.activations.softmax, keras.activations.sigmoid):
        raise ExportError(
            f"head={head!r} needs a network that ends in softmax or sigmoid. "
            f"Received: {graph.outputs[0].name!r}"
        )
    if head == "probabilities":
        return
    name = graph.outputs[0].name
    if isinstance(last.layer, keras.layers.Activation):
        graph.nodes.remove(last)
        logits = last.inputs[0]
    else:
        logits = last.output
        last.layer = _without_activation(last.layer)
    graph.rewrites.append(f"{last.layer.name}: final activation stripped")
    if head == "labels":
        labels = Value(logits.shape[:-1], "int32")
        graph.nodes.append(Node(Labels(name=f"{last.layer.name}_labels"), [logits], [labels]))
        graph.rewrites.append(f"{last.layer.name}: class numbers put out")
        logits = labels
    graph.outputs[0] = logits
    logits.name = name


def _without_activation(layer: Any) -> Any:
    copy = type(layer).from_config({**layer.get_config(), "activation": None})
    copy.build(layer.input.shape)
    copy.set_weights(layer.get_weights())
    return copy
