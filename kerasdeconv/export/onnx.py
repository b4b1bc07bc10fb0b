"""Keras to ONNX: static shapes, channels-last doors; in float, or static int8 (QDQ)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import ExportError
from kerasdeconv.export.comparisons import compare_integers
from kerasdeconv.export.function import output_names, to_function, typed_inputs
from kerasdeconv.export.pixel_output import onnx_pixels
from kerasdeconv.export.quantization.moves import only_moves, pads_with_zeros
from kerasdeconv.export.quantization.qdq import FloatLayers, quantize
from kerasdeconv.export.quantization.ranges import require_method
from kerasdeconv.export.quantization.tables import tabulate
from kerasdeconv.export.quantization.weight_only import weights_in_8_bits
from kerasdeconv.quiet import quiet

# The newest operator set that tf2onnx writes; ONNX Runtime has read it since 1.14 (2023).
OPSET = 18
DOORS = ("float32", "int8", "uint8")


def to_onnx(
    model: keras.Model,
    *,
    precision: str = "float32",
    samples: Iterable[Any] = (),
    door: str = "float32",
    pixel_output: bool = False,
    ranges: str = "minmax",
    float_layers: Collection[str] = (),
    layers: Collection[str] = (),
) -> bytes:
    """Converts a model with static shapes.

    Args:
        model: Every side of its inputs must be known, batch included.
        precision: "float32", "float16" (float32 at the doors), "dynamic" (weights of 8 bits,
            everything else in float), or "int8" (quantize-dequantize pairs, per-channel weights,
            from which ONNX Runtime makes integer operators).
        samples: What int8 takes its ranges from, as for `to_tflite`.
        door: Type of the inputs and outputs of an int8 file.
        pixel_output: Whether the first output is pixels in [0, 255], which an int8 file then puts
            out clipped to that range, in steps of 1.
        ranges: As for `to_tflite`.
        float_layers: As for `to_tflite`.
        layers: As for `to_tflite`.

    Returns:
        The file's content.

    Raises:
        ExportError: The model cannot be converted.
        ValueError: No such precision or door.
    """
    require_method(ranges, precision)
    plain = _convert(model)
    if precision == "float32":
        proto = plain
    elif precision == "float16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        proto = convert_float_to_float16(plain, keep_io_types=True)
    elif precision == "dynamic":
        proto = plain
        weights_in_8_bits(proto)
    elif precision == "int8":
        if door not in DOORS:
            raise ValueError(f"The door of an int8 file is one of {DOORS}. Received: {door!r}")
        samples = [typed_inputs(model, sample) for sample in samples]
        if not samples:
            raise ExportError("int8 needs samples to take its ranges from. Received: none")
        proto, floats = quantize(
            plain,
            samples,
            signed=door == "int8",
            method=ranges,
            float_layers=float_layers,
            layers=layers or {layer.name for layer in model.layers},
        )
        if pixel_output or door != "float32":
            _round_doors(proto.graph, floats, signed=door == "int8")
        _move_integers(proto.graph)
        tabulate(proto.graph)
        if pixel_output:
            last = _beyond_moves(proto.graph, proto.graph.output[0].name, forward=False)
            onnx_pixels(proto, _beyond_moves(proto.graph, last.input[0], forward=False))
        _settle_doors(proto, door)
    else:
        raise ValueError(
            f"ONNX files are made in float32, float16, dynamic or int8. Received: {precision!r}"
        )
    return proto.SerializeToString()


def _convert(model: keras.Model) -> Any:
    import tf2onnx

    function, signature = to_function(model)
    with quiet():
        try:
            proto, _ = tf2onnx.convert.from_function(
                function, input_signature=signature, opset=OPSET
            )
        except (ValueError, RuntimeError, NotImplementedError) as error:
            raise ExportError(
                f"ONNX cannot hold the model ({str(error).splitlines()[0]}). "
                f"Received: {model.name!r}"
            ) from None
    compare_integers(proto)
    _rename_outputs(proto, output_names(model))
    return proto


def _rename_outputs(proto: Any, names: list[str]) -> None:
    """Gives the outputs, which tf2onnx calls `Identity:0`, the names of the model's."""
    for output, name in zip(proto.graph.output, names, strict=True):
        _rename(proto.graph, output.name, name)
        output.name = name


