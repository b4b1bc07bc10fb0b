"""3D U-Net: an encoder, a decoder and skip connections, in volumes.

Çiçek et al., "3D U-Net: learning dense volumetric segmentation from sparse annotation" (MICCAI
2016), https://arxiv.org/abs/1606.06650.

The defaults are the paper's network: unpadded convolutions, each followed by BatchNorm and ReLU, so
that its output is smaller than its input by 88 voxels along each axis. It differs from `UNet` in
its widths: channels double before a pooling instead of behind it, and upsampling keeps them.

Axes are (depth, height, width), the width running fastest in memory: the paper's tile of
x * y * z = 132 * 132 * 116 voxels is an input of (116, 132, 132) here. Volumes come normalized, for
one scan to zero mean and unit variance: unlike pixels, a scanner's intensities have no fixed range
that a factor in the network could undo.
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
from kerasdeconv.models.heads import check_input_shape, check_sides, classify


def UNet3D(
    input_shape: tuple[int | None, int | None, int | None, int] = (None, None, None, 3),
    classes: int = 3,
    *,
    width: int = 32,
    depth: int = 3,
    block: str = "plain",
    norm: str | None = "batch",
    activation: str = "relu",
    padding: str = "valid",
    upsample: str = "transpose",
    attention: bool = False,
    pooling: str = "max",
    strides: int | Sequence[int | tuple[int, ...]] = 2,
    head_activation: str | None = "probabilities",
    name: str = "unet3d",
) -> keras.Model:
    """Builds a 3D U-Net.

    Args:
        input_shape: Depth, height, width (None for any valid size) and channels.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first convolution. Those of the second are twice as many, and each
            level below has twice as many as the one above.
        depth: Number of poolings.
        block: "plain" (two convolutions) or "residual" (needs `padding="same"`).
        norm: None, "batch", "group" or "instance". The convolutions have biases either way, as the
            paper counts them.
        activation: Activation of the hidden layers; "prelu" learns one slope a channel.
        padding: "valid" as in the paper, or "same" (output as large as the input).
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        attention: Whether attention gates weigh the skip connections.
        pooling: "max", or "conv" for convolutions with strides.
        strides: Factor of each pooling: one number, or one entry a level, the finest first, each a
            number or one number an axis, for scans whose slices lie further apart than their
            pixels: `[(1, 2, 2), 2, 2]`.
        head_activation: "probabilities", None for logits, or a Keras activation.
        name: Name of the model.

    Returns:
        A model from N x D x H x W x C to N x D' x H' x W' x classes. With "same" padding D' = D,
        which must be a multiple of 2^depth; with "valid" padding and depth 3 D' = D - 88, and D
        must be 4 more than a multiple of 8, 92 or more.

    Raises:
        ValueError: An argument is out of range, or the network cannot take the size; the message
            names the nearest sizes that it can take.

    Example:
        >>> UNet3D((116, 132, 132, 3)).output_shape
        (None, 28, 44, 44, 3)
    """
    check_choices(block, padding, pooling)
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_input_shape(input_shape, (3,))
    factors = per_level(strides, depth, 3)
    check_sides("3D U-Net", input_shape[:-1], fits(4 if padding == "valid" else 0, factors))
    options: dict[str, Any] = {
        "padding": padding,
        "norm": norm,
        "activation": activation,
        "use_bias": True,
    }
    firsts = [width * 2**level for level in range(depth + 1)]

    inputs = keras.Input(input_shape, name="input")
    x, skips = contract(
        inputs,
        [(n, 2 * n) for n in firsts[:-1]],
        strides=factors,
        block=block,
        pooling=pooling,
        **options,
    )
    x = BLOCKS[block](x, (firsts[-1], 2 * firsts[-1]), name="bottom", **options)
    x = expand(
        x,
        skips,
        [2 * n for n in firsts[:-1]],
        strides=factors,
        up_widths=[4 * n for n in firsts[:-1]],
        up_bias=False,
        upsample=upsample,
        attention=attention,
        block=block,
        **options,
    )
    x = classify(x, classes, head_activation)
    return keras.Model(inputs, x, name=name)
