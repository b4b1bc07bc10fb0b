"""What an export is asked for, checked and settled before anything is made."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.instances import instance_boxes
from kerasdeconv.data.synthetic import sample_rank, synthetic_pairs
from kerasdeconv.data.synthetic_inputs import INPUTS, synthetic_inputs
from kerasdeconv.data.volumes import normalize
from kerasdeconv.errors import ExportError, TargetError, closest
from kerasdeconv.export import artifact as art
from kerasdeconv.export import calibration as cal
from kerasdeconv.export.quantization.ranges import require_method
from kerasdeconv.export.targets import Target
from kerasdeconv.graph import read
from kerasdeconv.imaging import as_gray
from kerasdeconv.layers import ROIAlign, TopCentres
from kerasdeconv.sizes import input_shapes

_NOISE = 8  # samples of noise to verify on, where nothing else is known
NOISE = "seeded noise"
# They compute with coordinates in pixels, of which 8 bits would leave one in a picture's side.
_COORDINATES = (ROIAlign, TopCentres)


@dataclasses.dataclass(frozen=True)
class Subject:
    """A model and what is known of it.

    Attributes:
        model: What is exported.
        convention: What goes in and comes out.
        card: The zoo entry that it is, or is like; None for any other model.
        name: Start of its files' names.
    """

    model: keras.Model
    convention: Convention
    card: zoo.Card | None
    name: str


@dataclasses.dataclass(frozen=True)
class Samples:
    """Inputs to calibrate and verify with, and where they came from."""

    values: list[Any]
    source: str


@dataclasses.dataclass(frozen=True)
class Job:
    """One export, the same for every form that is tried.

    Attributes:
        subject: The model; its convention is that of the asked head.
        target: Where the file will run.
        precision: As asked for.
        door: Type of the inputs and outputs of an int8 file.
        shapes: Shape of each input, batch included.
        head: As asked for.
        samples: With the batch of `shapes`.
        allow_float: Layers that compute in float in an integer file.
        ranges: How int8 chooses the ranges of activations.
        seed: Of what is drawn at random.
        fold_doors: Whether volumes go in and out as pictures.
    """

    subject: Subject
    target: Target
    precision: str
    door: str
    shapes: list[tuple[int, ...]]
    head: str | None
    samples: Samples
    allow_float: Collection[str]
    ranges: str = "minmax"
    seed: int = 0
    fold_doors: bool = False

    @functools.cached_property
    def layers(self) -> set[str]:
        """Names of the model's layers."""
        return layer_names(self.subject.model)

    @property
    def pixels(self) -> bool:
        """Whether the first output is pixels."""
        return self.subject.convention.output == "pixels"

    def samples_for(self, model: keras.Model) -> list[Any]:
        """The samples in the shape of a lowered model's inputs, which may be folded volumes."""
        return [
            [part.reshape(x.shape) for part, x in zip(sample, model.inputs, strict=True)]
            if isinstance(sample, list)
            else sample.reshape(model.inputs[0].shape)
            for sample in self.samples.values
        ]


def resolve(model: keras.Model | str, convention: Convention | None, like: str | None) -> Subject:
    """Loads an entry by name; finds the convention and the card of a model.

    Raises:
        TypeError: It is neither a model nor a name.
        UnknownModel: The zoo has no such entry.
        ValueError: The model takes other channels than the entry that it is said to be like.
    """
    if isinstance(model, str):
        name, model = model, zoo.load(model)
    elif isinstance(model, keras.Model):
        name = model.name
    else:
        raise TypeError(
            f"Give a Keras model or the name of a zoo entry. Received: {type(model).__name__}"
        )
    card = zoo.card(like) if like else zoo.card_of(model)
    known = card.convention if like and card else zoo.convention_of(model)
    if like and card and model.inputs[0].shape[-1] != card.arguments["input_shape"][-1]:
        raise ValueError(
            f"{card.name!r} takes {card.arguments['input_shape'][-1]} channels, the model is not "
            f"like it. Received: {model.inputs[0].shape[-1]} channels"
        )
    return Subject(model, convention or known or Convention(), card, name)


def check_arguments(
    subject: Subject,
    target: Target,
    precision: str,
    *,
    form: str | None = None,
    allow_float: Collection[str] = (),
    ranges: str = "minmax",
) -> None:
    """Checks what is asked for against the target and the model.

    Raises:
        ExportError: int8 is asked for what computes with coordinates, and may not stay in float.
        LoweringError: The model is not functional or was never built.
        TargetError: The target does not take the precision or the format.
        ValueError: No such precision, format, layer, or way to choose ranges.
    """
    if precision not in art.PRECISIONS:
        raise ValueError(
            f"No such precision. {closest(precision, art.PRECISIONS)} Received: {precision!r}"
        )
    require_method(ranges, precision)
    if precision not in target.precisions:
        raise TargetError(
            f"The target {target.name!r} takes {', '.join(target.precisions)}. "
            f"Received: {precision!r}"
        )
    if form is not None and form not in art.FORMATS:
        raise ValueError(f"format must be one of {art.FORMATS}. Received: {form!r}")
    if form not in (None, target.format):
        raise TargetError(
            f"The target {target.name!r} runs {target.format} files. Received: format={form!r}"
        )
    layers = layer_names(subject.model)
    if unknown := sorted(set(allow_float) - layers):
        raise ValueError(
            f"allow_float names no layer of the model. {closest(unknown[0], layers)} "
            f"Received: {unknown[0]!r}"
        )
    nodes = read(subject.model).nodes
    exact = {node.layer.name for node in nodes if isinstance(node.layer, _COORDINATES)}
    if precision == "int8" and (refused := sorted(exact - set(allow_float))):
        raise ExportError(
            f"Not everything can be int8: {' and '.join(map(repr, refused))} compute with "
            "coordinates, which 8 bits are too few for. Let them stay in float by "
            f"allow_float={refused}. Received: precision='int8'"
        )


