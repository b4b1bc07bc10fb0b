"""Which pixels depend on which, along one axis. NumPy alone.

A layer reads its input periodically: output pixel `q * period + r` reads the input pixels
`q * step + offsets[r]`. An ordinary convolution has period 1 and its stride as step; a transposed
convolution has its stride as period and step 1, since each output phase has taps of its own. Layers
in a row are such a map again, whose ends can be kept exactly, phase by phase, in a small table: no
bound on a phase is worse than the network's own.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np


@dataclasses.dataclass(frozen=True)
class Taps:
    """What a layer reads along one axis.

    Attributes:
        period: Output pixels until the pattern of taps repeats.
        step: Input pixels by which it has then moved on.
        offsets: For each phase, the input pixels that it reads; none for a phase that reads none.
    """

    period: int
    step: int
    offsets: tuple[tuple[int, ...], ...]

    @property
    def first(self) -> int:
        """The least offset of any phase; 0 where nothing is read."""
        return min((offset for phase in self.offsets for offset in phase), default=0)

    @property
    def last(self) -> int:
        """The greatest offset of any phase; 0 where nothing is read."""
        return max((offset for phase in self.offsets for offset in phase), default=0)


SAME = Taps(1, 1, ((0,),))  # each pixel reads its own place
NOTHING = Taps(1, 1, ((),))  # the values are not read, at most the shape


def window(size: int, stride: int = 1, dilation: int = 1, before: int = 0) -> Taps:
    """Taps of a convolution or a pooling over an input padded by `before` at the start."""
    return Taps(1, stride, (tuple(dilation * tap - before for tap in range(size)),))


def spread(size: int, stride: int, dilation: int = 1, before: int = 0) -> Taps:
    """Taps of a transposed convolution that crops `before` output pixels at the start."""
    phases = []
    for phase in range(stride):
        places = [phase + before - dilation * tap for tap in range(size)]
        phases.append(tuple(sorted(place // stride for place in places if place % stride == 0)))
    return Taps(stride, 1, tuple(phases))


def resample(source: int, target: int, support: int) -> Taps:
    """Taps of a resize between two sides, pixel centres at half integers.

    Args:
        source: Side of the input.
        target: Side of the output.
        support: Input pixels that each output pixel is made of: 1 nearest, 2 linear, 4 cubic.
    """
    divisor = math.gcd(source, target)
    period, step = target // divisor, source // divisor
    phases: list[tuple[int, ...]] = []
    for phase in range(period):
        center = Fraction(2 * phase + 1, 2) * Fraction(step, period) - Fraction(1, 2)
        if support == 1:
            phases.append((math.floor(center + Fraction(1, 2)),))
            continue
        low = math.floor(center)
        exact = center == low  # then the neighbours weigh nothing
        reach = range(low - support // 2 + 1, low + support // 2 + 1)
        phases.append((low,) if exact else tuple(reach))
    return Taps(period, step, tuple(phases))


@dataclasses.dataclass(frozen=True, eq=False)
class Reach:
    """Which pixels of a model's input a map depends on, along one axis.

    Map pixel `q * period + r` depends on input pixels from `q * step + lo[r]` to
    `q * step + hi[r]`, both included.

    Attributes:
        step: Input pixels a period.
        lo: Table of float64, as long as the period; infinity where a phase depends on nothing.
        hi: Likewise, minus infinity where a phase depends on nothing.
    """

    step: int
    lo: np.ndarray
    hi: np.ndarray

    @property
    def period(self) -> int:
        """Map pixels until the pattern repeats."""
        return len(self.lo)

    @property
    def stride(self) -> Fraction:
        """Input pixels from one map pixel to the next."""
        return Fraction(self.step, self.period)

    @property
    def size(self) -> int:
        """Input pixels that a map pixel depends on, at the worst phase: the receptive field."""
        return int(max(0.0, (self.hi - self.lo + 1).max()))

    def at(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the first and the last input pixel that each of some map pixels depends on."""
        periods, phases = np.divmod(pixels, self.period)
        return self.lo[phases] + periods * self.step, self.hi[phases] + periods * self.step

    def through(self, taps: Taps, side: int) -> Reach:
        """Goes on through a layer.

        Args:
            taps: What the layer reads of this map.
            side: Side of what it puts out. Tables get no longer than that.
        """
        turns = self.period // math.gcd(self.period, taps.step)
        period = min(taps.period * turns, side)
        lo, hi = np.full(period, np.inf), np.full(period, -np.inf)
        for phase, offsets in enumerate(taps.offsets[:period]):
            places = np.arange(phase, period, taps.period)
            if offsets:
                read = (places // taps.period)[:, None] * taps.step + np.array(offsets)
                first, last = self.at(read)
                lo[places], hi[places] = first.min(axis=1), last.max(axis=1)
        step = self.stride * Fraction(taps.step, taps.period) * period
        return Reach(round(step), lo, hi)

    def joined(self, other: Reach, side: int) -> Reach:
        """Both together, for a layer that reads two maps of this side at the same place."""
        period = math.lcm(self.period, other.period)
        if self.stride != other.stride or period > side:
            period = side  # they drift apart: a table for the whole map
        places = np.arange(period)
        (lo, hi), (other_lo, other_hi) = self.at(places), other.at(places)
        step = round(self.stride * period)
        return Reach(step, np.minimum(lo, other_lo), np.maximum(hi, other_hi))

    def around(self, shift: int) -> tuple[int, int]:
        """How far the dependence goes beyond a pixel's own place, at the worst phase.

        A map pixel's own place are the input pixels that it covers: `stride` of them for a coarser
        map, the one that holds it for a finer map.

        Args:
            shift: Input pixels that the network cuts off before the map begins.

        Returns:
            Input pixels before and behind.
        """
        stride, pixels = self.stride, range(self.period)
        first = np.array([math.floor(o * stride) for o in pixels]) + shift
        last = np.array([math.ceil((o + 1) * stride) - 1 for o in pixels]) + shift
        before, behind = (first - self.lo).max(), (self.hi - last).max()
        return int(max(0.0, before)), int(max(0.0, behind))

    def as_taps(self) -> Taps:
        """The same as a layer's taps: all pixels between the ends."""
        ends = zip(self.lo, self.hi, strict=True)
        phases = [() if lo > hi else tuple(range(int(lo), int(hi) + 1)) for lo, hi in ends]
        return Taps(self.period, self.step, tuple(phases))


IDENTITY = Reach(1, np.zeros(1), np.zeros(1))


@dataclasses.dataclass(frozen=True)
class Whole:
    """Depends on all of an input along an axis.

    Attributes:
        because: Names of the layers that look at everything.
    """

    because: tuple[str, ...]


Extent = Reach | Whole


def join(parts: Sequence[Extent], side: int, local: bool) -> Extent:
    """Joins what several maps of one side depend on.

    Args:
        parts: What each depends on.
        side: Of the maps.
        local: Whether what depends on everything is left out beside what does not.
    """
    reaches = [part for part in parts if isinstance(part, Reach)]
    names = [name for part in parts if isinstance(part, Whole) for name in part.because]
    if names and not (local and reaches):
        return Whole(tuple(dict.fromkeys(names)))
    total, *others = reaches
    for part in others:
        total = total.joined(part, side)
    return total
