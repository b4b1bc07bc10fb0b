"""Timing of exported files, interleaved so that a machine's drift meets all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kerasdeconv.runtime import FilePredictor

RUNS = 15
_SECONDS = 4.0  # for one file: a slow network gets fewer runs, three at least


def medians(
    predictors: Sequence[FilePredictor], sample: Sequence[np.ndarray], runs: int = RUNS
) -> tuple[list[float], int]:
    """Times files on one sample, in turn, after one run that is not counted.

    The runtime alone is timed, without the conversion of floats at the door and, in LiteRT, without
    copies of inputs and outputs, which would weigh on small networks alike in every form.

    Returns:
        The median of each in milliseconds, and how many runs were counted.
    """
    calls = [_call(predictor, sample) for predictor in predictors]
    once = max(map(_seconds, calls))
    runs = max(3, min(runs, int(_SECONDS / max(once, 1e-6))))
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(runs):
        for kept, call in zip(times, calls, strict=True):
            kept.append(_seconds(call))
    return [1000 * statistics.median(kept) for kept in times], runs


def _call(predictor: FilePredictor, sample: Sequence[np.ndarray]) -> Callable[[], Any]:
    """What is timed: the runtime's own call, with the sample in place."""
    stored = predictor.encode(*sample)
    predictor.invoke(stored)
    return predictor.again(stored)


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
