"""What a network costs: parameters, multiply-accumulates, and memory for its maps."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import keras

from kerasdeconv.analysis.macs import count
from kerasdeconv.graph import Graph, Value, read
from kerasdeconv.sizes import input_shapes, specs


@dataclasses.dataclass(frozen=True)
class LayerCosts:
    """What one use of a layer costs.

    Attributes:
        name: Of the layer.
        kind: Its class.
        shape: Of its output (of the first, if there are several), batch included.
        trainable: Parameters that training changes; 0 for every use of a layer but the first.
        non_trainable: Likewise those that it does not.
        macs: Multiply-accumulates; None where they are not known.
        activation_bytes: Of all its outputs.
        live_bytes: Of all maps that must be in memory while it runs: what it reads, what it makes,
            and what later layers will read.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    trainable: int
    non_trainable: int
    macs: int | None
    activation_bytes: int
    live_bytes: int

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.trainable + self.non_trainable


@dataclasses.dataclass(frozen=True)
class Costs:
    """What a network costs.

    Attributes:
        layers: Every use of a layer, in order of computation.
        input_shapes: What it was counted for, batch included.
        bytes_per_value: Size of one element of a map.
        peak_bytes: The most that all maps take up at once, inputs and outputs included.
        peak_layer: While which layer runs.
    """

    layers: tuple[LayerCosts, ...]
    input_shapes: tuple[tuple[int, ...], ...]
    bytes_per_value: int
    peak_bytes: int
    peak_layer: str

    @property
    def trainable(self) -> int:
        """Parameters that training changes."""
        return sum(row.trainable for row in self.layers)

    @property
    def non_trainable(self) -> int:
        """Parameters that it does not: frozen ones, and statistics."""
        return sum(row.non_trainable for row in self.layers)

    @property
    def parameters(self) -> int:
        """All parameters."""
        return self.trainable + self.non_trainable

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates; None where those of a layer are not known: see `unknown`."""
        return None if self.unknown else self.known_macs

    @property
    def known_macs(self) -> int:
        """Multiply-accumulates of all layers of which they are known."""
        return sum(row.macs or 0 for row in self.layers)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the layers of which the multiply-accumulates are not known."""
        return tuple(dict.fromkeys(row.name for row in self.layers if row.macs is None))


def costs(
    model: keras.Model,
    size: Sequence[int] | None = None,
    batch: int = 1,
    *,
    bytes_per_value: int = 4,
) -> Costs:
    """Counts parameters, multiply-accumulates and memory. Nothing is computed but shapes.

    Convolutions, transposed ones, dense layers and other products of matrices count
    multiply-accumulates, padded borders included; elementwise arithmetic, normalization,
    activations, pooling, resizing and moving data count none. A shared layer counts its parameters
    once and its multiply-accumulates at each use.

    The peak is that of the maps alone, in the order in which Keras computes them: each is kept
    from when it is made until the last layer has read it, an input from the start, an output to
    the end. No layer writes over its input, and what a layer needs inside is not seen.

    Args:
        model: A functional or Sequential model.
        size: Sides that the model leaves free.
        batch: Batch size.
        bytes_per_value: Size of one element of a map: 4 for float32, 1 for int8.

    Raises:
        ExportError: A side is free and no size is given.
        LoweringError: The model is subclassed or was never built.
        ValueError: The model cannot take this size.

    Example:
        >>> model = kerasdeconv.models.UNet()
        >>> round(costs(model, size=(572, 572)).macs / 1e9)
        150
    """
    if bytes_per_value < 1:
        raise ValueError(f"bytes_per_value must be 1 or more. Received: {bytes_per_value}")
    shapes = input_shapes(model, size, batch)
    graph = read(model)
    tensors = specs(graph, shapes)
    sizes = {value: math.prod(t.shape) * bytes_per_value for value, t in tensors.items()}
    live = _live(graph, sizes)
    seen: set[int] = set()
    rows = []
    for node, alive in zip(graph.nodes, live, strict=True):
        made = [tensors[value] for value in node.outputs]
        trainable, non_trainable = _parameters(node.layer, seen)
        rows.append(
            LayerCosts(
                node.layer.name,
                type(node.layer).__name__,
                tuple(made[0].shape),
                trainable,
                non_trainable,
                count(node, [tensors[value] for value in node.inputs], made),
                sum(sizes[value] for value in node.outputs),
                alive,
            )
        )
    peak = max(rows, key=lambda row: row.live_bytes, default=None)
    return Costs(
        tuple(rows),
        tuple(shapes),
        bytes_per_value,
        peak.live_bytes if peak else sum(sizes[value] for value in graph.inputs),
        peak.name if peak else "",
    )


def _live(graph: Graph, sizes: dict[Value, int]) -> list[int]:
    """Bytes of all maps that are alive while each node runs."""
    last = {value: step for step, node in enumerate(graph.nodes) for value in node.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.nodes))
    alive, taken = set(graph.inputs), []
    for step, node in enumerate(graph.nodes):
        alive.update(node.outputs)
        taken.append(sum(sizes[value] for value in alive))
        alive = {value for value in alive if last.get(value, -1) > step}
    return taken


def _parameters(layer: object, seen: set[int]) -> tuple[int, int]:
    """Trainable and other parameters of a layer that were not counted before."""
    if not isinstance(layer, keras.layers.Layer):
        return 0, 0
    found = []
    for weights in (layer.trainable_weights, layer.non_trainable_weights):
        new = [weight for weight in weights if id(weight) not in seen]
        seen.update(id(weight) for weight in new)
        found.append(sum(math.prod(weight.shape) for weight in new))
    return found[0], found[1]
