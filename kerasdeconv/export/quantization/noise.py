"""How much of a signal rounding leaves: sums over samples, and their ratio in dB."""

from __future__ import annotations

import dataclasses
import math

import numpy as np


@dataclasses.dataclass
class Noise:
    """Sums over all values that were compared.

    Attributes:
        signal: Of the squares of what was meant.
        error: Of the squares of the differences.
        count: How many values there were.
        low: The least value that was meant.
        high: The greatest.
    """

    signal: float = 0.0
    error: float = 0.0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf

    def add(self, meant: np.ndarray, told: np.ndarray) -> None:
        """Compares arrays of one shape."""
        self.signal += _squares(meant)
        self.error += _squares(meant - told)
        self.count += meant.size
        self.low = min(self.low, float(meant.min()))
        self.high = max(self.high, float(meant.max()))

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise in dB; infinite where nothing differs."""
        return decibels(self.signal, self.error)

    def psnr(self, peak: float) -> float:
        """Peak signal to noise in dB; infinite where nothing differs."""
        return decibels(peak**2 * self.count, self.error)


def decibels(signal: float, error: float) -> float:
    """The ratio of two sums of squares in dB: infinite without error, -inf without signal."""
    if error == 0:
        return math.inf
    return 10 * math.log10(signal / error) if signal else -math.inf


def _squares(values: np.ndarray) -> float:
    flat = values.astype(np.float64, copy=False).ravel()
    return float(flat @ flat)
