"""The work of `verify`: finds the model, the head and the samples that a file is compared by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import runtime, zoo
from kerasdeconv.cli.naming import open_model
from kerasdeconv.errors import ArtifactError, ExportError, UnknownModel, VerificationError, closest
from kerasdeconv.export.artifact import PRECISIONS
from kerasdeconv.export.function import pack_inputs
from kerasdeconv.export.job import Subject, find_samples
from kerasdeconv.export.lowering import with_head
from kerasdeconv.export.verification import Verification
from kerasdeconv.export.verification import verify as verify_file
from kerasdeconv.sizes import accepts

_SAMPLES = 8


def compare(
    file: str,
    name: str,
    metadata: dict[str, Any],
    *,
    precision: str,
    data: Path | None,
    progress: Callable[[str], None],
) -> Verification:
    """Compares a file with the model that it was made from.

    Args:
        file: A .tflite or .onnx file.
        name: A zoo entry or a .keras file.
        metadata: The file's own; may be empty.
        precision: What the file is judged by.
        data: A folder of pictures; None for samples of the entry, or noise.
        progress: Called with a few words before each step.

    Raises:
        ArtifactError: The file cannot be read, or leaves its size open.
        DataError: The pictures or the .keras file cannot be read.
        ExportError: An integer file can only be verified on data that was not given.
        ValueError: No such precision.
        VerificationError: The file does not compute what the model computes.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"No such precision. {closest(precision, PRECISIONS)} Received: {precision!r}"
        )
    progress("loading the model")
    opened = open_model(name)
    model = zoo.load(opened) if isinstance(opened, str) else opened
    card = zoo.card_of(model) or _entry(metadata.get("name"))
    known = card.convention if card else None
    # A file without metadata is read as the entry says.
    predictor = runtime.open(file, convention=None if metadata else known)
    shapes = [_static(door.shape, file) for door in predictor.inputs]
    if len(shapes) != len(model.inputs) or not accepts(model, shapes):
        raise VerificationError(
            f"The model {name!r} does not take what the file takes, {shapes}: the file was not "
            f"made from it. Received: {file!r}"
        )
    reference = _with_head_of(predictor, model, known.output if known else None)
    _require_doors(predictor, reference, shapes, name)
    samples = find_samples(
        Subject(model, predictor.convention, card, name), precision, data, shapes
    )
    progress("comparing")
    return verify_file(
        reference,
        predictor,
        samples.values[:_SAMPLES],
        precision=precision,
        source=samples.source,
    )


def _entry(name: Any) -> zoo.Card | None:
    """The card of the entry that a file's metadata names, if it names one."""
    try:
        return zoo.card(str(name))
    except UnknownModel:
        return None


def _static(shape: tuple[int | None, ...], file: str) -> tuple[int, ...]:
    sides = tuple(side for side in shape if side is not None)
    if len(sides) < len(shape):
        raise ArtifactError(
            f"A file is verified at the size that it fixes; this one leaves {shape} open. "
            f"Received: {file!r}"
        )
    return sides


def _with_head_of(
    predictor: runtime.FilePredictor, model: keras.Model, known: str | None
) -> keras.Model:
    """The model, ending as the file ends: an export can change a classifier's last step."""
    output = predictor.convention.output
    if output not in ("logits", "labels") or output == known:
        return model
    try:
        return with_head(model, output)
    except ExportError:
        return model  # without a softmax or sigmoid it gives logits itself


def _require_doors(
    predictor: runtime.FilePredictor,
    model: keras.Model,
    shapes: list[tuple[int, ...]],
    name: str,
) -> None:
    """Refuses a model whose answers have other shapes than the file's."""
    tensors = [keras.KerasTensor(shape) for shape in shapes]
    spec = model.compute_output_spec(pack_inputs(model, tensors))
    expected = [tuple(output.shape) for output in keras.tree.flatten(spec)]
    got = [door.shape for door in predictor.outputs]
    if expected != got:
        raise VerificationError(
            f"The model {name!r} gives {expected}, the file {got}: the file was not made from it. "
            f"Received: {str(predictor.path)!r}"
        )
