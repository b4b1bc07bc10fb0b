"""DeepLabV3+: context by convolutions of several dilations, and a short decoder.

Chen, Zhu, Papandreou, Schroff and Adam, "Encoder-decoder with atrous separable convolution for
semantic image segmentation" (ECCV 2018), https://arxiv.org/abs/1802.02611. The last map of an
encoder goes through atrous spatial pyramid pooling (ASPP); the result is enlarged to stride 4,
joined with the encoder's map there, convolved, scored and enlarged.

Departure from the paper: encoders are those of `kerasdeconv.models.encoders` instead of a modified
Xception.
"""

from __future__ import annotations

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

_STRIDE = 4  # of the decoder


def atrous_pyramid(
    x: Any, rates: Sequence[int] = (6, 12, 18), *, width: int = 256, separable: bool = False
) -> Any:
    """Atrous spatial pyramid pooling (Chen et al. 2017, https://arxiv.org/abs/1706.05587).

    A 1 x 1 convolution, 3 x 3 ones of several dilations, and the map's average; joined, and
    convolved to `width` channels. All are normalized and activated, and have no biases.

    Args:
        x: A map.
        rates: Dilation of each 3 x 3 convolution.
        width: Channels of each branch, and of the result.
        separable: Whether the 3 x 3 convolutions are depthwise ones and 1 x 1 ones.

    Returns:
        A map of the same size with `width` channels.

    Raises:
        ValueError: A rate is less than 1.
    """
    if any(rate < 1 for rate in rates):
        raise ValueError(f"rates must be 1 or more. Received: {tuple(rates)}")
    branches = [_convolved(x, width, 1, name="aspp_0")]
    for number, rate in enumerate(rates, start=1):
        label = f"aspp_{number}"
        branches.append(_convolved(x, width, 3, rate=rate, separable=separable, name=label))
    pooled = keras.layers.GlobalAveragePooling2D(keepdims=True, name="aspp_pool")(x)
    pooled = _convolved(pooled, width, 1, name="aspp_pooled")
    branches.append(layers.ResizeLike(name="aspp_pooled_up")([pooled, x]))
    joined = keras.layers.Concatenate(name="aspp_concat")(branches)
    return _convolved(joined, width, 1, name="aspp")


def decoder(
    x: Any,
    low: Any,
    factor: int,
    *,
    width: int = 256,
    low_width: int = 48,
    separable: bool = False,
) -> Any:
    """Enlarges a map and refines it with a finer one.

    Args:
        x: A map.
        low: A map of the encoder, `factor` times as large.
        factor: Upsampling factor.
        width: Channels of the result.
        low_width: Channels that the finer map is reduced to.
        separable: As for `atrous_pyramid`.

    Returns:
        A map of the finer one's size with `width` channels.
    """
    x = layers.linear_upsample(x, factor, name="decoder_up") if factor > 1 else x
    low = _convolved(low, low_width, 1, name="decoder_low")
    x = keras.layers.Concatenate(name="decoder_concat")([x, low])
    for number in range(2):
        x = _convolved(x, width, 3, separable=separable, name=f"decoder_{number}")
    return x


def _convolved(
    x: Any, width: int, kernel_size: int, *, rate: int = 1, separable: bool = False, name: str
) -> Any:
    """Convolution, BatchNorm, ReLU; between the two parts of a separable one, too."""
    options: dict[str, Any] = {"kernel_size": kernel_size, "dilation_rate": rate}
    if separable and kernel_size > 1:
        x = keras.layers.DepthwiseConv2D(
            padding="same",
            use_bias=False,
            depthwise_initializer="he_normal",
            name=f"{name}_depthwise",
            **options,
        )(x)
        x = layers.normalize(x, "batch", f"{name}_depthwise_norm")
        x = layers.activate(x, "relu", f"{name}_depthwise_act")
        options = {"kernel_size": 1}
    return layers.conv_norm_activation(x, width, norm="batch", name=name, **options)


def DeepLabV3Plus(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "resnet50",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    output_stride: int = 16,
    dilate: bool = True,
    rates: Sequence[int] | None = None,
    width: int = 256,
    low_width: int = 48,
    separable: bool = False,
    dropout: float = 0.1,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "deeplab_v3_plus",
) -> keras.Model:
    """Builds a DeepLabV3+.

    Args:
        input_shape: Height, width (multiples of `output_stride`, or None) and channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: "imagenet", the path of a file of weights, or None; see `encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        output_stride: Stride of the encoder's last map: 8, 16 or 32.
        dilate: Whether the encoder's stages behind that stride stay and are dilated ("small" and
            "vgg16" have no such 8), or are left out, for networks that must be quick.
        rates: Dilations of the pyramid; 6, 12 and 18 at stride 16 by default, and the same
            distances in the picture at other strides.
        width: Channels of the pyramid and of the decoder.
        low_width: Channels that the encoder's map of stride 4 is reduced to.
        separable: Whether 3 x 3 convolutions are depthwise ones and 1 x 1 ones, as the paper's
            fastest networks have them.
        dropout: Share of the pyramid's outputs that training drops.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x classes.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of `output_stride`; the
            message names the nearest.

    Example:
        >>> DeepLabV3Plus((64, 96, 3)).output_shape
        (None, 64, 96, 21)
    """
    check_input_shape(input_shape, (2,))
    check_classes(classes)
    if min(width, low_width) < 1:
        raise ValueError(f"width and low_width must be 1 or more. Received: {width}, {low_width}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32. Received: {output_stride!r}")
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        output_stride=output_stride if dilate else 32,
        include_rescaling=include_rescaling,
    )
    check_sides("DeepLabV3Plus", input_shape[:-1], multiple_of(output_stride))
    if rates is None:
        rates = [rate * 16 // output_stride for rate in (6, 12, 18)]
    x = atrous_pyramid(maps[output_stride], rates, width=width, separable=separable)
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = decoder(
        x,
        maps[_STRIDE],
        output_stride // _STRIDE,
        width=width,
        low_width=low_width,
        separable=separable,
    )
    outputs = classify_and_enlarge(x, classes, _STRIDE, head_activation)
    return keras.Model(inputs, outputs, name=name)
