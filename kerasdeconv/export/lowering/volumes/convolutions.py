"""Convolutions over volumes as convolutions over pictures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.fold import weights
from kerasdeconv.export.lowering.forms import transposed_reach
from kerasdeconv.export.lowering.rewrites import known
from kerasdeconv.export.lowering.volumes.folding import (
    Folding,
    channels_last,
    interleave,
    window,
)
from kerasdeconv.graph import Node, Value
from kerasdeconv.layers.polyphase import phase_taps, same_crop


def convolution(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Conv3D: the window of its kernel's depth, then Conv2D on more channels.

    A convolution in groups is one for each group.
    """
    layer, (x,) = node.layer, inputs
    if not channels_last(layer):
        return None
    if layer.groups == 1:
        before = _nearest_before(fold, node)
        if before is not None:
            return _nearest_convolution(fold, node, before)
    kernel, bias = weights(layer)
    size, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    reach = (size - 1) * dilation + 1
    padding = (0, 0)
    if layer.padding == "same":
        padding = _same_padding(fold.depths[x], reach, stride)
    channels = kernel.shape[-2]
    parts = []
    for i, (group, added) in enumerate(zip(*_in_groups(kernel, bias, layer.groups), strict=True)):
        name, part = layer.name, x
        if layer.groups > 1:
            name = f"{layer.name}_{i}"
            cut = layers.SliceChannels(
                i * channels, channels, name=f"{name}_slice", dtype="float32"
            )
            part = fold.add(cut, x)
        part = window(fold, part, f"{name}_window", size, padding, stride=stride, dilation=dilation)
        parts.append(fold.add(_flat(layer, name, group, added), part))
    if len(parts) == 1:
        return parts[0]
    return fold.add(keras.layers.Concatenate(name=layer.name, dtype="float32"), *parts)


