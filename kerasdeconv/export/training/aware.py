"""Training that knows that the network will compute with integers of 8 bits.

The network is lowered for its target first and rounded in training exactly where the file rounds:
kernels with a scale for each channel, values behind each operator. What is trained is what runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError, TargetError
from kerasdeconv.export.function import freeze, output_names
from kerasdeconv.export.job import find_samples, resolve, shapes_of
from kerasdeconv.export.lowering import lower_for
from kerasdeconv.export.pixel_output import without_clip
from kerasdeconv.export.quantization.weights import fitted_kernels, with_kernels
from kerasdeconv.export.targets import load_target
from kerasdeconv.export.tflite import to_int8
from kerasdeconv.export.training.bridge import Bridge, cross
from kerasdeconv.export.training.fitting import fit
from kerasdeconv.export.training.kept import KEEP
from kerasdeconv.export.training.legacy import load_tfmot
from kerasdeconv.export.training.plan import Plan, calibrate, make_plan
from kerasdeconv.export.training.prepare import prepare, take_apart
from kerasdeconv.graph import Graph, build, read

RANGES = ("learned", "fixed")


@dataclasses.dataclass(frozen=True)
class _Rounded:
    """A network that rounds, at one size of its input.

    Attributes:
        bridge: The tf_keras model, and the lowered Keras 3 model that it stands for.
        kept: Kernels of the tf_keras model, and what brings them into the form that is kept.
        sizes: See `_fake.Rounding`.
    """

    bridge: Bridge
    kept: list[tuple[Any, Any]]
    sizes: dict[int, np.ndarray]


class QuantizeAware:
    """A network in training for 8 bits.

    Attributes:
        model: The tf_keras model, which rounds as the file will. Compile and fit it as any other,
            or call `fit`.
        source: The lowered Keras 3 model of the file's size, without what `model` has learned.
        convention: What goes in and comes out.
        history: The losses of each epoch so far, by name.
        original: The model that is trained, as it was given, and the samples that its ranges come
            from; None where it was lowered already.
    """

    original: tuple[keras.Model | str, list[Any]] | None = None

    def __init__(self, training: _Rounded, file: _Rounded, convention: Convention) -> None:
        self.history: dict[str, list[float]] = {}
        self.model = training.bridge.model
        self.model.sizes = training.sizes
        self.source = file.bridge.source
        self.convention = convention
        self._training, self._file = training, file

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of the file's input, depth first for volumes."""
        return tuple(self.source.inputs[0].shape[1:-1])

    def fit(self, data: Any, **arguments: Any) -> dict[str, list[float]]:
        """Trains. See `fitting.fit` for the arguments.

        Returns:
            The losses of each epoch, by name.
        """
        found = fit(self.model, data, **arguments)
        for name, values in found.items():
            self.history.setdefault(name, []).extend(map(float, values))
        return found

    def to_keras(self) -> keras.Model:
        """Returns the lowered Keras 3 model with the trained weights, in float32.

        It does not round, nor clip where ranges end, so that it differs from the file by more than
        roundings. Where the file's pixels saturate, it clips them.
        """
        self._settle()
        model = self._file.bridge.to_keras()
        if self.convention.output != "pixels":
            return model
        clip = keras.layers.ReLU(max_value=255.0, name="clip")
        first, *others = model.outputs
        outputs = [clip(first), *others]
        return keras.Model(model.input, outputs if others else outputs[0], name=model.name)

    def rounded(self) -> keras.Model:
        """Returns a Keras 3 model that rounds as the file does, to compare with; not to be saved.

        From the float model of `to_keras` the file may differ by much: the weights were trained to
        make up for the roundings.
        """
        self._settle()
        answers = _Rounding(self._file.bridge.model)(self.source.inputs)
        return keras.Model(self.source.inputs, answers, name=self.source.name)

    def to_tflite(self, *, door: str = "float32", pixel_output: bool | None = None) -> bytes:
        """Converts the network to a file in which every operator computes with integers.

        Args:
            door: Type of the inputs and outputs: "float32", "int8" or "uint8".
            pixel_output: Whether the first output is pixels in steps of 1; None where the
                convention says so.

        Returns:
            The file's content.

        Raises:
            ExportError: The converter does not take an operator.
            ValueError: No such door.
        """
        self._settle()
        pixels = self.convention.output == "pixels" if pixel_output is None else pixel_output
        pairs = self._file.bridge.pairs
        with _unequal([ours for theirs, ours in pairs if theirs.path.endswith("/bias")]):
            function = self._function()
        return to_int8(function, self.source, door=door, pixel_output=pixels)

    def _settle(self) -> None:
        """Brings what was learned into the network of the file's size."""
        for variable, kept in self._training.kept:
            variable.assign(kept(variable))
        if self._file is not self._training:
            self._file.bridge.model.set_weights(self.model.get_weights())

    def _function(self) -> Any:
        """The network's inference with the batch of the lowered model, its weights as constants."""
        import tensorflow as tf

        model = self._file.bridge.model
        signature = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in self.source.inputs]

        @tf.function(input_signature=signature, autograph=False)
        def infer(*inputs: Any) -> list[Any]:
            made = model(inputs[0] if len(inputs) == 1 else list(inputs), training=False)
            answers = made if isinstance(made, list | tuple) else [made]
            return [
                tf.identity(answer, name=name)
                for answer, name in zip(answers, output_names(self.source), strict=True)
            ]

        return freeze(infer)


