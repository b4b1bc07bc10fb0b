"""Reads .onnx files with the onnx package."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kerasdeconv.errors import ArtifactError
from kerasdeconv.export import artifact as art
from kerasdeconv.runtime.metadata import KEY, parse

_OWN_DOMAINS = ("", "ai.onnx")


def read(path: Path, content: bytes) -> art.Artifact:
    """Reads the bytes of an .onnx file.

    Raises:
        ArtifactError: They are damaged, or of another format.
    """
    import onnx
    from google.protobuf.message import DecodeError

    if content[4:8] == b"TFL3":
        raise ArtifactError(f"This is a TFLite file, not ONNX. Received: {str(path)!r}")
    try:
        model = onnx.load_model_from_string(content)
        # Arbitrary bytes may parse; a model always has a graph of nodes and an operator set.
        if not (model.graph.node and model.graph.output and model.opset_import):
            raise DecodeError("it holds no graph")
        model = onnx.shape_inference.infer_shapes(model)
    except (DecodeError, onnx.shape_inference.InferenceError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ArtifactError(
            f"The ONNX file is damaged ({reason}). Received: {str(path)!r}"
        ) from None
    versions = {entry.domain: entry.version for entry in model.opset_import}
    graphs = list(_graphs(model.graph))
    tensors = {"": art.ABSENT}
    for graph in graphs:
        tensors.update({v.name: _tensor(v) for v in (*graph.input, *graph.output)})
        tensors.update({v.name: _tensor(v) for v in graph.value_info})
        tensors.update({i.name: _constant(i) for i in graph.initializer})
    constants = {i.name: i for graph in graphs for i in graph.initializer}
    nodes = [node for graph in graphs for node in graph.node]
    for node in nodes:
        _complete(node, tensors, constants)
    operators = tuple(_operator(i, node, tensors, versions) for i, node in enumerate(nodes))
    metadata = None
    for entry in model.metadata_props:
        if entry.key == KEY:
            metadata = parse(entry.value, path)
    return art.Artifact(
        path,
        "onnx",
        len(content),
        operators,
        tuple(tensors[v.name] for v in model.graph.input if v.name not in constants),
        tuple(tensors[v.name] for v in model.graph.output),
        metadata,
    )


def _graphs(graph: Any) -> Iterator[Any]:
    """A graph and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner)


def _dtype(element_type: int) -> str:
    import onnx

    if not element_type:
        return ""
    name = onnx.TensorProto.DataType.Name(element_type).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)


def _tensor(value: Any) -> art.Tensor:
    kind = value.type.tensor_type
    shape = None
    if kind.HasField("shape"):
        shape = tuple(
            side.dim_value if side.HasField("dim_value") else None for side in kind.shape.dim
        )
    return art.Tensor(value.name, _dtype(kind.elem_type), shape)


def _constant(initializer: Any) -> art.Tensor:
    dtype = _dtype(initializer.data_type)
    return art.Tensor(initializer.name, dtype, tuple(initializer.dims), dtype)


def _complete(node: Any, tensors: dict[str, art.Tensor], constants: dict[str, Any]) -> None:
    """Works out what shape inference leaves open about a node's tensors.

    It knows none of ONNX Runtime's own operators, and nothing of quantization.
    """
    for name in (*node.input, *node.output):
        tensors.setdefault(name, art.Tensor(name, "", None))
    inputs = [tensors[name] for name in node.input]
    stored = None
    if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
        stored = _dtype(node.attribute[0].t.data_type)
    elif art.is_unpacker(node.op_type) and inputs[0].constant:
        stored = inputs[0].stored
    for name in node.output:
        output = tensors[name]
        tensors[name] = dataclasses.replace(
            output, dtype=output.dtype or _output_dtype(node, inputs), stored=stored
        )
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        name = (node.output if node.op_type == "QuantizeLinear" else node.input)[0]
        if name and (quantization := _quantization(node, constants)):
            tensors[name] = dataclasses.replace(tensors[name], quantization=quantization)


def _output_dtype(node: Any, inputs: list[art.Tensor]) -> str:
    """The type that a node computes, by the rule of its kind."""
    if node.op_type == "QuantizeLinear":
        return inputs[2].dtype if len(inputs) > 2 else "uint8"
    if node.op_type == "DequantizeLinear":
        return inputs[1].dtype
    types = [t.dtype for t in inputs if t.dtype]
    if node.op_type.startswith("QLinear"):  # scales come among the inputs, in float32
        return next((dtype for dtype in types if not dtype.startswith("float")), "")
    return types[0] if types else ""


def _quantization(node: Any, constants: dict[str, Any]) -> art.Quantization | None:
    from onnx import numpy_helper

    if node.input[1] not in constants:
        return None
    scales = numpy_helper.to_array(constants[node.input[1]]).ravel()
    zeros = [0] * len(scales)
    if len(node.input) > 2 and node.input[2] in constants:
        zeros = numpy_helper.to_array(constants[node.input[2]]).ravel().tolist()
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return art.Quantization(
        tuple(float(s) for s in scales), tuple(zeros), axis if len(scales) > 1 else None
    )


def _operator(
    index: int, node: Any, tensors: dict[str, art.Tensor], versions: dict[str, int]
) -> art.Operator:
    import onnx

    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode(errors="replace")
        if isinstance(value, str | int | float):
            attributes[attribute.name] = value
        elif attribute.ints:
            attributes[attribute.name] = tuple(value)
    strides = attributes.pop("strides", ())
    return art.Operator(
        index,
        node.op_type,
        versions.get(node.domain, versions.get("", 0) if node.domain in _OWN_DOMAINS else 0),
        tuple(tensors[name] for name in node.input),
        tuple(tensors[name] for name in node.output),
        node.domain not in _OWN_DOMAINS,
        node.name,
        strides,
        attributes.get("activation"),
        attributes,
    )
