"""Lowering: a Keras model rewritten, exactly, into the form that a target runs best.

`lower(model)` computes the same function as `model`, to float rounding. It is a small compiler: the
model is read as a graph (`kerasdeconv.graph`), foldings are applied until none changes anything
(`fold`), volumes become pictures (`volumes`), and where an operator has several forms (`transpose`,
`resize`, `shuffle`, `activations`) one is picked: by the target's profile here, by measurement in
`kerasdeconv.export.tuning`. `rewrites` says what a rule is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import keras

from kerasdeconv.export.lowering import (
    activations,
    fold,
    pooling,
    resize,
    shuffle,
    transpose,
    volumes,
)
from kerasdeconv.export.lowering.head import change_head
from kerasdeconv.export.lowering.normalization import GROUP_NORMALIZATION
from kerasdeconv.export.lowering.rewrites import (
    KEEP,
    Family,
    Folding,
    Pick,
    choose,
    least_work,
)
from kerasdeconv.export.lowering.volumes.sums import DEPTH_CONVOLUTION
from kerasdeconv.export.targets import Target, load_target
from kerasdeconv.graph import Graph, Node, build, read
from kerasdeconv.layers import folded
from kerasdeconv.sizes import input_shapes, specs

__all__ = ["Lowered", "lower", "lower_for", "lower_to_form", "static", "with_head"]

_FOLDINGS: tuple[Folding, ...] = (
    fold.fix_crop,
    resize.fix_resize,
    pooling.fix_bins,
    fold.split_separable,
    fold.fold_into_convolution_before,
    fold.fold_into_convolution_after,
    fold.fuse_activation,
    fold.fuse_activation_into_branches,
    fold.bias_everywhere,
)
# In this order: what upsamples may leave a depth to space.
FAMILIES: tuple[Family, ...] = (
    DEPTH_CONVOLUTION,
    activations.TANH,
    transpose.TRANSPOSED,
    transpose.DEPTHWISE,
    resize.NEAREST_CONVOLUTION,
    resize.NEAREST,
    resize.BILINEAR,
    pooling.GLOBAL_AVERAGE,
    pooling.AVERAGE,
    shuffle.DEPTH_TO_SPACE,
    GROUP_NORMALIZATION,
    *activations.FAMILIES,
)

Allowed = Callable[[Family, Node], Sequence[str]]


@dataclasses.dataclass(frozen=True)
class Lowered:
    """A lowered model.

    Attributes:
        model: In float32, with static shapes and weights of its own.
        rewrites: What was rewritten, one line each.
    """

    model: keras.Model
    rewrites: list[str]


def lower_for(
    model: keras.Model,
    input_shapes: Sequence[tuple[int, ...]],
    target: Target,
    precision: str,
    *,
    head: str | None = None,
    fold_doors: bool = False,
    pick: Pick | None = None,
) -> Lowered:
    """Lowers a model for a target and a precision.

    Args:
        model: Functional or Sequential, channels last.
        input_shapes: Shape of each input, batch included.
        target: Whose profile says which forms may be taken.
        precision: For which precision.
        head: See `kerasdeconv.export.export`.
        fold_doors: See `kerasdeconv.export.export`.
        pick: Picks a form where there are several; the profile's default without it.

    Raises:
        LoweringError: The model is not functional, never built, or cannot be copied.
        ValueError: The layers cannot take these shapes.
    """
    return _lower(
        model,
        input_shapes,
        head=head,
        fold_depth=target.folds_volumes(precision),
        fold_doors=fold_doors,
        allowed=forms_for(target, precision),
        pick=pick or least_work(target.channel_tile),
    )


def lower_to_form(
    model: keras.Model,
    input_shapes: Sequence[tuple[int, ...]],
    *,
    form: str = KEEP,
    head: str | None = None,
    fold_depth: bool = False,
) -> tuple[keras.Model, list[str]]:
    """Lowers a model with one form for all its operators, where it applies, and "keep" elsewhere.

    Args:
        model: Functional or Sequential, channels last.
        input_shapes: Shape of each input, batch included.
        form: Name of the form.
        head: See `kerasdeconv.export.export`.
        fold_depth: Whether volumes become pictures, see `volumes`.

    Returns:
        The model, and what was rewritten, one line each.

    Raises:
        LoweringError: The model is not functional, never built, or cannot be copied.
        ValueError: The layers cannot take these shapes.
    """
    lowered = _lower(
        model,
        input_shapes,
        head=head,
        fold_depth=fold_depth,
        allowed=lambda family, node: (form, KEEP),
        pick=least_work(None),
    )
    return lowered.model, lowered.rewrites


def _lower(
    model: keras.Model,
    input_shapes: Sequence[tuple[int, ...]],
    *,
    head: str | None,
    fold_depth: bool,
    allowed: Allowed,
    pick: Pick,
    fold_doors: bool = False,
) -> Lowered:
    graph = read(model)
    change_head(graph, head)
    fix_shapes(graph, input_shapes)
    apply_foldings(graph)
    if fold_depth and any(len(v.shape) == 5 for n in graph.nodes for v in (*n.inputs, *n.outputs)):
        volumes.fold_volumes(graph, fold_doors)
    choose(graph, FAMILIES, allowed, pick)
    graph.rewrites += [
        f"{node.layer.name}: kept, {why}"
        for node in graph.nodes
        if (why := _kept(node, fold_depth))
    ]
    shapes = [value.shape for value in graph.inputs]
    return Lowered(build(graph, shapes, model.name), graph.rewrites)


def _kept(node: Node, fold_depth: bool) -> str | None:
    """Why no rule could do anything with a layer that it may concern; None for all others."""
    layer = node.layer
    doors = (folded.FoldDepth, folded.UnfoldDepth)
    if fold_depth and len(node.outputs[0].shape) == 5 and not isinstance(layer, doors):
        return "on five axes"
    if isinstance(layer, keras.layers.Layer):
        home = type(layer).__module__.partition(".")[0]
        if home not in ("keras", "kerasdeconv"):
            return f"no rule knows {type(layer).__name__}"
        if getattr(layer, "data_format", None) == "channels_first":
            return "its channels come first"
        if isinstance(layer, transpose.KINDS) and max(layer.dilation_rate) > 1:
            return "it is dilated"
    return None


def forms_for(target: Target, precision: str) -> Allowed:
    """Names the forms that a target takes in a precision, the preferred first."""

    def allowed(family: Family, node: Node) -> Sequence[str]:
        return target.forms(family.name, precision, stride=family.stride(node))

    return allowed


def lower(
    model: keras.Model,
    target: str | Target,
    size: Sequence[int] | None = None,
    *,
    precision: str = "float32",
    batch: int = 1,
    head: str | None = None,
    fold_doors: bool = False,
) -> keras.Model:
    """Rewrites a model, exactly, into the form that a target prefers by its profile.

    `export` goes on from here and may choose other forms by measurement.

    Args:
        model: Functional or Sequential, channels last.
        target: A target or its name.
        size: Height and width (depth first for volumes), where the model leaves them open.
        precision: For which precision; forms differ.
        batch: Batch size.
        head: As for `export`.
        fold_doors: As for `export`.

    Returns:
        A new float32 model with static shapes and weights of its own.

    Raises:
        LoweringError: The model is not functional, never built, or cannot be copied.
        TargetError: No such target, or it does not take the precision.
        ValueError: The network cannot take the size.
    """
    target = load_target(target) if isinstance(target, str) else target
    shapes = input_shapes(model, size, batch)
    if fold_doors:
        require_volumes(shapes, target, precision)
    return lower_for(model, shapes, target, precision, head=head, fold_doors=fold_doors).model


def require_volumes(shapes: Sequence[tuple[int, ...]], target: Target, precision: str) -> None:
    """Refuses folded doors where there is nothing to fold.

    Raises:
        ValueError: No input is a volume, or the target takes volumes with five axes.
    """
    if not any(len(shape) == 5 for shape in shapes):
        raise ValueError(
            "fold_doors is for networks on volumes, and must be False for others. "
            f"Received: True for an input of {' x '.join(map(str, shapes[0]))}"
        )
    if not target.folds_volumes(precision):
        raise ValueError(
            f"{target.name} takes volumes as they are in {precision}: fold_doors must be False. "
            "Received: True"
        )


def static(
    model: keras.Model, input_shapes: Sequence[tuple[int, ...]], head: str | None = None
) -> keras.Model:
    """Returns the model with static shapes, and another head if asked for: nothing lowered."""
    graph = read(model)
    change_head(graph, head)
    return build(graph, list(input_shapes), model.name)


def with_head(model: keras.Model, head: str | None) -> keras.Model:
    """Returns the model with another head and nothing else changed."""
    if head is None:
        return model
    graph = read(model)
    change_head(graph, head)
    return build(graph, [value.shape for value in graph.inputs], model.name)


def fix_shapes(graph: Graph, input_shapes: Sequence[tuple[int | None, ...]]) -> None:
    """Works out the shape of everything that flows.

    Raises:
        ValueError: The layers cannot take these shapes.
    """
    for value, tensor in specs(graph, list(input_shapes)).items():  # type: ignore[arg-type]
        value.shape = tuple(tensor.shape)


def apply_foldings(graph: Graph, foldings: Sequence[Folding] = _FOLDINGS) -> None:
    """Applies foldings, in their order, to every node until none changes anything."""
    changed = True
    while changed:
        changed = any(rule(graph, node) for rule in foldings for node in list(graph.nodes))
