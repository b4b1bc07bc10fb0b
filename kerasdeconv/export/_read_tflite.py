"""Reads .tflite files with LiteRT's schema."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from kerasdeconv.errors import ArtifactError
from kerasdeconv.export import artifact as art
from kerasdeconv.runtime.metadata import tflite_metadata


def read(path: Path, content: bytes) -> art.Artifact:
    """Reads the bytes of a .tflite file.

    Raises:
        ArtifactError: They are damaged, or of another format.
    """
    from ai_edge_litert import schema_py_generated as schema

    _verify(path, content)
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    operators: list[art.Operator] = []
    doors: list[tuple[tuple[art.Tensor, ...], tuple[art.Tensor, ...]]] = []
    for graph in model.subgraphs:
        tensors = [_tensor(t, model.buffers, schema) for t in graph.tensors]
        for fields in graph.operators if graph.operators is not None else ():
            code = model.operatorCodes[fields.opcodeIndex]
            operator = _operator(len(operators), fields, code, tensors, schema)
            operators.append(operator)
            if art.is_unpacker(operator.name) and operator.inputs[0].constant:
                for index, output in zip(fields.outputs, operator.outputs, strict=True):
                    tensors[index] = output
        doors.append((_pick(tensors, graph.inputs), _pick(tensors, graph.outputs)))
    metadata = tflite_metadata(content, path)
    return art.Artifact(path, "tflite", len(content), tuple(operators), *doors[0], metadata)


def _verify(path: Path, content: bytes) -> None:
    """Refuses damaged bytes, which the schema's reader would follow anywhere."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    if content[4:8] != b"TFL3":
        raise ArtifactError(f"This is no TFLite file. Received: {str(path)!r}")
    try:
        Interpreter(
            model_content=content,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    except ValueError as error:
        # An operator or version that this LiteRT does not know is for a target's check to judge.
        if "Didn't find op" not in str(error):
            reason = str(error).splitlines()[0]
            raise ArtifactError(
                f"The TFLite file is damaged ({reason}). Received: {str(path)!r}"
            ) from None


def _pick(tensors: list[art.Tensor], indices: Any) -> tuple[art.Tensor, ...]:
    if indices is None:
        return ()
    return tuple(art.ABSENT if i < 0 else tensors[i] for i in indices)


def _enum(names: Any, value: int) -> str:
    """The name of a value of one of the schema's enumerations."""
    return next((k for k, v in vars(names).items() if v == value), str(value))


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _tensor(fields: Any, buffers: Any, schema: Any) -> art.Tensor:
    # A free side is -1 in the signature and 1 in the shape.
    shape = fields.shape if fields.shapeSignature is None else fields.shapeSignature
    dtype = _enum(schema.TensorType, fields.type).lower()
    buffer = buffers[fields.buffer]
    constant = (buffer.data is not None and len(buffer.data) > 0) or buffer.size > 0
    quantization = None
    if (q := fields.quantization) is not None and q.scale is not None and len(q.scale):
        quantization = art.Quantization(
            tuple(float(s) for s in q.scale),
            tuple(int(z) for z in q.zeroPoint),
            int(q.quantizedDimension) if len(q.scale) > 1 else None,
        )
    return art.Tensor(
        _text(fields.name),
        dtype,
        () if shape is None else tuple(None if side < 0 else int(side) for side in shape),
        dtype if constant else None,
        quantization,
    )


def _operator(
    index: int, fields: Any, code: Any, tensors: list[art.Tensor], schema: Any
) -> art.Operator:
    # Codes up to 127 lie in the older, narrower field.
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    custom = builtin == schema.BuiltinOperator.CUSTOM
    name = _text(code.customCode) if custom else _enum(schema.BuiltinOperator, builtin)
    options: dict[str, Any] = {}
    for key, value in vars(fields.builtinOptions or fields.builtinOptions2 or object).items():
        if isinstance(value, bool | int | float):
            options[re.sub(r"(?=[A-Z])", "_", key).lower()] = value
    strides = tuple(options.pop(f"stride_{axis}") for axis in "dhw" if f"stride_{axis}" in options)
    if "padding" in options:
        options["padding"] = _enum(schema.Padding, options["padding"])
    if name == "MIRROR_PAD":
        options["mode"] = _enum(schema.MirrorPadMode, options["mode"])
    activation = options.pop("fused_activation_function", 0)
    inputs = _pick(tensors, fields.inputs)
    outputs = _pick(tensors, fields.outputs)
    if art.is_unpacker(name) and inputs[0].constant:
        outputs = tuple(
            art.Tensor(t.name, t.dtype, t.shape, inputs[0].stored, t.quantization) for t in outputs
        )
    return art.Operator(
        index,
        name,
        code.version,
        inputs,
        outputs,
        custom,
        strides=strides,
        fused_activation=_enum(schema.ActivationFunctionType, activation) if activation else None,
        attributes=options,
    )
