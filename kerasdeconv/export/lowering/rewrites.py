"""What every rule of the lowering is made of.

There are two kinds. A *folding* changes nothing but for the better, on any target: it is a function
`rule(graph, node) -> bool` that rewrites the graph around a node and says whether it did. A
*family* is a choice: the same function in several forms, of which a target prefers one. A form is a
pure function `form(graph, node) -> Replacement | None`: the nodes that would go and the nodes that
would come, or None where it does not apply. To add a form, write one, and name it in a `Family`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras

from kerasdeconv.graph import Graph, Node, Value

KEEP = "keep"
# A multiplication in XNNPACK's transposed convolution against one in its convolution: 1.1 (int8) to
# 2.9 (float32) was measured with kernels of 2 to 4 at stride 2. The least of it decides ties.
_TRANSPOSED_COST = 1.1


@dataclasses.dataclass(frozen=True)
class Replacement:
    """Nodes in the place of others.

    Attributes:
        old: What goes. The last output of the last one is what comes out of the new ones, too.
        new: What comes, in order; the shapes of all values are known.
        why: For the report.
    """

    old: tuple[Node, ...]
    new: tuple[Node, ...]
    why: str


Folding = Callable[[Graph, Node], bool]
Form = Callable[[Graph, Node], Replacement | None]


@dataclasses.dataclass(frozen=True)
class Family:
    """Several forms of one operator.

    Attributes:
        name: The table in the targets' profiles.
        matches: Whether a node is such an operator.
        forms: The forms by name, without "keep", which leaves the node as it is.
        stride: The greatest stride of such a node, for forms that a target limits by it.
    """

    name: str
    matches: Callable[[Graph, Node], bool]
    forms: Mapping[str, Form]
    stride: Callable[[Node], int | None] = lambda node: None


@dataclasses.dataclass(frozen=True)
class Site:
    """A place where there is a choice.

    Attributes:
        family: Name of the family.
        node: The operator.
        graph: Where it is; all shapes are known.
        options: The forms that apply, in the target's order. None keeps the node.
    """

    family: str
    node: Node
    graph: Graph
    options: Mapping[str, Replacement | None]

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.node.layer.name


Pick = Callable[[Site], str]


def choose(
    graph: Graph,
    families: Iterable[Family],
    allowed: Callable[[Family, Node], Sequence[str]],
    pick: Pick,
) -> None:
    """Rewrites every operator that has several forms into the one that is picked.

    Args:
        graph: Changed in place; all its shapes must be known.
        families: In the order in which they are rewritten: one may make operators of a later one.
        allowed: Names the forms that may be taken, the preferred first.
        pick: Picks one of a site's options.
    """
    for family in families:
        for node in list(graph.nodes):
            if node not in graph.nodes or not family.matches(graph, node):
                continue
            options = _options(graph, node, family, allowed(family, node))
            if not options:
                continue
            picked = options[pick(Site(family.name, node, graph, options))]
            if picked is not None:
                graph.replace(picked.old, picked.new, picked.why)


def _options(
    graph: Graph, node: Node, family: Family, names: Sequence[str]
) -> dict[str, Replacement | None]:
    options: dict[str, Replacement | None] = {}
    for name in names:
        if name == KEEP:
            options[name] = None
        elif name in family.forms:
            made = family.forms[name](graph, node)
            if made is not None:
                options[name] = made
    return options


def least_work(tile: int | None) -> Pick:
    """Picks the option that multiplies least, the first of equals; without a tile the first.

    Args:
        tile: Output channels that a kernel of the runtime computes at once. A convolution to fewer
            channels takes as long as one to that many.
    """

    def pick(site: Site) -> str:
        if tile is None:
            return next(iter(site.options))
        everything = [r.old for r in site.options.values() if r is not None]
        kept = max(everything, key=len, default=(site.node,))

        def cost(name: str) -> float:
            made = site.options[name]
            if made is None:
                return work(kept, tile)
            rest = [node for node in kept if node not in made.old]
            return work([*made.new, *rest], tile)

        return min(site.options, key=cost)

    return pick


def work(nodes: Sequence[Node], tile: int) -> float:
    """Counts multiplications of convolutions, output channels in whole tiles."""
    total = 0.0
    for node in nodes:
        layer = node.layer
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            total += math.prod(known(node.output)) * math.prod(layer.kernel_size)
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            # A transposed convolution multiplies for every pixel that comes in.
            transposed = isinstance(layer, keras.layers.Conv2DTranspose)
            pixels = known(node.inputs[0] if transposed else node.output)[:-1]
            channels = known(node.inputs[0])[-1] // getattr(layer, "groups", 1)
            columns = -(-layer.filters // tile) * tile
            cost = math.prod((*pixels, *layer.kernel_size, channels, columns))
            total += _TRANSPOSED_COST * cost if transposed else cost
    return total


def known(value: Value) -> tuple[int, ...]:
    """The shape of a value, all of which is known."""
    return tuple(side for side in value.shape if side is not None)


class Wiring:
    """New nodes, one after the other.

    Attributes:
        nodes: Those added so far.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []

    def add(self, layer: Any, *inputs: Value) -> Value:
        """Adds a layer and returns what it makes."""
        shapes = [value.shape for value in inputs]
        shape = layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
        made = Value(tuple(shape), "float32")
        self.nodes.append(Node(layer, list(inputs), [made], call_of(len(inputs))))
        return made

    def replace(self, old: Sequence[Node], made: Value, why: str) -> Replacement:
        """Puts what was made in the place of the last output of `old`."""
        output = old[-1].outputs[-1]
        for node in self.nodes:
            node.inputs = [output if value is made else value for value in node.inputs]
            node.outputs = [output if value is made else value for value in node.outputs]
        return Replacement(tuple(old), tuple(self.nodes), why)


def call_of(count: int) -> Callable[..., Any]:
    """Calls a layer as one of so many inputs is called."""
    if count == 1:
        return lambda layer, tensors: layer(*tensors)
    return lambda layer, tensors: layer(tensors)
