"""PSPNet: context from averages over the whole picture and over ever smaller parts of it.

Zhao, Shi, Qi, Wang and Jia, "Pyramid scene parsing network" (CVPR 2017),
https://arxiv.org/abs/1612.01105. The last map of a dilated encoder is averaged over 1, 2 x 2, 3 x 3
and 6 x 6 parts; each of these small maps is convolved, enlarged, and joined to the large one.

Departures from the paper: the encoder is that of keras.applications, whose first layer is one
7 x 7 convolution instead of three of 3 x 3; there is no second classifier for an auxiliary loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import (
    check_classes,
    check_input_shape,
    check_sides,
    classify_and_enlarge,
    multiple_of,
)


def pyramid_pooling(x: Any, bins: Sequence[int] = (1, 2, 3, 6)) -> Any:
    """Joins a map with what its parts are on average.

    Args:
        x: A map, whose sides are multiples of all `bins`.
        bins: Parts along each side, for each level of the pyramid. The levels share out the map's
            channels, so that they have together as many as the map.

    Returns:
        The map, and the levels behind it at its size: about twice the channels.

    Raises:
        ValueError: There are no bins, or more levels than channels.
    """
    if not bins or min(bins) < 1 or len(set(bins)) < len(bins) or len(bins) > x.shape[-1]:
        raise ValueError(
            "bins must be different numbers from 1, at most one for each channel of the encoder. "
            f"Received: {tuple(bins)}"
        )
    joined = [x]
    for count in bins:
        level = f"bins_{count}"
        y = layers.BinPooling(count, name=f"{level}_pool")(x)
        y = layers.conv_norm_activation(
            y, x.shape[-1] // len(bins), kernel_size=1, norm="batch", name=level
        )
        joined.append(layers.ResizeLike(name=f"{level}_up")([y, x]))
    return keras.layers.Concatenate(name="pyramid")(joined)


def PSPNet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "resnet50",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    output_stride: int = 8,
    bins: Sequence[int] = (1, 2, 3, 6),
    width: int = 512,
    dropout: float = 0.1,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "pspnet",
) -> keras.Model:
    """Builds a pyramid scene parsing network.

    Args:
        input_shape: Height, width and channels. Sides are None or such that the encoder's last map
            has equal parts: multiples of `output_stride` times all `bins`, 48 by default.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: "imagenet", the path of a file of weights, or None; see `encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        output_stride: Stride of the encoder's last map: 8 as published, 16 or 32. "small" and
            "vgg16" have no 8.
        bins: Parts along each side over which the map is averaged, a number for each level.
        width: Channels of the convolution behind the pyramid.
        dropout: Share of its outputs that training drops.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x classes.

    Raises:
        ValueError: An argument is out of range, or a side does not fit; the message names the
            nearest.

    Example:
        >>> PSPNet((96, 144, 3)).output_shape
        (None, 96, 144, 21)
    """
    check_input_shape(input_shape, (2,))
    check_classes(classes)
    if width < 1:
        raise ValueError(f"width must be 1 or more. Received: {width}")
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        output_stride=output_stride,
        include_rescaling=include_rescaling,
    )
    check_sides("PSPNet", input_shape[:-1], multiple_of(output_stride * math.lcm(*bins)))
    x = pyramid_pooling(maps[output_stride], bins)
    x = layers.conv_norm_activation(x, width, norm="batch", name="classifier")
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = classify_and_enlarge(x, classes, output_stride, head_activation)
    return keras.Model(inputs, outputs, name=name)
