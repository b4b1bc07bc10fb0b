"""Ways in which layers and operations read their inputs.

Each says of every input and every spatial axis which pixels are read (`Taps`), or None where it is
all of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kerasdeconv.analysis.intervals import NOTHING, SAME, Taps, resample, spread, window
from kerasdeconv.graph import Node
from kerasdeconv.layers import per_axis

Axes = tuple[Taps | None, ...]
SUPPORT = {"nearest": 1, "bilinear": 2, "bicubic": 4, "lanczos3": 6, "lanczos5": 10}


@dataclasses.dataclass(frozen=True)
class Use:
    """A use of a layer or operation on maps of known shapes.

    Attributes:
        node: The use.
        inputs: Shapes of what it reads.
        output: Shape of what it makes (of the first, if there are several).
        rank: Number of spatial axes; they follow the batch's.
    """

    node: Node
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    rank: int

    @property
    def layer(self) -> Any:
        """What is called."""
        return self.node.layer

    def sides(self, number: int = 0) -> tuple[int, ...]:
        """Spatial sides of an input."""
        return self.inputs[number][1 : 1 + self.rank]

    @property
    def output_sides(self) -> tuple[int, ...]:
        """Spatial sides of the output."""
        return self.output[1 : 1 + self.rank]

    def spread(self, value: Any) -> tuple[int, ...]:
        """One number for each axis."""
        return per_axis(value, self.rank)


class UnknownReach(Exception):
    """A rule does not cover what a layer was asked to do."""


Rule = Callable[[Use], Sequence[Axes]]


def everywhere(taps: Taps | None, use: Use) -> list[Axes]:
    """The same for all inputs and axes."""
    return [(taps,) * use.rank] * len(use.inputs)


def elementwise(use: Use) -> list[Axes]:
    """Each pixel reads its own place; a side of 1 is spread over the whole of a longer one."""
    rows: list[Axes] = []
    for number, shape in enumerate(use.inputs):
        if len(shape) <= 2:  # no place to read from
            rows.append((None,) * use.rank)
            continue
        if len(shape) != len(use.output):
            raise UnknownReach
        pairs = zip(use.sides(number), use.output_sides, strict=True)
        axes = tuple(SAME if side == out else None if side == 1 else NOTHING for side, out in pairs)
        if NOTHING in axes:
            raise UnknownReach
        rows.append(axes)
    return rows


def before(side: int, size: int, stride: int, padding: str) -> int:
    """Pixels that a convolution or pooling over `size` pixels puts in front of its input."""
    if padding == "causal":
        return size - 1
    outputs = -(-side // stride)
    return max((outputs - 1) * stride + size - side, 0) // 2 if padding == "same" else 0


def windows(
    use: Use, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str
) -> Axes:
    """What convolutions and poolings read."""
    return tuple(
        window(k, s, d, before(side, (k - 1) * d + 1, s, padding))
        for side, k, s, d in zip(use.sides(), sizes, strides, dilations, strict=True)
    )


def spreads(
    use: Use, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int], padding: str
) -> Axes:
    """What transposed convolutions read. They crop where the convolution from their output pads."""
    axes = []
    for side, out, k, s, d in zip(
        use.sides(), use.output_sides, sizes, strides, dilations, strict=True
    ):
        surplus = max((side - 1) * s + (k - 1) * d + 1 - out, 0)
        axes.append(spread(k, s, d, surplus // 2 if padding == "same" else 0))
    return tuple(axes)


def resized(use: Use, interpolation: str) -> list[Axes]:
    """What a resize between the input's and the output's sides reads."""
    pairs = zip(use.sides(), use.output_sides, strict=True)
    return [tuple(resample(side, out, SUPPORT[interpolation]) for side, out in pairs)]


def resize_to(use: Use) -> list[Axes]:
    """What a resize to given sides reads, as a layer or as an operation."""
    layer = use.layer
    if layer.antialias or layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio:
        raise UnknownReach
    return resized(use, layer.interpolation)


def blocks_apart(use: Use) -> list[Axes]:
    """Depth to space, and unpooling: every pixel of a block reads one pixel."""
    pairs = zip(use.sides(), use.output_sides, strict=True)
    axes = tuple(resample(side, out, 1) for side, out in pairs)
    return [axes] * len(use.inputs)


def blocks_together(use: Use) -> list[Axes]:
    """Space to depth, and pooling by blocks: every pixel reads a block."""
    pairs = zip(use.sides(), use.output_sides, strict=True)
    return [tuple(window(side // out, side // out) for side, out in pairs)]


def shifted(starts: Iterable[int]) -> Axes:
    """Crops (starts above 0) and pads (below 0)."""
    return tuple(Taps(1, 1, ((start,),)) for start in starts)


def over_axes(use: Use, axes: Any) -> list[Axes]:
    """Looks at all of some axes (negative ones count from behind), and of no other."""
    count = len(use.inputs[0])
    given = range(count) if axes is None else [axes] if isinstance(axes, int) else axes
    seen = {axis % count for axis in given}
    return [tuple(None if 1 + axis in seen else SAME for axis in range(use.rank))]


def keeps_sides(use: Use) -> list[Axes]:
    """A reshape: of what follows the sides, or it takes the map's order apart."""
    kept = use.inputs[0][0] == use.output[0] and use.sides() == use.output_sides
    return everywhere(SAME if kept and len(use.output) > use.rank else None, use)


def joined_along(use: Use, axis: int) -> list[Axes]:
    """A concatenation, which must be of the channels."""
    if axis % len(use.output) <= use.rank:
        raise UnknownReach
    return elementwise(use)
