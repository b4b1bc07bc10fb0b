"""Lowering: a Keras model rewritten, exactly, into the form that a target runs best.

`lower(model)` computes the same function as `model`, to float rounding. A rule is one function
`rule(graph, node) -> bool` that rewrites the graph around a node if it can; see `fold`,
`transpose` and `volumes`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from kerasdeconv.export.lowering import fold, transpose, volumes
from kerasdeconv.export.lowering.head import change_head
from kerasdeconv.export.targets import Target, load_target
from kerasdeconv.graph import Graph, Node, build, read
from kerasdeconv.sizes import input_shapes

__all__ = ["lower", "lower_to_form", "with_head"]

Rule = Callable[[Graph, Node], bool]

_FOLDING: tuple[Rule, ...] = (
    fold.move_rescaling_before_shuffle,
    fold.move_rescaling_behind_reflection,
    fold.fold_rescaling,
    fold.fold_batch_norm,
    fold.fuse_activation,
    fold.bias_everywhere,
)

# How transposed convolutions may be run. A target's profile orders them by preference.
_FORM_RULES: dict[str, tuple[Rule, ...]] = {"keep": (), "joint": (transpose.joint,)}


def lower_to_form(
    model: keras.Model,
    input_shapes: Sequence[tuple[int | None, ...]],
    *,
    form: str = "keep",
    head: str | None = None,
    fold_depth: bool = False,
) -> tuple[keras.Model, list[str]]:
    """Lowers a model with one form for its transposed convolutions.

    Args:
        model: Functional or Sequential, channels last.
        input_shapes: Shape of each input, batch included.
        form: One of `kerasdeconv.export.targets.FORMS`.
        head: See `kerasdeconv.export.export`.
        fold_depth: Whether volumes become pictures, see `volumes`.

    Returns:
        A new float32 model, and what was rewritten, one line each.

    Raises:
        LoweringError: The model is not functional, never built, or cannot be copied.
        ValueError: The layers cannot take these shapes.
    """
    graph = read(model)
    change_head(graph, head)
    apply_rules(graph, _FOLDING)
    if fold_depth and any(len(v.shape) == 5 for n in graph.nodes for v in (*n.inputs, *n.outputs)):
        rewrites = graph.rewrites
        graph = read(build(graph, list(input_shapes), model.name))  # all shapes are known in it
        volumes.fold_volumes(graph)
        graph.rewrites = [*rewrites, *graph.rewrites]
    apply_rules(graph, _FORM_RULES[form])
    return build(graph, list(input_shapes), model.name), graph.rewrites


def lower(
    model: keras.Model,
    target: str | Target,
    size: Sequence[int] | None = None,
    *,
    precision: str = "float32",
    batch: int = 1,
    head: str | None = None,
) -> keras.Model:
    """Rewrites a model, exactly, into the form that a target prefers by its profile.

    `export` goes on from here and may choose another form by measurement.

    Args:
        model: Functional or Sequential, channels last.
        target: A target or its name.
        size: Height and width (depth first for volumes), where the model leaves them open.
        precision: For which precision; forms differ.
        batch: Batch size.
        head: As for `export`.

    Returns:
        A new float32 model with static shapes and weights of its own.

    Raises:
        LoweringError: The model is not functional, never built, or cannot be copied.
        TargetError: No such target.
        ValueError: The network cannot take the size.
    """
    target = load_target(target) if isinstance(target, str) else target
    form = target.forms("transposed_convolution", precision)[0]
    shapes = input_shapes(model, size, batch)
    folds = target.folds_volumes(precision)
    return lower_to_form(model, shapes, form=form, head=head, fold_depth=folds)[0]


def with_head(model: keras.Model, head: str | None) -> keras.Model:
    """Returns the model with another head and nothing else changed."""
    if head is None:
        return model
    graph = read(model)
    change_head(graph, head)
    return build(graph, [value.shape for value in graph.inputs], model.name)


def apply_rules(graph: Graph, rules: Sequence[Rule]) -> None:
    """Applies rules, in their order, to every node until none changes anything."""
    changed = True
    while changed:
        changed = any(rule(graph, node) for rule in rules for node in list(graph.nodes))
