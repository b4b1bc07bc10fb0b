"""Ranges for integers of 8 bits, chosen from histograms of what tensors held."""

from __future__ import annotations

import numpy as np
import pytest

from kerasdeconv.export.quantization.ranges import BINS, METHODS, Histogram, choose


def _histogram(*parts: np.ndarray) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.widen(part)
    for part in parts:
        histogram.count(part)
    return histogram


def _normal(count: int = 100_000) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, count)


def _error(values: np.ndarray, low: float, high: float) -> float:
    """Mean squared error of values that are clipped to a range and rounded to its steps."""
    step = (high - low) / 255
    zero = np.rint(-low / step)
    return float(
        np.mean(((np.clip(np.rint(values / step) + zero, 0, 255) - zero) * step - values) ** 2)
    )


class TestHistogram:
    def test_counts_all_samples_and_holds_zero(self) -> None:
        histogram = _histogram(np.array([2.0, 3.0]), np.array([5.0]))
        assert (histogram.low, histogram.high) == (0, 5)
        assert histogram.counts.sum() == 3
        assert len(histogram.edges) == BINS + 1


class TestChoose:
    def test_minmax_is_exact_and_needs_no_counts(self) -> None:
        histogram = Histogram()
        histogram.widen(np.array([-0.3, 7.25]))
        assert choose(histogram, "minmax") == (-0.3, 7.25)

    @pytest.mark.parametrize("method", METHODS)
    def test_holds_zero(self, method: str) -> None:
        low, high = choose(_histogram(np.linspace(3, 4, 5000)), method)
        assert low == 0
        assert high > 3
        low, high = choose(_histogram(-np.linspace(3, 4, 5000)), method)
        assert low < -3
        assert high == 0

    @pytest.mark.parametrize("method", METHODS)
    def test_of_nothing_but_zeros(self, method: str) -> None:
        assert choose(_histogram(np.zeros(10)), method) == (0, 0)

    def test_percentile_drops_a_hundred_thousandth(self) -> None:
        values = np.linspace(-1, 1, 400_000)
        # 0.0005 % on either side is two values in 400 000: three are dropped, one is not.
        for outliers, dropped in ((1, True), (3, False)):
            far = np.concatenate([values, np.full(outliers, 10.0), np.full(outliers, -6.0)])
            low, high = choose(_histogram(far), "percentile")
            if dropped:
                # The edge of the bin: one is 16 / 2048 wide.
                assert 1 <= high <= 1 + 2 * 16 / BINS
                assert -1 >= low >= -1 - 2 * 16 / BINS
            else:
                assert (low, high) == pytest.approx((-6, 10))

    @pytest.mark.parametrize("kind", ["normal", "relu", "outlier", "uniform"])
    def test_mse_is_as_good_as_a_search_on_the_values(self, kind: str) -> None:
        values = {
            "normal": _normal(),
            "relu": np.maximum(_normal(), 0),
            "outlier": np.append(_normal(), [40.0, 35.0]),
            "uniform": np.random.default_rng(1).uniform(-1, 3, 50_000),
        }[kind]
        low, high = choose(_histogram(values), "mse")
        shares = np.linspace(0.04, 1, 25)
        best = min(
            _error(values, a * min(values.min(), 0), b * values.max())
            for a in (shares if kind != "relu" else [0.0])
            for b in shares
        )
        # Bins say where values are to 1/2048 of the range, and the error of rounding is taken for
        # that of evenly spread values; the search here has coarser steps than the other.
        assert _error(values, low, high) < 1.05 * best

    def test_mse_beats_minmax_where_there_is_an_outlier(self) -> None:
        values = np.append(_normal(), [20.0])
        histogram = _histogram(values)
        errors = {m: _error(values, *choose(histogram, m)) for m in ("mse", "minmax")}
        # 0.85 of it was measured: clipping pays for most of what finer steps gain.
        assert errors["mse"] < 0.9 * errors["minmax"]

    @pytest.mark.parametrize("relu", [False, True])
    def test_entropy_clips_a_far_outlier_and_keeps_the_body(self, *, relu: bool) -> None:
        values = np.append(_normal(), [60.0])
        values = np.maximum(values, 0) if relu else values
        low, high = choose(_histogram(values), "entropy")
        # All but a thousandth of a normal distribution is within 3.3 deviations.
        assert 3.3 < high < 10
        assert low == 0 if relu else -5 < low < -3.3

    def test_entropy_is_not_taken_in_by_zeros(self) -> None:
        # Most of what a ReLU gives is zero, and zero costs no rounding.
        values = np.maximum(_normal() - 0.8, 0)
        assert np.mean(values == 0) > 0.75
        assert choose(_histogram(values), "entropy")[1] > np.quantile(values, 0.999)

    def test_a_typo_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"Did you mean 'entropy'.*Received: 'entropie'"):
            choose(_histogram(_normal(10)), "entropie")
