"""`export`: a Keras model to a file that is what it says, checked, with a report."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import runtime
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError, TargetError, closest
from kerasdeconv.export import artifact as art
from kerasdeconv.export import onnx, tflite, timing
from kerasdeconv.export.job import (
    Job,
    check_arguments,
    find_samples,
    layer_names,
    resolve,
)
from kerasdeconv.export.lowering import lower_to_form, with_head
from kerasdeconv.export.lowering.head import HEADS
from kerasdeconv.export.metadata import write_metadata
from kerasdeconv.export.pixel_output import without_clip
from kerasdeconv.export.report import Report, versions
from kerasdeconv.export.targets import Violation, check, load_target
from kerasdeconv.export.verification import verify
from kerasdeconv.sizes import input_shapes

_VERIFIED = 8  # samples that a file is verified on


@dataclasses.dataclass(frozen=True)
class _Candidate:
    """One form of the model as a finished file."""

    form: str
    path: Path
    rewrites: list[str]
    predictor: runtime.FilePredictor


def export(
    model: keras.Model | str,
    directory: str | Path,
    *,
    target: str,
    precision: str = "float32",
    size: Sequence[int] | None = None,
    batch: int = 1,
    calibration: Any = None,
    evaluate: str | Path | None = None,
    head: str | None = None,
    tune: bool = True,
    name: str | None = None,
    format: str | None = None,
    door: str | None = None,
    allow_float: Collection[str] = (),
    convention: Convention | None = None,
    like: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Exports a model for a target: lowered, quantized, checked, verified, reported.

    Writes `directory/name.precision.tflite` (or `.onnx`) and `directory/name.precision.report.json`
    when everything has passed, and nothing otherwise.

    Args:
        model: A functional or Sequential Keras model, or the name of a zoo entry.
        directory: Where the files go; made if need be.
        target: Where the file will run, see `kerasdeconv.export.target_names()`.
        precision: "float32", "float16", "dynamic", "int8" or "int16x8", as the target takes.
        size: Height and width (depth first for volumes); an entry's own by default. A model with
            fixed sides needs none.
        batch: Batch size of the file.
        calibration: Representative input for integers: a folder of pictures, an array of samples,
            or an iterable of them. Entries of the zoo have synthetic samples of their own.
        evaluate: A folder of labelled data (see `kerasdeconv.evaluation`): the report then holds
            the task's measures of the Keras model and of the file.
        head: "probabilities", "logits" or "labels" for a network that classifies; None leaves it.
        tune: Whether to time the forms that the target may prefer and keep the fastest; without it
            the target's first choice is taken.
        name: Start of the files' names: the model's by default.
        format: "tflite" or "onnx": the target's own, which is the default.
        door: Type of the inputs and outputs of an int8 file: "uint8", "int8" or "float32". By
            default the target's, or float32 where the input is not pixels in [0, 255].
        allow_float: Names of layers that may compute in float in an integer file.
        convention: What goes in and comes out, for a model that is not from the zoo.
        like: A zoo entry whose convention, size and samples the model shares, for one that was
            fine-tuned, saved and reloaded.
        progress: Called with a few words before each step.

    Returns:
        The report, as it was saved.

    Raises:
        ArtifactError: The target's runtime does not load the file.
        DataError: The calibration or evaluation data cannot be used.
        ExportError: The model cannot be exported as asked, or the directory cannot be written.
        LoweringError: The model is not functional or was never built.
        TargetError: No such target, or it does not take the precision or an operator.
        UnknownModel: The zoo has no such entry.
        ValueError: An argument is wrong, or the network cannot take the size.
        VerificationError: The file does not compute what the model computes.

    Example:
        >>> report = export("unet", "build/unet", target="android-cpu", precision="int8")
        >>> report.artifact
        'build/unet/unet.int8.tflite'
    """
    chosen = load_target(target)
    if head is not None and head not in HEADS:
        raise ValueError(f"No such head. {closest(head, HEADS)} Received: {head!r}")
    if name is not None and (not name or Path(name).name != name):
        raise ValueError(f"name must be the start of a file's name. Received: {name!r}")
    progress("loading")
    subject = resolve(model, convention, like)
    check_arguments(subject, chosen, precision, format, allow_float)
    if size is None and subject.card and None in subject.model.inputs[0].shape[1:-1]:
        size = subject.card.export_size
    shapes = input_shapes(subject.model, size, batch)
    samples = find_samples(subject, precision, calibration, shapes)
    if door is None:
        pixels = subject.convention.value_range == (0, 255)
        door = chosen.door if precision == "int8" and pixels else "float32"
    elif door not in (tflite.DOORS if precision == "int8" else ("float32",)):
        raise ValueError(
            f"door must be one of {tflite.DOORS}, and float32 but for int8 files. "
            f"Received: {door!r}"
        )
    if head is not None:
        subject = dataclasses.replace(
            subject, convention=dataclasses.replace(subject.convention, output=head)
        )
    job = Job(subject, chosen, precision, door, shapes, head, samples, allow_float)

    final = Path(directory) / f"{name or subject.name}.{precision}.{chosen.format}"
    written = final.with_suffix(".report.json")
    if blocked := next((str(path) for path in (final, written) if path.is_dir()), None):
        raise ExportError(f"A folder is where the file would go. Received: {blocked!r}")
    with _workspace(Path(directory)) as folder:
        forms = chosen.forms("transposed_convolution", precision)
        candidates = _candidates(job, forms if tune else forms[:1], folder, progress)
        best, latency = _fastest(job, candidates, progress)
        progress("verifying")
        report = _finish(job, best, final, latency)
        if evaluate is not None:
            progress("evaluating")
            report = dataclasses.replace(report, metrics=_evaluated(job, best, evaluate))
        report.save(written)
        best.path.replace(final)
    return report


