"""U-Net: an encoder, a decoder, and skip connections between them.

Ronneberger, Fischer and Brox, "U-Net: convolutional networks for biomedical image segmentation"
(MICCAI 2015), https://arxiv.org/abs/1505.04597. Attention gates: Oktay et al., "Attention U-Net"
(MIDL 2018), https://arxiv.org/abs/1804.03999.

The defaults are the paper's network: unpadded convolutions, so that its output is smaller than its
input by 184 pixels, and skips are cropped. `padding="same", norm="batch"` is the modern one.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.heads import check_input_shape, classify, rescale_pixels

BLOCKS = {"plain": layers.plain_block, "residual": layers.residual_block}


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
    if block not in BLOCKS:
        raise ValueError(f"No such block. {closest(block, BLOCKS)} Received: {block!r}")
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same'. Received: {padding!r}")
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_input_shape(input_shape, (2, 3))
    _check_sides(input_shape[:-1], depth, padding)
    rank = len(input_shape) - 1
    options: dict[str, Any] = {"padding": padding, "norm": norm, "activation": activation}

    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    skips = []
    for level in range(depth):
        x = BLOCKS[block](x, width * 2**level, name=f"encoder_{level}", **options)
        skips.append(x)
        x = layers.of_rank("MaxPooling{}D", rank)(2, name=f"encoder_{level}_pool")(x)
    x = BLOCKS[block](x, width * 2**depth, name="bottom", **options)
    for level in reversed(range(depth)):
        gate, skip, label = x, skips[level], f"decoder_{level}"
        x = layers.upsample(x, width * 2**level, method=upsample, name=f"{label}_up")
        if padding == "valid":
            skip = layers.CropLike(name=f"{label}_crop")([skip, x])
        if attention:
            skip = layers.attention_gate(skip, gate, name=f"{label}_gate")
        x = keras.layers.Concatenate(name=f"{label}_concat")([skip, x])
        x = BLOCKS[block](x, width * 2**level, name=label, **options)
    x = classify(x, classes, head_activation)
    return keras.Model(inputs, x, name=name)


def _check_sides(sides: tuple[int | None, ...], depth: int, padding: str) -> None:
    """Refuses sizes at which a pooling would drop a row.

    Unpadded, every block takes 4 pixels, so that a bottom of b pixels comes from an input of
    `2^depth * b + 4 * (2^depth - 1)`, and b must leave at least one pixel of output.
    """
    step = 2**depth
    offset, least = (4 * (step - 1), _least_bottom(depth)) if padding == "valid" else (0, 1)
    for side in sides:
        if side is None or ((side - offset) % step == 0 and (side - offset) // step >= least):
            continue
        below = max((side - offset) // step, least)
        nearest = sorted({step * b + offset for b in (below, below + 1)})
        raise ValueError(
            f"This U-Net takes sides of {step} * n + {offset}, {step * least + offset} or more; "
            f"the nearest are {' and '.join(map(str, nearest))}. Received: {side}"
        )


def _least_bottom(depth: int) -> int:
    """The smallest map under the last pooling that leaves output, in unpadded networks."""
    needed = 1
    for _ in range(depth):
        needed = -(-(needed + 4) // 2)  # a decoder block takes 4 pixels of the doubled map
    return needed + 4
