"""SRCNN: three convolutions that sharpen a picture which was enlarged bicubically.

Dong, Loy, He and Tang, "Image super-resolution using deep convolutional networks" (ECCV 2014,
TPAMI 2016), https://arxiv.org/abs/1501.00092.

Departures from the paper: the enlargement is part of the network, unless it is left out; borders
are continued by reflection; weights start as He's do, not with a deviation of 0.001.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides
from kerasdeconv.models.super_resolution import at_least, check_scale, from_pixels, to_pixels


def SRCNN(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    scale: int = 3,
    *,
    kernels: Sequence[int] = (9, 5, 5),
    width: int = 64,
    activation: str = "relu",
    include_upsampling: bool = True,
    include_rescaling: bool = True,
    name: str = "srcnn",
) -> keras.Model:
    """Builds an SRCNN: bicubic enlargement, then convolutions to 64, 32 and C channels.

    Args:
        input_shape: Height, width (None for any) and channels C; the paper's network takes luma.
        scale: Upsampling factor, 2 or more. The convolutions do not depend on it.
        kernels: Kernel sizes, odd: (9, 1, 5), (9, 3, 5) or (9, 5, 5) in the paper.
        width: Channels of the first convolution; the second has half as many.
        activation: Activation of the hidden layers.
        include_upsampling: Whether the network enlarges its input; otherwise it takes a picture
            that was enlarged already, as the paper's, and gives one of the same size.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [-0.5, 0.5].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x (scale*H) x (scale*W) x C, or to N x H x W x C without the
        enlargement. Its output is not clipped.

    Raises:
        ValueError: The scale, the width or a kernel is out of range, the input shape is none of a
            picture, or a side is too short to be reflected.

    Example:
        >>> SRCNN(kernels=(9, 1, 5)).count_params()
        8129
    """
    check_input_shape(input_shape, (2,))
    check_scale(scale)
    if len(kernels) != 3 or any(kernel < 1 or kernel % 2 == 0 for kernel in kernels):
        raise ValueError(f"kernels must be three odd numbers. Received: {kernels}")
    if width < 2:
        raise ValueError(f"width must be 2 or more. Received: {width}")
    margin = sum(kernel // 2 for kernel in kernels)
    enlarged = scale if include_upsampling else 1
    check_sides("SRCNN", input_shape[:-1], at_least(max(2, margin // enlarged + 1)))
    inputs = keras.Input(input_shape, name="input")
    x = inputs
    if include_upsampling:
        # Before the rescaling, which so stands next to a convolution and folds into it.
        x = layers.CubicUpsampling(scale, name="enlarge")(x)
    x = from_pixels(x, include_rescaling, center=0.5)
    x = layers.ReflectPadding(margin, name="reflect")(x)
    for i, filters in enumerate([width, width // 2]):
        x = keras.layers.Conv2D(
            filters,
            kernels[i],
            activation=activation,
            kernel_initializer="he_normal",
            name=f"feature_{i}",
        )(x)
    x = keras.layers.Conv2D(
        input_shape[-1],
        kernels[2],
        kernel_initializer=keras.initializers.VarianceScaling(0.1),
        name="reconstruction",
    )(x)
    x = to_pixels(x, include_rescaling, center=0.5)
    return keras.Model(inputs, x, name=name)
