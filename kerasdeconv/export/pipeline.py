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

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError, closest
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.evaluation import evaluate as measure
from kerasdeconv.export import artifact as art
from kerasdeconv.export import calibration as cal
from kerasdeconv.export import tflite, vendors
from kerasdeconv.export.candidates import (
    Candidate,
    convert_as_it_is,
    convert_lowered,
    faster,
    make_stock,
    prepare_lowered,
)
from kerasdeconv.export.job import (
    NOISE,
    Job,
    check_arguments,
    default_door,
    find_samples,
    resolve,
    shapes_of,
)
from kerasdeconv.export.lowering import require_volumes, with_head
from kerasdeconv.export.lowering.head import HEADS
from kerasdeconv.export.quantization.mixed import Quality, meet
from kerasdeconv.export.report import Report
from kerasdeconv.export.targets import Violation, check, load_target
from kerasdeconv.export.training.aware import QuantizeAware
from kerasdeconv.export.training.recipes import (
    Lesson,
    make_trained,
    read_lesson,
    require_trainable,
)
from kerasdeconv.export.verification import verify

_VERIFIED = 8  # samples that a file is verified on
_ENOUGH = 32  # samples below which an integer file's report warns


def export(
    model: keras.Model | str | QuantizeAware,
    directory: str | Path,
    *,
    target: str,
    precision: str = "float32",
    size: Sequence[int] | None = None,
    batch: int = 1,
    calibration: Any = None,
    count: int = cal.COUNT,
    seed: int = 0,
    ranges: str = "minmax",
    evaluate: str | Path | None = None,
    head: str | None = None,
    tune: bool = True,
    name: str | None = None,
    format: str | None = None,
    door: str | None = None,
    allow_float: Collection[str] = (),
    max_drop: float | None = None,
    min_psnr: float | None = None,
    qat: str | Path | None = None,
    data: str | Path | None = None,
    fold_doors: bool = False,
    convention: Convention | None = None,
    like: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> Report:
    """Exports a model for a target: lowered, quantized, checked, verified, reported.

    Writes `directory/name.precision.tflite` (or `.onnx`) and `directory/name.precision.report.json`
    when everything has passed, and nothing otherwise.

    Args:
        model: A functional or Sequential Keras model, the name of a zoo entry, or what
            `quantize_aware` has made of one, trained.
        directory: Where the files go; made if need be.
        target: Where the file will run, see `kerasdeconv.export.target_names()`.
        precision: "float32", "float16", "dynamic", "int8" or "int16x8", as the target takes.
        size: Height and width (depth first for volumes); an entry's own by default. A model with
            fixed sides needs none.
        batch: Batch size of the file.
        calibration: Representative input for integers: a folder of pictures, an array of samples,
            a data set or generator, or "noise" for seeded noise, which no image looks like.
            Entries of the zoo have synthetic samples of their own.
        count: How many samples are used at most.
        seed: Of what is drawn at random: tiles of pictures, and places at which layers are looked
            at.
        ranges: How int8 chooses the range of each activation from what it was on the samples:
            "minmax" (all of it), "percentile", "entropy" or "mse".
        evaluate: A folder of labelled data (see `kerasdeconv.evaluation`): the report then holds
            the task's measures of the Keras model and of the file.
        head: "probabilities", "logits" or "labels" for a network that classifies; None leaves it.
        tune: Whether to time the forms that the target may take, operator by operator, and the
            stock conversion, and to keep the fastest; without it the target's profile decides.
        name: Start of the files' names: the model's by default.
        format: "tflite" or "onnx": the target's own, which is the default.
        door: Type of the inputs and outputs of an int8 file: "uint8", "int8" or "float32". By
            default the target's, or float32 where the input is not pixels in [0, 255].
        allow_float: Names of layers that stay in float in an int8 file, and may in an int16x8 one.
        max_drop: The most that an int8 file may lose of the task's figure on the data of
            `evaluate`: dB of PSNR, or points (hundredths) of mean IoU. As few layers as that takes
            are kept in float, those that int8 costs most first, and the report lists them.
        min_psnr: The same for the PSNR in dB of the file's output against the model's on samples.
        qat: A recipe by which the network is trained for 8 bits first: quantization-aware training.
            See `kerasdeconv.train.Recipe`.
        data: Folder that holds the data folders of that recipe.
        fold_doors: Whether a volume goes in and comes out as a picture, N x D x H x W x C as
            (N * D) x H x W x C, so that the file has no tensor of five axes at all.
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
    _check_words(head, name)
    progress("loading")
    trained = _trained(model, size, qat)
    if trained is not None and trained.original is not None:
        model, known = trained.original
        calibration = known if calibration is None else calibration
        convention, size = trained.convention, trained.size
    subject = resolve(model, convention, like)
    check_arguments(subject, chosen, precision, form=format, allow_float=allow_float, ranges=ranges)
    quality = Quality(max_drop, min_psnr, evaluate)
    quality.check(precision, subject.convention.task)
    shapes = shapes_of(subject, size, batch)
    if fold_doors:
        require_volumes(shapes, chosen, precision)
    samples = find_samples(subject, precision, calibration, shapes, count=count, seed=seed)
    if door is None:
        door = default_door(subject, chosen, precision)
    elif door not in (tflite.DOORS if precision == "int8" else ("float32",)):
        raise ValueError(
            f"door must be one of {tflite.DOORS}, and float32 but for int8 files. "
            f"Received: {door!r}"
        )
    if head is not None:
        subject = dataclasses.replace(
            subject, convention=dataclasses.replace(subject.convention, output=head)
        )
    job = Job(
        subject=subject,
        target=chosen,
        precision=precision,
        door=door,
        shapes=shapes,
        head=head,
        samples=samples,
        allow_float=allow_float,
        ranges=ranges,
        seed=seed,
        fold_doors=fold_doors,
    )

    final = Path(directory) / f"{name or subject.name}.{precision}.{chosen.format}"
    written = final.with_suffix(".report.json")
    if blocked := next((str(path) for path in (final, written) if path.is_dir()), None):
        raise ExportError(f"A folder is where the file would go. Received: {blocked!r}")
    lesson: Lesson | QuantizeAware | None = None
    if trained is not None or qat is not None:
        quality.refuse_training()
        require_trainable(job)
        lesson = trained if qat is None else read_lesson(job, qat, data)
    before = None
    if evaluate is not None:
        progress("evaluating Keras")
        model = KerasPredictor(with_head(subject.model, head), subject.convention)
        before = measure(model, evaluate)["metrics"]
    with _workspace(Path(directory)) as folder:
        made = _make(job, folder, quality, before, lesson, tune=tune, progress=progress)
        progress("verifying")
        report = _finish(made, final)
        if evaluate is not None:
            progress("evaluating the file")
            after = measure(made.best.predictor, evaluate)["metrics"]
            metrics = {"data": str(evaluate), "keras": before, "file": after}
            report = dataclasses.replace(report, metrics=metrics)
        report.save(written)
        made.best.path.replace(final)
    return report


def _check_words(head: str | None, name: str | None) -> None:
    """Refuses a head that there is not, and a name that is none."""
    if head is not None and head not in HEADS:
        raise ValueError(f"No such head. {closest(head, HEADS)} Received: {head!r}")
    if name is not None and (not name or Path(name).name != name):
        raise ValueError(f"name must be the start of a file's name. Received: {name!r}")


def _trained(
    model: Any, size: Sequence[int] | None, qat: str | Path | None
) -> QuantizeAware | None:
    """What `quantize_aware` has made, if the model is that; None for any other.

    Raises:
        ValueError: It is asked for what its training has settled.
    """
    if not isinstance(model, QuantizeAware):
        return None
    if qat is not None:
        raise ValueError(f"The network is trained already. Received: qat={str(qat)!r}")
    if size is not None and tuple(size) != model.size:
        raise ValueError(f"The network was trained for {model.size}. Received: {tuple(size)}")
    return model


@dataclasses.dataclass(frozen=True)
class _Made:
    """The file that is kept, and what the report says of how it was chosen.

    Attributes:
        job: With all layers that are in float.
        best: The file.
        latency: See `Report`.
        mixed: See `Report`.
        reference: What the file computes: in float, or rounded as it was trained for 8 bits.
        training: See `Report`.
    """

    job: Job
    best: Candidate
    latency: dict[str, Any]
    mixed: dict[str, Any] | None
    reference: keras.Model
    training: dict[str, Any] | None


def _make(
    job: Job,
    folder: Path,
    quality: Quality,
    before: dict[str, Any] | None,
    lesson: Lesson | QuantizeAware | None,
    *,
    tune: bool,
    progress: Callable[[str], None],
) -> _Made:
    """Converts the model, lowered and as it is, and keeps the faster file of those that will do."""
    mixed, training, settled = None, None, None
    reference = with_head(job.subject.model, job.head)
    if lesson is not None:
        settled = "it is not trained for 8 bits"
        lowered, reference, training = make_trained(
            job, lesson, folder, tune=tune, progress=progress
        )
    else:
        prepared = prepare_lowered(job, tune=tune, progress=progress)
        progress("converting")
        if quality.asked:
            settled = "the quality that is asked for was judged of the lowered file"
            job, lowered, mixed = meet(
                job, prepared, folder, quality, before=before, progress=progress
            )
        else:
            lowered = convert_lowered(job, prepared, folder)
    stock, refusal = None, None
    if tune and job.target.tunes:
        progress("converting without lowering")
        stock, refusal = make_stock(job, folder)
        refusal = refusal or settled
    progress("timing")
    best, latency = faster(job, lowered, stock, refusal)
    if best is stock and job.precision == "int8":
        progress("rounding weights")  # not before: they make no difference to the time
        best = convert_as_it_is(job, folder, fitted=True)
    return _Made(job, best, latency, mixed, reference, training)


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


def _finish(made: _Made, final: Path) -> Report:
    """Verifies the chosen file and writes up what it is."""
    job, candidate = made.job, made.best
    subject, samples = job.subject, job.samples
    result = verify(
        made.reference,
        candidate.predictor,
        samples.values[:_VERIFIED],
        precision=job.precision,
        source=samples.source,
    )
    artifact = art.read_artifact(candidate.path)
    metadata = artifact.metadata or {}
    layers = job.layers
    islands = art.float_operators(artifact, job.precision)
    compiled = vendors.compile_file(candidate.path, job.target, layers)
    calibrated = job.precision in art.INTEGERS
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
        choices=[dataclasses.asdict(choice) for choice in candidate.choices],
        warnings=[
            *_grouped(check(artifact, job.target, layers)),
            *_few(job),
            *_absorbed(job, {art.layer_of(o, layers) for o in islands}),
        ],
        verification=result.to_dict(),
        latency_ms=made.latency,
        vendor=None if compiled is None else compiled.to_dict(),
        calibration=(
            {
                "source": samples.source,
                "samples": len(samples.values),
                "ranges": job.ranges,
                "seed": job.seed,
            }
            if calibrated
            else None
        ),
        versions=metadata["versions"],
        mixed_precision=made.mixed,
        training=made.training,
    )


def _few(job: Job) -> list[str]:
    """Warns of samples that say little."""
    if job.precision not in art.INTEGERS:
        return []
    found = []
    if len(job.samples.values) < _ENOUGH:
        found.append(
            f"calibrated with {len(job.samples.values)} samples: with {_ENOUGH} or more, ranges "
            "depend less on which"
        )
    if job.samples.source == NOISE:
        found.append("calibrated with noise: quality on real input is left to chance")
    return found


def _absorbed(job: Job, found: set[str | None]) -> list[str]:
    """Warns of layers that should be in float and have no operator there."""
    return [
        f"{name}: nothing is in float for it, since it is part of another layer or computes nothing"
        for name in sorted(set(job.allow_float) - found)
        if job.precision == "int8"
    ]


def _grouped(violations: list[Violation]) -> list[str]:
    """Says each problem once, with the operators that have it."""
    groups: dict[str, list[str]] = {}
    for violation in violations:
        groups.setdefault(violation.problem, []).append(violation.operator or "the file")
    return [
        f"{', '.join(f'{n} {name}' for name, n in collections.Counter(names).items())}: {problem}"
        for problem, names in groups.items()
    ]