def shapes_of(subject: Subject, size: Sequence[int] | None, batch: int) -> list[tuple[int, ...]]:
    """Shape of each input, batch included; an entry knows a size of its own.

    Raises:
        ValueError: The network cannot take the size, or leaves sides open that nobody names.
    """
    if size is None and subject.card and None in subject.model.inputs[0].shape[1:-1]:
        size = subject.card.export_size
    return input_shapes(subject.model, size, batch)


def layer_names(model: keras.Model) -> set[str]:
    """Names of all layers, those of nested models included."""
    return {node.layer.name for node in read(model).nodes}


def default_door(subject: Subject, target: Target, precision: str) -> str:
    """The type at the doors of a file: the target's own for int8 on pixels, else float32."""
    pixels = subject.convention.value_range == (0, 255)
    return target.door if precision == "int8" and pixels else "float32"


def find_samples(
    subject: Subject,
    precision: str,
    calibration: Any,
    shapes: list[tuple[int, ...]],
    *,
    count: int = cal.COUNT,
    seed: int = 0,
) -> Samples:
    """Finds samples: the given ones, an entry's own synthetic ones, or noise to verify on.

    Args:
        subject: Whose samples.
        precision: Integers need samples that somebody answers for.
        calibration: See `export`.
        shapes: Of the inputs, batch included.
        count: How many are taken at most.
        seed: Which tiles of a folder's pictures are taken.

    Raises:
        DataError: The given ones cannot be used.
        ExportError: The precision needs calibration data and there is none.
        ValueError: The count is not positive.
    """
    if count < 1:
        raise ValueError(f"count must be 1 or more. Received: {count}")
    single = [(1, *shape[1:]) for shape in shapes]
    convention, card = subject.convention, subject.card
    values: list[Any]
    if isinstance(calibration, str) and calibration == "noise":
        values, source = _noise(single, convention, count, seed), NOISE
    elif calibration is not None:
        values = _given(calibration, single, convention, count, seed)
        source = str(calibration) if isinstance(calibration, str | Path) else "given samples"
    elif card is not None and card.calibration is not None:
        kind, most = card.calibration.samples, min(card.calibration.count, count)
        values, source = _synthetic(kind, most, single, convention), f"synthetic {kind}"
    elif precision in art.INTEGERS:
        raise ExportError(
            f"{precision} needs calibration data: a folder of pictures, or samples of the model's "
            f"input. Received: calibration=None for {subject.model.name!r}"
        )
    else:
        values, source = _noise(single, convention, _NOISE, 0), NOISE
    if len(shapes) == 1 and precision in art.INTEGERS:
        values = cal.span_range(values, convention)
    batch = shapes[0][0]
    return Samples([_repeat(value, batch) for value in values], source)


def _given(
    calibration: Any, shapes: list[tuple[int, ...]], convention: Convention, count: int, seed: int
) -> list[Any]:
    """Samples that somebody gave, for one input or several."""
    if len(shapes) == 1:
        return cal.samples_from(calibration, shapes[0], convention, count=count, seed=seed)
    return cal.samples_of_several(calibration, shapes, count=count)


def _synthetic(
    kind: str, count: int, shapes: list[tuple[int, ...]], convention: Convention
) -> list[Any]:
    """Samples of an entry's own."""
    if kind in INPUTS:
        drawn = synthetic_inputs(kind, count, [shape[1:] for shape in shapes])
        batches = [[part[None] for part in sample] for sample in drawn]
        return batches if len(shapes) > 1 else [sample[0] for sample in batches]
    pairs = synthetic_pairs(kind, count, shapes[0][1:-1])
    if sample_rank(kind) == 3:
        return [normalize(scan)[None, ..., None] for scan, _ in pairs]
    pictures = [picture for picture, _ in pairs]
    if convention.color == "gray":
        pictures = [as_gray(picture) for picture in pictures]
    values = list(cal.from_pictures(pictures, shapes[0], convention))
    if convention.task == "instance-segmentation":
        return [[v, _boxes_of(p[1], shapes[1])] for v, p in zip(values, pairs, strict=True)]
    return values


def _noise(
    shapes: list[tuple[int, ...]], convention: Convention, count: int, seed: int
) -> list[Any]:
    """Noise, to verify a file of which nothing else is known; to calibrate if asked by name."""
    rng = np.random.default_rng(seed)
    low, high = convention.value_range or (-1.0, 1.0)
    drawn = [
        [rng.uniform(low, high, shape).astype(np.float32) for shape in shapes] for _ in range(count)
    ]
    if convention.task == "instance-segmentation":
        for _, boxes in drawn:
            ends = rng.uniform(0, shapes[0][1:3], (2, *boxes.shape[:2], 2))
            boxes[:] = np.concatenate([ends.min(axis=0), ends.max(axis=0)], axis=-1)
    return [sample[0] if len(shapes) == 1 else sample for sample in drawn]


def _boxes_of(numbers: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """As many boxes around instances as a network takes, over and over where there are less."""
    _, boxes = instance_boxes(numbers)
    return np.resize(boxes, shape)


def _repeat(sample: Any, batch: int) -> Any:
    if isinstance(sample, list):
        return [_repeat(part, batch) for part in sample]
    return np.repeat(sample, batch, axis=0) if batch > 1 else sample
