"""What an export chooses from: the lowered model and the stock conversion, as finished files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import runtime
from kerasdeconv.errors import ArtifactError, ExportError, TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export import onnx, tflite, timing, vendors
from kerasdeconv.export.job import Job
from kerasdeconv.export.lowering import lower_for
from kerasdeconv.export.lowering.rewrites import least_work
from kerasdeconv.export.metadata import write_metadata
from kerasdeconv.export.pixel_output import without_clip
from kerasdeconv.export.quantization.kernels import kernel_of
from kerasdeconv.export.quantization.weights import fitted_kernels, with_kernels
from kerasdeconv.export.report import versions
from kerasdeconv.export.stock import convert_stock
from kerasdeconv.export.targets import Target, check
from kerasdeconv.export.tuning import Choice, Chooser, Meter, machine_key

# The stock conversion is kept where it is faster by more than what two medians of one file differ
# by on a quiet machine.
_FASTER = 0.98


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One way to convert the model, as a finished file.

    Attributes:
        form: "lowered" or "stock".
        path: The file.
        rewrites: What the lowering did, one line each.
        choices: The forms of operators that have several.
        predictor: Runs the file.
    """

    form: str
    path: Path
    rewrites: list[str]
    choices: list[Choice]
    predictor: runtime.FilePredictor


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A lowered model, ready to be converted.

    Attributes:
        model: In float32.
        rewrites: What the lowering did, one line each.
        choices: The forms of operators that have several.
        kernels: For int8, what the weights are rounded to, by layer name.
    """

    model: keras.Model
    rewrites: list[str]
    choices: list[Choice]
    kernels: dict[str, np.ndarray]


def prepare_lowered(job: Job, *, tune: bool, progress: Callable[[str], None]) -> Prepared:
    """Lowers the model, in the forms that measure fastest if `tune` asks for it.

    Raises:
        ExportError: A part of it that is to be timed cannot be converted.
    """
    target = job.target
    default = least_work(target.channel_tile)
    meter = _meter(target) if tune else None
    convert = None if meter is None else _converter(job)
    key = machine_key(target.name, job.precision)
    source = "measured" if target.tunes else "estimated"
    chooser = Chooser(
        default, convert, meter or _timed, key, tile=target.channel_tile, source=source
    )
    progress("choosing forms" if convert else "lowering")
    lowered = lower_for(
        job.subject.model,
        job.shapes,
        target,
        job.precision,
        head=job.head,
        fold_doors=job.fold_doors,
        pick=chooser.pick,
    )
    model, rewrites = lowered.model, lowered.rewrites
    kernels: dict[str, np.ndarray] = {}
    if job.precision == "int8":
        if job.pixels:
            model, dropped = without_clip(model)
            rewrites = [*rewrites, *dropped]
        progress("rounding weights")
        samples = job.samples_for(model)
        kernels = fitted_kernels(model, samples, format=target.format, seed=job.seed)
        rewrites = [*rewrites, *_rounded(model, kernels, len(samples))]
    return Prepared(model, rewrites, chooser.choices, kernels)


def _rounded(model: keras.Model, kernels: dict[str, np.ndarray], samples: int) -> list[str]:
    """Says which weights were rounded how."""
    said = [f"{name}: weights rounded to fit {samples} samples" for name in kernels]
    others = [layer.name for layer in model.layers if kernel_of(layer) is not None]
    return said + [f"{n}: weights rounded to the nearest" for n in others if n not in kernels]


def convert_lowered(job: Job, prepared: Prepared, folder: Path) -> Candidate:
    """Converts a lowered model.

    Raises:
        ExportError: It cannot be converted in the asked precision.
        TargetError: The target does not take it.
    """
    path = folder / f"lowered.{job.target.format}"
    rounded = {
        name: kernel
        for name, kernel in prepared.kernels.items()
        if art.origin_of(name, job.layers) not in job.allow_float
    }
    with with_kernels(prepared.model, rounded):
        path.write_bytes(_convert(job, prepared.model))
    return finish_lowered(job, prepared, path)


def finish_lowered(job: Job, prepared: Prepared, path: Path) -> Candidate:
    """Checks the file of a lowered model, and writes into it what it is.

    Raises:
        ExportError: A part is not of the asked precision.
        TargetError: The target does not take it.
    """
    _require_precision(job, path)
    _require_target(job, path)
    write_metadata(path, _metadata(job, path))
    return Candidate("lowered", path, prepared.rewrites, prepared.choices, runtime.open(path))


def make_stock(job: Job, folder: Path) -> tuple[Candidate | None, str | None]:
    """Converts the model as it is, to be compared with.

    Returns:
        The candidate, None where the converter or the runtime fails; and why it cannot be kept,
        None where it can.
    """
    if job.fold_doors:
        return None, "no converter folds volumes"
    try:
        candidate = convert_as_it_is(job, folder)
    except (ArtifactError, ExportError) as error:
        return None, _without_received(error)
    try:
        _require_precision(job, candidate.path)
        _require_target(job, candidate.path)
    except (ExportError, TargetError) as error:
        return candidate, _without_received(error)
    return candidate, None


def convert_as_it_is(job: Job, folder: Path, *, fitted: bool = False) -> Candidate:
    """Converts the model: static shapes and frozen weights, but nothing rewritten.

    Args:
        job: The export.
        folder: Where the file goes.
        fitted: See `convert_stock`.

    Raises:
        ArtifactError: The runtime does not load the file.
        ExportError: The converter fails.
    """
    path = folder / f"stock.{job.target.format}"
    content = convert_stock(
        job.subject.model,
        job.shapes,
        format=job.target.format,
        precision=job.precision,
        samples=job.samples.values,
        door=job.door,
        head=job.head,
        pixel_output=job.pixels,
        float_layers=job.allow_float,
        fitted=fitted,
    )
    path.write_bytes(content)
    write_metadata(path, _metadata(job, path))
    return Candidate("stock", path, [], [], runtime.open(path))


def faster(
    job: Job, lowered: Candidate, stock: Candidate | None, refusal: str | None
) -> tuple[Candidate, dict[str, Any]]:
    """Times both, interleaved, and keeps the lowered one unless the stock one is faster.

    Returns:
        What is kept, and the figures for the report.
    """
    candidates = [lowered] if stock is None else [lowered, stock]
    sample = job.samples.values[0]
    inputs = sample if isinstance(sample, list) else [sample]
    medians, runs = timing.medians([candidate.predictor for candidate in candidates], inputs)
    forms = {c.form: median for c, median in zip(candidates, medians, strict=True)}
    kept = lowered
    if stock is not None and refusal is None and forms["stock"] < _FASTER * forms["lowered"]:
        kept = stock
    return kept, {
        "median": forms[kept.form],
        "runs": runs,
        "threads": 1,
        "form": kept.form,
        "forms": forms,
        "stock_refused": refusal,
    }


def _without_received(error: Exception) -> str:
    return str(error).partition(" Received:")[0]


def _convert(job: Job, model: keras.Model) -> bytes:
    convert = tflite.to_tflite if job.target.format == "tflite" else onnx.to_onnx
    return convert(
        model,
        precision=job.precision,
        samples=job.samples_for(model),
        door=job.door,
        pixel_output=job.pixels,
        ranges=job.ranges,
        float_layers=job.allow_float,
        layers=job.layers,
    )


def _converter(job: Job) -> Callable[[keras.Model, list[np.ndarray], Path], Path]:
    """Converts a part of the model, with integers at the doors of an integer file."""
    convert = tflite.to_tflite if job.target.format == "tflite" else onnx.to_onnx
    door = "int8" if job.precision == "int8" else "float32"

    def write(model: keras.Model, sample: list[np.ndarray], path: Path) -> Path:
        path = path.with_suffix(f".{job.target.format}")
        samples: list[Any] = [sample]
        path.write_bytes(convert(model, precision=job.precision, samples=samples, door=door))
        return path

    return write


def _meter(target: Target) -> Meter | None:
    """Says how long files take on a target: by its compiler's estimate, or by running them here."""
    if target.tunes:
        return _timed
    if target.compiler is None or not vendors.estimates(target.compiler):
        return None

    def estimated(files: list[Path], sample: list[np.ndarray]) -> list[float]:
        return [vendors.estimate(file, target) for file in files]

    return estimated


