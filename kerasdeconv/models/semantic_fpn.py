"""SemanticFPN: semantic segmentation by a light branch on a feature pyramid.

Kirillov, Girshick, He and Dollár, "Panoptic feature pyramid networks" (CVPR 2019),
https://arxiv.org/abs/1901.02446, section 3.2 and figure 3. Each map of the pyramid is brought to
stride 4 by convolutions and bilinear steps of 2, their sum is scored, and the scores are enlarged.

The paper's bottom is ResNet-50 or larger, whose last stages it may dilate.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.fpn import feature_pyramid
from kerasdeconv.models.heads import (
    check_classes,
    check_input_shape,
    check_sides,
    classify_and_enlarge,
    multiple_of,
)

_STRIDE = 4  # of the map that is scored
_GROUPS = 32


def semantic_branch(pyramid: list[Any], *, width: int = 128, norm: str | None = "group") -> Any:
    """Sums the maps of a pyramid at the size of the finest.

    Args:
        pyramid: Maps, the finest first, each of half the size of the one before.
        width: Channels of the result.
        norm: Normalization of each convolution: "group" (32 groups, or as many as divide `width`),
            "batch", "instance" or None.

    Returns:
        A map of the finest one's size with `width` channels.
    """
    summands = []
    for level, map in enumerate(pyramid):
        x = map
        for step in range(max(level, 1)):
            name = f"p{level + 2}_semantic_{step}"
            groups = math.gcd(_GROUPS, width)
            x = layers.conv_norm_activation(x, width, norm=norm, groups=groups, name=name)
            if level > 0:
                x = layers.linear_upsample(x, 2, name=f"{name}_up")
        summands.append(x)
    return keras.layers.Add(name="sum")(summands) if len(summands) > 1 else summands[0]


def SemanticFPN(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "resnet50",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    output_stride: int = 32,
    channels: int = 256,
    top_down: str = "nearest",
    width: int = 128,
    norm: str | None = "group",
    dropout: float = 0.0,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "semantic_fpn",
) -> keras.Model:
    """Builds a feature pyramid with a branch for semantic segmentation.

    Args:
        input_shape: Height, width (multiples of `output_stride`, or None) and channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: "imagenet", the path of a file of weights, or None; see `encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        output_stride: Stride of the coarsest map: 32, or 16 or 8 with dilated convolutions.
        channels: Channels of the pyramid.
        top_down: How the pyramid upsamples, one of `kerasdeconv.models.fpn.TOP_DOWN`.
        width: Channels of the branch.
        norm: Normalization in the branch: "group" as published, "batch", "instance" or None.
        dropout: Share of the outputs of the branch that training drops; none as published.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x classes.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of `output_stride`; the
            message names the nearest.

    Example:
        >>> SemanticFPN((64, 96, 3), 54).output_shape
        (None, 64, 96, 54)
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
    check_sides("SemanticFPN", input_shape[:-1], multiple_of(output_stride))
    strides = [stride for stride in maps if stride >= _STRIDE]
    pyramid = feature_pyramid(maps, strides, channels=channels, upsample=top_down)
    x = semantic_branch(pyramid, width=width, norm=norm)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    outputs = classify_and_enlarge(x, classes, _STRIDE, head_activation)
    return keras.Model(inputs, outputs, name=name)
