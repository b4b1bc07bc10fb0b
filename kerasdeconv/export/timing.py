"""Timing of exported files, interleaved so that a machine's drift meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence

import numpy as np

from kerasdeconv.runtime import FilePredictor

RUNS = 15
_SECONDS = 4.0  # for one file: a slow network gets fewer runs, three at least


def medians(
    predictors: Sequence[FilePredictor], sample: Sequence[np.ndarray], runs: int = RUNS
) -> tuple[list[float], int]:
    """Times files on one sample, in turn, after one run that is not counted.

    Returns:
        The median of each in milliseconds, and how many runs were counted.
    """
    once = max(_run(predictor, sample) for predictor in predictors)
    runs = max(3, min(runs, int(_SECONDS / max(once, 1e-6))))
    times: list[list[float]] = [[] for _ in predictors]
    for _ in range(runs):
        for kept, predictor in zip(times, predictors, strict=True):
            kept.append(_run(predictor, sample))
    return [1000 * statistics.median(kept) for kept in times], runs


def _run(predictor: FilePredictor, sample: Sequence[np.ndarray]) -> float:
    start = time.perf_counter()
    predictor.run(*sample)
    return time.perf_counter() - start
