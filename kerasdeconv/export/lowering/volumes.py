"""Volumes as pictures: operators on five axes rewritten, exactly, into operators on four.

The depth is folded into the batch and stays there from layer to layer; see
`kerasdeconv.layers.folded`. A convolution over volumes is one over pictures, on the slices that its
kernel sees; a pooling is one over pictures and one over the depth; a transposed convolution is one
over pictures for each phase of the depth, interleaved. What is not known here keeps its five axes.

A rule is one function `rule(fold, node, x) -> Value | None`: it adds the layers that compute the
node from the folded input `x`, and returns their folded output; None if it can't.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv import layers
from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import folded
from kerasdeconv.layers.polyphase import phase_taps, same_crop

# Layers of one input that treat each position alone, whatever the rank.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
)
# Layers of several inputs that treat each position alone.
_MERGING = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)
# Layers that do nothing in inference.
_IDLE = (
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.SpatialDropout3D,
)


def fold_volumes(graph: Graph) -> None:
    """Folds the depth of all volumes into the batch.

    Args:
        graph: All shapes must be known.
    """
    fold = Folding(graph.inputs)
    for node in graph.nodes:
        if not fold.rewrite(node):
            for value in node.inputs:
                fold.unfold(value)
            fold.nodes.append(node)
    for value in graph.outputs:
        fold.unfold(value)
    graph.nodes = fold.nodes
    graph.rewrites += fold.rewrites


class Folding:
    """The rewriting of one graph.

    Attributes:
        nodes: The new nodes, in order.
        rewrites: What was done, one line each.
        depths: Slices of a volume, for every folded value.
    """

    def __init__(self, inputs: list[Value]) -> None:
        self.nodes: list[Node] = []
        self.rewrites: list[str] = []
        self.depths: dict[Value, int] = {}
        self._folded: dict[Value, Value] = {}
        self._volumes = set(inputs)  # what is there with five axes

    def rewrite(self, node: Node) -> bool:
        """Rewrites a node on volumes if there is a rule for it, and says whether there was."""
        rule = _RULES.get(type(node.layer))
        volumes = len(node.outputs) == 1 and all(len(value.shape) == 5 for value in node.inputs)
        added, known, made = len(self.nodes), dict(self._folded), None
        if rule is not None and volumes:
            made = rule(self, node, [self.fold(value) for value in node.inputs])
        if made is None:
            del self.nodes[added:]
            self._folded = known
            self._volumes.update(node.outputs)
            return False
        if len(node.output.shape) == 5:
            self._folded[node.output] = made
        else:
            self._rename(made, node.output)
        self.rewrites.append(f"{node.layer.name}: depth folded into the batch")
        return True

    def fold(self, value: Value) -> Value:
        """Finds the folded form of a volume, or makes it."""
        if value not in self._folded:
            self.depths[value] = value.shape[1]  # type: ignore[assignment]
            layer = folded.FoldDepth(name=f"{value.name or 'volume'}_fold", dtype="float32")
            self._folded[value] = self.add(layer, value)
        return self._folded[value]

    def unfold(self, value: Value) -> None:
        """Makes the volume of a folded form, if it is asked for and not there."""
        if value not in self._folded or value in self._volumes:
            return
        source = self._folded[value]
        layer = folded.UnfoldDepth(
            self.depths[source], name=f"{value.name or 'volume'}_unfold", dtype="float32"
        )
        self.nodes.append(Node(layer, [source], [value]))
        self._volumes.add(value)

    def add(self, layer: Any, *inputs: Value, depth: int | None = None) -> Value:
        """Adds a layer and returns what it makes: of this depth, or of its first input's."""
        shapes = [value.shape for value in inputs]
        shape = layer.compute_output_shape(shapes[0] if len(shapes) == 1 else shapes)
        made = Value(tuple(shape), "float32")
        self.nodes.append(Node(layer, list(inputs), [made], _call_of(len(inputs))))
        self.depths[made] = self.depths[inputs[0]] if depth is None else depth
        return made

    def _rename(self, made: Value, value: Value) -> None:
        """Puts a value of the model in the place of what was made for it."""
        last = self.nodes[-1]
        last.outputs = [value if output is made else output for output in last.outputs]


def _call_of(count: int) -> Callable[..., Any]:
    if count == 1:
        return lambda layer, tensors: layer(*tensors)
    return lambda layer, tensors: layer(tensors)


Rule = Callable[[Folding, Node, "list[Value]"], "Value | None"]


