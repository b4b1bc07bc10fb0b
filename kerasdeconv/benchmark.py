"""Benchmark: a model's export against the stock conversion of the same model, in one run.

Both files are made from the same weights and samples, for the same target and precision, and are
run in turns on one machine. The stock side gets its best fair form, see `kerasdeconv.export.stock`.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import json
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError, ExportError, KerasDeconvError, VerificationError
from kerasdeconv.export import Report, export, load_target, timing
from kerasdeconv.export import artifact as art
from kerasdeconv.export.job import (
    Subject,
    check_arguments,
    default_door,
    find_samples,
    resolve,
    shapes_of,
)
from kerasdeconv.export.report import versions
from kerasdeconv.export.stock import convert_stock
from kerasdeconv.export.tuning import processor
from kerasdeconv.random_weights import scale_weights
from kerasdeconv.tables import finite
from kerasdeconv.zoo.cards import Calibration

RUNS = 31  # of each file at most; `timing.medians` gives slow networks less
SAMPLES = 4  # that the integers take their ranges from: only time matters here
_PICTURES = "textures"  # where a card names no samples
_CASTS = ("QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A model's two files, timed in turns.

    Attributes:
        name: Of the zoo entry or model.
        target: For which both files were made.
        precision: In which both were asked for.
        shape: Of the first input, batch included.
        weights: "trained", "given", or "random" (by `scale_weights`: only time matters).
        threads: With which both ran.
        runs: Of each file; 0 where there was nothing to time.
        stock_ms: Median of the stock file, None where there is none that runs.
        ours_ms: Median of the export, None where it was refused.
        ratio: `stock_ms / ours_ms`: above 1 the export is faster.
        stock_bytes: Size of the stock file.
        ours_bytes: Size of the export.
        stock_float: Operators of the stock file that are in float although integers were asked
            for, by name.
        stock_problem: Why there is no stock file that runs.
        ours_problem: Why there is no export.
        kept: "lowered", or "stock" where the export measured that the stock form is faster.
        forms: How many operators of the export were kept in each form.
    """

    name: str
    target: str
    precision: str
    shape: tuple[int, ...]
    weights: str
    threads: int
    runs: int = 0
    stock_ms: float | None = None
    ours_ms: float | None = None
    ratio: float | None = None
    stock_bytes: int | None = None
    ours_bytes: int | None = None
    stock_float: dict[str, int] = dataclasses.field(default_factory=dict)
    stock_problem: str | None = None
    ours_problem: str | None = None
    kept: str | None = None
    forms: dict[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values for JSON."""
        return dataclasses.asdict(self) | {"shape": list(self.shape)}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Comparison:
        """Builds a comparison from what `to_dict` gave."""
        return cls(**{**fields, "shape": tuple(fields["shape"])})

    def notes(self) -> list[str]:
        """Says what a table must not hide, a clause each."""
        notes = []
        if self.ours_problem:
            notes.append(f"not exported: {self.ours_problem}")
        if self.stock_problem:
            notes.append(f"stock: {self.stock_problem}")
        if self.stock_float:
            found = ", ".join(f"{count} {name}" for name, count in self.stock_float.items())
            notes.append(f"stock stays in float: {found}")
        if self.kept == "stock":
            notes.append("the stock form measured faster and was kept")
        if self.weights == "random":
            notes.append("random weights")
        return notes


def compare(
    model: keras.Model | str,
    *,
    target: str = "android-cpu",
    precision: str = "int8",
    size: Sequence[int] | None = None,
    threads: int = 1,
    runs: int = RUNS,
    calibration: Any = None,
    convention: Convention | None = None,
    door: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Comparison:
    """Exports a model, converts it the stock way, and times both files in turns.

    Args:
        model: A Keras model, or the name of a zoo entry. An entry without trained weights gets
            random ones, see `scale_weights`.
        target: See `kerasdeconv.export.target_names()`.
        precision: As the target takes.
        size: Height and width (depth first for volumes); an entry's own by default.
        threads: With which both files run. The export's own measurements use one.
        runs: Of each file at most; slow networks get fewer, three at least.
        calibration: Representative input, the same for both; an entry's synthetic samples or
            seeded noise by default.
        convention: What goes in and comes out, for a model that is not from the zoo.
        door: Type of the inputs and outputs of int8 files, the same for both. See `export`.
        progress: Called with a few words before each step.

    Returns:
        The comparison. Where one side cannot be made it says why instead.

    Raises:
        ExportError: A side of the model is free and no size was given.
        LoweringError: The model is not functional or was never built.
        TargetError: No such target, or it does not take the precision.
        UnknownModel: The zoo has no such entry.
        ValueError: No such precision, or the network cannot take the size.

    Example:
        >>> result = compare("unet", precision="int8")
        >>> result.ratio > 1
        True
    """
    chosen = load_target(target)
    if threads < 1 or runs < 1:
        raise ValueError(f"threads and runs must be 1 or more. Received: {threads}, {runs}")
    progress("loading")
    subject, weights = _subject(model, convention)
    with contextlib.suppress(ExportError):  # the export says why, and the stock side goes on
        check_arguments(subject, chosen, precision)
    shapes = shapes_of(subject, size, 1)
    samples = _samples(subject, precision, calibration, shapes)
    if weights == "random":
        scale_weights(subject.model, samples[0], subject.convention)
    if door is None:
        door = default_door(subject, chosen, precision)
    result = Comparison(subject.name, target, precision, shapes[0], weights, threads)

    with tempfile.TemporaryDirectory() as folder:
        try:
            report = export(
                subject.model,
                folder,
                target=target,
                precision=precision,
                size=size,
                calibration=samples,
                door=door,
                name="ours",
                convention=subject.convention,
                progress=progress,
            )
            result = dataclasses.replace(result, **_of_report(report))
        except (KerasDeconvError, ValueError) as error:
            result = dataclasses.replace(result, ours_problem=_reason(error))
        progress("converting the stock way")
        stock = Path(folder, f"stock.{chosen.format}")
        try:
            content = convert_stock(
                subject.model,
                shapes,
                format=chosen.format,
                precision=precision,
                samples=samples,
                door=door,
            )
            stock.write_bytes(content)
            runtime.open(stock)
            result = dataclasses.replace(result, **_of_stock(stock, precision))
        except (ArtifactError, ExportError, ValueError) as error:
            result = dataclasses.replace(result, stock_problem=_reason(error))
        ours = Path(folder, f"ours.{precision}.{chosen.format}")
        progress("timing")
        return _timed(result, stock, ours, samples[0], runs)


def _subject(model: keras.Model | str, convention: Convention | None) -> tuple[Subject, str]:
    """What is compared, and where its weights come from."""
    weights = "given"
    if isinstance(model, str):
        card = zoo.card(model)
        weights = "trained" if card.pretrained else "random"
        model = zoo.load(model, weights="default" if card.pretrained else None)
        return dataclasses.replace(resolve(model, convention, None), name=card.name), weights
    return resolve(model, convention, None), weights


def _samples(
    subject: Subject, precision: str, calibration: Any, shapes: list[tuple[int, ...]]
) -> list[Any]:
    """A few samples for both sides: the given ones, synthetic pictures, or seeded noise."""
    if calibration is None:
        card = subject.card
        if card is not None and subject.convention.color is not None:
            kind = card.calibration.samples if card.calibration else _PICTURES
            few = Calibration(kind, SAMPLES)
            subject = dataclasses.replace(subject, card=dataclasses.replace(card, calibration=few))
        # In float32 noise will do, where there are no pictures: nobody asks for quality here.
        calibration = find_samples(subject, "float32", None, shapes).values[:SAMPLES]
    return find_samples(subject, precision, calibration, shapes).values


def write_results(document: dict[str, Any], path: Path) -> None:
    """Writes results as JSON, whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        text = json.dumps(finite(document), indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _of_report(report: Report) -> dict[str, Any]:
    """What a comparison says of the export."""
    forms = collections.Counter(choice["form"] for choice in report.choices)
    return {
        "ours_bytes": report.size_bytes,
        "kept": report.latency_ms["form"],
        "forms": dict(forms.most_common()),
    }


def _of_stock(path: Path, precision: str) -> dict[str, Any]:
    """What a comparison says of the stock file."""
    found = art.float_operators(art.read_artifact(path), precision)
    names = collections.Counter(operator.name for operator in found)
    computing = {name: count for name, count in names.most_common() if name not in _CASTS}
    return {"stock_bytes": path.stat().st_size, "stock_float": computing or dict(names)}


def _timed(result: Comparison, stock: Path, ours: Path, sample: Any, runs: int) -> Comparison:
    """Times the files that there are."""
    inputs = sample if isinstance(sample, list) else [sample]
    found = {
        side: runtime.open(path, threads=result.threads)
        for side, path, problem in (
            ("stock_ms", stock, result.stock_problem),
            ("ours_ms", ours, result.ours_problem),
        )
        if problem is None
    }
    if not found:
        return result
    times, count = timing.medians(list(found.values()), inputs, runs)
    medians: dict[str, Any] = dict(zip(found, times, strict=True))
    if len(times) == 2:
        medians["ratio"] = times[0] / times[1]
    return dataclasses.replace(result, runs=count, **medians)


def _reason(error: Exception) -> str:
    """The first line of a message. What was received is kept where it is a measurement."""
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return first if isinstance(error, VerificationError) else first.partition(" Received:")[0]


def precisions_for(target: str) -> list[str]:
    """The precisions that are worth a comparison: float32 and int8, as far as a target takes them.

    The others store differently what computes as one of these, or run in reference kernels.

    Raises:
        TargetError: No such target.
    """
    taken = load_target(target).precisions
    return [precision for precision in ("float32", "int8") if precision in taken]


def machine() -> dict[str, Any]:
    """Says where something was measured: processor, cores, and the versions of all packages."""
    flags: set[str] = set()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            key, _, value = (part.strip() for part in line.partition(":"))
            if key in ("flags", "Features"):
                flags = set(value.split())
    known = ("avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni", "asimddp", "i8mm")
    return {
        "processor": processor(),
        "instructions": [flag for flag in known if flag in flags],
        "cores": os.cpu_count(),
        "system": platform.system(),
        "versions": versions(),
    }
