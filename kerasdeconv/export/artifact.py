"""What an exported file really holds: its operators, versions, types and shapes.

A converter may leave an operator in another precision or put in one that nobody asked for, without
a word. The checks of an export therefore read the finished file. Neither Keras nor TensorFlow is
needed: .tflite files are read with LiteRT's schema, .onnx files with the onnx package.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import re
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kerasdeconv.errors import ArtifactError

FORMATS = ("tflite", "onnx")
PRECISIONS = ("float32", "float16", "dynamic", "int8", "int16x8")
INTEGERS = ("int8", "int16x8")  # precisions that compute with integers, and need samples
# Operators that only move values about, in either format.
MOVES = frozenset(
    {"DEPTH_TO_SPACE", "RESHAPE", "SLICE", "STRIDED_SLICE", "TRANSPOSE"}
    | {"DepthToSpace", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"}
)
# Operators whose outputs are values of their inputs.
PASSES = MOVES | {"CONCATENATION", "Concat", "MAX_POOL_2D", "MaxPool"}
LEVELS = ("disable_all", "basic", "extended", "all")

_FLOATS = frozenset({"float16", "bfloat16", "float32", "float64"})
_INDICES = frozenset({"int32", "int64"})
_CASTS = frozenset({"QUANTIZE", "DEQUANTIZE", "QuantizeLinear", "DequantizeLinear"})
_UNPACKERS = frozenset({"DEQUANTIZE", "DENSIFY", "DequantizeLinear", "Cast"})
WEIGHTED = frozenset(
    {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED", "BATCH_MATMUL"}
    | {"CONV_3D", "CONV_3D_TRANSPOSE", "Conv", "ConvTranspose", "Gemm", "MatMul"}
)
# TensorFlow Lite's dynamic-range quantizer skips weights with fewer elements
# (`minimum_elements_for_weights` in quantization_config.h, measured at 1023 and 1024).
DYNAMIC_ELEMENTS = 1024
# What following an index, a length or a text of a damaged file ends in. Both formats' own checks
# come first and find most damage, not all of it.
_MALFORMED = (IndexError, KeyError, TypeError, ValueError)
# The float16 converters keep scalars and the small arguments of a resize in float32.
_FLOAT16_ELEMENTS = 16


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: `real = scale * (integer - zero_point)`.

    Attributes:
        scales: One for the whole tensor, or one for each slice along `axis`.
        zero_points: As many as scales.
        axis: Where the scales run along, None for a single scale.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int | None = None


@dataclasses.dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        name: Its name in the file; "" for an optional input that is absent.
        dtype: NumPy's name of its type ("float32"), "" where the file does not tell.
        shape: None for a side that is free; None as a whole where the file does not tell.
        stored: The type in which a constant lies in the file, None for what is computed from an
            input. It differs from `dtype` behind a DEQUANTIZE of compressed weights.
        quantization: None for a tensor that stands for itself.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None
    stored: str | None = None
    quantization: Quantization | None = None

    @property
    def constant(self) -> bool:
        """Whether the value is in the file."""
        return self.stored is not None

    @property
    def elements(self) -> int:
        """How many values it holds, a free side counted as one."""
        count = 1
        for side in self.shape or ():
            count *= 1 if side is None else side
        return count


ABSENT = Tensor("", "", (), stored="")


@dataclasses.dataclass(frozen=True)
class Operator:
    """One operator of a graph.

    Attributes:
        index: Its place in the file, subgraphs after the main graph.
        name: "CONV_2D" or "Conv".
        version: Of the operator in TFLite, of the operator set in ONNX.
        inputs: `ABSENT` where an optional one is left out.
        outputs: What it computes.
        custom: Not one of the format's own operators: a TFLite custom or Flex operator, or one of
            a foreign ONNX domain.
        node: The node's name in ONNX, "" in TFLite.
        strides: () where it has none.
        fused_activation: "RELU", or None.
        attributes: The other plain attributes, by their snake-case names.
    """

    index: int
    name: str
    version: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    custom: bool = False
    node: str = ""
    strides: tuple[int, ...] = ()
    fused_activation: str | None = None
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def data(self) -> tuple[Tensor, ...]:
        """The tensors computed at run time, inputs first."""
        return tuple(t for t in (*self.inputs, *self.outputs) if not t.constant)

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Constant inputs of two dimensions or more that are no indices."""
        return tuple(
            t
            for t in self.inputs
            if t.constant and len(t.shape or ()) >= 2 and t.stored not in _INDICES
        )


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A .tflite or .onnx file, read.

    Attributes:
        path: Where it was read from.
        format: "tflite" or "onnx".
        size_bytes: Of the file.
        operators: In the order of the file.
        inputs: At the door of the main graph.
        outputs: At the door of the main graph.
        metadata: What kerasdeconv wrote into the file, None in a file of other origin.
    """

    path: Path
    format: str
    size_bytes: int
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: dict[str, Any] | None


def read_artifact(path: str | Path) -> Artifact:
    """Reads an exported file.

    Args:
        path: A file whose name ends in .tflite or .onnx.

    Raises:
        ArtifactError: The file is missing, damaged, or of another format than its name says.
    """
    from kerasdeconv.export import _read_onnx, _read_tflite

    path = Path(path)
    if path.suffix not in (".tflite", ".onnx"):
        raise ArtifactError(f"A model file ends in .tflite or .onnx. Received: {str(path)!r}")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactError(f"No such model file. Received: {str(path)!r}") from None
    except OSError as error:
        raise ArtifactError(
            f"Cannot read the model file ({error.strerror}). Received: {str(path)!r}"
        ) from None
    read = _read_tflite.read if path.suffix == ".tflite" else _read_onnx.read
    try:
        return read(path, content)
    except _MALFORMED as error:
        raise ArtifactError(
            f"The model file is damaged: it contradicts itself. Received: {str(path)!r}"
        ) from error


def operator_counts(artifact: Artifact) -> dict[str, int]:
    """Counts operators by name, the most frequent first."""
    return dict(collections.Counter(o.name for o in artifact.operators).most_common())


def is_unpacker(name: str) -> bool:
    """Whether an operator of this name, fed by a constant, only unpacks compressed weights."""
    return name in _UNPACKERS


def optimized_onnx(path: str | Path, level: str = "extended") -> Artifact:
    """Reads the graph that ONNX Runtime makes of a file and really runs on a CPU.

    A QDQ file holds float operators between quantize-dequantize pairs; which of them become
    integer operators is decided when ONNX Runtime loads it.

    Args:
        path: An .onnx file.
        level: How far ONNX Runtime optimizes: one of `LEVELS`. "all", its default, adds layout
            changes that depend on the machine.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
        ValueError: No such level.
    """
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    if level not in LEVELS:
        raise ValueError(f"level must be one of {LEVELS}. Received: {level!r}")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # saving an optimized model warns that it fits this machine
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel,
        f"ORT_{'' if level == 'disable_all' else 'ENABLE_'}{level.upper()}",
    )
    refusals = (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
    )
    with tempfile.TemporaryDirectory() as folder:
        optimized = Path(folder, "optimized.onnx")
        options.optimized_model_filepath = str(optimized)
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except refusals as error:
            reason = str(error).splitlines()[0]
            raise ArtifactError(
                f"ONNX Runtime does not load the file ({reason}). Received: {str(path)!r}"
            ) from None
        artifact = read_artifact(optimized)
    return dataclasses.replace(artifact, path=Path(path))


def float_operators(artifact: Artifact, precision: str) -> list[Operator]:
    """Finds the operators that break the promise of a precision.

    - "float32" promises nothing more.
    - "float16": constants of 16 elements or more are stored in float16. In ONNX the activations
      are float16 too, but for casts at the doors.
    - "dynamic": weights of 1024 elements or more are stored in 8 bits.
    - "int8": every tensor that is computed is an integer of 8 bits, or an index, but for
      quantization at the doors. An .onnx file is judged by what ONNX Runtime makes of it.
    - "int16x8": the same with activations of 16 bits and weights of 8.

    Args:
        artifact: The file. For ONNX int8 it must still lie at its path.
        precision: One of `PRECISIONS`.

    Returns:
        The operators; of the optimized graph for ONNX int8.

    Raises:
        ArtifactError: ONNX Runtime cannot load the file.
        ValueError: No such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {PRECISIONS}. Received: {precision!r}")
    if precision == "int8" and artifact.format == "onnx":
        artifact = optimized_onnx(artifact.path)
    doors = {id(t) for t in (*artifact.inputs, *artifact.outputs)}
    found = [o for o in artifact.operators if _breaks(o, precision, artifact.format, doors)]
    if precision not in INTEGERS:
        return found
    # What brings values to a float operator and back is not named beside it.
    computed = {id(t) for o in found if o.name not in _CASTS for t in o.data}
    return [o for o in found if o.name not in _CASTS or not any(id(t) in computed for t in o.data)]


