"""U-Net: an encoder, a decoder, and skip connections between them.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation"
(MICCAI 2015), https://arxiv.org/abs/1505.04597. Attention gates: Oktay et al., "Attention U-Net"
(MIDL 2018), https://arxiv.org/abs/1804.03999.

The defaults are the paper's network: unpadded convolutions, so that its output is smaller than its
input by 184 pixels, and skips are cropped. `padding="same", norm="batch"` is the modern one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasdeconv.models.encoder_decoder import (
    BLOCKS,
    check_choices,
    contract,
    expand,
    fits,
    per_level,
)
from kerasdeconv.models.heads import check_input_shape, check_sides, classify, rescale_pixels


def UNet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    classes: int = 2,
    *,
    width: int = 64,
    depth: int = 4,
    block: str = "plain",
    norm: str | None = None,
    activation: str = "relu",
    padding: str = "valid",
    upsample: str = "transpose",
    attention: bool = False,
    pooling: str = "max",
    strides: int | Sequence[int | tuple[int, ...]] = 2,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "unet",
) -> keras.Model:
    """Builds a U-Net.

    Args:
        input_shape: Height, width (None for any valid size) and channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first level; each level below has twice as many.
        depth: Number of poolings.
        block: "plain" (two convolutions) or "residual" (needs `padding="same"`).
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        padding: "valid" as in the paper, or "same" (output as large as the input).
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        attention: Whether attention gates weigh the skip connections.
        pooling: "max", or "conv" for convolutions with strides (targets without 3D pooling).
        strides: Factor of each pooling: one number, or one entry a level, the finest first, each a
            number or one number an axis, for volumes whose axes differ in resolution.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H' x W' x classes. With "same" padding H' = H, which must
        be a multiple of 2^depth; with "valid" padding and depth 4 H' = H - 184, and H must be
        12 more than a multiple of 16.

    Raises:
        ValueError: An argument is out of range, or the network cannot take the size; the message
            names the nearest sizes that it can take.

    Example:
        >>> UNet((572, 572, 1)).output_shape
        (None, 388, 388, 2)
    """
    check_choices(block, padding, pooling)
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_input_shape(input_shape, (2, 3))
    factors = per_level(strides, depth, len(input_shape) - 1)
    check_sides("U-Net", input_shape[:-1], fits(4 if padding == "valid" else 0, factors))
    options: dict[str, Any] = {"padding": padding, "norm": norm, "activation": activation}
    widths = [width * 2**level for level in range(depth + 1)]

    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    x, skips = contract(x, widths[:-1], strides=factors, block=block, pooling=pooling, **options)
    x = BLOCKS[block](x, widths[-1], name="bottom", **options)
    x = expand(
        x,
        skips,
        widths[:-1],
        strides=factors,
        upsample=upsample,
        attention=attention,
        block=block,
        **options,
    )
    x = classify(x, classes, head_activation)
    return keras.Model(inputs, x, name=name)
