"""Gives every convolution of an int16x8 file a bias of its own.

The converter keeps equal constants once. A bias of integers stands for real numbers by the scale of
its convolution, input times weights; one that several convolutions share gets the scale of the
first, and the others compute something else. (For int8 files the converter copies it.)
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")


def own_biases(content: bytes) -> bytes:
    """Copies biases that several operators share, in the scale of each.

    Args:
        content: A TFLite file whose biases are 64-bit integers.
    """
    from ai_edge_litert import schema_py_generated as schema

    from kerasdeconv.export.metadata import packed

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    for graph in model.subgraphs:
        seen: set[int] = set()
        for operator in graph.operators:
            name = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
            if name not in _WEIGHTED:
                continue
            place = 3 if name == "TRANSPOSE_CONV" else 2
            if len(operator.inputs) <= place or operator.inputs[place] < 0:
                continue
            bias = int(operator.inputs[place])
            if bias in seen and graph.tensors[bias].type == schema.TensorType.INT64:
                data, weights = (operator.inputs[i] for i in ((2, 1) if place == 3 else (0, 1)))
                inputs = [int(i) for i in operator.inputs]
                inputs[place] = _copied(model, graph, bias, (data, weights))
                operator.inputs = inputs
            seen.add(bias)
    return packed(model)


def _copied(model: Any, graph: Any, bias: int, factors: tuple[int, int]) -> int:
    """Adds a copy of a bias in the scale of an operator's input times its weights."""
    data, weights = factors
    scale = graph.tensors[data].quantization.scale[0] * np.asarray(
        graph.tensors[weights].quantization.scale, np.float64
    )
    tensor = copy.deepcopy(graph.tensors[bias])
    stored = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.int64)
    real = stored * np.asarray(tensor.quantization.scale, np.float64)
    integers = np.rint(real / scale).astype(np.int64)
    tensor.quantization.scale = [float(s) for s in np.broadcast_to(scale, integers.shape)]
    tensor.quantization.zeroPoint = [0] * len(integers)
    tensor.name = tensor.name + f"_{len(graph.tensors)}".encode()
    buffer = copy.copy(model.buffers[tensor.buffer])
    buffer.data = np.frombuffer(integers.tobytes(), np.uint8)
    tensor.buffer = len(model.buffers)
    model.buffers.append(buffer)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
