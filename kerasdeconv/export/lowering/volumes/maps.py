"""What is not a convolution: pooling, norms, resizing, and what treats each position alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.export.lowering.normalization import on_four_axes
from kerasdeconv.export.lowering.rewrites import known
from kerasdeconv.export.lowering.volumes.folding import (
    Folding,
    channels_last,
    interleave,
    window,
)
from kerasdeconv.graph import Node, Value
from kerasdeconv.layers import folded


def pooling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """MaxPooling3D and AveragePooling3D: over pictures, then over the depth.

    Both are separable; an average over a border leaves out as many pixels along each axis.
    """
    layer, (x,) = node.layer, inputs
    if not channels_last(layer):
        return None
    mode = "max" if isinstance(layer, keras.layers.MaxPooling3D) else "average"
    (size, *sides), (stride, *steps) = layer.pool_size, layer.strides
    if set(sides) != {1} or set(steps) != {1}:
        kind = keras.layers.MaxPooling2D if mode == "max" else keras.layers.AveragePooling2D
        flat = kind(sides, steps, padding=layer.padding, name=layer.name, dtype="float32")
        x = fold.add(flat, x)
    if size == stride == 1:
        return x
    deep = folded.DepthPooling(
        fold.depths[x],
        size,
        stride=stride,
        padding=layer.padding,
        mode=mode,
        name=f"{layer.name}_depth",
        dtype="float32",
    )
    return fold.add(deep, x, depth=deep.output_depth)


def global_pooling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """GlobalMaxPooling3D and GlobalAveragePooling3D: over all slices as one picture."""
    layer, (x,) = node.layer, inputs
    if not channels_last(layer):
        return None
    merged = fold.add(
        folded.MergeDepth(fold.depths[x], name=f"{layer.name}_merge", dtype="float32"), x, depth=1
    )
    maximum = isinstance(layer, keras.layers.GlobalMaxPooling3D)
    kind = keras.layers.GlobalMaxPooling2D if maximum else keras.layers.GlobalAveragePooling2D
    flat = kind(keepdims=layer.keepdims, name=layer.name, dtype="float32")
    return fold.add(flat, merged)


def group_norm(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """GroupNormalization, over all slices of a volume."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4):
        return None
    return fold.add(on_four_axes(layer, known(x)[-1], fold.depths[x]), x)


