"""The end of a classifying network: probabilities, logits, or labels."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.errors import ExportError, closest
from kerasdeconv.graph import Graph, Node, Value

HEADS = ("probabilities", "logits", "labels")


@keras.saving.register_keras_serializable(package="kerasdeconv")
class Labels(keras.layers.Layer):
    """Turns scores into class numbers, ... x classes to ...; one score is positive or not."""

    def compute_output_spec(self, inputs: Any) -> Any:
        return keras.KerasTensor(inputs.shape[:-1], dtype="int32")

    def call(self, inputs: Any) -> Any:
        import tensorflow as tf  # exports run on TensorFlow; Keras' argmax needs a Flex operator

        if inputs.shape[-1] == 1:  # compared to 0: ONNX Runtime has an integer ArgMax, no Greater
            inputs = tf.concat([tf.zeros_like(inputs), inputs], axis=-1)
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
    output = graph.outputs[0]
    last = graph.producer(output)
    if last is None or not _classifies(last):
        raise ExportError(
            f"head={head!r} needs a network that ends in softmax or sigmoid. "
            f"Received: {output.name!r}"
        )
    if head == "probabilities":
        return
    name = last.layer.name
    activation = separate_activation(graph, last)
    (logits,) = activation.inputs
    graph.outputs[0] = logits
    if output not in graph.outputs and not any(output in node.inputs for node in graph.nodes):
        graph.nodes.remove(activation)
    graph.rewrites.append(f"{name}: final activation stripped")
    if head == "labels":
        labels = Value(logits.shape[:-1], "int32")
        graph.nodes.append(Node(Labels(name=f"{name}_labels"), [logits], [labels]))
        graph.rewrites.append(f"{name}: class numbers put out")
        graph.outputs[0] = labels
    graph.outputs[0].name = output.name


def _classifies(node: Node) -> bool:
    """Whether a node puts out probabilities of classes."""
    if isinstance(node.layer, keras.layers.Softmax):
        return node.layer.axis in (-1, len(node.output.shape) - 1)
    activation = getattr(node.layer, "activation", None)
    return activation in (keras.activations.softmax, keras.activations.sigmoid)


def separate_activation(graph: Graph, node: Node, copies: dict[int, Any] | None = None) -> Node:
    """Takes the activation out of a layer.

    Args:
        graph: Changed in place.
        node: A use of the layer.
        copies: The layers without activation, by the id of the layer: shared ones stay shared
            between calls that are given the same.

    Returns:
        The node that does nothing else.
    """
    layer = node.layer
    if isinstance(layer, keras.layers.Activation | keras.layers.Softmax):
        return node
    copies = {} if copies is None else copies
    copy = copies.get(id(layer))
    if copy is None:
        copy = type(layer).from_config({**layer.get_config(), "activation": None})
        copy.build(node.inputs[0].shape)
        copy.set_weights(layer.get_weights())
        copies[id(layer)] = copy
    logits = Value(node.output.shape, node.output.dtype)
    linear = Node(copy, node.inputs, [logits], node.call)
    activation = keras.layers.Activation(layer.activation, name=f"{layer.name}_activation")
    separate = Node(activation, [logits], node.outputs)
    place = graph.nodes.index(node)
    graph.nodes[place : place + 1] = [linear, separate]
    return separate
