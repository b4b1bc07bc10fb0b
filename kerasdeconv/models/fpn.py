"""FPN: maps of several strides, all with the same channels, each with the context of the coarser.

Lin et al., "Feature pyramid networks for object detection" (CVPR 2017),
https://arxiv.org/abs/1612.03144.

It is no network for a task of its own: heads are put on its maps. The paper's bottom is ResNet-50;
the default here is a small encoder that trains from scratch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of

# Without weights, as published, or with those of `layers.upsample`.
TOP_DOWN = ("nearest", "bilinear", *layers.UPSAMPLING_METHODS)


def feature_pyramid(
    maps: dict[int, Any],
    strides: Sequence[int] = (4, 8, 16, 32),
    *,
    channels: int = 256,
    upsample: str = "nearest",
) -> list[Any]:
    """Joins an encoder's maps to a pyramid.

    A 1 x 1 convolution takes each map to `channels`; from the coarsest down, each is upsampled and
    added to the next finer; a 3 x 3 convolution follows each sum. There are no activations.

    Args:
        maps: Maps by stride, as `encode` gives them.
        strides: Which of them to join, the finest first.
        channels: Channels of every map of the pyramid.
        upsample: How to go from a map to the finer one, one of `TOP_DOWN`.

    Returns:
        One map a stride, in the order of `strides`. The layers are named after the levels: "p2"
        has stride 4, "p3" 8.

    Raises:
        ValueError: No such stride or way to upsample, or no channels.
    """
    chosen = list(strides)
    if not chosen or chosen != sorted(set(chosen)) or not set(chosen) <= set(maps):
        raise ValueError(
            f"strides must rise and be some of {tuple(sorted(maps))}. Received: {strides}"
        )
    if upsample not in TOP_DOWN:
        raise ValueError(
            f"No such upsampling. {closest(upsample, TOP_DOWN)} Received: {upsample!r}"
        )
    if channels < 1:
        raise ValueError(f"channels must be 1 or more. Received: {channels}")
    answers: list[Any] = []
    above, coarser = None, 0
    for stride in reversed(chosen):
        name = f"p{stride.bit_length() - 1}"
        x = keras.layers.Conv2D(channels, 1, name=f"{name}_lateral")(maps[stride])
        if above is not None:
            up = _enlarge(above, coarser // stride, upsample, f"{name}_up")
            x = keras.layers.Add(name=f"{name}_add")([x, up])
        above, coarser = x, stride
        answers.append(keras.layers.Conv2D(channels, 3, padding="same", name=name)(x))
    return answers[::-1]


def _enlarge(x: Any, factor: int, method: str, name: str) -> Any:
    if method in ("nearest", "bilinear"):
        return keras.layers.UpSampling2D(factor, interpolation=method, name=name)(x)
    return layers.upsample(x, x.shape[-1], factor=factor, method=method, name=name)


def FPN(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    width: int | None = None,
    channels: int = 256,
    strides: Sequence[int] = (4, 8, 16, 32),
    upsample: str = "nearest",
    include_rescaling: bool = True,
    name: str = "fpn",
) -> keras.Model:
    """Builds a feature pyramid on an encoder.

    Args:
        input_shape: Height, width (multiples of 32, or None) and channels.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        width: Channels of the encoder's first stage, where it has that choice.
        channels: Channels of every map of the pyramid.
        strides: Strides of the maps, the finest first; the paper's P2 to P5 by default.
        upsample: How to go from a map to the finer one: "nearest" as published, "bilinear", or one
            of `kerasdeconv.layers.UPSAMPLING_METHODS`, with learned weights.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to a list of one map a stride, N x H/s x W/s x channels.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32; the message names
            the nearest.

    Example:
        >>> [p.shape for p in FPN((64, 96, 3), channels=32).outputs]
        [(None, 16, 24, 32), (None, 8, 12, 32), (None, 4, 6, 32), (None, 2, 3, 32)]
    """
    check_input_shape(input_shape, (2,))
    check_sides("FPN", input_shape[:-1], multiple_of(32))
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder, inputs, weights=encoder_weights, width=width, include_rescaling=include_rescaling
    )
    outputs = feature_pyramid(maps, strides, channels=channels, upsample=upsample)
    return keras.Model(inputs, outputs, name=name)
