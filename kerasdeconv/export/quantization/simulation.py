"""int8 on a lowered Keras model: any subset of its layers rounded as an int8 file rounds them.

Activations are rounded to 256 levels of a range from samples, with zero exactly among them, kernels
to a scale for each output channel. Biases, and constants that are no kernels, stay in float. Sums
are those of float32, where a file adds integers up exactly and rounds once more: results differ by
a step of the output here and there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.quantization.kernels import kernel_of, rounded_kernel
from kerasdeconv.export.quantization.ranges import LEVELS, find_ranges, tied
from kerasdeconv.export.quantization.scales import Scale, place
from kerasdeconv.graph import Node, Value, read, run

Floats = Mapping[Value, np.ndarray]


def fake_quantize(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Rounds to what integers of 8 bits can say.

    Args:
        values: Any shape.
        low: What the least integer stands for, about: 0 is one of the numbers. 0 at most.
        high: What the greatest integer stands for. 0 at least.

    Returns:
        float32, of the same shape.
    """
    if low == high:
        return np.zeros_like(values, np.float32)
    step = np.float32((high - low) / LEVELS)
    zero = np.float32(np.rint(-low / step))
    rounded = np.rint(values / step)
    np.clip(rounded, -zero, np.float32(LEVELS) - zero, out=rounded)
    return (rounded * step).astype(np.float32, copy=False)


