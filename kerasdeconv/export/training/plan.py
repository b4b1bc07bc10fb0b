"""Where a network in training is rounded to 8 bits, and which of its values share a range.

As TFLite's converter places integers (`quantization.scales`), but for joins: here nothing that is
joined is rounded anew.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from kerasdeconv.export.quantization.ranges import find_ranges
from kerasdeconv.export.quantization.scales import Scale, place
from kerasdeconv.export.training.prepare import Saturating
from kerasdeconv.graph import Graph, Node, Value, run


@dataclasses.dataclass(frozen=True)
class Plan:
    """How a graph is quantized.

    Attributes:
        scales: Of every value that is stored as integers.
        rounded: Values that are rounded to their scale where they are made.
        again: Scales to which a node's input is rounded once more, by node and place of the input:
            integers of different scales cannot be joined.
    """

    scales: dict[Value, Scale]
    rounded: set[Value]
    again: dict[tuple[Node, int], Scale]


def make_plan(
    graph: Graph,
    value_range: tuple[float, float] | None = None,
    output_range: tuple[float, float] | None = None,
) -> Plan:
    """Finds out which values share a scale and where they are rounded.

    Args:
        graph: A network, as `prepare` leaves it.
        value_range: Of the first input, where it is known.
        output_range: Of the first output, where it is to saturate.
    """
    placed = place(graph, "tflite")
    plan = Plan(placed.scales, placed.rounded, {})
    for node in graph.nodes:
        if isinstance(node.layer, Saturating):
            _fix(plan.scales[node.output], (0.0, node.layer.ceiling))
    for node in placed.joins:
        _join(plan, node)
    for value in plan.scales:
        # What was moved is rounded already. Said once more, which changes nothing, the converter
        # does not lose the scale on its way to several readers.
        if sum(value in node.inputs for node in graph.nodes) > 1:
            plan.rounded.add(value)
    if value_range is not None:
        _fix(plan.scales[graph.inputs[0]], value_range)
    if output_range is not None:
        _fix(plan.scales[graph.outputs[0]], output_range)
    return plan


def _fix(scale: Scale, bounds: tuple[float, float]) -> None:
    scale.bounds, scale.fixed = bounds, True


def _join(plan: Plan, node: Node) -> None:
    """Gives what is joined one scale; what has a fixed one is rounded to that once more."""
    own = plan.scales[node.output]
    read = [plan.scales[value] for value in node.inputs if value in plan.scales]
    free = {id(scale) for scale in read if not scale.fixed}
    for value, scale in plan.scales.items():
        if id(scale) in free:
            plan.scales[value] = own
    plan.again.update({key: own for key, scale in plan.again.items() if id(scale) in free})
    if free:  # otherwise the output alone tells what the scale must hold
        plan.rounded.difference_update(node.outputs)
    for index, value in enumerate(node.inputs):
        if value in plan.scales and plan.scales[value].fixed:
            plan.again[node, index] = own


def calibrate(graph: Graph, plan: Plan, samples: Sequence[Any], method: str = "minmax") -> None:
    """Chooses the ranges of a plan from what the values hold on samples.

    Args:
        graph: What the plan is of.
        plan: The bounds of its scales are set.
        samples: Arrays of the input's shape, or lists with one array an input.
        method: One of `ranges.METHODS`. The inputs' ranges are always those of the samples.
    """
    doors = {plan.scales[value] for value in graph.inputs if value in plan.scales}

    def values(sample: Any) -> Iterator[tuple[Scale, Any]]:
        held = run(graph, sample if isinstance(sample, list | tuple) else [sample])
        for value in plan.rounded:
            if not plan.scales[value].fixed:
                yield plan.scales[value], keras.ops.convert_to_numpy(held[value])

    for scale, bounds in find_ranges(values, samples, method, whole=doors).items():
        scale.bounds = bounds