def _timed(files: list[Path], sample: list[np.ndarray]) -> list[float]:
    """Times files of one network in turns, in milliseconds."""
    return timing.medians([runtime.open(file) for file in files], sample)[0]


def _require_precision(job: Job, path: Path) -> None:
    """Refuses float islands that nobody allowed.

    What only moves or picks values before or behind an allowed layer goes with it.
    """
    islands = art.float_operators(art.read_artifact(path), job.precision)
    origins = {o.index: art.layer_of(o, job.layers) for o in islands}
    allowed = [o for o in islands if origins[o.index] in job.allow_float]
    more = list(allowed)
    while more:
        floats = {id(tensor) for operator in allowed for tensor in operator.data}
        passing = [o for o in islands if o.name in art.PASSES and o not in allowed]
        more = [o for o in passing if any(id(tensor) in floats for tensor in o.data)]
        allowed += more
    refused = [(o.name, origins[o.index]) for o in islands if o not in allowed]
    if refused:
        name, layer = next((o for o in refused if o[1]), refused[0])
        where = f" of layer {layer!r}" if layer else ""
        others = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        allow = sorted({origin[1] for origin in refused if origin[1]})
        raise ExportError(
            f"Not everything can be {job.precision} in {job.target.format}: {name}{where}{others} "
            f"would stay in float. Change the layers, or allow it by allow_float={allow}. "
            f"Received: precision={job.precision!r}"
        )


def _require_target(job: Job, path: Path) -> None:
    """Refuses what the target does not take."""
    violations = check(path, job.target, job.layers)
    errors = [violation for violation in violations if violation.severity == "error"]
    if errors:
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        raise TargetError(
            f"The target {job.target.name!r} does not take the model: {errors[0]}{more}. "
            f"Received: {job.subject.model.name!r}"
        )


def _metadata(job: Job, path: Path) -> dict[str, Any]:
    """What is written into the file."""
    artifact = art.read_artifact(path)
    doors = onnx.door_quantization(path) if artifact.format == "onnx" else {}

    def describe(tensor: art.Tensor) -> dict[str, Any]:
        quantization = doors.get(tensor.name)
        if tensor.quantization is not None:
            quantization = {
                "scale": tensor.quantization.scales[0],
                "zero_point": tensor.quantization.zero_points[0],
            }
        return {
            "name": tensor.name,
            "shape": list(tensor.shape or ()),
            "dtype": tensor.dtype,
            "quantization": quantization,
        }

    return {
        "schema": 1,
        "name": job.subject.card.name if job.subject.card else job.subject.name,
        "precision": job.precision,
        "target": job.target.name,
        "convention": job.subject.convention.to_dict(),
        "folded_volumes": job.fold_doors,
        "inputs": [describe(tensor) for tensor in artifact.inputs],
        "outputs": [describe(tensor) for tensor in artifact.outputs],
        "versions": versions(),
    }
