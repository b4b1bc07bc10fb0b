"""Comparisons of integers in ONNX, which tf2onnx writes as comparisons of floats."""

from __future__ import annotations

from typing import Any

import numpy as np

_COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
_EXACT = 2**24  # up to which a float32 is the integer itself


def compare_integers(proto: Any) -> None:
    """Takes out casts to float before comparisons with constants, which become integers too.

    ONNX has compared integers since operator set 9; tf2onnx goes on as before. A graph of 8 bits
    would have floats for the mere arithmetic of indices.

    Args:
        proto: Changed in place.
    """
    from onnx import numpy_helper, shape_inference

    graph = proto.graph
    comparisons = [node for node in graph.node if node.op_type in _COMPARISONS]
    if not comparisons:
        return
    known = shape_inference.infer_shapes(proto).graph
    integers = {value.name: _integer_type(value) for value in (*known.input, *known.value_info)}
    constants = {tensor.name: tensor for tensor in graph.initializer}
    for node in comparisons:
        cast = next((n for n in graph.node if n.output[0] == node.input[0]), None)
        if cast is None or cast.op_type != "Cast" or node.input[1] not in constants:
            continue
        limit = numpy_helper.to_array(constants[node.input[1]])
        kind = integers.get(cast.input[0])
        if kind is None or (limit != np.rint(limit)).any() or np.abs(limit).max() > _EXACT:
            continue
        whole = f"{node.name}_limit"
        graph.initializer.append(numpy_helper.from_array(limit.astype(kind), whole))
        node.input[:] = [cast.input[0], whole]
        if not any(cast.output[0] in other.input for other in graph.node):
            graph.node.remove(cast)


def _integer_type(value: Any) -> Any:
    """NumPy's type of a tensor of integers; None for all others."""
    import onnx

    kind = onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    return kind if np.issubdtype(kind, np.integer) else None
