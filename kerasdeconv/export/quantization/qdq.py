"""ONNX int8 by quantize-dequantize pairs, with ranges of our own."""

from __future__ import annotations

import collections
import dataclasses
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.export import _read_onnx
from kerasdeconv.export.artifact import MOVES, kept_in_float
from kerasdeconv.export.quantization.moves import only_moves, pads_with_zeros
from kerasdeconv.export.quantization.ranges import find_ranges, tied
from kerasdeconv.export.saturation import safe_scales
from kerasdeconv.quiet import quiet

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class FloatLayers:
    """What stays in float in a quantized model.

    Attributes:
        nodes: Names of its nodes.
        ranges: Of each float tensor that the model had.
    """

    nodes: frozenset[str]
    ranges: dict[str, Range]


_WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def quantize(
    plain: Any,
    samples: Sequence[Any],
    *,
    signed: bool,
    method: str,
    float_layers: Collection[str] = (),
    layers: Collection[str] = (),
) -> tuple[Any, FloatLayers]:
    """Puts quantize-dequantize pairs into a float model, and integers in place of its weights.

    Maps that are joined share one range where they can, so that joining them only moves integers.

    Args:
        plain: The float model, as a proto.
        samples: Arrays of the input's shape, or lists with one array an input.
        signed: Whether activations are int8 instead of uint8.
        method: How ranges are chosen, see `ranges.choose`.
        float_layers: Keras layers whose operators stay in float.
        layers: All Keras layers, to tell which operator comes from which.

    Returns:
        The proto, and what it has in float.

    Raises:
        ValueError: No such method.
    """
    import onnx
    from onnxruntime.quantization import (
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.calibrate import TensorsData, save_tensors_data
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        source, prepared, result = (Path(folder, f"{n}.onnx") for n in ("plain", "ready", "int8"))
        onnx.save(_activations_first(plain), source)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        ready = onnx.load(prepared)
        joins = [(*n.output, *n.input) for n in ready.graph.node if n.op_type == "Concat"]
        known = _moved(ready, tied(_ranges(ready, samples, method), joins))
        cache = Path(folder, "ranges.json")
        arrays = {name: tuple(np.float32(end) for end in ends) for name, ends in known.items()}
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, arrays), cache)
        operators = _read_onnx.read(prepared, prepared.read_bytes()).operators
        found = kept_in_float(operators, float_layers, layers)
        kept = {o.node: found[o.index] for o in operators if o.index in found}
        quantize_static(
            prepared,
            result,
            None,
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8 if signed else QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=list(kept),
            calibration_cache_path=cache,
            extra_options={"TensorQuantOverrides": safe_scales(ready)},
        )
        proto = onnx.load(result)
    _hold_in_float(proto.graph, kept)
    return proto, FloatLayers(frozenset(kept), known)


def _activations_first(model: Any) -> Any:
    """Takes ReLUs before what only moves values, which makes no difference to floats.

    ONNX Runtime's quantizer drops a ReLU, and has the range of what it stands behind begin at 0.
    What moves values has no range of its own, but that of its input: the ReLU would be lost.

    Returns:
        A copy of the model.
    """
    import onnx

    moved = onnx.ModelProto()
    moved.CopyFrom(model)
    graph = moved.graph
    nodes = list(graph.node)
    outputs = {value.name for value in graph.output}
    readers = collections.Counter(name for node in nodes for name in node.input)
    makers = {name: node for node in nodes for name in node.output}
    for node in list(nodes):
        while node.op_type in ("Relu", "Clip"):
            source, end = node.input[0], node.output[0]
            before = makers.get(source)
            if before is None or readers[source] > 1 or source in outputs:
                break
            if not _may_swap(graph, node, before):
                break
            node.input[0], node.output[0] = before.input[0], source
            before.input[0], before.output[0] = source, end
            makers |= {source: node, end: before}
            i, j = nodes.index(before), nodes.index(node)
            nodes[i], nodes[j] = node, before
            for stale in [value for value in graph.value_info if value.name == source]:
                graph.value_info.remove(stale)  # it has another shape now
    del graph.node[:]
    graph.node.extend(nodes)
    return moved