def _breaks(operator: Operator, precision: str, form: str, doors: set[int]) -> bool:
    """Whether one operator breaks the promise of a precision."""
    at_door = any(id(t) in doors for t in operator.data)
    types = {t.dtype for t in operator.data}
    if precision == "float16":
        wide = any(
            t.stored == "float32" and t.elements >= _FLOAT16_ELEMENTS for t in operator.inputs
        )
        island = form == "onnx" and "float32" in types
        return wide or (island and not (at_door and operator.name == "Cast"))
    if precision == "dynamic":
        return operator.name in WEIGHTED and any(
            t.stored in _FLOATS and t.elements >= DYNAMIC_ELEMENTS for t in operator.weights
        )
    if precision == "float32" or (at_door and operator.name in _CASTS):
        return False
    if precision == "int8":
        return bool(types & (_FLOATS | {"int16"}))
    weights = {t.stored for t in operator.weights} if operator.name in WEIGHTED else set()
    return bool(types & (_FLOATS | {"int8", "uint8"})) or not weights <= {"int8"}


def layer_of(operator: Operator, layer_names: Iterable[str] = ()) -> str | None:
    """Tells from which Keras layer an operator came.

    Keras names what a layer computes `model_1/layer_1/op`; converters carry these names over to
    tensors and nodes, and join them with ";" where they fuse. The weights' name tells best, since
    a fused operator bears the names of all its layers.

    Args:
        operator: An operator of a file converted from Keras.
        layer_names: The layers' names. Without them the innermost part that looks like one is
            taken.

    Returns:
        The layer's name, or None where no name leads to a layer.
    """
    known = frozenset(layer_names)
    parts = [
        part
        for name in _origins(operator)
        for path in reversed(name.split(";"))
        for part in reversed(path.split("/")[:-1])
    ]
    found = (_layer(part, known) for part in parts)
    lowered = (origin_of(part, known) for part in parts)
    return next((layer for layer in itertools.chain(found, lowered) if layer), None)


