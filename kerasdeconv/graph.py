"""A Keras functional model as a graph that can be walked, rewritten, and built again.

Nested models are dissolved into their layers. Rules change the graph in place by replacing nodes;
`build` makes a new model from it, so that the original is never touched.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv.errors import LoweringError


@dataclasses.dataclass(eq=False)
class Value:
    """What flows along an edge: the output of one node, the input of any number.

    Attributes:
        shape: With None for what is not known before `build`.
        dtype: Name of the type.
        name: For the inputs and outputs of the model.
    """

    shape: tuple[int | None, ...]
    dtype: str
    name: str = ""


@dataclasses.dataclass(eq=False)
class Node:
    """One use of a layer or operation.

    Attributes:
        layer: What is called. Two nodes with the same layer share its weights.
        inputs: What it reads, in order.
        outputs: What it makes.
        call: Calls a layer with symbolic tensors in place of `inputs`.
    """

    layer: Any
    inputs: list[Value]
    outputs: list[Value]
    call: Callable[[Any, list[Any]], Any] = lambda layer, tensors: layer(*tensors)

    @property
    def output(self) -> Value:
        """The only output."""
        (value,) = self.outputs
        return value

    @property
    def linear(self) -> bool:
        """Whether the layer has no activation of its own."""
        return getattr(self.layer, "activation", None) in (None, keras.activations.linear)


class Graph:
    """Nodes in an order in which they can be computed.

    Attributes:
        nodes: All nodes, each behind those whose outputs it reads.
        inputs: Inputs of the model.
        outputs: Outputs of the model, in the order of `model.outputs`.
        rewrites: What the rules have done, one line each.
    """

    def __init__(self, inputs: list[Value], outputs: list[Value], nodes: list[Node]) -> None:
        self.inputs, self.outputs, self.nodes = inputs, outputs, nodes
        self.rewrites: list[str] = []
        self._borrowed = {id(node.layer) for node in nodes}

    def owns(self, layer: Any) -> bool:
        """Whether a rule has made this layer, so that it is no part of the model that was read."""
        return id(layer) not in self._borrowed

    def producer(self, value: Value) -> Node | None:
        """The node that makes a value; None for an input."""
        return next((node for node in self.nodes if value in node.outputs), None)

    def only_consumer(self, value: Value) -> Node | None:
        """The node that alone reads a value; None if several do, none does, or the model does."""
        readers = [node for node in self.nodes for v in node.inputs if v is value]
        return readers[0] if len(readers) == 1 and value not in self.outputs else None

    def replace(self, old: Sequence[Node], new: Sequence[Node], why: str) -> None:
        """Puts nodes in the place of others and notes why.

        The last output of `new` must be the last output of `old` (the same `Value`).
        """
        place = max(self.nodes.index(node) for node in old)
        kept = [node for node in self.nodes[: place + 1] if node not in old]
        self.nodes = [*kept, *new, *self.nodes[place + 1 :]]
        self.rewrites.append(why)


def read(model: keras.Model) -> Graph:
    """Reads a functional or Sequential model.

    Raises:
        LoweringError: The model is subclassed or was never built.
    """
    function = _function(model)
    graph = _read_function(function)
    for name, value in zip(function.output_names, graph.outputs, strict=True):
        value.name = name
    return graph


def dissolve(node: Node, inputs: Sequence[keras.KerasTensor]) -> Graph | None:
    """Reads the layers and operations that a layer calls when it is called.

    Args:
        node: A use of a layer.
        inputs: Shapes and types of what it reads.

    Returns:
        A graph from these inputs, whose shapes are all known; None where the layer is not made of
        `keras.layers` and `keras.ops`.
    """
    if not isinstance(node.layer, keras.layers.Layer):
        return None
    tensors = [
        keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=f"input_{number}")
        for number, tensor in enumerate(inputs)
    ]
    try:
        made = keras.tree.flatten(node.call(node.layer.call, tensors))
        function = keras.Function(tensors, made)
    except Exception:  # whatever a foreign layer makes of tensors without values
        return None
    graph = _read_function(function)
    for keras_node in itertools.chain.from_iterable(function._nodes_by_depth.values()):
        remembered = keras_node.operation._inbound_nodes  # layers inside shall forget this call
        remembered[:] = [other for other in remembered if other is not keras_node]
    return graph


def run(
    graph: Graph,
    inputs: Sequence[Any],
    call: Callable[[Node, list[Any]], Any] = lambda node, tensors: node.call(node.layer, tensors),
) -> dict[Value, Any]:
    """Computes every value of a graph.

    Args:
        graph: The graph.
        inputs: One array an input, in their order.
        call: Computes a node from what it reads, instead of the node itself.
    """
    values = {
        value: keras.ops.convert_to_tensor(given, dtype=value.dtype)
        for value, given in zip(graph.inputs, inputs, strict=True)
    }
    for node in graph.nodes:
        made = keras.tree.flatten(call(node, [values[value] for value in node.inputs]))
        values.update(zip(node.outputs, made, strict=True))
    return values


def _read_function(function: Any) -> Graph:
    """Reads what knows its nodes, inputs and outputs."""
    values: dict[int, Value] = {}
    for tensor in function.inputs:
        values[id(tensor)] = Value(tuple(tensor.shape), str(tensor.dtype), tensor.name)
    nodes = _read_nodes(function, values)
    outputs = [values[id(tensor)] for tensor in function.outputs]
    return Graph([values[id(tensor)] for tensor in function.inputs], outputs, nodes)


def _function(model: keras.Model) -> Any:
    """The functional model inside, which knows its nodes."""
    if isinstance(model, keras.Sequential):
        if not model.built:
            raise LoweringError(
                "The model was never built: give it an Input layer or call it once. "
                f"Received: {model.name!r}"
            )
        return model._functional
    if not hasattr(model, "_nodes_by_depth"):
        raise LoweringError(
            "Only functional and Sequential models can be read; this one is subclassed. Wrap "
            f"its layers with keras.Model(inputs, outputs). Received: {type(model).__name__}"
        )
    return model


def _read_nodes(function: Any, values: dict[int, Value]) -> list[Node]:
    """Reads a function's nodes in order of computation; `values` maps its tensors."""
    nodes: list[Node] = []
    for depth in sorted(function._nodes_by_depth, reverse=True):
        for keras_node in function._nodes_by_depth[depth]:
            if keras_node.is_input:
                continue
            inner = keras_node.operation
            tensors = keras_node.input_tensors
            if isinstance(inner, keras.Model):
                called = _function(inner)
                passed = {
                    id(theirs): values[id(ours)]
                    for theirs, ours in zip(called.inputs, tensors, strict=True)
                }
                nodes += _read_nodes(called, passed)
                for ours, theirs in zip(keras_node.outputs, called.outputs, strict=True):
                    values[id(ours)] = passed[id(theirs)]
                continue
            for tensor in keras_node.outputs:
                values[id(tensor)] = Value(tuple(tensor.shape), str(tensor.dtype))
            nodes.append(
                Node(
                    inner,
                    [values[id(tensor)] for tensor in tensors],
                    [values[id(tensor)] for tensor in keras_node.outputs],
                    _caller(keras_node),
                )
            )
    return nodes


