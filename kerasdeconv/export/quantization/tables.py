"""Functions of one number in ONNX int8: a table of all 256 answers.

ONNX Runtime has no integer kernel for roots, reciprocals and the like: between quantize-dequantize
pairs they run in float. An integer of 8 bits has 256 values, so that the answers fit into a table,
rounded as the float operator's would be: TFLite's own integer kernels are made so. What comes in is
the number of the entry; ONNX counts negative ones from the end.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kerasdeconv.export.artifact import MOVES

# What ONNX Runtime has no kernel of 8 bits for.
_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Exp": np.exp,
    "Log": np.log,
    "Reciprocal": np.reciprocal,
    "Sqrt": np.sqrt,
}


def tabulate(graph: Any) -> None:
    """Puts tables in the place of functions between quantize-dequantize pairs.

    Functions of functions become one table. What only moves values about between them moves
    integers.

    Args:
        graph: Of a quantized model, changed in place.
    """
    readers: dict[str, list[Any]] = {value.name: [None] for value in graph.output}
    for node in graph.node:
        for name in set(node.input):
            readers.setdefault(name, []).append(node)
    for first in [node for node in graph.node if node.op_type == "DequantizeLinear"]:
        chain = _chain(readers, first)
        if any(node.op_type in _FUNCTIONS for node in chain):
            _replace(graph, first, chain)


def _chain(readers: Mapping[str, list[Any]], first: Any) -> list[Any]:
    """Functions and moves behind a dequantization, up to a quantization; nothing without one.

    Args:
        readers: The nodes that read a tensor, None among them for an output of the graph.
        first: The dequantization.
    """
    chain: list[Any] = [first]
    while True:
        found = readers.get(chain[-1].output[0], [])
        if len(found) != 1 or found[0] is None:
            return []
        chain.append(found[0])
        if found[0].op_type == "QuantizeLinear":
            return chain[1:]
        if found[0].op_type not in _FUNCTIONS and found[0].op_type not in MOVES:
            return []


def _replace(graph: Any, first: Any, chain: list[Any]) -> None:
    import onnx
    from onnx import numpy_helper

    *chain, last = chain
    functions = [node for node in chain if node.op_type in _FUNCTIONS]
    moves = [node for node in chain if node.op_type not in _FUNCTIONS]
    name = functions[0].name
    table = _table(graph, first, [node.op_type for node in functions], last)
    graph.initializer.append(numpy_helper.from_array(table, f"{name}_table"))
    place = list(graph.node).index(chain[0])
    for stale in (first, *functions, last):
        graph.node.remove(stale)
    place -= 1
    # What the table and each move make; the last of them makes what the quantization made.
    made = [f"{name}_found", *(move.output[0] for move in moves)]
    made[-1] = last.output[0]
    for move, read, gives in zip(moves, made, made[1:], strict=False):
        move.input[0], move.output[0] = read, gives
    number, found = f"{name}_number", made[0]
    look_up = onnx.helper.make_node(
        "Gather", [f"{name}_table", number], [found], name=f"{name}_look_up"
    )
    graph.node.insert(place, look_up)
    cast = onnx.helper.make_node(
        "Cast", [first.input[0]], [number], name=number, to=onnx.TensorProto.INT32
    )
    graph.node.insert(place, cast)


def _table(graph: Any, first: Any, functions: list[str], last: Any) -> np.ndarray:
    """The integers that functions make of all 256, in the order in which ONNX counts entries."""
    from onnx import numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    scale, zero = (constants[name] for name in first.input[1:3])
    entries = np.arange(256, dtype=np.uint8).view(zero.dtype)  # the second half may be negative
    values = (entries.astype(np.float32) - np.float32(zero)) * scale
    with np.errstate(all="ignore"):  # the reciprocal of zero is more than any integer
        for function in functions:
            values = _FUNCTIONS[function](values)
        scale, zero = (constants[name] for name in last.input[1:3])
        limits = np.iinfo(zero.dtype)
        table = np.clip(np.rint(values / scale) + np.float32(zero), limits.min, limits.max)
    return np.nan_to_num(table, nan=limits.min).astype(zero.dtype)