def dense(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Dense, over the channels of each voxel: a 1 x 1 convolution."""
    layer = node.layer
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.units)
    flat = keras.layers.Conv2D(
        layer.units, 1, activation=layer.activation, dtype="float32", name=layer.name
    )
    flat.build((None, None, None, kernel.shape[0]))
    flat.set_weights([kernel[None, None], bias])
    return fold.add(flat, *inputs)


def _in_groups(
    kernel: np.ndarray, bias: np.ndarray, groups: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Kernel and bias of each group: its output channels lie next to each other."""
    return np.split(kernel, groups, axis=-1), np.split(bias, groups)


def _flat(layer: Any, name: str, kernel: np.ndarray, bias: np.ndarray) -> keras.layers.Conv2D:
    """The convolution over pictures for a window and a kernel over volumes."""
    flat = keras.layers.Conv2D(
        kernel.shape[-1],
        layer.kernel_size[1:],
        strides=layer.strides[1:],
        padding=layer.padding,
        dilation_rate=layer.dilation_rate[1:],
        activation=layer.activation,
        dtype="float32",
        name=name,
    )
    joined = slices_on_channels(kernel)
    flat.build((None, None, None, joined.shape[-2]))
    flat.set_weights([joined, bias])
    return flat


def slices_on_channels(kernel: np.ndarray) -> np.ndarray:
    """Turns d x h x w x in x out to h x w x (d * in) x out, for the channels of a window."""
    moved = kernel.transpose(1, 2, 0, 3, 4)
    return moved.reshape(*moved.shape[:2], -1, moved.shape[-1])


def _nearest_before(fold: Folding, node: Node) -> Node | None:
    """The nearest upsampling that an ordinary convolution reads; others may read it, too."""
    if set(node.layer.strides) != {1}:
        return None
    before = fold.graph.producer(node.inputs[0])
    if before is None or type(before.layer) is not keras.layers.UpSampling3D:
        return None
    return before if channels_last(before.layer) else None


def _nearest_convolution(fold: Folding, node: Node, before: Node) -> Value:
    """Conv3D behind a nearest upsampling: the small slices that each phase of the depth sees.

    Taps that see copies of one slice are added up. The pictures are upsampled last, so that the
    rules on pictures find the upsampling right before its convolution.
    """
    layer, name = node.layer, node.layer.name
    x = fold.fold(before.inputs[0])
    kernel, bias = weights(layer)
    factor, *sides = before.layer.size
    depth, grown = fold.depths[x], known(node.output)[1]
    count = -(-grown // factor)  # slices of each phase
    phases = []
    for phase in range(factor):
        part = f"{name}_{phase}" if factor > 1 else name
        offsets = _nearest_offsets(layer, phase, factor)
        first, support = int(offsets.min()), int(np.ptp(offsets)) + 1
        margins = (-first, count - depth + first + support - 1)
        seen = window(fold, x, f"{part}_window", support, margins)
        if set(sides) != {1}:
            large = keras.layers.UpSampling2D(sides, name=f"{part}_up", dtype="float32")
            seen = fold.add(large, seen)
        summed = np.zeros((support, *kernel.shape[1:]))
        np.add.at(summed, offsets - first, kernel)
        phases.append(fold.add(_flat(layer, part, summed, bias), seen))
    made = interleave(fold, phases, f"{name}_interleave")
    return window(fold, made, f"{name}_crop", 1, (0, grown - fold.depths[made]))


def _nearest_offsets(layer: Any, phase: int, factor: int) -> np.ndarray:
    """Which small slice each tap sees along the depth, from the output's own place."""
    reach = (layer.kernel_size[0] - 1) * layer.dilation_rate[0]
    margin = reach // 2 if layer.padding == "same" else 0
    taps = layer.dilation_rate[0] * np.arange(layer.kernel_size[0])
    return (phase + taps - margin) // factor


def transposed_convolution(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Conv3DTranspose: a Conv2DTranspose for each phase of the depth, interleaved."""
    layer, (x,) = node.layer, inputs
    if not channels_last(layer) or set(layer.dilation_rate) != {1}:
        return None
    kernel, bias = weights(layer)  # depth x height x width x out x in
    size, stride, depth = layer.kernel_size[0], layer.strides[0], fold.depths[x]
    extra = layer.output_padding or (None, None, None)
    grown, before = transposed_reach(depth, size, stride, layer.padding, extra[0])
    if size < stride:  # phases that no tap reaches: of zeros
        kernel = np.pad(kernel, [(0, stride - size), *[(0, 0)] * 4])
        size = stride
    taps, first = phase_taps(size, stride, before)
    count = -(-grown // stride)  # slices of each phase
    phases = []
    for phase, row in enumerate(taps):
        (seen,) = np.nonzero(row < size)
        start, support = first + int(seen[0]), int(seen[-1] - seen[0]) + 1
        name = f"{layer.name}_{phase}" if stride > 1 else layer.name
        margins = (-start, count - depth + start + support - 1)
        seen_slices = window(fold, x, f"{name}_window", support, margins)
        part = kernel[row[seen[0] : seen[-1] + 1]]  # support x height x width x out x in
        joined = part.transpose(1, 2, 3, 0, 4)
        flat = keras.layers.Conv2DTranspose(
            layer.filters,
            layer.kernel_size[1:],
            strides=layer.strides[1:],
            padding=layer.padding,
            output_padding=None if layer.output_padding is None else extra[1:],
            activation=layer.activation,
            dtype="float32",
            name=name,
        )
        flat.build((None, None, None, seen_slices.shape[-1]))
        flat.set_weights([joined.reshape(*joined.shape[:3], -1), bias])
        phases.append(fold.add(flat, seen_slices))
    x = interleave(fold, phases, f"{layer.name}_interleave")
    return window(fold, x, f"{layer.name}_crop", 1, (0, grown - fold.depths[x]))


def depthwise(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """DepthwiseConvTranspose: one over pictures for each slice that a phase sees, and their sum."""
    layer, (x,) = node.layer, inputs
    size, *sides = layers.per_axis(layer.kernel_size, 3)
    stride, *steps = layers.per_axis(layer.strides, 3)
    kernel = keras.ops.convert_to_numpy(layer.kernel)  # depth x height x width x channels
    taps, first = phase_taps(size, stride, same_crop(size, stride))
    phases = []
    for phase, row in enumerate(taps):
        parts = []
        for j, tap in enumerate(row):
            if tap == size:
                continue
            name = f"{layer.name}_{phase}_{j}"
            offset = first + j
            moved = window(fold, x, f"{name}_slice", 1, (-offset, offset))
            flat = layers.DepthwiseConvTranspose(tuple(sides), tuple(steps), name=name)
            flat.build((None, None, None, kernel.shape[-1]))
            flat.set_weights([kernel[tap]])
            parts.append(fold.add(flat, moved))
        if not parts:
            return None  # a kernel smaller than its stride
        added = keras.layers.Add(name=f"{layer.name}_{phase}", dtype="float32")
        phases.append(fold.add(added, *parts) if len(parts) > 1 else parts[0])
    return interleave(fold, phases, f"{layer.name}_interleave")


def _same_padding(depth: int, reach: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind, as TensorFlow's "same" has them."""
    total = max((-(-depth // stride) - 1) * stride + reach - depth, 0)
    return total // 2, total - total // 2
