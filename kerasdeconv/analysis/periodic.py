"""Runs a network on a constant image without borders, exactly and at the size of one period.

Far from its borders, a network answers a constant image by a map that repeats: with its largest
stride at the longest. Every map can therefore be held as one period, and a layer run on it with as
much of it repeated around as the layer reads. What is cut off again is all that a border touched,
so there is none: neither zero padding nor the size of the image has a part in the answer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.analysis.intervals import NOTHING, SAME, Reach, Taps
from kerasdeconv.analysis.propagation import Flow, Step
from kerasdeconv.analysis.reading import Axes
from kerasdeconv.errors import AnalysisError
from kerasdeconv.graph import Node, Value
from kerasdeconv.layers import of_rank

_LARGEST = 2**20  # pixels of an input's period
_SHIFTS = (
    *(of_rank("Cropping{}D", rank) for rank in (1, 2, 3)),
    *(of_rank("ZeroPadding{}D", rank) for rank in (1, 2, 3)),
    *(layers.CropLike, layers.ReflectPadding),
)
_SHIFTING = ("Pad", "GetItem", "Slice")  # operations


def answer_to_constant(flow: Flow, value: float) -> list[np.ndarray]:
    """Answers an image in which every number is the same.

    Args:
        flow: What the network's layers read.
        value: The number.

    Returns:
        One period of each output, float64, batch of 1 first.

    Raises:
        AnalysisError: A layer ties the network to one size, or the period is too long.
    """
    tensors: dict[Value, Any] = {}
    for source, sides in zip(flow.graph.inputs, _periods(flow), strict=True):
        shape = (1, *sides, flow.shapes[source][-1])
        tensors[source] = keras.ops.full(shape, value, dtype=source.dtype)
    for step in flow.steps:
        reads = [tensors[v] for v in step.node.inputs]
        try:
            made = _run(step, reads)
        except AnalysisError:
            raise
        except Exception as error:  # whatever a backend says of shapes that do not fit
            raise AnalysisError(
                "This layer does not work on one period of a map: it ties the network to one "
                f"size. Received: {type(step.node.layer).__name__} {step.node.layer.name!r}"
            ) from error
        tensors.update(zip(step.node.outputs, made, strict=True))
    return [
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(tensors[v], "float32")), np.float64)
        for v in flow.graph.outputs
    ]


def _periods(flow: Flow) -> list[tuple[int, ...]]:
    """The least sides of the inputs at which every map has whole sides."""
    for source in flow.graph.inputs:
        if set(flow.shapes[source][1:-1]) == {1}:
            raise AnalysisError(
                "An input of one pixel is a code rather than an image: what is made of it repeats "
                f"nowhere. Received: {source.name!r}"
            )
    sides: dict[int, list[int]] = {}
    for state in flow.states.values():
        for number, extents in state.items():
            found = sides.setdefault(number, [1] * len(extents))
            for axis, extent in enumerate(extents):
                if isinstance(extent, Reach):
                    found[axis] = math.lcm(found[axis], extent.stride.numerator)
    # Inputs that meet have one period together.
    rank = max((len(found) for found in sides.values()), default=0)
    joint = [math.lcm(*(f[axis] for f in sides.values() if len(f) > axis)) for axis in range(rank)]
    if math.prod(joint) > _LARGEST:
        raise AnalysisError(
            f"The pattern repeats after more pixels than can be looked at. Received: {joint}"
        )
    return [tuple(joint[: len(flow.shapes[source]) - 2]) for source in flow.graph.inputs]


def _run(step: Step, reads: Sequence[Any]) -> list[Any]:
    """Runs a node on periods."""
    node, axes = step.node, step.axes
    joint = _joint(axes or ())
    if _only_shifts(node, joint):
        shifts = [-taps.first for taps in joint if taps is not None]
        return [keras.ops.roll(reads[0], shifts, list(range(1, len(shifts) + 1)))]
    margins = [(0, 0) if taps is None else _margins(taps) for taps in joint]
    if not any(map(any, margins)) and all(t is None or t.first == t.last == 0 for t in joint):
        return keras.tree.flatten(node.call(node.layer, list(reads)))
    sides = max((tuple(x.shape[1 : 1 + len(joint)]) for x in reads), default=())
    wrapped = [_wrap(x, margins) if tuple(x.shape[1:-1]) == sides else x for x in reads]
    made = keras.tree.flatten(node.call(node.layer, wrapped))
    for axis, (taps, (before, _), side) in enumerate(zip(joint, margins, sides, strict=True)):
        if taps is None:
            continue
        if side % taps.step or isinstance(node.layer, keras.layers.Resizing):
            raise ValueError("not a whole number of periods")
        start, length = (n // taps.step * taps.period for n in (before, side))
        if any(x.shape[1 + axis] < start + length for x in made):
            raise ValueError("not all of a period")
        cut = (slice(None),) * (1 + axis) + (slice(start, start + length),)
        made = [x[cut] for x in made]
    return made


def _only_shifts(node: Node, joint: Sequence[Taps | None]) -> bool:
    """Whether a node crops or pads, which moves a map without borders, and does nothing else."""
    if not isinstance(node.layer, _SHIFTS) and type(node.layer).__name__ not in _SHIFTING:
        return False
    one = [taps is not None and taps.step == 1 and taps.first == taps.last for taps in joint]
    return bool(one) and all(one) and node.inputs[0].shape[-1] == node.output.shape[-1]


def _joint(axes: Sequence[Axes]) -> list[Taps | None]:
    """What is read of all inputs together, along each axis."""
    joint: list[Taps | None] = []
    for column in zip(*(row for row in axes if set(row) != {NOTHING}), strict=True):
        kinds = {taps for taps in column if taps not in (None, SAME)}
        if len(kinds) > 1:
            raise ValueError("inputs of different sides")
        joint.append(kinds.pop() if kinds else SAME if SAME in column else None)
    return joint


def _margins(taps: Taps) -> tuple[int, int]:
    """Pixels to repeat on both sides, so many that strides and borders stay in step."""
    step = taps.step
    if taps.period == step == 1 and taps.first == taps.last == 0:
        return 0, 0
    reach = max(-taps.first, taps.last, 0)
    around = (math.ceil(reach / step) + 1) * step
    return around, around


def _wrap(x: Any, margins: Sequence[tuple[int, int]]) -> Any:
    """Continues a map by itself on both sides of each spatial axis."""
    for axis, (before, behind) in enumerate(margins, start=1):
        side = x.shape[axis]
        x = keras.ops.take(x, np.arange(-before, side + behind) % side, axis=axis)
    return x