def _window(
    fold: Folding, x: Value, name: str, size: int, before: int, after: int, **options: int
) -> Value:
    """The slices that a kernel sees, or x itself where it sees one and all."""
    if size == 1 and not before and not after and options.get("stride", 1) == 1:
        return x
    layer = folded.DepthWindow(
        fold.depths[x], size, before=before, after=after, name=name, dtype="float32", **options
    )
    return fold.add(layer, x, depth=layer.output_depth)


def _same_padding(depth: int, reach: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind, as TensorFlow's "same" has them."""
    total = max((-(-depth // stride) - 1) * stride + reach - depth, 0)
    return total // 2, total - total // 2


def _plain(layer: Any) -> bool:
    return getattr(layer, "data_format", "channels_last") == "channels_last"


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    bias = keras.ops.convert_to_numpy(layer.bias) if layer.use_bias else np.zeros(layer.filters)
    return kernel, bias


def convolution(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Conv3D: the window of its kernel's depth, then Conv2D on more channels."""
    layer, (x,) = node.layer, inputs
    if not _plain(layer) or layer.groups != 1:
        return None
    kernel, bias = _weights(layer)
    size, stride, dilation = layer.kernel_size[0], layer.strides[0], layer.dilation_rate[0]
    reach = (size - 1) * dilation + 1
    padding = (0, 0)
    if layer.padding == "same":
        padding = _same_padding(fold.depths[x], reach, stride)
    x = _window(fold, x, f"{layer.name}_window", size, *padding, stride=stride, dilation=dilation)
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
    if not _plain(layer) or layer.output_padding is not None or set(layer.dilation_rate) != {1}:
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
        window = _window(
            fold, x, f"{name}_window", support, -start, count - depth + start + support - 1
        )
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
        flat.build((None, None, None, window.shape[-1]))
        flat.set_weights([joined.reshape(*joined.shape[:3], -1), bias])
        phases.append(fold.add(flat, window))
    x = _interleave(fold, phases, f"{layer.name}_interleave")
    return _window(fold, x, f"{layer.name}_crop", 1, 0, grown - fold.depths[x])


def depthwise_transposed(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
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
            moved = _window(fold, x, f"{name}_slice", 1, -offset, offset)
            flat = layers.DepthwiseConvTranspose(tuple(sides), tuple(steps), name=name)
            flat.build((None, None, None, kernel.shape[-1]))
            flat.set_weights([kernel[tap]])
            parts.append(fold.add(flat, moved))
        if not parts:
            return None  # a kernel smaller than its stride
        added = keras.layers.Add(name=f"{layer.name}_{phase}", dtype="float32")
        phases.append(fold.add(added, *parts) if len(parts) > 1 else parts[0])
    return _interleave(fold, phases, f"{layer.name}_interleave")


def _interleave(fold: Folding, phases: list[Value], name: str) -> Value:
    if len(phases) == 1:
        return phases[0]
    layer = folded.DepthInterleave(name=name, dtype="float32")
    return fold.add(layer, *phases, depth=fold.depths[phases[0]] * len(phases))


def pooling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """MaxPooling3D and AveragePooling3D: over pictures, then over the depth.

    Both are separable; an average over a border leaves out as many pixels along each axis.
    """
    layer, (x,) = node.layer, inputs
    if not _plain(layer):
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
    if not _plain(layer):
        return None
    merged = fold.add(
        folded.MergeDepth(fold.depths[x], name=f"{layer.name}_merge", dtype="float32"), x, depth=1
    )
    maximum = isinstance(layer, keras.layers.GlobalMaxPooling3D)
    kind = keras.layers.GlobalMaxPooling2D if maximum else keras.layers.GlobalAveragePooling2D
    flat = kind(keepdims=layer.keepdims, name=layer.name, dtype="float32")
    return fold.add(flat, merged)


def group_norm(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """GroupNormalization: over all slices as one picture."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4):
        return None
    depth = fold.depths[x]
    merge = folded.MergeDepth(depth, name=f"{layer.name}_merge", dtype="float32")
    merged = fold.add(merge, x, depth=1)
    normed = fold.add(_copied(layer, merged.shape[-1], axis=-1), merged)
    split = folded.SplitDepth(depth, name=f"{layer.name}_split", dtype="float32")
    return fold.add(split, normed, depth=depth)


def batch_norm(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """BatchNormalization that could not be folded into a convolution."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4):
        return None
    return fold.add(_copied(layer, x.shape[-1], axis=-1), x)


def _copied(layer: Any, channels: int, **changes: Any) -> Any:
    """Copies a layer with weights for maps of four axes."""
    copy = type(layer).from_config({**layer.get_config(), "dtype": "float32", **changes})
    copy.build((None, None, None, channels))
    pairs = zip(layer.get_weights(), copy.weights, strict=True)
    copy.set_weights([value.reshape(variable.shape) for value, variable in pairs])
    return copy


def prelu(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """PReLU with slopes that do not differ in space."""
    layer, (x,) = node.layer, inputs
    if set(layer.alpha.shape[:-1]) != {1}:
        return None
    return fold.add(_copied(layer, x.shape[-1], shared_axes=[1, 2]), x)


def softmax(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Softmax over the channels."""
    layer, (x,) = node.layer, inputs
    if layer.axis not in (-1, 4) or len(inputs) != 1:
        return None
    return fold.add(keras.layers.Softmax(axis=-1, name=layer.name, dtype="float32"), x)


def upsampling(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """UpSampling3D: nearest in the picture, and each slice as often."""
    layer, (x,) = node.layer, inputs
    if not _plain(layer):
        return None
    if set(layer.size[1:]) != {1}:
        flat = keras.layers.UpSampling2D(layer.size[1:], name=layer.name, dtype="float32")
        x = fold.add(flat, x)
    return _interleave(fold, [x] * layer.size[0], f"{layer.name}_interleave")


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
    if not _plain(layer):
        return None
    (before, after), *sides = layer.padding
    if any(margin for side in sides for margin in side):
        x = fold.add(keras.layers.ZeroPadding2D(sides, name=layer.name, dtype="float32"), x)
    return _window(fold, x, f"{layer.name}_depth", 1, before, after)


def cropping(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Cropping3D: of the picture, and of slices."""
    layer = node.layer
    return _cropped(fold, layer.name, inputs[0], layer.cropping) if _plain(layer) else None


def crop_like(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """CropLike, whose margins are known where shapes are."""
    source, like = (value.shape[1:-1] for value in node.inputs)
    starts = [
        (a - b) // 2 if node.layer.offset is None else node.layer.offset
        for a, b in zip(source, like, strict=True)
    ]
    margins = [(s, a - b - s) for s, a, b in zip(starts, source, like, strict=True)]
    return _cropped(fold, node.layer.name, inputs[0], margins)


def _cropped(fold: Folding, name: str, x: Value, margins: Any) -> Value:
    (before, after), *sides = margins
    if any(margin for side in sides for margin in side):
        x = fold.add(keras.layers.Cropping2D(tuple(sides), name=name, dtype="float32"), x)
    return _window(fold, x, f"{name}_depth", 1, -before, -after)


def depth_to_space(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """DepthToSpace: in the picture for each slice of the block, interleaved."""
    (x,) = inputs
    block = layers.per_axis(node.layer.block_size, 3)
    layer = folded.FoldedDepthToSpace(block, name=node.layer.name, dtype="float32")
    return fold.add(layer, x, depth=fold.depths[x] * block[0])


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
    """Sums, products and the like; what has one slice is repeated for every slice of the others."""
    depth = max(fold.depths[x] for x in inputs)
    spread = [
        x if fold.depths[x] == depth else _interleave(fold, [x] * depth, f"{node.layer.name}_{i}")
        for i, x in enumerate(inputs)
    ]
    return pointwise(fold, node, spread)


def concatenation(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """Concatenation of channels."""
    if node.layer.axis not in (-1, 4):
        return None
    layer = keras.layers.Concatenate(name=node.layer.name, dtype="float32")
    return fold.add(layer, *inputs)


def nothing(fold: Folding, node: Node, inputs: list[Value]) -> Value | None:
    """What does nothing in inference."""
    return inputs[0]


_RULES: dict[type, Rule] = {
    keras.layers.Conv3D: convolution,
    keras.layers.Conv3DTranspose: transposed_convolution,
    layers.DepthwiseConvTranspose: depthwise_transposed,
    keras.layers.MaxPooling3D: pooling,
    keras.layers.AveragePooling3D: pooling,
    keras.layers.GlobalMaxPooling3D: global_pooling,
    keras.layers.GlobalAveragePooling3D: global_pooling,
    keras.layers.GroupNormalization: group_norm,
    keras.layers.BatchNormalization: batch_norm,
    keras.layers.PReLU: prelu,
    keras.layers.Softmax: softmax,
    keras.layers.UpSampling3D: upsampling,
    layers.LinearUpsampling: linear_upsampling,
    keras.layers.ZeroPadding3D: padding,
    keras.layers.Cropping3D: cropping,
    layers.CropLike: crop_like,
    layers.DepthToSpace: depth_to_space,
    keras.layers.Rescaling: rescaling,
    keras.layers.Concatenate: concatenation,
    **dict.fromkeys(_POINTWISE, pointwise),
    **dict.fromkeys(_MERGING, merging),
    **dict.fromkeys(_IDLE, nothing),
}
