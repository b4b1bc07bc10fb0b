"""Puts the kernels of a lowered model on steps of 8 bits, with the least error on samples.

The converters then find whole numbers and have nothing left to round.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.function import typed_inputs
from kerasdeconv.export.lowering.fold import weights as weights_of
from kerasdeconv.export.quantization.kernels import adds_pairs, kernel_scales
from kerasdeconv.export.quantization.rounding import round_weights
from kerasdeconv.graph import read, run

_EXAMPLES = 8192  # places at which a layer's inputs are looked at, over all samples
# Inputs of an output above which their energies take too long to invert.
_INPUTS = 5000


def fitted_kernels(
    model: keras.Model, samples: Sequence[Any], *, format: str, seed: int = 0
) -> dict[str, np.ndarray]:
    """Rounds the kernels of convolutions and dense layers to the steps of 8 bits.

    Transposed and 3D convolutions, and layers with more than 5000 inputs an output, are left to
    the converter, which rounds each weight to the nearest step.

    Args:
        model: A lowered model.
        samples: Arrays of the input's shape, or lists with one array an input.
        format: "tflite" or "onnx": whose steps.
        seed: Of the places at which the layers' inputs are looked at.

    Returns:
        Kernels, float32, of the same shapes, by layer name.
    """
    layers = [layer for layer in model.layers if _takes(layer)]
    if not layers:
        return {}
    inputs = _inputs_of(model, layers, samples, seed)
    found = {}
    for layer in layers:
        kernel, _ = weights_of(layer)
        fitted = np.empty_like(kernel)
        for place, seen in _outputs(layer, inputs.pop(layer.name)):
            fitted[place] = _fitted(kernel[place], seen, adds_pairs(layer, format))
        found[layer.name] = fitted
    return found


@contextlib.contextmanager
def with_kernels(model: keras.Model, kernels: Mapping[str, np.ndarray]) -> Iterator[None]:
    """Puts other kernels into a model, and its own back afterwards."""
    own = {name: model.get_layer(name).kernel for name in kernels}
    before = {name: keras.ops.convert_to_numpy(kernel) for name, kernel in own.items()}
    try:
        for name, kernel in own.items():
            kernel.assign(kernels[name])
        yield
    finally:
        for name, kernel in own.items():
            kernel.assign(before[name])


def _takes(layer: Any) -> bool:
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.Dense)
    return type(layer) in kinds and math.prod(layer.kernel.shape[:-1]) <= _INPUTS


def _fitted(kernel: np.ndarray, inputs: np.ndarray, paired: bool) -> np.ndarray:
    """Rounds the weights of outputs that read the same inputs: (*kernel, outputs)."""
    flat = kernel.reshape(-1, kernel.shape[-1])
    scales = kernel_scales(flat.T, paired=paired)
    fitted = (round_weights(flat, inputs, scales, paired=paired) * scales).astype(np.float32)
    # Another scale would round everything anew: such an output is left to the converter.
    same = np.isclose(kernel_scales(fitted.T, paired=paired), scales, rtol=1e-6, atol=0)
    return np.where(same, fitted, flat).reshape(kernel.shape)


def _outputs(layer: Any, seen: np.ndarray) -> Iterator[tuple[Any, np.ndarray]]:
    """Parts of a kernel whose outputs read the same inputs, and examples of these.

    Args:
        layer: The layer.
        seen: (examples, *kernel sides, channels).
    """
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        for channel in range(seen.shape[-1]):
            yield np.s_[..., channel, :], seen[..., channel].reshape(len(seen), -1)
        return
    groups = getattr(layer, "groups", 1)
    inputs, outputs = seen.shape[-1] // groups, layer.kernel.shape[-1] // groups
    for group in range(groups):
        part = seen[..., group * inputs : (group + 1) * inputs]
        yield np.s_[..., group * outputs : (group + 1) * outputs], part.reshape(len(seen), -1)


def _inputs_of(
    model: keras.Model, layers: Sequence[Any], samples: Sequence[Any], seed: int
) -> dict[str, np.ndarray]:
    """What layers read at random places: (examples, *kernel sides, channels) by layer name."""
    import tensorflow as tf

    graph = read(model)
    names = {layer.name for layer in layers}
    nodes = [node for node in graph.nodes if node.layer.name in names]

    @tf.function(autograph=False)  # several times as fast as layer by layer
    def read_by_layers(*inputs: Any) -> list[Any]:
        values = run(graph, inputs)
        return [values[node.inputs[0]] for node in nodes]

    random = np.random.default_rng(seed)
    count = -(-_EXAMPLES // len(samples))
    found: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for sample in samples:
        seen = read_by_layers(*typed_inputs(model, sample))
        for node, values in zip(nodes, seen, strict=True):
            patches = _patches(node.layer, keras.ops.convert_to_numpy(values), count, random)
            found[node.layer.name].append(patches)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _patches(layer: Any, values: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """What a layer's outputs are computed from, at random places."""
    if isinstance(layer, keras.layers.Dense):
        rows = values.reshape(-1, values.shape[-1])
        return rows[random.integers(len(rows), size=count)]
    spans = [(k - 1) * d + 1 for k, d in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    sides = values.shape[1:3]
    if layer.padding == "same":
        outputs = [-(-side // s) for side, s in zip(sides, layer.strides, strict=True)]
        need = [
            max((o - 1) * s + span - side, 0)
            for o, s, span, side in zip(outputs, layer.strides, spans, sides, strict=True)
        ]
        values = np.pad(values, ((0, 0), *((n // 2, n - n // 2) for n in need), (0, 0)))
    else:
        steps = zip(sides, spans, layer.strides, strict=True)
        outputs = [(side - span) // s + 1 for side, span, s in steps]
    batch = random.integers(len(values), size=count)[:, None, None]
    rows, columns = (
        random.integers(o, size=count)[:, None] * s + np.arange(k) * d
        for o, s, k, d in zip(
            outputs, layer.strides, layer.kernel_size, layer.dilation_rate, strict=True
        )
    )
    return values[batch, rows[:, :, None], columns[:, None, :]]
