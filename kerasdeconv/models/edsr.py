"""EDSR: a deep residual network without normalization, for RGB.

Lim, Son, Kim, Nah and Lee, "Enhanced deep residual networks for single image super-resolution"
(CVPR Workshops 2017), https://arxiv.org/abs/1707.02921.

As in the paper, the mean colour of the DIV2K training pictures is subtracted at the start and added
at the end. With the mean at zero, the zero padding of the inner convolutions stands for a medium
gray, not for black. The offset itself cannot fold into a zero-padded convolution, whose padding
would be off by it; hence the one departure: the first convolution is padded by reflection instead.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides
from kerasdeconv.models.super_resolution import at_least, check_scale, from_pixels, to_pixels

# Mean red, green and blue of DIV2K's 800 training pictures, of 1.
DIV2K_MEAN = (0.4488, 0.4371, 0.4040)

# Enlarging steps of each scale.
STEPS = {2: (2,), 3: (3,), 4: (2, 2), 8: (2, 2, 2)}


def EDSR(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    scale: int = 2,
    *,
    width: int = 64,
    depth: int = 16,
    residual_scale: float = 1.0,
    activation: str = "relu",
    upsample: str = "subpixel",
    include_rescaling: bool = True,
    name: str = "edsr",
) -> keras.Model:
    """Builds an EDSR; by default the paper's baseline.

    Args:
        input_shape: Height, width (None for any) and channels; the paper's network takes RGB.
        scale: Upsampling factor: 2, 3, 4 (twice 2) or 8 (three times 2).
        width: Channels of all inner layers: 64, and 256 in the full network.
        depth: Number of residual blocks: 16, and 32 in the full network.
        residual_scale: Factor of each block's residual: 1, and 0.1 in the full network, which does
            not train without.
        activation: Activation within the blocks.
        upsample: One of `kerasdeconv.layers.UPSAMPLING_METHODS`; the paper's is "subpixel".
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [0, 1] less the
            mean colour.
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x (scale*H) x (scale*W) x C. Its output is not clipped.

    Raises:
        ValueError: An argument is out of range, or the input shape is none of a picture.

    Example:
        >>> EDSR(scale=4).count_params()
        1517571
    """
    check_input_shape(input_shape, (2,))
    check_scale(scale, tuple(STEPS))
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_sides("EDSR", input_shape[:-1], at_least(2))
    mean = list(DIV2K_MEAN) if input_shape[-1] == 3 else sum(DIV2K_MEAN) / 3

    inputs = keras.Input(input_shape, name="input")
    x = from_pixels(inputs, include_rescaling, center=mean)
    x = layers.ReflectPadding(1, name="reflect")(x)
    x = head = _conv(x, width, padding="valid", name="head")
    for i in range(depth):
        x = _block(x, residual_scale, activation, name=f"block_{i}")
    x = _conv(x, width, name="body")
    x = keras.layers.Add(name="body_add")([x, head])
    for i, factor in enumerate(STEPS[scale]):
        x = layers.upsample(
            x, width, factor=factor, method=upsample, kernel_initializer=_start(), name=f"up_{i}"
        )
    x = _conv(x, input_shape[-1], name="tail")
    x = to_pixels(x, include_rescaling, center=mean)
    return keras.Model(inputs, x, name=name)


def _block(x: Any, residual_scale: float, activation: str, name: str) -> Any:
    """Convolution, activation, convolution, added to the input."""
    residual = _conv(x, x.shape[-1], activation=activation, name=f"{name}_0")
    residual = _conv(residual, x.shape[-1], name=f"{name}_1")
    if residual_scale != 1:
        residual = keras.layers.Rescaling(residual_scale, name=f"{name}_scale")(residual)
    return keras.layers.Add(name=f"{name}_add")([x, residual])


def _conv(x: Any, filters: int, name: str, padding: str = "same", **options: Any) -> Any:
    return keras.layers.Conv2D(
        filters, 3, padding=padding, kernel_initializer=_start(), name=name, **options
    )(x)


def _start() -> keras.initializers.Initializer:
    """Small enough that a sum of many residuals stays near the input.

    The authors' code starts so: a uniform distribution with a third of the fan-in's variance.
    """
    return keras.initializers.VarianceScaling(1 / 3, mode="fan_in", distribution="uniform")
