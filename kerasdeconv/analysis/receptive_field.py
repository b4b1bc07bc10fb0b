"""Receptive fields: how much of its input a network looks at for one pixel of its output.

The arithmetic is that of Araujo, Norris and Sim, "Computing receptive fields of convolutional
neural networks" (Distill 2019), kept phase by phase so that it stays exact for decoders too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import keras

from kerasdeconv.analysis.intervals import Extent, Reach
from kerasdeconv.analysis.propagation import Flow, follow
from kerasdeconv.graph import Value


@dataclasses.dataclass(frozen=True)
class Field:
    """What a map depends on in one of the inputs. Tuples have one entry a spatial axis.

    Attributes:
        name: Of the layer, or of the model's output.
        kind: Class of the layer.
        input: Name of the model's input.
        size: Input pixels that a pixel of the map depends on: the receptive field. None along an
            axis of which it sees everything.
        stride: Input pixels from one pixel of the map to the next: 4 for a map a quarter as large,
            1/2 for one twice as large. None where the size is.
        before: How many input pixels before a pixel's own place can change it. Its own place are
            the input pixels that it covers, in the middle of what it sees where the network cuts
            off its borders. None where the size is.
        behind: Likewise behind its own place.
        whole: Names of the layers that look at all of an axis.
    """

    name: str
    kind: str
    input: str
    size: tuple[int | None, ...]
    stride: tuple[Fraction | None, ...]
    before: tuple[int | None, ...]
    behind: tuple[int | None, ...]
    whole: tuple[str, ...] = ()

    @property
    def halo(self) -> int | None:
        """The greatest of `before` and `behind`: by how much tiles must overlap; None: entirely."""
        ends = (*self.before, *self.behind)
        return None if None in ends else max((end for end in ends if end is not None), default=0)


@dataclasses.dataclass(frozen=True)
class ReceptiveField:
    """Receptive fields of a network.

    Attributes:
        outputs: One for each output and each input that it depends on.
        layers: For each use of a layer, in order of computation (as in `Costs.layers`): one for
            each input that it depends on.
    """

    outputs: tuple[Field, ...]
    layers: tuple[tuple[Field, ...], ...]

    @property
    def halo(self) -> int | None:
        """Input pixels around an output pixel's own place that can change it; None: all."""
        halos = [field.halo for field in self.outputs]
        return (
            None if None in halos else max((halo for halo in halos if halo is not None), default=0)
        )


def receptive_field(
    model: keras.Model, size: Sequence[int] | None = None, *, local: bool = False
) -> ReceptiveField:
    """Works out the receptive field of every layer and output.

    It is the field in the interior, borders left out of account, in inference (statistics of a
    BatchNormalization are constants). The result is exact where no weights are zero: each end is
    reached by some pixel. No values are computed.

    Args:
        model: A functional or Sequential model, channels last, in any number of dimensions.
        size: Sides that the model leaves free. They matter only where "same" padding meets a side
            that is no multiple of a stride, and for resizes to a fixed size; by default the sides
            are taken to be multiples of all strides, as far as the model takes such.
        local: Whether to leave out what reaches a pixel by way of statistics of whole maps: the
            field of a network with squeeze-and-excitation or group normalization is its whole
            input, but for that it may be small.

    Raises:
        AnalysisError: It is not known which pixels a layer reads; the message names it. A custom
            layer made of `keras.layers` and `keras.ops` is looked into.
        LoweringError: The model is subclassed or was never built.
        ValueError: The model cannot take this size.

    Example:
        >>> receptive_field(kerasdeconv.models.ESPCN(scale=3)).halo
        4
    """
    flow = follow(model, size, local=local)
    outputs = [
        field
        for name, value in zip(model.output_names, flow.graph.outputs, strict=True)
        for field in _fields(flow, name, "output", value)
    ]
    nodes = [step.node for step in flow.steps]
    layers = [_fields(flow, n.layer.name, type(n.layer).__name__, n.outputs[0]) for n in nodes]
    return ReceptiveField(tuple(outputs), tuple(layers))


def _fields(flow: Flow, name: str, kind: str, value: Value) -> tuple[Field, ...]:
    fields = []
    for number, extents in sorted(flow.states[value].items()):
        source = flow.graph.inputs[number]
        whole = [n for e in extents if not isinstance(e, Reach) for n in e.because]
        sides = zip(flow.shapes[source][1:-1], extents, strict=True)
        columns: list[tuple[Any, ...]] = [
            _column(extent, side, flow.shapes[value][1 + axis : 2 + axis])
            for axis, (side, extent) in enumerate(sides)
        ]
        seen, stride, before, behind = zip(*columns, strict=True)
        names = tuple(dict.fromkeys(whole))
        fields.append(Field(name, kind, source.name, seen, stride, before, behind, names))
    return tuple(fields)


def _column(extent: Extent, source: int, side: tuple[int, ...]) -> tuple[Any, ...]:
    """Size, stride, before and behind along one axis."""
    if not isinstance(extent, Reach):
        return None, None, None, None
    cut = int((source - side[0] * extent.stride) / 2)  # pixels that the network cuts off in front
    return extent.size, extent.stride, *extent.around(cut)
