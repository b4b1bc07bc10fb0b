"""ONNX with weights of 8 bits and everything else in float: a quarter of the size, no samples.

Not ONNX Runtime's own dynamic quantization, whose integer convolution gives all activations one
scale found at run time: it took four to six times as long as float, and was less accurate.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kerasdeconv.export.artifact import DYNAMIC_ELEMENTS
from kerasdeconv.export.quantization.kernels import kernel_scales

# Where the outputs are in the weights of an operator.
_OUTPUTS = {"Conv": 0, "ConvTranspose": 1, "MatMul": -1}


def weights_in_8_bits(proto: Any) -> None:
    """Stores the weights of a float model in 8 bits, with a scale for each output channel.

    Args:
        proto: Changed in place.
    """
    import onnx
    from onnx import numpy_helper

    graph = proto.graph
    floats = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
    for name, stored_in_float in floats.items():
        readers = [node for node in graph.node if name in node.input]
        axes = {_output_axis(node, name) for node in readers}
        weights = numpy_helper.to_array(stored_in_float)
        if len(axes) != 1 or None in axes or weights.size < DYNAMIC_ELEMENTS:
            continue
        axis = axes.pop() % weights.ndim
        rows = np.moveaxis(weights, axis, 0)
        scales = kernel_scales(rows.reshape(len(rows), -1), paired=False).astype(np.float32)
        shape = [-1 if i == axis else 1 for i in range(weights.ndim)]
        integers = np.rint(weights / scales.reshape(shape)).astype(np.int8)
        graph.initializer.remove(stored_in_float)
        graph.initializer.extend(
            [
                numpy_helper.from_array(integers, f"{name}_int8"),
                numpy_helper.from_array(scales, f"{name}_scale"),
                numpy_helper.from_array(np.zeros(len(scales), np.int8), f"{name}_zero"),
            ]
        )
        stored = [f"{name}_int8", f"{name}_scale", f"{name}_zero"]
        unpack = onnx.helper.make_node(
            "DequantizeLinear", stored, [name], name=f"{readers[0].name}_weights", axis=axis
        )
        graph.node.insert(list(graph.node).index(readers[0]), unpack)


def _output_axis(node: Any, name: str) -> int | None:
    """The axis of the outputs in a node's weights; None where these are not its weights."""
    if len(node.input) < 2 or node.input[1] != name:
        return None
    if node.op_type == "Gemm":
        transposed = any(a.name == "transB" and a.i for a in node.attribute)
        return 0 if transposed else 1
    return _OUTPUTS.get(node.op_type)
