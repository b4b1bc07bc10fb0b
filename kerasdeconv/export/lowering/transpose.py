"""Forms of the transposed convolution."""

from __future__ import annotations

import keras
import numpy as np

from kerasdeconv.graph import Graph, Node, Value
from kerasdeconv.layers import DepthToSpace
from kerasdeconv.layers.polyphase import PhaseTaps, phase_kernels, phase_taps, same_crop

# Activations that may come before the interleave. Any other may look at several channels.
_ELEMENTWISE = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"),
    *("sigmoid", "hard_sigmoid", "hard_silu", "softplus", "exponential"),
)


def joint_kernel(kernel: np.ndarray, axes: list[PhaseTaps]) -> np.ndarray:
    """Joins the kernels of all phases into one ordinary convolution's.

    Args:
        kernel: Of a transposed convolution: k1 x ... x kn x out x in.
        axes: `phase_taps` of each spatial axis.

    Returns:
        m1 x ... x mn x in x (phases * out), output channels phase first, as depth to space wants.
    """
    rank = len(axes)
    phases = phase_kernels(kernel, axes)  # s1 .. sn m1 .. mn out in
    order = [*range(rank, 2 * rank), 2 * rank + 1, *range(rank), 2 * rank]
    joined = phases.transpose(order)
    return joined.reshape(*joined.shape[: rank + 1], -1)


def joint(graph: Graph, node: Node) -> bool:
    """Rewrites a 2D transposed convolution as one convolution to all phases and an interleave.

    See `kerasdeconv.layers.polyphase` for the mathematics and its source.
    """
    layer = node.layer
    if type(layer) is not keras.layers.Conv2DTranspose or layer.padding != "same":
        return False
    if layer.output_padding is not None or set(layer.dilation_rate) != {1}:
        return False
    if max(layer.strides) == 1 or layer.data_format != "channels_last" or not layer.use_bias:
        return False
    axes = [
        phase_taps(k, s, same_crop(k, s))
        for k, s in zip(layer.kernel_size, layer.strides, strict=True)
    ]
    kernel = joint_kernel(keras.ops.convert_to_numpy(layer.kernel), axes)
    bias = np.tile(keras.ops.convert_to_numpy(layer.bias), int(np.prod(layer.strides)))
    elementwise = layer.activation in [getattr(keras.activations, n) for n in _ELEMENTWISE]
    supports = [axis.taps.shape[1] for axis in axes]
    margins = [(-axis.first, m - 1 + axis.first) for axis, m in zip(axes, supports, strict=True)]
    # TensorFlow's "same" puts the odd row behind; anything else is padded by hand.
    same = all(b == (m - 1) // 2 for (b, _), m in zip(margins, supports, strict=True))
    convolution = keras.layers.Conv2D(
        kernel.shape[-1],
        supports,
        padding="same" if same else "valid",
        activation=layer.activation if elementwise else None,
        dtype="float32",
        name=layer.name,
    )
    convolution.build((None, None, None, kernel.shape[2]))
    convolution.set_weights([kernel, bias])
    batch, height, width, _ = node.inputs[0].shape
    wide = Value((batch, height, width, kernel.shape[-1]), "float32")
    source, new = node.inputs, []
    if not same:
        padded = Value((batch, None, None, kernel.shape[2]), "float32")
        pad = keras.layers.ZeroPadding2D(margins, name=f"{layer.name}_pad", dtype="float32")
        new.append(Node(pad, source, [padded]))
        source = [padded]
    shuffle = DepthToSpace(layer.strides, name=f"{layer.name}_shuffle", dtype="float32")
    shuffled = node.outputs if elementwise else [Value(node.output.shape, "float32")]
    new += [Node(convolution, source, [wide]), Node(shuffle, [wide], shuffled)]
    if not elementwise:
        activation = keras.layers.Activation(
            layer.activation, name=f"{layer.name}_activation", dtype="float32"
        )
        new.append(Node(activation, shuffled, node.outputs))
    graph.replace([node], new, f"{layer.name}: convolution to all phases, then depth to space")
    return True
