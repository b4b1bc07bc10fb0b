"""Mixed precision: the fewest layers in float with which an int8 file is good enough."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from kerasdeconv.errors import ExportError, closest
from kerasdeconv.evaluation import evaluate
from kerasdeconv.export.candidates import Candidate, Prepared, convert_lowered
from kerasdeconv.export.job import Job
from kerasdeconv.export.lowering import with_head
from kerasdeconv.export.quantization.sensitivity import MEASURED, rank
from kerasdeconv.export.verification import compare

# The figure by which a task's loss is judged, and what a unit of `max_drop` is of it: decibels, or
# points, hundredths.
_FIGURES = {
    "super-resolution": ("psnr_y", 1.0),
    "segmentation": ("mean_iou", 100.0),
    "instance-segmentation": ("mean_iou", 100.0),
    "instance-detection": ("ap", 100.0),
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

    def refuse_training(self) -> None:
        """Refuses to ask for a quality of a network that is trained for 8 bits.

        Raises:
            ValueError: One is asked for.
        """
        if self.asked:
            raise ValueError(
                "Either layers stay in float (max_drop, min_psnr), or the network is trained for 8 "
                f"bits (qat). Received: both, {self}"
            )

    def check(self, precision: str, task: str) -> None:
        """Refuses what cannot be asked.

        Raises:
            ValueError: It is not for int8 or not for the task, there is no data to measure on, or a
                number is wrong.
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
        if self.max_drop is not None and task not in _FIGURES:
            raise ValueError(f"max_drop needs a task. {closest(task, _FIGURES)} Received: {task!r}")


def meet(
    job: Job,
    prepared: Prepared,
    folder: Path,
    quality: Quality,
    *,
    before: Mapping[str, Any] | None,
    progress: Callable[[str], None],
) -> tuple[Job, Candidate, dict[str, Any]]:
    """Makes a file that is as good as asked, with as few layers in float as that takes.

    Args:
        job: Layers that it allows in float stay there in any case.
        prepared: The lowered model.
        folder: Where files are made.
        quality: What is asked.
        before: The Keras model's metrics on `quality.data`, where that is given.
        progress: Called with a few words before each step.

    Returns:
        The job with these layers, the file, and what the report says of it.

    Raises:
        DataError: The labelled data cannot be used.
        ExportError: Even with all layers in float the file is not as good as asked.
    """
    reference = with_head(job.subject.model, job.head)
    figures: dict[str, float] = {}

    def shortfall(candidate: Candidate) -> float:
        missed = []
        if quality.max_drop is not None and quality.data is not None and before is not None:
            figure, unit = _FIGURES[job.subject.convention.task]
            after = evaluate(candidate.predictor, quality.data)["metrics"]
            figures["drop"] = unit * (before[figure] - after[figure])
            missed.append(figures["drop"] - quality.max_drop)
        if quality.min_psnr is not None:
            result = compare(reference, candidate.predictor, job.samples.values[:MEASURED])
            figures["psnr_db"] = math.inf if result.psnr_db is None else result.psnr_db
            missed.append(quality.min_psnr - figures["psnr_db"])
        return max(missed)

    allowed, candidate = _fewest_in_float(job, prepared, folder, shortfall, progress)
    said = {
        "float_layers": sorted(allowed.allow_float),
        "asked": {"max_drop": quality.max_drop, "min_psnr": quality.min_psnr},
        "measured": figures,
    }
    return allowed, candidate, said


def _fewest_in_float(
    job: Job,
    prepared: Prepared,
    folder: Path,
    shortfall: Shortfall,
    progress: Callable[[str], None],
) -> tuple[Job, Candidate]:
    """Keeps layers in float, those that cost most in int8 first, until a file is good enough.

    How many is found by bisection: a file is made and judged for each guess.

    Raises:
        ExportError: Even with all layers in float the file is not good enough.
    """

    def attempt(floats: list[str]) -> tuple[Job, Candidate, float]:
        progress(f"trying {len(floats)} layers in float")
        allowed = dataclasses.replace(job, allow_float={*job.allow_float, *floats})
        candidate = convert_lowered(allowed, prepared, folder)
        return allowed, candidate, shortfall(candidate)

    allowed, candidate, missed = attempt([])
    if missed <= 0:
        return allowed, candidate
    progress("ranking layers")
    ranking = [name for name in rank(job, prepared) if name not in job.allow_float]
    few, many, made = 0, len(ranking), len(ranking)  # too few, enough, and those in the last file
    allowed, candidate, missed = attempt(ranking)
    if missed > 0:
        raise ExportError(
            "Even with all its layers in float the file is not as good as asked. "
            f"Received: {missed:.3g} too little"
        )
    while many - few > 1:
        made = (few + many) // 2
        allowed, candidate, missed = attempt(ranking[:made])
        few, many = (made, many) if missed > 0 else (few, made)
    if made != many:
        allowed, candidate, _ = attempt(ranking[:many])
    return allowed, candidate