def kept_in_float(
    operators: Iterable[Operator], float_layers: Collection[str], layer_names: Iterable[str]
) -> dict[int, str]:
    """Finds the operators that stay in float with some layers.

    Args:
        operators: Of a file, in its order.
        float_layers: The layers.
        layer_names: Names of all layers.

    Returns:
        The layers by the operators' indices: what the layers compute, and what only passes on
        values of such operators.
    """
    known = frozenset(layer_names)
    made: dict[int, str] = {}
    kept: dict[int, str] = {}
    for operator in operators:
        layer = layer_of(operator, known)
        if layer not in float_layers:
            read = {made.get(id(t)) for t in operator.inputs if not t.constant}
            passes = operator.name in PASSES and read and None not in read
            layer = next(iter(read)) if passes else None
        if layer is not None:
            kept[operator.index] = layer
            made.update((id(tensor), layer) for tensor in operator.outputs)
    return kept


def origin_of(name: str, layer_names: Iterable[str]) -> str | None:
    """Tells from which layer a lowered one was made: its name goes on from the other's.

    Args:
        name: A lowered layer's name, "up_rows_0".
        layer_names: Names of the layers that there were, "up".
    """
    starts = [known for known in layer_names if name == known or name.startswith(f"{known}_")]
    return max(starts, key=len, default=None)


def _origins(operator: Operator) -> Iterator[str]:
    """Names that may tell an operator's layer, the most reliable first."""
    yield from (t.name for t in operator.weights)
    yield operator.node
    yield from (t.name for t in operator.outputs)
    yield from (t.name for t in operator.inputs if t.constant)
    # The converter calls the last tensor "Identity": its layer is the one before, or ends it.
    yield from (t.name for t in operator.inputs if not t.constant)


def _layer(part: str, known: frozenset[str]) -> str | None:
    """The layer that a part of a path stands for.

    Keras 3 gives every layer's scope a number, the layer `conv` becomes `conv_1`: the name without
    the number goes first, or `conv_1` would be taken for another layer of that name.
    """
    bare = re.sub(r"_\d+$", "", part)
    if not known:
        return bare if bare != part else None
    return next((name for name in (bare, part) if name in known), None)
