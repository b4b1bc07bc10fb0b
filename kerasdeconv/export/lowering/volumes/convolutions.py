"""Convolutions over volumes as convolutions over pictures."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.volumes.folding import Folding, channels_last, interleave, window
from kerasdeconv.graph import Node, Value
from kerasdeconv.layers.polyphase import phase_taps, same_crop


def convolution(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Conv3D: the window of its kernel's depth, then Conv2D on more channels."""
    layer, (x,) = node.layer, inputs
    if not channels_last(layer) or layer.groups != 1:
        return None
    kernel, bias = _weights(layer)
    size, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    reach = (size - 1) * dilation + 1
    padding = (0, 0)
    if layer.padding == "same":
        padding = _same_padding(fold.depths[x], reach, stride)
    x = window(fold, x, f"{layer.name}_window", size, padding, stride=stride, dilation=dilation)
    flat = keras.layers.Conv2D(
        layer.filters,
        layer.kernel_size[1:],
        strides=layer.strides[1:],
        padding=layer.padding,
        dilation_rate=layer.dilation_rate[1:],
        activation=layer.activation,
        dtype="float32",
        name=layer.name,
    )
    flat.build((None, None, None, x.shape[-1]))
    flat.set_weights([slices_on_channels(kernel), bias])
    return fold.add(flat, x)


def slices_on_channels(kernel: np.ndarray) -> np.ndarray:
    """Turns d x h x w x in x out to h x w x (d * in) x out, for the channels of a window."""
    moved = kernel.transpose(1, 2, 0, 3, 4)
    return moved.reshape(*moved.shape[:2], -1, moved.shape[-1])


def transposed_convolution(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Conv3DTranspose: a Conv2DTranspose for each phase of the depth, interleaved."""
    layer, (x,) = node.layer, inputs
    if (
        not channels_last(layer)
        or layer.output_padding is not None
        or set(layer.dilation_rate) != {1}
    ):
        return None
    kernel, bias = _weights(layer)  # depth x height x width x out x in
    size, stride, depth = layer.kernel_size[0], layer.strides[0], fold.depths[x]
    if size < stride:  # phases that no tap reaches: of zeros
        kernel = np.pad(kernel, [(0, stride - size), *[(0, 0)] * 4])
        size = stride
    before = same_crop(size, stride) if layer.padding == "same" else 0
    grown = depth * stride + (0 if layer.padding == "same" else size - stride)
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


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    return kernel, bias
