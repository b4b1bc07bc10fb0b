"""U-Net: an encoder, a decoder, and skip connections between them.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation"
(MICCAI 2015), https://arxiv.org/abs/1505.04597. Attention gates: Oktay et al., "Attention U-Net"
(MIDL 2018), https://arxiv.org/abs/1804.03999.

The defaults are the paper's network: unpadded convolutions, so that its output is smaller than its
input by 184 pixels, and skips are cropped. `padding="same", norm="batch"` is the modern one.

With `encoder="mobilenet_v2"` or another, a network trained on ImageNet goes down in the place of
U-Net's own half (Iglovikov and Shvets, "TernausNet", 2018, https://arxiv.org/abs/1801.05746): its
maps are the skips, its coarsest one the bottom, and the decoder is U-Net's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv.errors import closest
from kerasdeconv.models.encoder_decoder import (
    BLOCKS,
    check_choices,
    contract,
    expand,
    fits,
    per_level,
)
from kerasdeconv.models.encoders import ENCODERS, encode
from kerasdeconv.models.heads import (
    check_input_shape,
    check_sides,
    classify,
    multiple_of,
    rescale_pixels,
)


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
    encoder: str | None = None,
    encoder_weights: str | Path | None = None,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "unet",
) -> keras.Model:
    """Builds a U-Net.

    Args:
        input_shape: Height, width (None for any valid size) and channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first level; each level below has twice as many. With an encoder it
            is the decoder's alone.
        depth: Number of poolings; with an encoder 5 at most.
        block: "plain" (two convolutions) or "residual" (needs `padding="same"`).
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        padding: "valid" as in the paper, or "same" (output as large as the input).
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        attention: Whether attention gates weigh the skip connections.
        pooling: "max", or "conv" for convolutions with strides.
        strides: Factor of each pooling: one number, or one entry a level, the finest first, each a
            number or one number an axis, for volumes whose axes differ in resolution.
        encoder: None for U-Net's own, or one of `kerasdeconv.models.encoders.ENCODERS`, for
            pictures. It needs `padding="same"` and has poolings of its own; block, norm and
            activation are then the decoder's alone. A level that the encoder has no map for (most
            have none as large as the picture) has no skip. Sides are then 32 or more.
        encoder_weights: None; "imagenet"; or the path of a file, see `encode`.
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
        WeightsError: The encoder's weights are missing, damaged, unreachable, or do not fit.

    Example:
        >>> UNet((572, 572, 1)).output_shape
        (None, 388, 388, 2)
        >>> model = UNet((224, 224, 3), encoder="mobilenet_v2", padding="same", norm="batch")
    """
    check_choices(block, padding, pooling)
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_input_shape(input_shape, (2, 3) if encoder is None else (2,))
    factors = per_level(strides, depth, len(input_shape) - 1)
    if encoder is None:
        if encoder_weights is not None:
            raise ValueError(
                f"encoder_weights are of an encoder: name it. Received: {encoder_weights!r}"
            )
        check_sides("U-Net", input_shape[:-1], fits(4 if padding == "valid" else 0, factors))
    else:
        _check_encoder(encoder, depth, padding, pooling, strides)
        step = multiple_of(2**depth)
        # An encoder is built as a whole, whatever the depth: its coarsest stride is 32.
        check_sides("U-Net", input_shape[:-1], lambda n, axis: n >= 32 and step(n, axis))
    options: dict[str, Any] = {"padding": padding, "norm": norm, "activation": activation}
    widths = [width * 2**level for level in range(depth + 1)]

    inputs = keras.Input(input_shape, name="input")
    skips: list[Any]
    if encoder is None:
        x = rescale_pixels(inputs, include_rescaling)
        x, skips = contract(
            x, widths[:-1], strides=factors, block=block, pooling=pooling, **options
        )
        x = BLOCKS[block](x, widths[-1], name="bottom", **options)
    else:
        maps = encode(encoder, inputs, weights=encoder_weights, include_rescaling=include_rescaling)
        x, skips = maps[2**depth], [maps.get(2**level) for level in range(depth)]
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


def _check_encoder(
    encoder: str,
    depth: int,
    padding: str,
    pooling: str,
    strides: int | Sequence[int | tuple[int, ...]],
) -> None:
    """Refuses an encoder that there is not, and what cannot be had with one.

    Raises:
        ValueError: The encoder is unknown, or another argument contradicts it.
    """
    if encoder not in ENCODERS:
        raise ValueError(f"No such encoder. {closest(encoder, ENCODERS)} Received: {encoder!r}")
    if padding != "same":
        raise ValueError(f'An encoder needs padding="same". Received: {padding!r}')
    if depth > 5:
        raise ValueError(f"With an encoder depth must be 1 to 5. Received: {depth}")
    if pooling != "max":
        raise ValueError(
            f"An encoder has poolings of its own: leave pooling out. Received: {pooling!r}"
        )
    if set(per_level(strides, depth, rank=2)) != {(2, 2)}:
        raise ValueError(
            f"An encoder has strides of 2 of its own: leave strides out. Received: {strides!r}"
        )