def _may_swap(graph: Any, activation: Any, before: Any) -> bool:
    """Whether an activation may as well come before what puts its input together."""
    from onnx import numpy_helper

    if not pads_with_zeros(graph, before):
        return only_moves(before)
    # Zeros have to stay zeros: a ReLU has no bounds, a clip those of its constants.
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    low, high = [*activation.input[1:], "", ""][:2]
    above = not low or constants.get(low, np.nan) <= 0
    below = not high or constants.get(high, np.nan) >= 0
    return bool(above and below)


def _moved(model: Any, ranges: dict[str, Range]) -> dict[str, Range]:
    """Gives what is only moved, and parts of one map that are joined, the range of the map.

    Their integers stay what they are, also where parts have a narrower range than the whole; the
    bias of what reads them follows from that scale.
    """
    ranges = dict(ranges)
    for node in model.graph.node:
        if node.op_type in MOVES or node.op_type == "Concat":
            sources = node.input if node.op_type == "Concat" else node.input[:1]
            found: set[Any] = {ranges.get(name) for name in sources}
            if len(found) == 1 and None not in found and node.output[0] in ranges:
                ranges[node.output[0]] = next(iter(found))
    return ranges


def _hold_in_float(graph: Any, origins: Mapping[str, str]) -> None:
    """Keeps ONNX Runtime from making integers of nodes that shall stay in float.

    When it loads a file, it quantizes the float weights of what stands between integers. A maximum
    with the least float, which changes nothing, hides that what comes in was integers.

    Args:
        graph: With quantize-dequantize pairs.
        origins: The layers of these nodes, by their names.
    """
    import onnx

    weighted = [n for n in graph.node if n.name in origins and n.op_type in _WEIGHTED]
    if weighted:
        least = np.array(np.finfo(np.float32).min)
        graph.initializer.append(onnx.numpy_helper.from_array(least, "least_float"))
    for node in weighted:
        shown = f"{node.input[0]}_in_float_for_{node.name}"
        name = f"{origins[node.name]}/{node.name}_stays_float"  # its layer can be told by it
        barrier = onnx.helper.make_node("Max", [node.input[0], "least_float"], [shown], name=name)
        graph.node.insert(list(graph.node).index(node), barrier)
        node.input[0] = shown


def _ranges(model: Any, samples: Sequence[Any], method: str) -> dict[str, Range]:
    """Ranges of all float tensors that are computed, and of the inputs, which keep them whole."""
    import onnx
    import onnxruntime

    shown = onnx.ModelProto()
    shown.CopyFrom(model)
    graph = shown.graph
    inputs = [value.name for value in graph.input]
    doors = {v.name for v in graph.input if _is_float(v)}
    outputs = {value.name for value in graph.output}
    inside = [
        value
        for value in graph.value_info
        if _is_float(value)
        and value.name not in outputs
        and any(value.name in node.output for node in graph.node)
    ]
    graph.output.extend(inside)
    floats = [value.name for value in graph.output if _is_float(value)]
    session = onnxruntime.InferenceSession(
        shown.SerializeToString(), providers=["CPUExecutionProvider"]
    )

    def run(sample: Any) -> Iterator[tuple[str, np.ndarray]]:
        parts = list(sample) if isinstance(sample, list | tuple) else [sample]
        feeds = dict(zip(inputs, parts, strict=True))
        yield from ((name, part) for name, part in feeds.items() if name in doors)
        yield from zip(floats, session.run(floats, feeds), strict=True)

    return find_ranges(run, samples, method, whole=doors)


def _is_float(value: Any) -> bool:
    import onnx

    return value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