class _Rounding(keras.layers.Layer):
    """Calls a tf_keras model in a Keras 3 one, for inference alone."""

    def __init__(self, model: Any) -> None:
        super().__init__(trainable=False)
        self._call = lambda inputs: model(inputs, training=False)

    def call(self, inputs: list[Any]) -> Any:
        return self._call(inputs[0] if len(inputs) == 1 else inputs)


@contextlib.contextmanager
def _unequal(biases: Sequence[Any]) -> Iterator[None]:
    """Moves the last number of biases that are all equal by a millionth, for a while.

    The converter keeps equal numbers as one, and turns that into an integer by the scale of the
    first channel alone: the other channels, with scales of their own, would get a wrong bias.
    """
    kept = {}
    for index, bias in enumerate(biases):
        values = bias.numpy()
        if values.size > 1 and values[0] and (values == values[0]).all():
            kept[index] = values
            bias.assign([*values[:-1], values[-1] * np.float32(1 + 2**-20)])
    try:
        yield
    finally:
        for index, values in kept.items():
            biases[index].assign(values)


def quantize_aware(
    model: keras.Model | str,
    samples: Any = None,
    *,
    target: str = "android-cpu",
    size: Sequence[int] | None = None,
    train_size: Sequence[int] | None = None,
    convention: Convention | None = None,
    method: str = "minmax",
    ranges: str = "learned",
    keep: str | None = None,
    batch: int | None = None,
) -> QuantizeAware:
    """Prepares a network for training that knows of quantization.

    It begins where calibration ends: with ranges from the samples, and weights rounded to fit them
    (in a model that was pruned or clustered, with the weights as they are).

    Args:
        model: Functional or Sequential, or the name of a zoo entry.
        samples: What the ranges come from, as `calibration` of `kerasdeconv.export.export`.
        target: A target for TFLite files, by its name.
        size: Height and width (depth first for volumes) of the file's input, where the model leaves
            them open; an entry's own by default.
        train_size: Those of the training's pictures, where they differ.
        convention: What goes in and comes out, where the model is none of the zoo.
        method: How ranges are chosen, one of `ranges.METHODS`.
        ranges: "learned", or "fixed" as they were chosen.
        keep: What training does not undo in a model that was pruned ("zeros") or clustered
            ("clusters", with one scale for each kernel). Its kernels must be those of the lowered
            model: lower, then prune.
        batch: Batch size of the training: any for pictures if None. For volumes 1 if None, and
            each batch has it.

    Returns:
        What to train and to convert.

    Raises:
        DataError: The samples cannot be used.
        ExportError: A package is missing, a side is free and no size is given, or the lowered
            network takes no other size for the training.
        LoweringError: The model is not functional, never built, or cannot be copied.
        TargetError: No such target, or one for other files.
        ValueError: The network cannot take the size, or no such ranges, or nothing such to keep.
    """
    chosen = load_target(target)
    if chosen.format != "tflite":
        raise TargetError(
            f"Training rounds as int8 TFLite files do: name a target. Received: {target!r}"
        )
    subject = resolve(model, convention, None)
    shapes = shapes_of(subject, size, 1)
    found = find_samples(subject, "int8", samples, shapes).values
    lowered = lower_for(subject.model, shapes, chosen, "int8").model
    if subject.convention.output == "pixels":
        lowered, _ = without_clip(lowered)
    kernels = fitted_kernels(lowered, found, format="tflite") if keep is None else {}
    with with_kernels(lowered, kernels):
        aware = aware_of(
            lowered,
            subject.model,
            found,
            subject.convention,
            train_size=train_size,
            method=method,
            ranges=ranges,
            keep=keep,
            batch=batch,
        )
    aware.original = model, found
    return aware


