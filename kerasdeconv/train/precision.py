"""Mixed precision: convolutions in 16 bits while training, everything else in float32."""

from __future__ import annotations

import keras

from kerasdeconv import graph
from kerasdeconv.errors import closest

PRECISIONS = ("float32", "mixed_bfloat16")
_MULTIPLYING = (
    keras.layers.Conv2D,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3D,
    keras.layers.Conv3DTranspose,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
)


def mix_precision(model: keras.Model, precision: str) -> None:
    """Lets a model compute its convolutions and dense layers in 16 bits, all but the last one.

    Weights stay in float32, and so does what comes between: sums, normalizations and resizing lose
    nothing, and neither does the answer. Keras' global policy would compute all of them in 16 bits.

    Args:
        model: A functional model, not compiled yet.
        precision: One of `PRECISIONS`; "float32" undoes it.

    Raises:
        ValueError: No such precision.
    """
    if precision not in PRECISIONS:
        raise ValueError(
            f"No such training precision. {closest(precision, PRECISIONS)} Received: {precision!r}"
        )
    layers = dict.fromkeys(node.layer for node in graph.read(model).nodes)
    multiplying = [layer for layer in layers if isinstance(layer, _MULTIPLYING)]
    for layer in multiplying[:-1]:
        layer.dtype_policy = precision