def _move_integers(graph: Any) -> None:
    """Takes the float detour out where values are only moved about; they keep their scale.

    ONNX Runtime itself drops the dequantization before, and the quantization after, some of these
    operators and not others, and none where a part of a map was given a scale of its own. Zeros
    that are put around a map are integers too: its zero point. Parts of one scale are joined as
    they are. What the graph puts out stays, whoever else reads it.
    """
    outputs = [value.name for value in graph.output]
    for node in list(graph.node):
        pads = pads_with_zeros(graph, node)
        if not (pads or only_moves(node) or node.op_type == "Concat"):
            continue
        sources = node.input if node.op_type == "Concat" else node.input[:1]
        before = [_producer(graph, name) for name in sources]
        after = [n for n in graph.node if node.output[0] in n.input]
        if any(n is None or n.op_type != "DequantizeLinear" for n in before):
            continue
        if [n.op_type for n in after] != ["QuantizeLinear"] or node.output[0] in outputs:
            continue
        if not _alike(graph, before):
            continue
        readers = [n for n in graph.node if after[0].output[0] in n.input]
        if any(n.op_type != "DequantizeLinear" for n in readers):
            continue
        for reader in readers:
            reader.input[1:] = before[0].input[1:]
        if pads:
            del node.input[2:]
            node.input.append(before[0].input[2])
        detours = list(node.input[: len(before)])
        for i, producer in enumerate(before):
            node.input[i] = producer.input[0]
        node.output[0] = after[0].output[0]
        graph.node.remove(after[0])
        for producer, detour in zip(before, detours, strict=True):
            unread = not any(detour in n.input for n in graph.node) and detour not in outputs
            if unread and producer in list(graph.node):
                graph.node.remove(producer)


def _round_doors(graph: Any, layers: FloatLayers, *, signed: bool) -> None:
    """Makes integers of what layers in float read and put out at the doors of the file."""
    dtype = np.int8 if signed else np.uint8
    for node in [n for n in graph.node if n.name in layers.nodes and not only_moves(n)]:
        name = node.output[0]
        if not _all_beyond_moves(graph, name, forward=True):
            inner = f"{name}_in_float"
            node.output[0] = inner
            place = list(graph.node).index(node) + 1
            _pair(graph, place, (inner, name), layers.ranges[name], dtype)
    for value in graph.input if layers.nodes else ():
        readers = _all_beyond_moves(graph, value.name, forward=True)
        if value.name in layers.ranges and any(n.op_type != "QuantizeLinear" for n in readers):
            _rename(graph, value.name, f"{value.name}_in_float")
            ends = (value.name, f"{value.name}_in_float")
            _pair(graph, 0, ends, layers.ranges[value.name], dtype)


def _pair(
    graph: Any, place: int, ends: tuple[str, str], bounds: tuple[float, float], dtype: Any
) -> None:
    """Puts a quantize-dequantize pair between two tensors."""
    import onnx
    from onnx import numpy_helper

    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    low, high = bounds
    scale = (high - low) / (most - least) or 1.0
    zero = int(np.clip(least - round(low / scale), least, most))
    integer = f"{ends[0]}_integer"
    numbers = [f"{integer}_scale", f"{integer}_zero_point"]
    graph.initializer.append(numpy_helper.from_array(np.array(scale, np.float32), numbers[0]))
    graph.initializer.append(numpy_helper.from_array(np.array(zero, dtype), numbers[1]))
    for kind, read, made in (
        ("DequantizeLinear", integer, ends[1]),
        ("QuantizeLinear", ends[0], integer),
    ):
        node = onnx.helper.make_node(kind, [read, *numbers], [made], name=f"{made}_{kind}")
        graph.node.insert(place, node)


def _producer(graph: Any, name: str) -> Any:
    return next((n for n in graph.node if name in n.output), None)


