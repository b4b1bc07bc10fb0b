"""Mixed precision: the fewest layers in float with which an int8 file is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.errors import ExportError
from kerasdeconv.export.candidates import Candidate, Prepared, convert_lowered
from kerasdeconv.export.job import Job
from kerasdeconv.export.lowering import with_head
from kerasdeconv.export.quantization.sensitivity import rank
from kerasdeconv.export.quantization.simulation import Simulation
from kerasdeconv.export.verification import compare

_MEASURED = 8  # samples on which layers are ranked
# The figure by which a task's loss is judged, and what a unit of `max_drop` is of it: decibels, or
# points, hundredths.
_FIGURES = {
    "super-resolution": ("psnr_y", 1.0),
    "segmentation": ("mean_iou", 100.0),
    "instance-segmentation": ("mean_iou", 100.0),
}

# How far a file falls short of what is asked; 0 or less where it is good enough.
Shortfall = Callable[[Candidate], float]


@dataclasses.dataclass(frozen=True)
class Quality:
    """What is asked of an int8 file.

    Attributes:
        max_drop: The most that it may lose of the task's figure: dB of PSNR, or points (hundredths)
            of mean IoU; None for anything.
        min_psnr: Least PSNR of its output against the model's, in dB; None for any.
        data: Labelled data on which `max_drop` is measured.
    """

    max_drop: float | None
    min_psnr: float | None
    data: str | Path | None

    @property
    def asked(self) -> bool:
        """Whether anything is."""
        return self.max_drop is not None or self.min_psnr is not None

    def check(self, precision: str) -> None:
        """Refuses what cannot be asked.

        Raises:
            ValueError: It is not for int8, there is no data to measure on, or a number is wrong.
        """
        if not self.asked:
            return
        if precision != "int8":
            raise ValueError(
                f"max_drop and min_psnr are for int8 files. Received: precision={precision!r}"
            )
        if self.max_drop is not None and self.data is None:
            raise ValueError(
                "max_drop is measured on labelled data: give evaluate=FOLDER, or ask for min_psnr. "
                f"Received: max_drop={self.max_drop} and evaluate=None"
            )
        if self.max_drop is not None and not self.max_drop >= 0:
            raise ValueError(f"max_drop must be 0 or more. Received: {self.max_drop}")


def meet(
    job: Job,
    prepared: Prepared,
    folder: Path,
    quality: Quality,
    progress: Callable[[str], None],
) -> tuple[Job, Candidate, dict[str, Any]]:
    """Makes a file that is as good as asked, with as few layers in float as that takes.

    Returns:
        The job with these layers, the file, and what the report says of it.

    Raises:
        DataError: The labelled data cannot be used.
        ExportError: Even with all layers in float the file is not as good as asked.
    """
    reference = with_head(job.subject.model, job.head)
    task = job.subject.convention.task
    if quality.max_drop is not None and task not in _FIGURES:
        raise ValueError(f"max_drop is for {', '.join(_FIGURES)}. Received: task={task!r}")
    figures: dict[str, float] = {}
    before = None if quality.max_drop is None else _measured(_keras(job), quality.data)

    def shortfall(candidate: Candidate) -> float:
        missed = []
        if quality.max_drop is not None and before is not None:
            figure, unit = _FIGURES[task]
            lost = unit * (before[figure] - _measured(candidate.predictor, quality.data)[figure])
            figures["drop"] = lost
            missed.append(lost - quality.max_drop)
        if quality.min_psnr is not None:
            result = compare(reference, candidate.predictor, job.samples.values[:_MEASURED])
            figures["psnr_db"] = math.inf if result.psnr_db is None else result.psnr_db
            missed.append(quality.min_psnr - figures["psnr_db"])
        return max(missed)

    allowed, candidate = fewest_in_float(job, prepared, folder, shortfall, progress)
    asked = {"max_drop": quality.max_drop, "min_psnr": quality.min_psnr}
    return (
        allowed,
        candidate,
        {"float_layers": sorted(allowed.allow_float), "asked": asked, "measured": figures},
    )


def evaluated(job: Job, candidate: Candidate, data: str | Path) -> dict[str, Any]:
    """The task's measures of the Keras model and of the file."""
    return {
        "data": str(data),
        "keras": _measured(_keras(job), data),
        "file": _measured(candidate.predictor, data),
    }


def _keras(job: Job) -> Any:
    from kerasdeconv.evaluation import KerasPredictor

    return KerasPredictor(with_head(job.subject.model, job.head), job.subject.convention)


def _measured(predictor: Any, data: str | Path | None) -> dict[str, Any]:
    from kerasdeconv.evaluation import evaluate

    return evaluate(predictor, str(data))["metrics"]


def fewest_in_float(
    job: Job,
    prepared: Prepared,
    folder: Path,
    shortfall: Shortfall,
    progress: Callable[[str], None],
) -> tuple[Job, Candidate]:
    """Keeps layers in float, those that cost most in int8 first, until a file is good enough.

    How many is found by bisection: a file is made and judged for each guess.

    Args:
        job: Layers that it allows in float stay there in any case.
        prepared: The lowered model.
        folder: Where files are made.
        shortfall: How far a file falls short of what is asked.
        progress: Called with a few words before each step.

    Returns:
        The job with these layers, and the file.

    Raises:
        ExportError: Even with all layers in float the file is not good enough.
    """

    def attempt(floats: list[str]) -> tuple[Job, Candidate, float]:
        allowed = dataclasses.replace(job, allow_float={*job.allow_float, *floats})
        candidate = convert_lowered(allowed, prepared, folder)
        return allowed, candidate, shortfall(candidate)

    progress("measuring int8")
    tried, candidate, missed = attempt([])
    if missed <= 0:
        return tried, candidate
    progress("ranking layers")
    ranking = [name for name in _ranking(job, prepared) if name not in job.allow_float]
    few, many = 0, len(ranking)  # too few, and surely enough
    reached = attempt(ranking)
    if reached[2] > 0:
        raise ExportError(
            "Even with all its layers in float the file is not as good as asked. "
            f"Received: {reached[2]:.3g} too little"
        )
    while many - few > 1:
        middle = (few + many) // 2
        progress(f"trying {middle} layers in float")
        tried, candidate, missed = attempt(ranking[:middle])
        few, many = (middle, many) if missed > 0 else (few, middle)
    tried, candidate, _ = attempt(ranking[:many])
    return tried, candidate


def _ranking(job: Job, prepared: Prepared) -> list[str]:
    simulation = Simulation(
        prepared.model, job.target.format, pixels=job.pixels, kernels=prepared.kernels
    )
    samples = job.samples_for(prepared.model)
    simulation.calibrate(samples, job.ranges)
    order = np.random.default_rng(job.seed).permutation(len(samples))[:_MEASURED]
    measured = [samples[i] for i in order]
    return rank(simulation, measured, job.layers, job.subject.convention.output)
