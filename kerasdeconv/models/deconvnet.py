"""DeconvNet: a whole classifier and its mirror image, poolings undone by their indices.

Noh, Hong and Han, "Learning deconvolution network for semantic segmentation" (ICCV 2015),
https://arxiv.org/abs/1505.04366.

The defaults are the paper's network: VGG16 with its dense layers as convolutions down to one pixel,
a 7 x 7 transposed convolution back, and five unpoolings with convolutions after each, all with
BatchNorm. It takes 224 x 224 pixels, and as it is convolutional throughout also any larger multiple
of 32, where the paper runs it on crops ("proposals") and joins their answers.

Departures from the paper: its transposed convolutions with a stride of 1 are convolutions here,
which compute the same with their kernels turned by 180 degrees; convolutions have no bias where a
BatchNorm follows, which would undo it; pixels are scaled to [0, 1] and no mean is subtracted.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoder_decoder import contract_with_indices, unpool
from kerasdeconv.models.encoders import VGG16_STAGES
from kerasdeconv.models.heads import (
    check_input_shape,
    check_sides,
    classify,
    rescale_pixels,
)

# Channels of the decoder's convolutions for a width of 64, the finest level first.
_STAGES = ((1, 1), (2, 1), (4, 4, 2), (8, 8, 4), (8, 8, 8))


def DeconvNet(
    input_shape: tuple[int | None, int | None, int] = (224, 224, 3),
    classes: int = 21,
    *,
    width: int = 64,
    fc_width: int = 4096,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "max_unpooling",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "deconvnet",
) -> keras.Model:
    """Builds a DeconvNet.

    Args:
        input_shape: Height, width (multiples of 32, 224 or more; None for any of them) and
            channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first stage; 8 times as many in the last.
        fc_width: Channels of the two layers at the bottom.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        upsample: "max_unpooling" by the indices of the poolings, or one of
            `kerasdeconv.layers.UPSAMPLING_METHODS`, with as many channels out as in.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x classes.

    Raises:
        ValueError: An argument is out of range, or the network cannot take the size.

    Example:
        >>> DeconvNet(norm=None).count_params()
        251772245
    """
    check_input_shape(input_shape, (2,))
    check_sides("DeconvNet", input_shape[:-1], lambda side, axis: side >= 224 and side % 32 == 0)
    if width < 1 or fc_width < 1:
        raise ValueError(f"width and fc_width must be 1 or more. Received: {width}, {fc_width}")
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    widths, mirrored = (
        [tuple(width * n for n in stage) for stage in stages] for stages in (VGG16_STAGES, _STAGES)
    )
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    x, indices = contract_with_indices(
        x, widths, pooled_indices=upsample == "max_unpooling", padding="same", **options
    )
    for label, kernel in (("fc6", 7), ("fc7", 1)):
        x = layers.conv_norm_activation(
            x, fc_width, kernel_size=kernel, padding="valid", name=label, **options
        )
    x = keras.layers.Conv2DTranspose(
        widths[-1][-1],
        7,
        use_bias=norm is None,
        kernel_initializer="he_normal",
        name="fc6_deconv",
    )(x)
    x = layers.normalize(x, norm, "fc6_deconv_norm")
    x = layers.activate(x, activation, "fc6_deconv_act")
    for level in reversed(range(len(mirrored))):
        x = unpool(x, indices[level], upsample=upsample, name=f"decoder_{level}_up")
        x = layers.plain_block(
            x, mirrored[level], padding="same", name=f"decoder_{level}", **options
        )
    return keras.Model(inputs, classify(x, classes, head_activation), name=name)
