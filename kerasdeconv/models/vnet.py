"""V-Net: residual stages of 5 x 5 x 5 convolutions, for volumes.

Milletari, Navab and Ahmadi, "V-Net: fully convolutional neural networks for volumetric medical
image segmentation" (3DV 2016), https://arxiv.org/abs/1606.04797.

The defaults are the paper's network, with its 65,175,314 parameters. What the paper's figure leaves
open is settled by that number and by its table of receptive fields:

- On the left, a 2 x 2 x 2 convolution with strides halves the sides and doubles the channels; on
  the right a transposed one undoes both. Each is followed by a PReLU.
- A stage adds what came in to what its last convolution gives, and then activates. On the right,
  what came in is the upsampled map and the skip together: these are as wide as the stage.
- The first stage has the volume itself coming in, which is added to each of its 16 channels.
- PReLUs have one slope a channel. There is no normalization.

The paper trains it with a Dice loss that has squares in its denominator; `keras.losses.Dice` has
none and serves as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoder_decoder import fits, per_level
from kerasdeconv.models.heads import check_input_shape, check_sides, classify

_MOST_CONVOLUTIONS = 3  # of a stage; the first has one, the second two


def VNet(
    input_shape: tuple[int | None, int | None, int | None, int] = (None, None, None, 1),
    classes: int = 2,
    *,
    width: int = 16,
    depth: int = 4,
    kernel_size: int = 5,
    norm: str | None = None,
    activation: str = "prelu",
    upsample: str = "transpose",
    strides: int | Sequence[int | tuple[int, ...]] = 2,
    head_activation: str | None = "probabilities",
    name: str = "vnet",
) -> keras.Model:
    """Builds a V-Net.

    Args:
        input_shape: Depth, height, width (None for any valid size) and channels. More channels
            than one reach the first stage's sum by a 1 x 1 x 1 convolution. Volumes come
            normalized, one scan at a time.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        width: Channels of the first stage; each stage below has twice as many.
        depth: How often the sides are halved.
        kernel_size: Of the convolutions within a stage.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers; "prelu" learns one slope a channel.
        upsample: How the right side upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        strides: Factor of each step down: one number, or one entry a step, the finest first, each
            a number or one number an axis. The kernels of the steps are as large.
        head_activation: "probabilities", None for logits, or a Keras activation.
        name: Name of the model.

    Returns:
        A model from N x D x H x W x C to N x D x H x W x classes; the sides are multiples of
        2^depth.

    Raises:
        ValueError: An argument is out of range, or the network cannot take the size; the message
            names the nearest sizes that it can take.

    Example:
        >>> VNet((64, 128, 128, 1)).output_shape
        (None, 64, 128, 128, 2)
    """
    if min(width, depth, kernel_size) < 1:
        raise ValueError(
            "width, depth and kernel_size must be 1 or more. "
            f"Received: {width}, {depth}, {kernel_size}"
        )
    check_input_shape(input_shape, (3,))
    factors = per_level(strides, depth, 3)
    check_sides("V-Net", input_shape[:-1], fits(0, factors))
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    counts = [min(level + 1, _MOST_CONVOLUTIONS) for level in range(depth + 1)]
    widths = [width * 2**level for level in range(depth + 1)]

    inputs = keras.Input(input_shape, name="input")
    x, skips = inputs, []
    for level, count in enumerate(counts):
        if level > 0:
            step = factors[level - 1]
            x = layers.conv_norm_activation(
                x,
                widths[level],
                kernel_size=step,
                strides=step,
                name=f"encoder_{level}_down",
                **options,
            )
        x = _stage(x, widths[level], count, kernel_size, name=f"encoder_{level}", **options)
        skips.append(x)
    for level in reversed(range(depth)):
        label = f"decoder_{level}"
        x = layers.upsample(
            x, widths[level], factor=factors[level], method=upsample, name=f"{label}_up"
        )
        x = layers.normalize(x, norm, f"{label}_up_norm")
        x = layers.activate(x, activation, f"{label}_up_act")
        x = keras.layers.Concatenate(name=f"{label}_concat")([x, skips[level]])
        x = _stage(x, 2 * widths[level], counts[level], kernel_size, name=label, **options)
    x = classify(x, classes, head_activation)
    return keras.Model(inputs, x, name=name)


def _stage(
    x: Any,
    filters: int,
    count: int,
    kernel_size: int,
    *,
    norm: str | None,
    activation: str,
    name: str,
) -> Any:
    """Convolutions, and what came in added before the last activation.

    One channel is added to each filter; any other number but the filters' is projected first.
    """
    shortcut = x
    if x.shape[-1] not in (1, filters):
        shortcut = layers.conv_norm_activation(
            x, filters, kernel_size=1, norm=norm, activation=None, name=f"{name}_shortcut"
        )
    for i in range(count):
        x = layers.conv_norm_activation(
            x,
            filters,
            kernel_size=kernel_size,
            norm=norm,
            activation=activation if i < count - 1 else None,
            name=f"{name}_{i}",
        )
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return layers.activate(x, activation, f"{name}_act")
