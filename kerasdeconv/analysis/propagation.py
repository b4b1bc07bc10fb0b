"""Follows through a graph which pixels of the inputs each map depends on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kerasdeconv.analysis import operation_rules
from kerasdeconv.analysis.intervals import IDENTITY, NOTHING, SAME, Extent, Reach, Whole, join
from kerasdeconv.analysis.layer_rules import RULES
from kerasdeconv.analysis.reading import Axes, Rule, UnknownReach, Use
from kerasdeconv.errors import AnalysisError
from kerasdeconv.graph import Graph, Node, Value, dissolve, read
from kerasdeconv.sizes import accepts, input_shapes, nearest_sizes, specs

# A side where none is given. It is a multiple of every stride that occurs (2^7 * 3^2 * 5), so that
# "same" padding is what it is for sides that fit; nothing is computed at that size.
_SIDE = 5760

Shapes = Mapping[Value, tuple[int, ...]]
# By number of the model's input: what a map depends on along each of that input's spatial axes.
State = dict[int, tuple[Extent, ...]]


@dataclasses.dataclass(frozen=True)
class Step:
    """A node, and what it reads.

    Attributes:
        axes: For each input, what is read of it along each spatial axis; None where no input
            depends on a place any more.
    """

    node: Node
    axes: Sequence[Axes] | None


@dataclasses.dataclass(frozen=True)
class Flow:
    """What depends on what in a graph.

    Attributes:
        shapes: Of all values.
        states: What each value depends on.
        steps: All nodes in order.
    """

    graph: Graph
    shapes: Shapes
    states: dict[Value, State]
    steps: list[Step]


def follow(model: keras.Model, size: Sequence[int] | None = None, *, local: bool = False) -> Flow:
    """Works out what depends on what in a model.

    Args:
        model: A functional or Sequential model, channels last.
        size: Sides that are free. By default they are some that every stride divides, as far as
            the model takes such.
        local: Whether to leave out what reaches a pixel by way of statistics of the whole map.

    Raises:
        AnalysisError: It is not known what a layer reads.
        LoweringError: The model is not functional or was never built.
        ValueError: The model cannot take this size.
    """
    graph = read(model)
    tensors = specs(graph, _shapes(model, size))
    shapes = {value: tuple(tensor.shape) for value, tensor in tensors.items()}
    states: dict[Value, State] = {
        value: {number: (IDENTITY,) * (len(shapes[value]) - 2)} if len(shapes[value]) > 2 else {}
        for number, value in enumerate(graph.inputs)
    }
    return _follow(graph, shapes, states, local)


def _shapes(model: keras.Model, size: Sequence[int] | None) -> list[tuple[int, ...]]:
    inputs = read(model).inputs
    if size is not None or not any(None in tensor.shape[1:-1] for tensor in inputs):
        return input_shapes(model, size)
    shapes: list[Any] = [
        (1, *(_SIDE if side is None else side for side in tensor.shape[1:-1]), tensor.shape[-1])
        for tensor in inputs
    ]
    if accepts(model, shapes):
        return shapes
    rank = max(len(shape) - 2 for shape in shapes)
    near = nearest_sizes(model, (_SIDE,) * rank)
    return input_shapes(model, near[0] if near else None)


def _follow(graph: Graph, shapes: Shapes, states: dict[Value, State], local: bool) -> Flow:
    """Fills in the states, which are those of the inputs at first."""
    steps = []
    for node in graph.nodes:
        reads = [states[value] for value in node.inputs]
        extents = [part for state in reads for row in state.values() for part in row]
        placed = any(isinstance(part, Reach) for part in extents)
        axes = _axes(node, reads, shapes, local) if placed else None
        steps.append(Step(node, axes))
        for value in node.outputs:
            states[value] = _through(
                node, reads, axes, shapes=shapes, sides=shapes[value][1:], local=local
            )
    return Flow(graph, shapes, states, steps)


def _axes(node: Node, reads: Sequence[State], shapes: Shapes, local: bool) -> Sequence[Axes]:
    """What a node reads of its inputs."""
    ranks = {len(row) for state in reads for row in state.values()}
    layer, rank = node.layer, max(ranks)
    use = Use(node, tuple(shapes[v] for v in node.inputs), shapes[node.outputs[0]], rank)
    rule = _rule(layer)
    try:
        if len(ranks) > 1 or getattr(layer, "data_format", None) == "channels_first":
            raise UnknownReach
        rows = _inside(use, local) if rule is None else rule(use)
        if rows is not None and len(rows) == len(node.inputs):
            return rows
    except UnknownReach:
        pass
    except AnalysisError as error:
        raise AnalysisError(f"{str(error).rstrip('.')}, in {layer.name!r}") from None
    raise AnalysisError(
        "It is not known which pixels this layer reads, called as it is. "
        f"Received: {type(layer).__name__} {layer.name!r}"
    )


def _rule(layer: object) -> Rule | None:
    """The rule of a class, or of the class that it takes its computation from."""
    for kind in type(layer).__mro__:
        if kind in RULES and getattr(type(layer), "call", None) is getattr(kind, "call", None):
            return RULES[kind]
    return operation_rules.rule_of(layer)


def _inside(use: Use, local: bool) -> Sequence[Axes] | None:
    """What a custom layer reads, from the layers and operations that it is made of."""
    tensors = [
        keras.KerasTensor(shape, dtype=value.dtype)
        for shape, value in zip(use.inputs, use.node.inputs, strict=True)
    ]
    graph = dissolve(use.node, tensors)
    if graph is None:
        return None
    values = {*graph.inputs, *(value for node in graph.nodes for value in node.outputs)}
    shapes = {value: tuple(side or 1 for side in value.shape) for value in values}
    nowhere = Whole((use.layer.name,))  # a vector has no places
    states: dict[Value, State] = {
        value: {number: (IDENTITY if len(value.shape) > 2 else nowhere,) * use.rank}
        for number, value in enumerate(graph.inputs)
    }
    flow = _follow(graph, shapes, states, local)
    rows: list[Axes] = []
    for number in range(len(graph.inputs)):
        parts = [flow.states[value].get(number) for value in graph.outputs]
        found = [part for part in parts if part is not None]
        if not found:
            rows.append((NOTHING,) * use.rank)
            continue
        columns = zip(zip(*found, strict=True), use.output_sides, strict=True)
        extents = [join(column, side, local) for column, side in columns]
        rows.append(tuple(None if isinstance(e, Whole) else e.as_taps() for e in extents))
    return rows


def _through(
    node: Node,
    reads: Sequence[State],
    axes: Sequence[Axes] | None,
    *,
    shapes: Shapes,
    sides: tuple[int, ...],
    local: bool,
) -> State:
    """What a node's output, whose shape is batch x sides, depends on."""
    parts: dict[int, list[tuple[Extent, ...]]] = {}
    for number, (value, state) in enumerate(zip(node.inputs, reads, strict=True)):
        row = axes[number] if axes is not None else ()
        if row and all(taps == NOTHING for taps in row):
            continue
        for source, extents in state.items():
            gone = list(extents)
            for axis, extent in enumerate(extents):
                if isinstance(extent, Whole):
                    continue
                taps = row[axis]
                side = shapes[value][1 + axis]
                if taps is None and local and (*sides, 0, 0, 0)[axis] == side:
                    taps = SAME  # statistics of the map, applied to each pixel of it
                gone[axis] = (
                    Whole((node.layer.name,)) if taps is None else extent.through(taps, sides[axis])
                )
            parts.setdefault(source, []).append(tuple(gone))
    return {
        source: tuple(
            join(column, (*sides, 1, 1, 1)[axis], local)
            for axis, column in enumerate(zip(*rows, strict=True))
        )
        for source, rows in parts.items()
    }
