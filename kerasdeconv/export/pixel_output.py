"""Lets an int8 file put out bytes that are pixels: scale 1, zero point 0.

A network that gives pixels shoots over black and white at hard edges. Ranges taken from samples
hold these overshoots, so that a step of the output is more than a gray level, and rounding to
pixels afterwards rounds a second time. With the range [0, 255] the last requantization saturates
instead, which is the clipping that a picture needs anyway.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.errors import ExportError
from kerasdeconv.export.artifact import MOVES
from kerasdeconv.graph import build, read

_SCALE_KEPT = (*MOVES, "QUANTIZE", "DEQUANTIZE")


def without_clip(model: keras.Model) -> tuple[keras.Model, list[str]]:
    """Takes a final clip to [0, 255] off a model: the first output of an int8 file saturates there.

    Returns:
        The model, a new one if there was such a clip, and what was rewritten.
    """
    graph = read(model)
    output = graph.outputs[0]
    last = graph.producer(output)
    if last is None or not isinstance(last.layer, keras.layers.ReLU):
        return model, []
    layer = last.layer
    if layer.max_value != 255 or layer.negative_slope or layer.threshold:
        return model, []
    if graph.outputs.count(output) > 1 or any(output in node.inputs for node in graph.nodes):
        return model, []
    graph.nodes.remove(last)
    (graph.outputs[0],) = last.inputs
    shapes = [value.shape for value in graph.inputs]
    return build(graph, shapes, model.name), [f"{layer.name}: left to the output's saturation"]


def tflite_pixels(content: bytes) -> bytes:
    """Gives the first output of a TFLite file, back to the operator that computes it, the range.

    Raises:
        ExportError: It is computed in float and put out as it is, so that nothing saturates.
    """
    from ai_edge_litert import schema_py_generated as schema

    from kerasdeconv.export.metadata import packed

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    zero_points = {schema.TensorType.INT8: -128, schema.TensorType.UINT8: 0}
    waiting = [graph.outputs[0]]
    saturates = False
    while waiting:
        index = waiting.pop()
        tensor = graph.tensors[index]
        if tensor.type in zero_points:
            tensor.quantization.scale = [1.0]
            tensor.quantization.zeroPoint = [zero_points[tensor.type]]
            saturates = True
        (writer,) = (o for o in graph.operators if index in o.outputs)
        name = names[model.operatorCodes[writer.opcodeIndex].builtinCode]
        if name == "CONCATENATION":  # its parts have the scale of the whole
            waiting += list(writer.inputs)
        elif name in _SCALE_KEPT:
            waiting.append(writer.inputs[0])
    if not saturates:
        raise ExportError(
            "Pixels that a layer computes in float are clipped at a door of integers alone: use "
            "door='uint8', or let the layer be integers. Received: door='float32'"
        )
    return packed(model)


def onnx_pixels(proto: Any, quantize: Any) -> None:
    """Gives the tensor that a QuantizeLinear node makes the range."""
    import numpy as np
    from onnx import numpy_helper

    for tensor in proto.graph.initializer:
        if tensor.name == quantize.input[1]:
            tensor.CopyFrom(numpy_helper.from_array(np.array(1.0, np.float32), tensor.name))
        elif tensor.name == quantize.input[2]:
            old = numpy_helper.to_array(tensor)
            least = np.array(np.iinfo(old.dtype).min, old.dtype)
            tensor.CopyFrom(numpy_helper.from_array(least, tensor.name))
