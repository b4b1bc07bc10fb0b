"""Input sizes: fixing what a model leaves free, and refusing what it cannot take by name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv.errors import ExportError
from kerasdeconv.graph import Graph, Value, read

_SEARCH = 128  # pixels up and down in which the nearest valid size is looked for


def input_shapes(
    model: keras.Model, size: Sequence[int] | None = None, batch: int = 1
) -> list[tuple[int, ...]]:
    """Fixes the shape of every input.

    Args:
        model: A model whose inputs are batch x sides x channels.
        size: The sides (height, width, and depth first for volumes), for sides that are free. An
            input of less sides than another (a vector, boxes) has no part in it.
        batch: Batch size.

    Returns:
        The shape of each input, batch included.

    Raises:
        ExportError: A side is free and no size is given.
        LoweringError: The model is not functional or was never built.
        ValueError: The size contradicts a fixed side, the network cannot take it, or the batch is
            not positive.
    """
    if batch < 1:
        raise ValueError(f"batch must be 1 or more. Received: {batch}")
    shapes: list[Any] = []
    inputs = read(model).inputs
    rank = max(len(tensor.shape) for tensor in inputs)
    for tensor in inputs:
        sides = tuple(tensor.shape[1:-1])
        if size is not None and len(tensor.shape) == rank:
            if len(size) != len(sides) or min(size, default=1) < 1:
                raise ValueError(
                    f"size must be {len(sides)} positive numbers, one a side. "
                    f"Received: {tuple(size)}"
                )
            if any(have not in (None, want) for have, want in zip(sides, size, strict=True)):
                raise ValueError(f"The model takes the size {sides} alone. Received: {tuple(size)}")
            sides = tuple(size)
        if None in sides:
            remedy = (
                "give size=" if len(tensor.shape) == rank else "build the model with a fixed one"
            )
            raise ExportError(
                f"The input {tensor.name!r} leaves its size open: {remedy}. "
                f"Received: {tensor.shape[1:-1]}"
            )
        shapes.append((batch, *sides, tensor.shape[-1]))
    if not accepts(model, shapes):
        nearest = nearest_sizes(model, shapes[0][1:-1])
        hint = " and ".join(" x ".join(map(str, sides)) for sides in nearest)
        raise ValueError(
            f"The model {model.name!r} cannot take this size"
            + (f"; the nearest {'is' if len(nearest) == 1 else 'are'} {hint}. " if hint else ". ")
            + f"Received: {' x '.join(map(str, shapes[0][1:-1]))}"
        )
    return shapes


def accepts(model: keras.Model, shapes: Sequence[tuple[int, ...]]) -> bool:
    """Says whether a model's layers fit together for these input shapes."""
    graph = read(model)
    try:
        tensors = specs(graph, shapes)
    except ValueError:
        return False
    # A side without pixels is no answer.
    return all(0 not in tensors[value].shape for value in graph.outputs)


def specs(graph: Graph, shapes: Sequence[tuple[int, ...]]) -> dict[Value, keras.KerasTensor]:
    """Works out shape and type of everything that flows in a graph, without computing it.

    Args:
        graph: A model's graph.
        shapes: Shape of each input, batch included.

    Raises:
        ValueError: The layers do not fit together for these shapes.
    """
    tensors = {
        value: keras.KerasTensor(shape, dtype=value.dtype)
        for value, shape in zip(graph.inputs, shapes, strict=True)
    }
    for node in graph.nodes:
        made = node.call(_spec_of(node.layer), [tensors[value] for value in node.inputs])
        tensors.update(zip(node.outputs, keras.tree.flatten(made), strict=True))
    return tensors


def _spec_of(layer: Any) -> Callable[..., Any]:
    """What a layer would put out, without calling it, which would leave a trace in the model."""

    def spec(*args: Any, **kwargs: Any) -> Any:
        if isinstance(layer, keras.layers.Concatenate):
            layer.build([tensor.shape for tensor in args[0]])  # here alone it compares the sides
        if isinstance(layer, keras.layers.EinsumDense):  # it only knows the shape it was built for
            return keras.ops.einsum(layer.equation, args[0], layer.kernel)
        return layer.compute_output_spec(*args, **kwargs)

    return spec


def nearest_sizes(model: keras.Model, sides: Sequence[int]) -> list[tuple[int, ...]]:
    """Finds the next smaller and the next larger size that a model can take.

    Where there are several inputs, all get this size unless theirs is fixed. Sides are searched one
    at a time, the others held at a side that is known to be valid, so that a wrong height does not
    hide a right width.
    """

    def fits(candidate: Sequence[int]) -> bool:
        shapes = []
        for tensor in model.inputs:
            given = tensor.shape[1:-1]
            if len(given) < len(candidate):  # boxes: any number of them
                given = [1 if side is None else side for side in given]
            shapes.append((1, *(candidate if None in given else given), tensor.shape[-1]))
        return accepts(model, shapes)

    steps = itertools.chain.from_iterable((side, -side) for side in range(1, _SEARCH))
    valid = next(
        (
            side
            for side in itertools.chain([max(sides)], (max(sides) + s for s in steps))
            if side > 0 and fits([side] * len(sides))
        ),
        None,
    )
    if valid is None:
        return []
    found = []
    for direction in (-1, 1):
        nearest = []
        for axis, side in enumerate(sides):
            candidates = range(side, max(side + direction * _SEARCH, 0), direction)
            fitting = (
                c
                for c in candidates
                if fits([c if a == axis else valid for a in range(len(sides))])
            )
            nearest.append(next(fitting, 0))
        if tuple(nearest) not in found and fits(nearest):
            found.append(tuple(nearest))
    return found
