"""What FlowNetS and DispNet share: six strides down, and a prediction at each level going up.

The coarsest map gives a first prediction. Level by level, features and prediction are enlarged and
joined with the encoder's map of that size, from which the next prediction is made.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of

COARSEST = 6  # level of the coarsest map; level l has a stride of 2^l
# Kernel of the strided convolution of each level, channels in widths, and whether a 3 x 3
# convolution follows.
_LEVELS = ((7, 1, False), (5, 2, False), (5, 4, True), (3, 8, True), (3, 8, True), (3, 16, True))
_SLOPE = 0.1  # of the leaky ReLUs


def check_pair(
    network: str, input_shape: tuple[int | None, ...], width: int, least: int, unit: float
) -> None:
    """Refuses what neither network can be built with.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.
    """
    check_input_shape(input_shape, (2,))
    check_sides(network, input_shape[:-1], multiple_of(2**COARSEST))
    if width < least or unit <= 0:
        raise ValueError(
            f"width must be {least} or more, unit more than 0. Received: {width}, {unit}"
        )


def encode_pair(x: Any, width: int) -> dict[int, Any]:
    """Goes down six levels.

    Args:
        x: Both pictures on the channels, N x H x W x C.
        width: Channels of the first level.

    Returns:
        The map of each level, 1 to 6.
    """
    maps = {}
    for level, (kernel, widths, again) in enumerate(_LEVELS, start=1):
        x = _conv(x, widths * width, kernel, f"encoder_{level}_0", strides=2)
        if again:
            x = _conv(x, widths * width, 3, f"encoder_{level}_1")
        maps[level] = x
    return maps


def predict_levels(
    maps: dict[int, Any],
    widths: Sequence[int],
    channels: int,
    *,
    enlarge: Callable[[Any, str], Any],
    smooth: bool,
    use_bias: bool,
    upsample: str,
    unit: float,
    label: str,
) -> list[Any]:
    """Goes up, with a prediction at each level.

    Args:
        maps: The encoder's, by level.
        widths: Channels of the enlarged features, the coarsest first; as many as levels to go up.
        channels: Channels of a prediction.
        enlarge: Doubles a prediction's sides; takes the name of the layer, too.
        smooth: Whether a 3 x 3 convolution follows what is joined.
        use_bias: Whether the convolutions have biases.
        upsample: How features are enlarged, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        unit: What 1 stands for within the network, in input pixels.
        label: Start of the outputs' names; the level is appended.

    Returns:
        The predictions in input pixels, the finest first.
    """
    x, outputs = maps[COARSEST], []
    for level in range(COARSEST, COARSEST - len(widths), -1):
        prediction = _predict(x, channels, use_bias, f"predict_{level}")
        outputs.append(_in_pixels(prediction, unit, f"{label}_{level}"))
        name = f"decoder_{level - 1}"
        filters = widths[COARSEST - level]
        features = layers.upsample(
            x,
            filters,
            method=upsample,
            kernel_size=4 if upsample == "transpose" else None,
            use_bias=use_bias,
            name=f"{name}_up",
        )
        features = keras.layers.LeakyReLU(_SLOPE, name=f"{name}_up_act")(features)
        parts = [maps[level - 1], features, enlarge(prediction, f"{name}_enlarge")]
        x = keras.layers.Concatenate(name=f"{name}_join")(parts)
        if smooth:
            x = _conv(x, filters, 3, name, use_bias=use_bias)
    level = COARSEST - len(widths)
    prediction = _predict(x, channels, use_bias, f"predict_{level}")
    outputs.append(_in_pixels(prediction, unit, f"{label}_{level}"))
    return outputs[::-1]


def _conv(x: Any, filters: int, kernel: int, name: str, **options: Any) -> Any:
    x = layers.conv_norm_activation(
        x, filters, kernel_size=kernel, activation=None, name=name, **options
    )
    return keras.layers.LeakyReLU(_SLOPE, name=f"{name}_act")(x)


def _predict(x: Any, channels: int, use_bias: bool, name: str) -> Any:
    """A prediction in the network's unit. It starts small: near no motion."""
    start = keras.initializers.VarianceScaling(0.01)
    return keras.layers.Conv2D(
        channels, 3, padding="same", use_bias=use_bias, kernel_initializer=start, name=name
    )(x)


def _in_pixels(prediction: Any, unit: float, name: str) -> Any:
    # float32 under mixed precision: in bfloat16 a motion of 50 pixels would have steps of 0.25.
    return keras.layers.Rescaling(unit, dtype="float32", name=name)(prediction)
