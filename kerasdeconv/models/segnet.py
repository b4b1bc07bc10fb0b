"""SegNet: an encoder whose poolings say where each maximum was, and a decoder that puts it back.

Badrinarayanan, Kendall and Cipolla, "SegNet: a deep convolutional encoder-decoder architecture for
image segmentation" (TPAMI 2017), https://arxiv.org/abs/1511.00561.

The defaults are the paper's network: VGG16's 13 convolutions and their mirror image, each with a
bias and BatchNorm, and no skip connections but the indices of the poolings.

Departures from the paper: pixels are scaled to [0, 1] instead of normalized locally.
`upsample="transpose"` (or any other method) is the twin for targets without integer comparisons or
selects: its poolings keep no indices.
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
    multiple_of,
    rescale_pixels,
)


def SegNet(
    input_shape: tuple[int | None, ...] = (None, None, 3),
    classes: int = 11,
    *,
    width: int = 64,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "max_unpooling",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "segnet",
) -> keras.Model:
    """Builds a SegNet.

    Args:
        input_shape: Height, width (None for any multiple of 32) and channels, or depth first for
            volumes.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first stage; 8 times as many at the bottom.
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
        ValueError: An argument is out of range, or a side is no multiple of 32.

    Example:
        >>> SegNet((352, 480, 3)).output_shape
        (None, 352, 480, 11)
    """
    check_input_shape(input_shape, (2, 3))
    check_sides("SegNet", input_shape[:-1], multiple_of(32))
    if width < 1:
        raise ValueError(f"width must be 1 or more. Received: {width}")
    widths = [tuple(width * n for n in stage) for stage in VGG16_STAGES]
    options: dict[str, Any] = {
        "padding": "same",
        "norm": norm,
        "activation": activation,
        "use_bias": True,  # in the paper's network also before a BatchNorm, which undoes it
    }
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    x, indices = contract_with_indices(
        x, widths, pooled_indices=upsample == "max_unpooling", **options
    )
    for level in reversed(range(len(widths))):
        x = unpool(x, indices[level], upsample=upsample, name=f"decoder_{level}_up")
        # The mirror of a stage from a to b channels has b channels, and a after its last layer,
        # which at the finest level is the classifier.
        mirror = (widths[level][-1],) * (len(widths[level]) - 1)
        mirror += (widths[level - 1][-1],) if level else ()
        x = layers.plain_block(x, mirror, name=f"decoder_{level}", **options)
    x = classify(x, classes, head_activation, kernel_size=3)
    return keras.Model(inputs, x, name=name)