@contextlib.contextmanager
def _workspace(directory: Path) -> Iterator[Path]:
    """A folder inside the output directory, gone afterwards; so is the directory if left empty.

    Raises:
        ExportError: The directory cannot be made or written.
    """
    missing = [path for path in (directory, *directory.parents) if not path.exists()]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        workspace = tempfile.TemporaryDirectory(dir=directory, prefix=".export-")
    except OSError as error:
        raise ExportError(
            f"Cannot write to the output directory ({error.strerror}). Received: {str(directory)!r}"
        ) from None
    try:
        with workspace as folder:
            yield Path(folder)
    except BaseException:
        for path in missing:
            with contextlib.suppress(OSError):
                path.rmdir()  # only those that we made, and only if empty
        raise


def _candidates(
    job: Job, forms: Sequence[str], folder: Path, progress: Callable[[str], None]
) -> list[_Candidate]:
    """Makes a file of each form that changes anything; a form that the target refuses drops out."""
    made: list[_Candidate] = []
    refusal: ExportError | TargetError | None = None
    model, form_of_file = job.subject.model, job.target.format
    pixel_output = job.subject.convention.output == "pixels"
    for form in forms:
        progress(f"lowering and converting ({form})")
        lowered, rewrites = lower_to_form(
            model,
            job.shapes,
            form=form,
            head=job.head,
            fold_depth=job.target.folds_volumes(job.precision),
        )
        if pixel_output and job.precision == "int8":
            lowered, dropped = without_clip(lowered)
            rewrites = [*rewrites, *dropped]
        if any(rewrites == other.rewrites for other in made):
            continue  # the model has nothing that this form changes
        path = folder / f"{form}.{form_of_file}"
        convert = tflite.to_tflite if form_of_file == "tflite" else onnx.to_onnx
        try:
            content = convert(
                lowered,
                precision=job.precision,
                samples=job.samples.values,
                door=job.door,
                pixel_output=pixel_output,
            )
            path.write_bytes(content)
            _require_precision(job, path)
            _require_target(job, path)
        except (ExportError, TargetError) as error:
            refusal = refusal or error
            continue
        write_metadata(path, _metadata(job, path))
        made.append(_Candidate(form, path, rewrites, runtime.open(path)))
    if not made and refusal is not None:
        raise refusal
    return made


