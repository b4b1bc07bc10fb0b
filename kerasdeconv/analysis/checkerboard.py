"""Checkerboard patterns: where upsampling treats neighbouring pixels unequally, and how strongly.

Sources: Odena, Dumoulin and Olah, "Deconvolution and checkerboard artifacts" (Distill 2016), for
the uneven overlap of kernels that their stride does not divide; Sugawara, Shiota and Kiya,
"Super-resolution using convolutional neural networks without any checkerboard artifacts" (2018),
for the answer to a constant image as the measure of what is really there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers as ours
from kerasdeconv.analysis.periodic import answer_to_constant
from kerasdeconv.analysis.propagation import follow
from kerasdeconv.errors import AnalysisError
from kerasdeconv.graph import Graph, Node, read
from kerasdeconv.layers import of_rank, per_axis

# From here on a layer's phases are said to differ: float32 rounding stays far below, and one
# hundredth of a picture's range is about what an eye sees.
VISIBLE = 0.01
_DIFFERENT = "its output phases have different weights"

_CONVOLUTIONS = tuple(of_rank("Conv{}D", rank) for rank in (1, 2, 3))
_TRANSPOSED = tuple(of_rank("Conv{}DTranspose", rank) for rank in (1, 2, 3))
_BETWEEN = (  # may stand between a sub-pixel convolution and its shuffle
    *(keras.layers.Activation, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU),
    *(keras.layers.BatchNormalization, keras.layers.Rescaling, keras.layers.Identity),
)


@dataclasses.dataclass(frozen=True)
class UpsamplingLayer:
    """An upsampling layer with weights of its own for each output phase.

    Attributes:
        name: Of the layer.
        kind: Its class; of a sub-pixel convolution, the convolution's.
        kernel_size: One number a spatial axis.
        strides: Upsampling factor, likewise.
        uneven: Along which axes output pixels get different numbers of kernel taps. It is never so
            for a sub-pixel convolution.
        strength: How much the output phases differ for constant inputs, from 0 (not at all) to 1
            (they have nothing in common). See `checkerboard`.
        remedy: What to do about it; empty where there is nothing to do: no output shows a pattern,
            and the kernel overlaps evenly.
    """

    name: str
    kind: str
    kernel_size: tuple[int, ...]
    strides: tuple[int, ...]
    uneven: tuple[bool, ...]
    strength: float
    remedy: str


@dataclasses.dataclass(frozen=True)
class Pattern:
    """What an output shows of a constant image, far from the borders.

    Attributes:
        output: Name of the output.
        period: Pixels after which it repeats at the latest, one number a spatial axis.
        strength: Root mean square of its deviation from each channel's mean, relative to the root
            mean square of all of it; 0 where there is no pattern.
        deviation: The former alone, in the unit of the output.
    """

    output: str
    period: tuple[int, ...]
    strength: float
    deviation: float


@dataclasses.dataclass(frozen=True)
class Checkerboard:
    """What there is of checkerboard patterns in a network.

    Attributes:
        layers: All upsampling layers that could make one, in order of computation.
        outputs: The pattern in each output; empty where it cannot be measured.
        reason: Why it cannot.
    """

    layers: tuple[UpsamplingLayer, ...]
    outputs: tuple[Pattern, ...]
    reason: str = ""


def checkerboard(
    model: keras.Model, value: float = 127.5, size: Sequence[int] | None = None
) -> Checkerboard:
    """Looks for checkerboard patterns, in each upsampling layer and in the network as a whole.

    A layer's strength is that of its linear part with the weights it has, borders and bias left
    out. For a constant input, output phase p answers with the sum G[p] of its kernel's taps (a
    matrix from input to output channels). The strength is |G - mean of G over p| / |G|, Frobenius
    norms over phases and channels: the root mean square of the pattern, relative to that of the
    answer, over all constant inputs whose channels are independent. A batch normalization between
    a sub-pixel convolution and its shuffle counts with its gains.

    Later layers can even out what a layer leaves, and trained weights make them: what shows is the
    pattern at the outputs, which is measured on a constant image with everything in it, biases and
    activations too. It needs no size: an infinite image is computed exactly, as one period.

    Args:
        model: A functional or Sequential model, channels last.
        value: The constant: every number of every input. By default a mean gray in [0, 255].
        size: Sides that the model leaves free, for networks whose layers depend on them.

    Raises:
        LoweringError: The model is subclassed or was never built.
        ValueError: The model cannot take this size.

    Example:
        >>> found = checkerboard(kerasdeconv.models.ESPCN(scale=3))
        >>> [layer.name for layer in found.layers if layer.remedy]
        []
    """
    layers = _layers(read(model))
    try:
        answers = answer_to_constant(follow(model, size, local=True), value)
    except AnalysisError as error:
        return Checkerboard(layers, (), str(error))
    named = zip(model.output_names, answers, strict=True)
    outputs = tuple(_pattern(name, answer) for name, answer in named)
    if all(pattern.strength < VISIBLE for pattern in outputs):
        # What the phases of an evenly overlapping layer have learned does no harm here.
        layers = tuple(
            layer if any(layer.uneven) else dataclasses.replace(layer, remedy="")
            for layer in layers
        )
    return Checkerboard(layers, outputs)


def _pattern(name: str, answer: np.ndarray) -> Pattern:
    places = tuple(range(1, answer.ndim - 1))
    deviation = _rms(answer - answer.mean(axis=places, keepdims=True)) if places else 0.0
    strength = deviation / _rms(answer) if deviation else 0.0
    return Pattern(name, answer.shape[1:-1], strength, deviation)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _layers(graph: Graph) -> tuple[UpsamplingLayer, ...]:
    found: dict[int, UpsamplingLayer] = {}
    for node in graph.nodes:
        layer = node.layer
        if id(layer) in found:
            continue
        if isinstance(layer, (*_TRANSPOSED, ours.DepthwiseConvTranspose)):
            found[id(layer)] = _transposed(layer, len(node.inputs[0].shape) - 2)
        elif type(layer).__name__ == "DepthToSpace" and hasattr(layer, "block_size"):
            subpixel = _subpixel(graph, node)
            if subpixel is not None:
                found[id(layer)] = subpixel
    return tuple(found.values())


def _transposed(layer: Any, rank: int) -> UpsamplingLayer:
    sizes, strides = per_axis(layer.kernel_size, rank), per_axis(layer.strides, rank)
    dilations = per_axis(getattr(layer, "dilation_rate", 1), rank)
    sums, uneven = keras.ops.convert_to_numpy(layer.kernel).astype(np.float64), []
    for axis, (size, stride, dilation) in enumerate(zip(sizes, strides, dilations, strict=True)):
        of_phase = dilation * np.arange(size) % stride == np.arange(stride)[:, None]
        uneven.append(len(set(of_phase.sum(axis=1).tolist())) > 1)
        sums = np.moveaxis(np.tensordot(of_phase.astype(float), sums, axes=(1, axis)), 0, axis)
    strength = _strength(sums, rank)
    remedy = ""
    if any(uneven):
        better = [
            -(-k // s) * s if bad else k for k, s, bad in zip(sizes, strides, uneven, strict=True)
        ]
        remedy = (
            f"kernel {_sides(sizes)} is not divisible by stride {_sides(strides)}: use kernel "
            f"{_sides(better)}, or upsample='resize_nearest'"
        )
    elif strength >= VISIBLE:
        start = (
            "" if isinstance(layer, ours.DepthwiseConvTranspose) else "a BilinearKernel start or "
        )
        remedy = f"{_DIFFERENT}: use {start}upsample='resize_nearest'"
    return UpsamplingLayer(
        layer.name, type(layer).__name__, sizes, strides, tuple(uneven), strength, remedy
    )


def _subpixel(graph: Graph, node: Node) -> UpsamplingLayer | None:
    """Reads a convolution that ends in a depth to space; None for any other depth to space."""
    gain: Any = 1.0
    producer = graph.producer(node.inputs[0])
    while producer is not None and isinstance(producer.layer, _BETWEEN):
        if isinstance(producer.layer, keras.layers.BatchNormalization):
            gain = gain * _gain(producer.layer)
        producer = graph.producer(producer.inputs[0])
    if producer is None or not isinstance(producer.layer, _CONVOLUTIONS):
        return None
    convolution, rank = producer.layer, len(node.inputs[0].shape) - 2
    blocks = per_axis(node.layer.block_size, rank)
    kernel = keras.ops.convert_to_numpy(convolution.kernel).astype(np.float64) * gain
    sums = kernel.sum(axis=tuple(range(rank)))  # inputs x (phases * channels), phase first
    strength = _strength(np.moveaxis(sums.reshape(len(sums), *blocks, -1), 0, -1), rank)
    remedy = ""
    if strength >= VISIBLE:
        start = f"an ICNR({int(np.prod(blocks))}) start"
        remedy = f"{_DIFFERENT}: use {start} or upsample='resize_nearest'"
    kind, sizes = type(convolution).__name__, per_axis(convolution.kernel_size, rank)
    return UpsamplingLayer(convolution.name, kind, sizes, blocks, (False,) * rank, strength, remedy)


def _gain(norm: keras.layers.BatchNormalization) -> np.ndarray:
    variance = keras.ops.convert_to_numpy(norm.moving_variance).astype(np.float64)
    gain = 1 / np.sqrt(variance + norm.epsilon)
    return gain * keras.ops.convert_to_numpy(norm.gamma) if norm.scale else gain


def _strength(sums: np.ndarray, rank: int) -> float:
    """How much sums of taps, phases x channels, differ between phases."""
    phases = tuple(range(rank))
    total = np.linalg.norm(sums)
    return (
        float(np.linalg.norm(sums - sums.mean(axis=phases, keepdims=True)) / total)
        if total
        else 0.0
    )


def _sides(numbers: Sequence[int]) -> str:
    return str(numbers[0]) if len(set(numbers)) == 1 else " x ".join(map(str, numbers))
