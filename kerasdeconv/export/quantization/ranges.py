"""The range of real numbers that the integers of a tensor stand for, chosen from what it held.

A `Histogram` counts a tensor's values over all samples; `choose` picks a range. Whatever lies
outside is clipped; the wider the range, the coarser the steps inside. NumPy alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from kerasdeconv.errors import closest

Key = TypeVar("Key")

LEVELS = 255  # steps of 8 bits
BINS = 2048
# Share of the values that "percentile" keeps inside, as ONNX Runtime's calibration has it.
PERCENTILE = 0.99999


@dataclasses.dataclass
class Histogram:
    """How often a tensor's values fell into bins of equal width.

    Attributes:
        low: Where the first bin begins: the least value, 0 at most.
        high: Where the last bin ends: the greatest value, 0 at least.
        counts: Of each bin; empty before the first `count`.
    """

    low: float = 0.0
    high: float = 0.0
    counts: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0))

    def widen(self, values: np.ndarray) -> None:
        """Takes in the least and the greatest value, without counting."""
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))

    def count(self, values: np.ndarray) -> None:
        """Counts values, all of them between `low` and `high`."""
        if not self.counts.size:
            self.counts = np.zeros(BINS)
        if self.high > self.low:
            bins = (values.ravel() - self.low) * (BINS / (self.high - self.low))
            self.counts += np.bincount(np.clip(bins, 0, BINS - 1).astype(np.int64), minlength=BINS)

    @property
    def edges(self) -> np.ndarray:
        """Where the bins begin and end, one more than bins."""
        return np.linspace(self.low, self.high, len(self.counts) + 1)


def require_method(method: str, precision: str = "int8") -> None:
    """Refuses a method that there is not, or that a precision does not know.

    Raises:
        ValueError: No such method, the message names the closest; or it is not for the precision.
    """
    if method not in METHODS:
        raise ValueError(
            f"No such method for ranges. {closest(method, METHODS)} Received: {method!r}"
        )
    if method != "minmax" and precision != "int8":
        raise ValueError(
            f"Ranges are chosen for int8 files, others take minmax. Received: {method!r} for "
            f"{precision}"
        )


def choose(histogram: Histogram, method: str) -> tuple[float, float]:
    """Chooses the range that integers of 8 bits stand for.

    Args:
        histogram: What the tensor held; "minmax" needs no counts.
        method: One of `METHODS`.
            "minmax": everything that was seen.
            "percentile": all but the outermost 0.001 % of the values.
            "entropy": the range with which what the integers tell diverges least from what the
            tensor held (Migacz, "8-bit inference with TensorRT", 2017).
            "mse": the range with the least mean squared error, of clipping and of rounding
            (Banner et al., "Post training 4-bit quantization", 2019, by search).

    Returns:
        Least and greatest value; 0 is between them, as integers need it.

    Raises:
        ValueError: No such method.
    """
    require_method(method)
    if histogram.low == histogram.high:
        return histogram.low, histogram.high
    return METHODS[method](histogram)


def find_ranges(
    run: Callable[[Any], Iterable[tuple[Key, np.ndarray]]],
    samples: Sequence[Any],
    method: str,
    whole: Collection[Key] = (),
) -> dict[Key, tuple[float, float]]:
    """Runs a network on samples and chooses the range of each of its tensors.

    Args:
        run: Gives names and values of all tensors for a sample. Tensors of one name share a range.
        samples: Gone through twice, but for "minmax".
        method: See `choose`.
        whole: Tensors of which nothing may be clipped, whatever the method.

    Returns:
        Least and greatest value by tensor; tensors without any value are left out.

    Raises:
        ValueError: No such method.
    """
    require_method(method)
    histograms: dict[Key, Histogram] = {}
    for sample in samples:
        for name, values in run(sample):
            if values.size:
                histograms.setdefault(name, Histogram()).widen(values)
    for sample in samples if method != "minmax" else ():
        for name, values in run(sample):
            if values.size and name not in whole:
                histograms[name].count(values)
    return {
        name: choose(histogram, "minmax" if name in whole else method)
        for name, histogram in histograms.items()
    }


def tied(
    ranges: Mapping[Key, tuple[float, float]], joins: Iterable[Sequence[Key]]
) -> dict[Key, tuple[float, float]]:
    """Gives tensors that are joined one range that holds them all, where ONNX Runtime can.

    Not where one without negative values is joined to one with: quantize-dequantize pairs stand for
    the ReLUs before them, which cut off where the range begins, and must go on to begin at zero.

    Args:
        ranges: By tensor.
        joins: Tensors that are joined, and what they are joined to.
    """
    group = {name: name for name in ranges}

    def root(name: Key) -> Key:
        while group[name] != name:
            name = group[name]
        return name

    for names in joins:
        known = [name for name in names if name in ranges]
        if len({ranges[name][0] < 0 for name in known}) == 1:
            for name in known:
                group[root(name)] = root(known[0])
    found: dict[Key, tuple[float, float]] = {}
    for name, (low, high) in ranges.items():
        least, most = found.get(root(name), (low, high))
        found[root(name)] = min(least, low), max(most, high)
    return {name: found[root(name)] for name in ranges}


def _minmax(histogram: Histogram) -> tuple[float, float]:
    return histogram.low, histogram.high


def _percentile(histogram: Histogram) -> tuple[float, float]:
    share = np.cumsum(histogram.counts) / histogram.counts.sum()
    outside = (1 - PERCENTILE) / 2
    first = np.searchsorted(share, outside)
    last = np.searchsorted(share, 1 - outside)
    edges = histogram.edges
    return min(0.0, float(edges[first])), max(0.0, float(edges[last + 1]))


def _mse(histogram: Histogram) -> tuple[float, float]:
    return _search(histogram, _squared_error)


def _entropy(histogram: Histogram) -> tuple[float, float]:
    return _search(histogram, _divergence)


METHODS: dict[str, Callable[[Histogram], tuple[float, float]]] = {
    "minmax": _minmax,
    "percentile": _percentile,
    "entropy": _entropy,
    "mse": _mse,
}


def _search(
    histogram: Histogram, cost: Callable[[Histogram, float, float], float]
) -> tuple[float, float]:
    """Tries ranges: either end moved inwards in hundredths, in turns until neither gains."""
    shares = np.linspace(0.01, 1, 100)
    low, high = histogram.low, histogram.high
    while True:
        before = low, high
        if histogram.high > 0:
            high = min(shares * histogram.high, key=lambda end: cost(histogram, low, end))
        if histogram.low < 0:
            low = min(shares * histogram.low, key=lambda end: cost(histogram, end, high))
        if (low, high) == before:
            return float(low), float(high)


def _squared_error(histogram: Histogram, low: float, high: float) -> float:
    """Sum of the squared errors of clipping, and of rounding to the steps of a range."""
    edges = histogram.edges
    middles = (edges[1:] + edges[:-1]) / 2
    clipped = np.clip(middles, low, high) - middles
    step = (high - low) / LEVELS
    # What is exactly zero stays so; bins are too coarse to say more.
    inside = (clipped == 0) & ~((edges[:-1] <= 0) & (edges[1:] >= 0))
    return float(histogram.counts @ (clipped**2 + inside * step**2 / 12))


def _divergence(histogram: Histogram, low: float, high: float) -> float:
    """Kullback-Leibler divergence of what integers tell from what the tensor held."""
    edges, counts = histogram.edges, _without_zeros(histogram)
    middles = (edges[1:] + edges[:-1]) / 2
    inside = (middles >= low) & (middles <= high)
    if not inside.any():
        return np.inf
    held = np.where(inside, counts, 0)
    first, last = np.flatnonzero(inside)[[0, -1]]
    held[first] += counts[:first].sum()
    held[last] += counts[last + 1 :].sum()
    # Each level tells how many values it has, spread over the bins that were not empty.
    level = np.clip((middles - low) / (high - low) * LEVELS, 0, LEVELS).astype(int)
    seen = inside & (counts > 0)
    totals = np.bincount(level[seen], counts[seen], minlength=LEVELS + 1)
    filled = np.bincount(level[seen], minlength=LEVELS + 1)
    told = np.where(seen, totals[level] / np.maximum(filled[level], 1), 0)
    if not told.any():
        return np.inf
    # Both as shares of all values: what is clipped is missing from `told`. Made to sum up to 1, a
    # range that clips all but one bin would seem to lose nothing.
    p, q = held / held.sum(), told / held.sum()
    some = p > 0
    # A level that tells nothing of what was there: as if it held a ten-thousandth of the values.
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], 1e-4 / len(q)))))


def _without_zeros(histogram: Histogram) -> np.ndarray:
    """Counts in which the bin of zero holds no more than its neighbours do.

    An integer stands for zero exactly, but the bins of its level would share its count. Behind a
    ReLU most values are zeros, and ranges so narrow that a level is one bin would then seem best:
    (0, 0.15) of (0, 0.8) was chosen in a super-resolution network, where the squared error is
    least at 0.73. NVIDIA's pytorch-quantization likewise counts its first bin as the second.
    """
    counts, edges = histogram.counts.copy(), histogram.edges
    zero = int(np.clip(np.searchsorted(edges, 0.0, side="right") - 1, 0, len(counts) - 1))
    beside = counts[[i for i in (zero - 1, zero + 1) if 0 <= i < len(counts)]]
    counts[zero] = min(counts[zero], beside.mean())
    return counts
