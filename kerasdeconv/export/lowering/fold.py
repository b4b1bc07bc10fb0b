"""Rules that fold a layer into the convolution beside it.

Each rule takes a graph and a node, rewrites the graph around the node if it can, and says whether
it did. All are exact: the new kernel and bias compute the same function to float rounding.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.graph import Graph, Node
from kerasdeconv.layers import DepthToSpace, ReflectPadding

_TRANSPOSED = (keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
# These classes alone: one derived from them may do anything with its kernel.
_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.Conv3D, *_TRANSPOSED)
# What runs inside a convolution in the runtimes.
_FUSED_ACTIVATIONS = ("relu", "relu6", "tanh", "sigmoid")


def bias_everywhere(graph: Graph, node: Node) -> bool:
    """Gives a convolution without bias one of zeros, so that what follows can fold into it."""
    if type(node.layer) not in _CONVOLUTIONS or node.layer.use_bias:
        return False
    kernel, bias = _weights(node.layer)
    layer = rebuilt(node.layer, kernel, bias)
    graph.replace([node], [Node(layer, node.inputs, node.outputs)], f"{layer.name}: bias added")
    return True


def fold_batch_norm(graph: Graph, node: Node) -> bool:
    """Folds a BatchNorm into the convolution before it.

    With `g = gamma / sqrt(variance + epsilon)`, the kernel is multiplied by g along its output
    channels and the bias becomes `(bias - mean) * g + beta` (Ioffe and Szegedy 2015, section 3.1).
    """
    norm = node.layer
    convolution = _linear_convolution_before(graph, node)
    if not isinstance(norm, keras.layers.BatchNormalization) or convolution is None:
        return False
    if norm.axis not in (-1, len(node.output.shape) - 1):
        return False
    mean, variance = _array(norm.moving_mean), _array(norm.moving_variance)
    gain = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        gain = gain * _array(norm.gamma)
    shift = -mean * gain
    if norm.center:
        shift = shift + _array(norm.beta)
    _fold_after(graph, convolution, node, gain, shift)
    return True


def fold_rescaling(graph: Graph, node: Node) -> bool:
    """Folds a Rescaling into the convolution before it, or into the one after.

    Before a zero-padded convolution only a factor can fold: an offset would have to be in the
    padding too; an unpadded one takes both.
    """
    if not isinstance(node.layer, keras.layers.Rescaling):
        return False
    factor, offset = np.asarray(node.layer.scale), np.asarray(node.layer.offset)
    if factor.size != 1 or offset.size != 1:
        return False
    factor, offset = factor.reshape(()), offset.reshape(())
    before = _linear_convolution_before(graph, node)
    if before is not None:
        _fold_after(graph, before, node, factor, offset)
        return True
    after = graph.only_consumer(node.output)
    if after is None or type(after.layer) not in _CONVOLUTIONS:
        return False
    if not keras.backend.is_float_dtype(node.inputs[0].dtype):
        return False  # the Rescaling is also what makes bytes real numbers
    unpadded = type(after.layer) not in _TRANSPOSED and after.layer.padding == "valid"
    if offset != 0 and not unpadded:
        return False
    kernel, bias = _weights(after.layer)
    if offset != 0:  # every output sees the whole kernel
        bias = bias + offset * kernel.sum(axis=tuple(range(kernel.ndim - 1)))
    layer = rebuilt(after.layer, kernel * factor, bias)
    graph.replace(
        [node, after],
        [Node(layer, node.inputs, after.outputs)],
        f"{node.layer.name}: folded into {layer.name}",
    )
    return True


def move_rescaling_behind_reflection(graph: Graph, node: Node) -> bool:
    """Swaps a Rescaling and a following reflection, so that it stands before the convolution."""
    reflection = graph.only_consumer(node.output) if len(node.outputs) == 1 else None
    if not isinstance(node.layer, keras.layers.Rescaling) or reflection is None:
        return False
    if not isinstance(reflection.layer, ReflectPadding):
        return False
    if np.size(node.layer.scale) != 1 or np.size(node.layer.offset) != 1:
        return False
    if not keras.backend.is_float_dtype(node.inputs[0].dtype):
        return False
    middle = node.output
    middle.shape = reflection.output.shape
    graph.replace(
        [node, reflection],
        [
            Node(reflection.layer, node.inputs, [middle]),
            Node(node.layer, [middle], reflection.outputs),
        ],
        f"{node.layer.name}: moved behind {reflection.layer.name}",
    )
    return True


def move_rescaling_before_shuffle(graph: Graph, node: Node) -> bool:
    """Swaps depth to space and a following Rescaling, so that the factor can fold."""
    shuffle = graph.producer(node.inputs[0]) if node.inputs else None
    if not isinstance(node.layer, keras.layers.Rescaling) or shuffle is None:
        return False
    if not isinstance(shuffle.layer, DepthToSpace) or graph.only_consumer(shuffle.output) is None:
        return False
    if np.size(node.layer.scale) != 1 or np.size(node.layer.offset) != 1:
        return False
    middle = shuffle.output
    middle.shape = shuffle.inputs[0].shape
    graph.replace(
        [shuffle, node],
        [
            Node(node.layer, shuffle.inputs, [middle]),
            Node(shuffle.layer, [middle], node.outputs),
        ],
        f"{node.layer.name}: moved before {shuffle.layer.name}",
    )
    return True


def fuse_activation(graph: Graph, node: Node) -> bool:
    """Puts an elementwise activation into the convolution before it."""
    name = _activation_name(node.layer)
    convolution = _linear_convolution_before(graph, node)
    if name not in _FUSED_ACTIVATIONS or convolution is None:
        return False
    layer = rebuilt(convolution.layer, *_weights(convolution.layer), activation=name)
    graph.replace(
        [convolution, node],
        [Node(layer, convolution.inputs, node.outputs)],
        f"{node.layer.name}: fused into {layer.name}",
    )
    return True


def rebuilt(layer: Any, kernel: np.ndarray, bias: np.ndarray, **changes: Any) -> Any:
    """Copies a convolution in float32 with another kernel and bias, and other settings."""
    config = {**layer.get_config(), "use_bias": True, "dtype": "float32", **changes}
    for drop in ("kernel_initializer", "bias_initializer", "lora_rank", "lora_alpha"):
        config.pop(drop, None)  # `layer.kernel` has low-rank changes in it
    copy = type(layer).from_config(config)
    inputs = kernel.shape[-1 if isinstance(layer, _TRANSPOSED) else -2] * config.get("groups", 1)
    copy.build((None, *[None] * (kernel.ndim - 2), inputs))
    copy.set_weights([kernel, bias])
    return copy


def _activation_name(layer: Any) -> str | None:
    if isinstance(layer, keras.layers.Activation):
        # By identity: a user's own function may have any name.
        known = {getattr(keras.activations, name): name for name in _FUSED_ACTIVATIONS}
        return known.get(layer.activation)
    if isinstance(layer, keras.layers.ReLU) and not layer.negative_slope and not layer.threshold:
        return {None: "relu", 6.0: "relu6"}.get(layer.max_value)
    return None


def _linear_convolution_before(graph: Graph, node: Node) -> Node | None:
    """The convolution that feeds this node alone and has no activation."""
    if len(node.inputs) != 1:
        return None
    before = graph.producer(node.inputs[0])
    if before is None or type(before.layer) not in _CONVOLUTIONS or not before.linear:
        return None
    return before if graph.only_consumer(node.inputs[0]) is node else None


def _fold_after(
    graph: Graph, convolution: Node, node: Node, gain: np.ndarray, shift: np.ndarray
) -> None:
    """Folds `gain * y + shift` of the output channels into a convolution."""
    kernel, bias = _weights(convolution.layer)
    if isinstance(convolution.layer, _TRANSPOSED) and np.ndim(gain):
        kernel = kernel * gain[:, None]  # its kernel is ... x out x in
    else:
        kernel = kernel * gain
    layer = rebuilt(convolution.layer, kernel, bias * gain + shift)
    graph.replace(
        [convolution, node],
        [Node(layer, convolution.inputs, node.outputs)],
        f"{node.layer.name}: folded into {layer.name}",
    )


def _weights(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias in float64 (zeros where there is no bias)."""
    kernel = _array(layer.kernel)
    return kernel, _array(layer.bias) if layer.use_bias else np.zeros(layer.filters)


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype(np.float64)