def _fastest(
    job: Job, candidates: list[_Candidate], progress: Callable[[str], None]
) -> tuple[_Candidate, dict[str, Any]]:
    """Times the candidates, interleaved, and returns the fastest with the figures."""
    progress("timing")
    sample = job.samples.values[0]
    inputs = sample if isinstance(sample, list) else [sample]
    medians, runs = timing.medians([candidate.predictor for candidate in candidates], inputs)
    best = min(range(len(candidates)), key=medians.__getitem__)
    forms = {c.form: median for c, median in zip(candidates, medians, strict=True)}
    return candidates[best], {
        "median": medians[best],
        "runs": runs,
        "threads": 1,
        "form": candidates[best].form,
        "forms": forms,
    }


def _require_precision(job: Job, path: Path) -> None:
    """Refuses float islands that nobody allowed."""
    layers = layer_names(job.subject.model)
    operators = art.float_operators(art.read_artifact(path), job.precision)
    origins = [(operator.name, art.layer_of(operator, layers)) for operator in operators]
    refused = [origin for origin in origins if origin[1] not in job.allow_float]
    if refused:
        name, layer = next((o for o in refused if o[1]), refused[0])
        where = f" of layer {layer!r}" if layer else ""
        more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
        allow = sorted({origin[1] for origin in refused if origin[1]})
        raise ExportError(
            f"Not everything can be {job.precision} in {job.target.format}: {name}{where}{more} "
            f"would stay in float. Change the layers, or allow it by allow_float={allow}. "
            f"Received: precision={job.precision!r}"
        )


def _require_target(job: Job, path: Path) -> None:
    """Refuses what the target does not take."""
    violations = check(path, job.target, layer_names(job.subject.model))
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
        "inputs": [describe(tensor) for tensor in artifact.inputs],
        "outputs": [describe(tensor) for tensor in artifact.outputs],
        "versions": versions(),
    }


def _finish(job: Job, candidate: _Candidate, final: Path, latency: dict[str, Any]) -> Report:
    """Verifies the chosen file and writes up what it is."""
    subject, samples = job.subject, job.samples
    reference = with_head(subject.model, job.head)
    result = verify(
        reference,
        candidate.predictor,
        samples.values[:_VERIFIED],
        precision=job.precision,
        source=samples.source,
    )
    artifact = art.read_artifact(candidate.path)
    metadata = artifact.metadata or {}
    layers = layer_names(subject.model)
    islands = art.float_operators(artifact, job.precision)
    calibrated = job.precision in ("int8", "int16x8")
    return Report(
        artifact=str(final),
        format=artifact.format,
        target=job.target.name,
        precision=job.precision,
        size_bytes=artifact.size_bytes,
        input={
            **metadata["inputs"][0],
            "color": subject.convention.color,
            "value_range": subject.convention.value_range,
        },
        outputs=metadata["outputs"],
        operators=art.operator_counts(artifact),
        float_operators=[f"{o.name} of layer {art.layer_of(o, layers)!r}" for o in islands],
        rewrites=candidate.rewrites,
        warnings=_grouped(check(artifact, job.target, layers)),
        verification=result.to_dict(),
        latency_ms=latency,
        calibration=(
            {"source": samples.source, "samples": len(samples.values)} if calibrated else None
        ),
        versions=metadata["versions"],
    )


def _grouped(violations: list[Violation]) -> list[str]:
    """Says each problem once, with the operators that have it."""
    groups: dict[str, list[str]] = {}
    for violation in violations:
        groups.setdefault(violation.problem, []).append(violation.operator or "the file")
    return [
        f"{', '.join(f'{n} {name}' for name, n in collections.Counter(names).items())}: {problem}"
        for problem, names in groups.items()
    ]


def _evaluated(job: Job, candidate: _Candidate, data: str | Path) -> dict[str, Any]:
    """The task's measures of the Keras model and of the file."""
    from kerasdeconv import evaluation

    keras_predictor = evaluation.KerasPredictor(
        with_head(job.subject.model, job.head), job.subject.convention
    )
    return {
        "data": str(data),
        "keras": evaluation.evaluate(keras_predictor, data)["metrics"],
        "file": evaluation.evaluate(candidate.predictor, data)["metrics"],
    }
