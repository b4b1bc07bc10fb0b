"""ONNX nodes that move values about, or put zeros around them."""

from __future__ import annotations

from typing import Any

from kerasdeconv.export.artifact import MOVES


def only_moves(node: Any) -> bool:
    """Whether a node only moves values about; padding by reflection takes them from inside."""
    reflects = any(a.name == "mode" and a.s == b"reflect" for a in node.attribute)
    return node.op_type in MOVES or (node.op_type == "Pad" and reflects)


def pads_with_zeros(graph: Any, node: Any) -> bool:
    """Whether a node puts zeros around a map."""
    from onnx import numpy_helper

    if node.op_type != "Pad" or len(node.input) > 3:
        return False
    if any(a.name == "mode" and a.s != b"constant" for a in node.attribute):
        return False
    if len(node.input) < 3 or not node.input[2]:
        return True
    found = [t for t in graph.initializer if t.name == node.input[2]]
    return len(found) == 1 and not numpy_helper.to_array(found[0]).any()
