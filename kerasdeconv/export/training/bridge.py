"""A Keras 3 model as a model of tf_keras, the Keras that TensorFlow's optimization toolkit knows.

Layers that tf_keras has, too, become its own, of the same configuration and with the same weights.
Everything else is called as it is from inside a layer of tf_keras. Nothing is approximated.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kerasdeconv.export.training.legacy import load_tf_keras
from kerasdeconv.graph import Graph, Node, Value, build, free_name, read

# What has the same arguments, the same weights in the same order, and the same arithmetic.
_NATIVE = frozenset(
    {"Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "DepthwiseConv2D"}
    | {"Dense", "BatchNormalization", "PReLU", "ReLU", "Activation", "Dropout", "Flatten"}
    | {"Add", "Subtract", "Multiply", "Maximum", "Minimum", "Average", "Concatenate"}
    | {"MaxPooling2D", "AveragePooling2D", "MaxPooling3D", "AveragePooling3D"}
    | {"ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D", "Reshape"}
    | {"UpSampling2D", "UpSampling3D"}
)
# Both Keras compute these alike, and the toolkit knows them by these names.
_ACTIVATIONS = ("linear", "relu", "sigmoid", "softmax", "tanh")


class Hooks:
    """What is done to a model on its way over: nothing, unless a subclass says otherwise."""

    def wrap(self, node: Node, layer: Any) -> Any:
        """What takes the place of a layer of tf_keras with weights, once for each layer."""
        return layer

    def owner(self, node: Node) -> Any:
        """The layer of Keras 3 whose variables a node reads."""
        return node.layer

    def feed(self, node: Node, index: int, tensor: Any) -> Any:
        """What a node reads in place of its input `index`."""
        return tensor

    def mark(self, value: Value, tensor: Any) -> Any:
        """What is read in place of an input of the model, or of what a node has made."""
        return tensor


@dataclasses.dataclass(frozen=True)
class Bridge:
    """A model on both sides.

    Attributes:
        model: The tf_keras model.
        source: The Keras 3 model that it computes, a copy of the one that was given.
        pairs: Variables of `source` and those of `model` that took their place. All others are
            shared.
    """

    model: Any
    source: keras.Model
    pairs: list[tuple[Any, Any]]

    def to_keras(self) -> keras.Model:
        """Hands the weights of `model` back: returns `source` with them."""
        for theirs, ours in self.pairs:
            theirs.assign(ours)
        return self.source


def bridge(
    model: keras.Model,
    input_shapes: Sequence[tuple[int | None, ...]] | None = None,
    batch: int | None = None,
) -> Bridge:
    """Builds a Keras 3 model anew in tf_keras.

    Args:
        model: Functional or Sequential; nested models are dissolved, shared layers stay shared.
        input_shapes: Shape of each input, batch included; those of the model by default.
        batch: Batch size of the tf_keras model, None for any. Volumes that were folded into
            pictures need one.

    Returns:
        Both models, of float32, with weights of their own: `model` stays as it is.

    Raises:
        ExportError: tf_keras is not installed.
        LoweringError: The model is not functional, never built, or cannot be copied.
    """
    load_tf_keras()
    graph = read(model)
    shapes = list(input_shapes or [value.shape for value in graph.inputs])
    source = build(graph, shapes, model.name)
    return cross(source, read(source), Hooks(), batch)


def cross(source: keras.Model, graph: Graph, hooks: Hooks, batch: int | None) -> Bridge:
    """Builds the graph of a model anew in tf_keras; the model is taken as it is, not copied.

    Args:
        source: The model that owns the weights.
        graph: Its graph, or one that computes the same.
        hooks: What to do to layers and tensors on the way.
        batch: See `bridge`.

    Raises:
        ExportError: tf_keras is not installed.
    """
    return _Builder(hooks).build(source, graph, batch)


def to_tf_keras(model: keras.Model, batch: int | None = None) -> Any:
    """Builds a Keras 3 model anew in tf_keras. See `bridge`, which knows the way back, too.

    Args:
        model: Functional or Sequential.
        batch: See `bridge`.

    Returns:
        A functional tf_keras model with the same weights and the same outputs.

    Raises:
        ExportError: tf_keras is not installed.
        LoweringError: The model is not functional, never built, or cannot be copied.
    """
    return bridge(model, batch=batch).model


class _Builder:
    """Builds one model; layers of tf_keras are made where they are first used."""

    def __init__(self, hooks: Hooks) -> None:
        self.hooks = hooks
        self.layers: dict[int, Any] = {}
        self.taken: set[str] = set()
        self.pairs: list[tuple[Any, Any]] = []

    def build(self, source: keras.Model, graph: Graph, batch: int | None) -> Bridge:
        """Goes along all nodes."""
        tf_keras = load_tf_keras()
        inputs = [
            tf_keras.Input(batch_shape=(batch, *v.shape[1:]), dtype=v.dtype, name=v.name or None)
            for v in graph.inputs
        ]
        self.taken |= {value.name for value in graph.inputs}
        tensors = {v: self.hooks.mark(v, x) for v, x in zip(graph.inputs, inputs, strict=True)}
        for node in graph.nodes:
            read_ = [
                self.hooks.feed(node, index, tensors[value])
                for index, value in enumerate(node.inputs)
            ]
            for value, made in zip(node.outputs, self._call(node, read_), strict=True):
                tensors[value] = self.hooks.mark(value, made)
        outputs = [tensors[value] for value in graph.outputs]
        from kerasdeconv.export.training._fitted import Fitted

        made = Fitted(_alone(inputs), _alone(outputs), name=source.name)
        return Bridge(made, source, self.pairs)

    def _call(self, node: Node, tensors: list[Any]) -> list[Any]:
        layer = self.layers.get(id(node.layer))
        if layer is None:
            layer = self._native(node, tensors)
            self.layers[id(node.layer)] = layer
        if layer is not False:
            return _flat(node.call(layer, tensors))
        from kerasdeconv.export.training._called import Called

        name = free_name(node.layer.name, self.taken)
        return _flat(
            Called(node, self.hooks.owner(node), name)(tensors if len(tensors) > 1 else tensors[0])
        )

    def _native(self, node: Node, tensors: list[Any]) -> Any:
        """Makes the layer of tf_keras with the same weights; False where there is none."""
        import tensorflow as tf

        layer = native_layer(node.layer)
        if layer is None:
            return False
        self.taken.add(node.layer.name)
        if not node.layer.weights:
            return layer
        with tf.name_scope(layer.name):
            layer.build(tensors[0].shape)
        layer.set_weights(node.layer.get_weights())
        layer.trainable = node.layer.trainable
        # Now: wrappers put tensors in the place of a layer's variables.
        self.pairs += zip(node.layer.weights, layer.weights, strict=True)
        return self.hooks.wrap(node, layer)


def native_layer(layer: Any) -> Any | None:
    """Makes the layer of tf_keras that is like one of Keras 3, not yet built.

    Returns:
        The layer; None where tf_keras has none, or none that computes the same.
    """
    kind = type(layer).__name__
    if kind not in _NATIVE or type(layer) is not getattr(keras.layers, kind):
        return None
    tf_keras = load_tf_keras()
    config = dict(layer.get_config())
    if any(v is not None for k, v in config.items() if k.endswith("_constraint")):
        return None
    for key in list(config):
        if key.endswith(("_initializer", "_constraint")):
            del config[key]  # the weights come from the other side
        elif key.endswith("_regularizer") and config[key] is not None:
            known = {k: config[key][k] for k in ("class_name", "config")}
            config[key] = tf_keras.regularizers.deserialize(known)
    if "activation" in config and config["activation"] not in _ACTIVATIONS:
        config["activation"] = layer.activation
    # Keras 3 alone knows them; they say how it computes, not what.
    for absent in ("dtype", "quantization_config", "lora_rank", "lora_alpha", "renorm"):
        config.pop(absent, None)
    try:
        return getattr(tf_keras.layers, kind)(**config)
    except (TypeError, ValueError):  # an argument that tf_keras does not know
        return None


def _flat(made: Any) -> list[Any]:
    return list(made) if isinstance(made, list | tuple) else [made]


def _alone(tensors: list[Any]) -> Any:
    return tensors[0] if len(tensors) == 1 else tensors