def _settle_doors(proto: Any, door: str) -> None:
    """Moves the first quantization and the last dequantization to the doors, or takes them out.

    What only moves values (layout changes, depth to space, reflection) may lie between a door and
    its quantization; it then moves integers. Outputs that are integers by nature, such as labels,
    stay as they are.

    Raises:
        ExportError: Integers are asked for at a door that is not quantized.
    """
    import onnx

    graph = proto.graph
    for values, forward, kind in (
        (graph.input, True, "QuantizeLinear"),
        (graph.output, False, "DequantizeLinear"),
    ):
        for value in values:
            nodes = _all_beyond_moves(graph, value.name, forward=forward)
            if any(node.op_type != kind for node in nodes) or not _alike(graph, nodes):
                if forward and door != "float32":
                    raise ExportError(
                        "The input is not quantized at the door: use door='float32'. "
                        f"Received: {value.name!r}"
                    )
                continue
            node = nodes[0]
            for other in nodes:
                far, near = (other.output[0], other.input[0])[:: 1 if forward else -1]
                graph.node.remove(other)
                _rename(graph, far, near)
            if door == "float32":
                inner = f"{value.name}_quantized"
                _rename(graph, value.name, inner)
                ends = (value.name, inner)[:: 1 if forward else -1]
                moved = onnx.helper.make_node(
                    kind, [ends[0], *node.input[1:]], [ends[1]], name=f"{value.name}_{kind}"
                )
                graph.node.insert(0 if forward else len(graph.node), moved)
            else:
                value.type.tensor_type.elem_type = getattr(onnx.TensorProto, door.upper())
    del graph.value_info[:]  # the types along the way have changed
    onnx.checker.check_model(proto)


def _beyond_moves(graph: Any, name: str, *, forward: bool) -> Any:
    """The first node from a door inwards that does more than move values; None if several read."""
    while True:
        nodes = [n for n in graph.node if name in (n.input if forward else n.output)]
        if len(nodes) != 1 or not only_moves(nodes[0]):
            return nodes[0] if len(nodes) == 1 else None
        name = (nodes[0].output if forward else nodes[0].input)[0]


def _all_beyond_moves(graph: Any, name: str, *, forward: bool) -> list[Any]:
    """The first nodes from a door inwards that do more than move values, along all ways."""
    found = []
    for node in [n for n in graph.node if name in (n.input if forward else n.output)]:
        if only_moves(node):
            inner = (node.output if forward else node.input)[0]
            found += _all_beyond_moves(graph, inner, forward=forward)
        else:
            found.append(node)
    return found


def _alike(graph: Any, nodes: list[Any]) -> bool:
    """Whether there are nodes, and all quantize with one scale and zero point."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in graph.initializer}
    values = {
        tuple(numpy_helper.to_array(constants[name]).item() for name in node.input[1:3])
        for node in nodes
    }
    return len(values) == 1


def _of_kind(graph: Any, name: str, kind: str, *, forward: bool) -> Any:
    """A node of a kind from a door inwards behind nothing but moves, along any way; None if none.

    All ways give the same scale: moves keep it.
    """
    for node in graph.node:
        if name in (node.input if forward else node.output):
            if node.op_type == kind:
                return node
            # Integers are padded and joined by `_move_integers` alone, which keeps their scale.
            if only_moves(node) or node.op_type in ("Pad", "Concat"):
                inner = (node.output if forward else node.input)[0]
                if (found := _of_kind(graph, inner, kind, forward=forward)) is not None:
                    return found
    return None


def _rename(graph: Any, old: str, new: str) -> None:
    """Gives a tensor another name wherever nodes use it."""
    for node in graph.node:
        for names in (node.input, node.output):
            for i, name in enumerate(names):
                if name == old:
                    names[i] = new


def door_quantization(path: Path) -> dict[str, dict[str, Any]]:
    """Reads how the integers at a file's doors stand for real numbers: scale and zero point."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(path).graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    doors = {}
    for values, forward, kind in (
        (graph.input, True, "DequantizeLinear"),
        (graph.output, False, "QuantizeLinear"),
    ):
        for value in values:
            node = _of_kind(graph, value.name, kind, forward=forward)
            integer = value.type.tensor_type.elem_type in (
                onnx.TensorProto.UINT8,
                onnx.TensorProto.INT8,
            )
            if integer and node is not None:
                scale, zero = (
                    numpy_helper.to_array(constants[name]).item() for name in node.input[1:3]
                )
                doors[value.name] = {"scale": scale, "zero_point": zero}
    return doors
