"""Layers of Keras 3 inside a model of tf_keras. Import it after `legacy.load_tf_keras`."""

from __future__ import annotations

import functools
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from kerasdeconv.graph import Node


class Called(tf_keras.layers.Layer):
    """Calls a layer or operation of Keras 3 as a node of its graph does.

    Its variables are those of the layer itself: they train, save and load as any others.

    Args:
        node: The node; it may have several inputs and outputs.
        owner: The layer whose variables the node reads.
        name: Of this layer.
    """

    def __init__(self, node: Node, owner: Any, name: str) -> None:
        super().__init__(name=name)
        # Behind a partial: tf_keras looks for weights in all attributes that are layers.
        self._call = functools.partial(_call, node)
        self._trainable_weights, self._non_trainable_weights = _variables(owner)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: Any = None) -> Any:
        tensors = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        made = keras.tree.flatten(self._call(tensors, training))
        return made[0] if len(made) == 1 else made


def _call(node: Node, tensors: list[Any], training: Any) -> Any:
    layer = node.layer
    if getattr(layer, "_call_has_training_arg", False):
        layer = functools.partial(_with_training, layer, training=bool(training))
    return node.call(layer, tensors)


def _with_training(layer: Any, *args: Any, training: bool, **kwargs: Any) -> Any:
    return layer(*args, **{**kwargs, "training": training})


def _variables(layer: Any) -> tuple[list[tf.Variable], list[tf.Variable]]:
    """Those that train, and the others."""
    trainable = getattr(layer, "trainable_variables", [])
    known = {id(variable) for variable in trainable}
    others = [v for v in getattr(layer, "variables", []) if id(v) not in known]
    return [v.value for v in trainable], [v.value for v in others]