def batch_norm(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """BatchNormalization that could not be folded into a convolution."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4):
        return None
    return fold.add(_copied(layer, known(x)[-1], axis=-1), x)


def prelu(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """PReLU with slopes that do not differ in space."""
    layer, (x,) = node.layer, inputs
    if set(layer.alpha.shape[:-1]) != {1}:
        return None
    return fold.add(_copied(layer, known(x)[-1], shared_axes=[1, 2]), x)


def softmax(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Softmax over the channels."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4) or len(inputs) != 1:
        return None
    return fold.add(keras.layers.Softmax(axis=-1, name=layer.name, dtype="float32"), x)


def upsampling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """UpSampling3D: nearest in the picture, and each slice as often."""
    layer, (x,) = node.layer, inputs
    if not channels_last(layer):
        return None
    if set(layer.size[1:]) != {1}:
        flat = keras.layers.UpSampling2D(layer.size[1:], name=layer.name, dtype="float32")
        x = fold.add(flat, x)
    return interleave(fold, [x] * layer.size[0], f"{layer.name}_interleave")


def linear_upsampling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """LinearUpsampling: bilinear in the picture, linear along the depth."""
    layer, (x,) = node.layer, inputs
    depth, *sides = layers.per_axis(layer.size, 3)
    if set(sides) != {1}:
        flat = keras.layers.UpSampling2D(
            tuple(sides), interpolation="bilinear", name=layer.name, dtype="float32"
        )
        x = fold.add(flat, x)
    if depth == 1:
        return x
    deep = folded.DepthLinear(fold.depths[x], depth, name=f"{layer.name}_depth", dtype="float32")
    return fold.add(deep, x, depth=fold.depths[x] * depth)


def padding(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """ZeroPadding3D: zeros around the picture, and slices of zeros."""
    layer, (x,) = node.layer, inputs
    if not channels_last(layer):
        return None
    (before, after), *sides = layer.padding
    if any(margin for side in sides for margin in side):
        x = fold.add(keras.layers.ZeroPadding2D(sides, name=layer.name, dtype="float32"), x)
    return window(fold, x, f"{layer.name}_depth", 1, (before, after))


def cropping(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Cropping3D: of the picture, and of slices."""
    layer = node.layer
    return _cropped(fold, layer.name, inputs[0], layer.cropping) if channels_last(layer) else None


def crop_like(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """CropLike, whose margins are known where shapes are."""
    source, like = (known(value)[1:-1] for value in node.inputs)
    starts = [
        (a - b) // 2 if node.layer.offset is None else node.layer.offset
        for a, b in zip(source, like, strict=True)
    ]
    margins = [(s, a - b - s) for s, a, b in zip(starts, source, like, strict=True)]
    return _cropped(fold, node.layer.name, inputs[0], margins)


def depth_to_space(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """DepthToSpace: in the picture for each slice of the block, interleaved."""
    (x,), name = inputs, node.layer.name
    deep, high, wide = block = layers.per_axis(node.layer.block_size, 3)
    if max(block) == 1:
        return x
    square = high == wide > 1  # as depth to space of pictures is
    count = deep if square else deep * high
    channels, parts = known(x)[-1] // count, [x]
    if count > 1:
        cuts = [
            layers.SliceChannels(i * channels, channels, name=f"{name}_{i}", dtype="float32")
            for i in range(count)
        ]
        parts = [fold.add(cut, x) for cut in cuts]
    if not square:
        blocks = folded.FoldedBlocks(block, name=name, dtype="float32")
        return fold.add(blocks, *parts, depth=fold.depths[x] * deep)
    phases = []
    for i, part in enumerate(parts):
        shuffle = layers.DepthToSpace((high, wide), name=f"{name}_shuffle_{i}", dtype="float32")
        phases.append(fold.add(shuffle, part))
    return interleave(fold, phases, f"{name}_interleave")


def pointwise(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Activations."""
    config = {**node.layer.get_config(), "dtype": "float32"}
    return fold.add(type(node.layer).from_config(config), *inputs)


def rescaling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Rescaling by one factor, or by one a channel."""
    if max(np.ndim(node.layer.scale), np.ndim(node.layer.offset)) > 1:
        return None
    return pointwise(fold, node, inputs)


def merging(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Sums, products and the like, whose inputs may be one voxel or one slice deep."""
    return by_position(fold, node, inputs, lambda maps: pointwise(fold, node, maps))


def by_position(
    fold: Folding,
    node: Node,
    inputs: list[Value],
    apply: Callable[[list[Value]], Value | None],
) -> Value | None:
    """Applies what treats each position alone to maps that may be less deep than others.

    Against what is one voxel for each channel, the slices of the others are laid below each other.
    A single slice is repeated for every slice of the others.
    """
    depth, name = max(fold.depths[x] for x in inputs), node.layer.name
    shallow = [fold.depths[x] < depth for x in inputs]
    if not any(shallow):
        return apply(inputs)
    at_one_voxel = all(
        known(x)[1:3] == (1, 1) for x, is_shallow in zip(inputs, shallow, strict=True) if is_shallow
    )
    maps = []
    for i, x in enumerate(inputs):
        if at_one_voxel:
            merge = folded.MergeDepth(depth, name=f"{name}_merge_{i}", dtype="float32")
            maps.append(x if shallow[i] else fold.add(merge, x, depth=1))
        else:
            maps.append(interleave(fold, [x] * depth, f"{name}_{i}") if shallow[i] else x)
    made = apply(maps)
    if made is None or fold.depths[made] == depth:
        return made
    split = folded.SplitDepth(depth, name=f"{name}_split", dtype="float32")
    return fold.add(split, made, depth=depth)


def concatenation(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Concatenation of channels."""
    if node.layer.axis not in (-1, 4):
        return None
    layer = keras.layers.Concatenate(name=node.layer.name, dtype="float32")
    return fold.add(layer, *inputs)


def nothing(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """What does nothing in inference."""
    return inputs[0]


def _cropped(fold: Folding, name: str, x: Value, margins: Any) -> Value:
    (before, after), *sides = margins
    if any(margin for side in sides for margin in side):
        x = fold.add(keras.layers.Cropping2D(tuple(sides), name=name, dtype="float32"), x)
    return window(fold, x, f"{name}_depth", 1, (-before, -after))


def _copied(layer: Any, channels: int, **changes: Any) -> Any:
    """Copies a layer with weights for maps of four axes."""
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32", **changes})
    copy.build((None, None, None, channels))
    pairs = zip(layer.get_weights(), copy.weights, strict=True)
    copy.set_weights([value.reshape(variable.shape) for value, variable in pairs])
    return copy