def aware_of(
    lowered: keras.Model,
    original: keras.Model | None,
    samples: Sequence[Any],
    convention: Convention,
    *,
    train_size: Sequence[int] | None = None,
    method: str = "minmax",
    ranges: str = "learned",
    keep: str | None = None,
    batch: int | None = None,
) -> QuantizeAware:
    """Prepares a model that is lowered already; see `quantize_aware`.

    Args:
        lowered: Without the clip of pixels, see `without_clip`.
        original: What it was lowered from, with the same head; None if its weights have changed.
        samples: Arrays of its input's shape, or lists with one array an input.
        convention: What goes in and comes out.
        train_size: See `quantize_aware`.
        method: See `quantize_aware`.
        ranges: See `quantize_aware`.
        keep: See `quantize_aware`.
        batch: See `quantize_aware`.

    Raises:
        ExportError: See `quantize_aware`.
        ValueError: No such ranges, or nothing such to keep.
    """
    load_tfmot()
    if ranges not in RANGES:
        raise ValueError(f"ranges must be one of {RANGES}. Received: {ranges!r}")
    if keep is not None and keep not in KEEP:
        raise ValueError(f"keep must be None or one of {KEEP}. Received: {keep!r}")
    file = _planned(prepare(lowered), convention)
    calibrate(file.graph, file.plan, samples, method)
    if batch is None and any(len(value.shape) == 5 for value in file.plan.scales):
        batch = 1
    options: dict[str, Any] = {"learned": ranges == "learned", "keep": keep, "batch": batch}
    rounded = _rounded(file, **options)
    if train_size is None or tuple(train_size) == file.source.inputs[0].shape[1:-1]:
        return QuantizeAware(rounded, rounded, convention)
    pixels = convention.output == "pixels"
    training = _planned(resized(file.source, original, tuple(train_size), pixels), convention)
    pairs = zip(file.plan.scales.values(), training.plan.scales.values(), strict=True)
    for scale, same in pairs:
        same.bounds = scale.bounds
    return QuantizeAware(_rounded(training, **options), rounded, convention)


@dataclasses.dataclass(frozen=True)
class _Planned:
    """A network, and where it is to be rounded.

    Attributes:
        source: The model that has the weights.
        graph: What it computes, taken apart.
        owners: See `prepare.take_apart`.
        plan: Where.
    """

    source: keras.Model
    graph: Graph
    owners: dict[int, Any]
    plan: Plan


def _planned(source: keras.Model, convention: Convention) -> _Planned:
    graph = read(source)
    owners = take_apart(graph)
    output_range = (0.0, 255.0) if convention.output == "pixels" else None
    return _Planned(source, graph, owners, make_plan(graph, convention.value_range, output_range))


def _rounded(planned: _Planned, *, learned: bool, keep: str | None, batch: int | None) -> _Rounded:
    from kerasdeconv.export.training._fake import Rounding

    rounding = Rounding(planned.plan, planned.owners, learned, keep)
    made = cross(planned.source, planned.graph, rounding, batch)
    return _Rounded(made, rounding.kept, rounding.sizes)


def resized(
    source: keras.Model, original: keras.Model | None, sides: tuple[int, ...], pixels: bool
) -> keras.Model:
    """Builds the same network for another size, with weights of its own.

    Args:
        source: A lowered model.
        original: What it was lowered from, with the same head, to compare with; None for no check.
        sides: Of its inputs.
        pixels: Whether its first output is pixels, clipped in `original` alone.

    Raises:
        ExportError: Its layers were made for its size alone.
    """
    own = source.inputs[0].shape[1:-1]
    refused = ExportError(
        f"The lowered network computes nothing else than its own size: train with patches of {own} "
        f"or export another size. Received: {sides}"
    )
    graph = read(source)
    shapes: list[Any] = [(value.shape[0], *sides, value.shape[-1]) for value in graph.inputs]
    try:
        made = build(graph, shapes, source.name)
        if original is None:
            return made
        inputs = [np.random.default_rng(0).normal(64, 32, shape).astype("f") for shape in shapes]
        pairs = [
            [np.asarray(y) for y in keras.tree.flatten(model(inputs if inputs[1:] else inputs[0]))]
            for model in (original, made)
        ]
    except ValueError:
        raise refused from None
    if pixels:
        pairs = [[np.clip(first, 0, 255), *others] for first, *others in pairs]
    # Weights that are rounded already cost a hundredth; noise that is moved by a pixel, a third.
    if not all(
        want.shape == have.shape and np.sqrt(np.mean((want - have) ** 2)) < 0.05 * np.ptp(want)
        for want, have in zip(*pairs, strict=True)
    ):
        raise refused
    return made
