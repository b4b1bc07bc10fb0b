"""A folded convolution as a sum over the slices of its kernel, for real numbers.

The window that `convolutions` makes copies the map once for each slice of the kernel. Where fewer
channels go out than come in it is less to move the results instead: a convolution for each slice,
and their sum. In integers each of the results would be rounded by itself; a target's profile names
the form for float precisions alone.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering.rewrites import Family, Replacement, Wiring
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import folded


def _window_before(graph: Graph, node: Node) -> Node | None:
    """The window that a convolution alone reads, where it sees several slices in each place."""
    if type(node.layer) is not keras.layers.Conv2D or node.layer.groups != 1:
        return None
    before = graph.producer(node.inputs[0])
    if before is None or type(before.layer) is not folded.DepthWindow:
        return None
    layer = before.layer
    seen = layer.size > 1 and layer.stride == 1
    return before if seen and graph.only_consumer(before.output) is node else None


def _sum(graph: Graph, node: Node) -> Replacement | None:
    """A convolution for each slice, on the slices that there are, and their sum."""
    before = _window_before(graph, node)
    if before is None:
        return None
    window, layer, (x,) = before.layer, node.layer, before.inputs
    kernels = np.split(keras.ops.convert_to_numpy(layer.kernel), window.size, axis=-2)
    if kernels[0].shape[-2] <= layer.filters:
        return None
    count = window.output_depth
    wiring, parts, biased = Wiring(), [], False
    for j, kernel in enumerate(kernels):
        offset = j * window.dilation - window.before
        first, last = max(0, -offset), min(count, window.depth - offset)  # of what it adds to
        if last <= first:
            continue
        name, whole = f"{layer.name}_{j}", last - first == count
        cut = (-(first + offset), last + offset - window.depth)
        seen = _moved(wiring, x, f"{name}_slices", window.depth, cut)
        flat = _convolution(layer, name, kernel, with_bias=whole and not biased)
        biased |= whole
        made = wiring.add(flat, seen)
        parts.append(_moved(wiring, made, f"{name}_zeros", last - first, (first, count - last)))
    if not biased or len(parts) < 2:
        return None
    added = wiring.add(keras.layers.Add(name=f"{layer.name}_sum", dtype="float32"), *parts)
    if not node.linear:
        activation = keras.layers.Activation(layer.activation, name=layer.name, dtype="float32")
        added = wiring.add(activation, added)
    why = f"{layer.name}: the sum of {len(parts)} convolutions, one for each slice"
    return wiring.replace([before, node], added, why)


def _moved(wiring: Wiring, x: Value, name: str, depth: int, margins: tuple[int, int]) -> Value:
    """Puts slices of zeros around a map, or takes slices away."""
    if margins == (0, 0):
        return x
    before, after = margins
    layer = folded.DepthWindow(depth, 1, before=before, after=after, name=name, dtype="float32")
    return wiring.add(layer, x)


def _convolution(layer: Any, name: str, kernel: np.ndarray, with_bias: bool) -> Any:
    """The convolution of one slice; one of them alone has the bias."""
    config = {**layer.get_config(), "name": name, "activation": None, "use_bias": True}
    made = keras.layers.Conv2D.from_config(config)
    made.build((None, None, None, kernel.shape[-2]))
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    made.set_weights([kernel, bias if with_bias else np.zeros_like(bias)])
    return made


DEPTH_CONVOLUTION = Family(
    "depth_convolution",
    lambda graph, node: _window_before(graph, node) is not None,
    {"sum": _sum},
)
