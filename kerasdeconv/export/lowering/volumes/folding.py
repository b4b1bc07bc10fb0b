"""What the rules on volumes share: the new graph as it grows, windows and interleaving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kerasdeconv.export.lowering.rewrites import call_of, known
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import folded


class Folding:
    """The rewriting of one graph.

    Args:
        graph: As it was read; it is not changed.
        rule_of: Finds the rule for a layer or operation, None if there is none.

    Attributes:
        graph: The same.
        nodes: The new nodes, in order.
        rewrites: What was done, one line each.
        depths: Slices of a volume, for every folded value.
    """

    def __init__(self, graph: Graph, rule_of: Callable[[Any], Rule | None]) -> None:
        self.graph = graph
        self.nodes: list[Node] = []
        self._rule_of = rule_of
        self.rewrites: list[str] = []
        self.depths: dict[Value, int] = {}
        self._folded: dict[Value, Value] = {}
        self._volumes = set(graph.inputs)  # what is there with five axes

    def rewrite(self, node: Node) -> bool:
        """Rewrites a node on volumes if there is a rule for it, and says whether there was."""
        rule = self._rule_of(node.layer)
        volumes = len(node.outputs) == 1 and all(len(value.shape) == 5 for value in node.inputs)
        added, before, made = len(self.nodes), dict(self._folded), None
        if rule is not None and volumes:
            made = rule(self, node, [self.fold(value) for value in node.inputs])
        if made is None:
            del self.nodes[added:]
            self._folded = before
            self._volumes.update(node.outputs)
            return False
        if len(node.output.shape) == 5:
            self._folded[node.output] = made
        else:
            self._rename(made, node.output)
        self.rewrites.append(f"{node.layer.name}: depth folded into the batch")
        return True

    def enter(self, value: Value) -> Value:
        """Makes an input of the model that is folded already, in the place of a volume."""
        batch, depth, *rest = known(value)
        made = Value((batch * depth, *rest), value.dtype, value.name)
        self.depths[made] = depth
        self._folded[value] = made
        self._volumes.discard(value)
        return made

    def leave(self, value: Value) -> Value:
        """Finds the folded form of an output of the model, and gives it the output's name."""
        made = self.fold(value)
        made.name = value.name
        return made

    def fold(self, value: Value) -> Value:
        """Finds the folded form of a volume, or makes it."""
        if value not in self._folded:
            self.depths[value] = value.shape[1]  # type: ignore[assignment]
            layer = folded.FoldDepth(name=f"{value.name or 'volume'}_fold", dtype="float32")
            self._folded[value] = self.add(layer, value)
        return self._folded[value]

    def unfold(self, value: Value) -> None:
        """Makes the volume of a folded form, if it is asked for and not there."""
        if value not in self._folded or value in self._volumes:
            return
        source = self._folded[value]
        layer = folded.UnfoldDepth(
            self.depths[source], name=f"{value.name or 'volume'}_unfold", dtype="float32"
        )
        self.nodes.append(Node(layer, [source], [value]))
        self._volumes.add(value)

    def add(self, layer: Any, *inputs: Value, depth: int | None = None) -> Value:
        """Adds a layer and returns what it makes: of this depth, or of its first input's."""
        shapes = [value.shape for value in inputs]
        shape = layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
        made = Value(tuple(shape), "float32")
        self.nodes.append(Node(layer, list(inputs), [made], call_of(len(inputs))))
        self.depths[made] = self.depths[inputs[0]] if depth is None else depth
        return made

    def again(self, node: Node, inputs: list[Value]) -> Value:
        """Adds the operation of a node, called as it was, on maps that it treats by position."""
        shape = np.broadcast_shapes(*map(known, inputs))
        made = Value(tuple(shape), node.output.dtype)
        self.nodes.append(Node(node.layer, inputs, [made], node.call))
        self.depths[made] = self.depths[inputs[0]]
        return made

    def drop_unread(self, outputs: list[Value]) -> None:
        """Drops the nodes that nothing comes of."""
        read = set(outputs)
        kept = []
        for node in reversed(self.nodes):
            if read.intersection(node.outputs):
                read.update(node.inputs)
                kept.append(node)
        self.nodes = kept[::-1]

    def _rename(self, made: Value, value: Value) -> None:
        """Puts a value of the model in the place of what was made for it."""
        last = self.nodes[-1]
        last.outputs = [value if output is made else output for output in last.outputs]


Rule = Callable[[Folding, Node, "list[Value]"], "Value | None"]


def window(
    fold: Folding, x: Value, name: str, size: int, margins: tuple[int, int], **options: int
) -> Value:
    """The slices that a kernel sees, or x itself where it sees one and all."""
    before, after = margins
    if size == 1 and not before and not after and options.get("stride", 1) == 1:
        return x
    layer = folded.DepthWindow(
        fold.depths[x], size, before=before, after=after, name=name, dtype="float32", **options
    )
    return fold.add(layer, x, depth=layer.output_depth)


def interleave(fold: Folding, phases: list[Value], name: str) -> Value:
    """Puts the slices of phases in turns, or returns the only phase."""
    if len(phases) == 1:
        return phases[0]
    layer = folded.DepthInterleave(name=name, dtype="float32")
    return fold.add(layer, *phases, depth=fold.depths[phases[0]] * len(phases))


def channels_last(layer: Any) -> bool:
    """Whether a layer has its channels behind the sides."""
    return getattr(layer, "data_format", "channels_last") == "channels_last"