def _caller(keras_node: Any) -> Callable[[Any, list[Any]], Any]:
    """Remembers how a node was called, to call it again with other tensors."""
    arguments, originals = keras_node.arguments, list(keras_node.input_tensors)

    def call(layer: Any, tensors: list[Any]) -> Any:
        swap = {id(old): new for old, new in zip(originals, tensors, strict=True)}
        args, kwargs = keras.tree.map_structure(
            lambda leaf: swap.get(id(leaf), leaf), (arguments.args, arguments.kwargs)
        )
        return layer(*args, **kwargs)

    return call


def build(graph: Graph, input_shapes: list[tuple[int | None, ...]], name: str) -> keras.Model:
    """Builds a float32 model with weights of its own, once: layers that rules made go into it.

    Layers keep their names, but where two would have the same: layers of different nested models,
    or copies of a shared layer that became different ones.

    Args:
        graph: What to build.
        input_shapes: Shape of each input, batch included.
        name: Name of the model.

    Raises:
        LoweringError: A layer cannot be copied.
        ValueError: The layers cannot take these shapes.
    """
    tensors: dict[Value, Any] = {}
    for value, shape in zip(graph.inputs, input_shapes, strict=True):
        tensors[value] = keras.Input(batch_shape=shape, dtype=value.dtype, name=value.name or None)
    inputs = [tensors[value] for value in graph.inputs]
    copies: dict[int, Any] = {}
    taken = {value.name for value in graph.inputs}
    for node in graph.nodes:
        copy = copies.get(id(node.layer))
        if copy is None:
            free = free_name(node.layer.name, taken)
            as_it_is = graph.owns(node.layer) and free == node.layer.name
            copy = node.layer if as_it_is else _copy(node.layer, free)
            copies[id(node.layer)] = copy
        made = keras.tree.flatten(node.call(copy, [tensors[value] for value in node.inputs]))
        tensors.update(zip(node.outputs, made, strict=True))
    outputs = [tensors[value] for value in graph.outputs]
    model = keras.Model(_alone(inputs), _alone(outputs), name=name)
    for node in graph.nodes:
        copy = copies[id(node.layer)]
        if copy is not node.layer and getattr(copy, "weights", None):
            copy.set_weights(node.layer.get_weights())
    return model


def _alone(tensors: list[Any]) -> Any:
    """One tensor goes without a list, as in the models that people write."""
    return tensors[0] if len(tensors) == 1 else tensors


def free_name(name: str, taken: set[str]) -> str:
    """Numbers a name that is taken, and takes it."""
    numbered = (f"{name}_{number}" for number in itertools.count(1))
    free = next(n for n in itertools.chain([name], numbered) if n not in taken)
    taken.add(free)
    return free


def _copy(layer: Any, name: str) -> Any:
    """Copies a layer in float32 without its weights, or an operation, which has none."""
    if not isinstance(layer, keras.layers.Layer):
        copy = object.__new__(type(layer))  # Keras can't rebuild every operation from its config
        vars(copy).update(vars(layer), name=name, _inbound_nodes=[], _outbound_nodes=[])
        return copy
    config = {**layer.get_config(), "name": name}
    if "dtype" in config:
        config["dtype"] = "float32"
    try:
        return type(layer).from_config(config)
    except (TypeError, ValueError) as error:
        raise LoweringError(
            f"The layer cannot be copied from its configuration ({error}); its class needs a "
            f"complete get_config. Received: {type(layer).__name__} {layer.name!r}"
        ) from None
