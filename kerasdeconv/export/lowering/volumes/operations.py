"""Operations of `keras.ops` on volumes, as nodes of a model of their own."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.export.lowering.volumes import maps
from kerasdeconv.export.lowering.volumes.folding import Folding, Rule
from kerasdeconv.graph import Node, Value

# By class; classes of operations have no public names. All make real numbers of real numbers.
_NAMES = """
    Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu
    Gelu Celu HardTanh Absolute Abs Add Subtract Multiply Divide TrueDivide Power Negative Square
    Sqrt Rsqrt Reciprocal Exp Expm1 Log Log1p Tanh Clip Maximum Minimum
"""
_BY_POSITION = frozenset(_NAMES.split())


def rule_of(operation: Any) -> Rule | None:
    """Finds the rule for an operation of `keras.ops`; None for layers, and where there is none."""
    kind = type(operation)
    if isinstance(operation, keras.layers.Layer) or not kind.__module__.startswith("keras."):
        return None
    if kind.__name__ in _BY_POSITION:
        return by_position
    return {"Concatenate": concatenation, "Softmax": softmax}.get(kind.__name__)


def by_position(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """What treats each position alone, where its constants are the same for every slice."""
    stand_ins: list[Any] = [object() for _ in inputs]
    arguments = node.call(lambda *args, **kwargs: (args, kwargs), stand_ins)
    constants = [
        leaf for leaf in keras.tree.flatten(arguments) if all(leaf is not s for s in stand_ins)
    ]
    if any(len(getattr(leaf, "shape", ())) > 3 for leaf in constants):
        return None
    return maps.by_position(fold, node, inputs, lambda values: fold.again(node, values))


def concatenation(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Concatenation of channels."""
    if node.layer.axis not in (-1, 4):
        return None
    return fold.add(keras.layers.Concatenate(name=node.layer.name, dtype="float32"), *inputs)


def softmax(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Softmax over the channels."""
    if node.layer.axis not in (-1, 4):
        return None
    layer = keras.layers.Softmax(axis=-1, name=node.layer.name, dtype="float32")
    return fold.add(layer, *inputs)