class Simulation:
    """A lowered model of which layers can be rounded one by one.

    Args:
        model: A lowered model, in float32, with static shapes; see `lower_for`, and `without_clip`
            for pixels.
        form: "tflite" or "onnx".
        pixels: Whether the first output is pixels, put out in steps of 1 from 0 to 255.
        kernels: Rounded kernels by layer name; those of other layers are rounded to the nearest.

    Attributes:
        layers: Names of the layers that compute, in order.
        kinds: The class of each.
        outputs: The outputs that are float, in order.
    """

    def __init__(
        self,
        model: keras.Model,
        form: str,
        *,
        pixels: bool = False,
        kernels: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self._graph = read(model)
        self._form = form
        placed = place(self._graph, form)
        self._scales, self._rounded, self._names = placed.scales, placed.rounded, placed.layers
        self._joins = placed.joins
        self.outputs = [v for v in self._graph.outputs if v.dtype.startswith("float")]
        self._clipped = self.outputs[:1] if pixels else []
        for value in self._clipped:
            scale = self._scales[value]
            scale.bounds, scale.fixed = (0.0, 255.0), True
        self.kinds: dict[str, str] = {}
        for node, name in placed.layers.items():
            self.kinds.setdefault(name, type(node.layer).__name__)
        self.layers = list(self.kinds)
        self._fitted = kernels or {}
        self._kernels: dict[int, np.ndarray] = {}

    def calibrate(self, samples: Sequence[Any], method: str) -> None:
        """Takes ranges from samples, as an export does: from what the given kernels make of them.

        Args:
            samples: Arrays of the first input's shape, or lists with one array an input.
            method: One of `ranges.METHODS`. The inputs' ranges are always those of the samples.
        """
        doors = {self._scales[v] for v in self._graph.inputs if v in self._scales}

        def run(sample: Any) -> Iterator[tuple[Scale, np.ndarray]]:
            values = self._values(sample, fitted=True)
            for value in self._rounded:
                if not self._scales[value].fixed:
                    yield self._scales[value], values[value]

        for scale, bounds in find_ranges(run, samples, method, whole=doors).items():
            scale.bounds = bounds
        joins = [
            [s for v in (node.output, *node.inputs) if (s := self._scales.get(v)) and not s.fixed]
            for node in self._joins
        ]
        known = {scale: scale.bounds for join in joins for scale in join}
        for scale, bounds in tied(known, joins).items():
            scale.bounds = bounds

    def floats(self, sample: Any) -> Floats:
        """Computes every value of the graph without rounding."""
        return self._values(sample, fitted=False)

    def _values(self, sample: Any, *, fitted: bool) -> Floats:
        """Computes every value of the graph, with the given rounded kernels or without."""
        parts = sample if isinstance(sample, list) else [sample]
        inputs = [
            np.reshape(part, value.shape)  # type: ignore[type-var]
            for value, part in zip(self._graph.inputs, parts, strict=True)
        ]

        def call(node: Node, tensors: list[Any]) -> list[Any]:
            return self._call(node, tensors, rounded=fitted and node.layer.name in self._fitted)

        values = run(self._graph, inputs, call)
        return {value: keras.ops.convert_to_numpy(tensor) for value, tensor in values.items()}

    def run(
        self, floats: Floats, layers: Collection[str] | None = None, *, inputs: bool = False
    ) -> list[np.ndarray]:
        """Computes the outputs with some layers rounded: their kernels, and what they make.

        Nothing is computed again that reads no rounded value.

        Args:
            floats: What `floats` returned for a sample.
            layers: Their names; None for all.
            inputs: Whether the inputs are rounded too.

        Returns:
            The float outputs, those that are pixels clipped to [0, 255].
        """
        chosen = set(self.layers if layers is None else layers)
        changed: dict[Value, np.ndarray] = {}
        if inputs:
            changed |= {
                v: self._round(v, floats[v]) for v in self._graph.inputs if v in self._scales
            }
        for node in self._graph.nodes:
            mine = self._names.get(node) in chosen
            if not mine and not any(value in changed for value in node.inputs):
                continue
            read_values = [
                keras.ops.convert_to_tensor(changed.get(value, floats[value]))
                for value in node.inputs
            ]
            made = self._call(node, read_values, rounded=mine)
            for value, tensor in zip(node.outputs, made, strict=True):
                array = keras.ops.convert_to_numpy(tensor)
                rounds = mine and value in self._rounded
                changed[value] = self._round(value, array) if rounds else array
        return [self._seen(value, changed.get(value, floats[value])) for value in self.outputs]

    def rounding(self, floats: Floats, layer: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs of what a layer makes and what is left of it when it alone is rounded."""
        pairs = []
        for node, name in self._names.items():
            for value in node.outputs if name == layer else ():
                if value in self._rounded:
                    array = floats[value]
                    scale = self._scales[value]
                    told = self._round(value, array)
                    pixels = any(scale is self._scales[v] for v in self._clipped)
                    pairs.append((np.clip(array, 0, 255) if pixels else array, told))
        return pairs

    def kernels(self, layer: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Pairs of a layer's kernel and its rounded kernel; none for a layer without."""
        nodes = [node for node, name in self._names.items() if name == layer]
        owners = {id(n.layer): n.layer for n in nodes if kernel_of(n.layer) is not None}
        return [
            (keras.ops.convert_to_numpy(kernel_of(owner)), self._kernel(owner))
            for owner in owners.values()
        ]

    def bounds(self, layer: str) -> list[tuple[float, float]]:
        """The ranges of what a layer makes."""
        nodes = [node for node, name in self._names.items() if name == layer]
        return [self._scales[v].bounds for n in nodes for v in n.outputs if v in self._rounded]

    def _call(self, node: Node, tensors: list[Any], *, rounded: bool) -> list[Any]:
        """Computes a node, with its rounded kernel if it is to be."""
        kernel = kernel_of(node.layer) if rounded else None
        swapped = [] if kernel is None else [(kernel, self._kernel(node.layer))]
        with keras.StatelessScope(state_mapping=swapped):
            return keras.tree.flatten(node.call(node.layer, tensors))

    def _kernel(self, layer: Any) -> np.ndarray:
        if id(layer) not in self._kernels:
            fitted = self._fitted.get(layer.name)
            known = rounded_kernel(layer, self._form) if fitted is None else fitted
            self._kernels[id(layer)] = known
        return self._kernels[id(layer)]

    def _round(self, value: Value, array: np.ndarray) -> np.ndarray:
        return fake_quantize(array, *self._scales[value].bounds)

    def _seen(self, value: Value, array: np.ndarray) -> np.ndarray:
        return np.clip(array, 0, 255) if value in self._clipped else array
