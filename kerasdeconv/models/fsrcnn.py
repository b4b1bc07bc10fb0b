"""FSRCNN: a thin and deep network on the small picture, enlarged by one transposed convolution.

Dong, Loy and Tang, "Accelerating the super-resolution convolutional neural network" (ECCV 2016),
https://arxiv.org/abs/1608.00367.

Departures from the paper: the picture is continued by reflection before the convolutions, far
enough that the last layer too has whole neighbourhoods, and the surplus is cropped; pixels are in
[0, 255] at both ends.
"""

from __future__ import annotations

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides
from kerasdeconv.models.super_resolution import at_least, check_scale, from_pixels, to_pixels

# Input pixels that the enlarging layer sees to each side: a 9 x 9 kernel at stride 2 is the widest.
_REACH = 2


def FSRCNN(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    scale: int = 3,
    *,
    width: int = 56,
    bottleneck: int = 12,
    depth: int = 4,
    activation: str = "prelu",
    upsample: str = "transpose",
    include_rescaling: bool = True,
    name: str = "fsrcnn",
) -> keras.Model:
    """Builds an FSRCNN of d, s and m: 5 x 5 to d channels, 1 x 1 to s, m of 3 x 3, 1 x 1 to d.

    The paper's 9 x 9 transposed convolution is divisible by neither 2 nor 4, so that at these
    scales output pixels are made by different numbers of taps, and a checkerboard may show until
    training has balanced them (Odena et al. 2016); the other methods of `upsample` start without.

    Args:
        input_shape: Height, width (None for any) and channels C; the paper's network takes luma.
        scale: Upsampling factor, 2 or more.
        width: Channels d of the wide layers.
        bottleneck: Channels s of the layers between.
        depth: Number m of 3 x 3 convolutions.
        activation: "prelu" with a slope a channel, as in the paper, or any Keras activation.
        upsample: One of `kerasdeconv.layers.UPSAMPLING_METHODS`; the paper's is "transpose", 9 x 9.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [-0.5, 0.5].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x (scale*H) x (scale*W) x C. Its output is not clipped.

    Raises:
        ValueError: An argument is out of range, the input shape is none of a picture, or a side is
            too short to be reflected (8 or less with depth 4).

    Example:
        >>> FSRCNN().count_params()
        12809
    """
    check_input_shape(input_shape, (2,))
    check_scale(scale)
    if min(width, bottleneck, depth) < 1:
        raise ValueError(
            "width, bottleneck and depth must be 1 or more. "
            f"Received: {width}, {bottleneck}, {depth}"
        )
    margin = 2 + depth + _REACH
    check_sides("FSRCNN", input_shape[:-1], at_least(margin + 1))
    inputs = keras.Input(input_shape, name="input")
    x = from_pixels(inputs, include_rescaling, center=0.5)
    x = layers.ReflectPadding(margin, name="reflect")(x)
    stages = [
        ("feature", width, 5),
        ("shrink", bottleneck, 1),
        *[(f"map_{i}", bottleneck, 3) for i in range(depth)],
        ("expand", width, 1),
    ]
    for stage, filters, kernel in stages:
        x = layers.conv_norm_activation(
            x, filters, kernel_size=kernel, padding="valid", activation=activation, name=stage
        )
    x = layers.upsample(
        x,
        input_shape[-1],
        factor=scale,
        method=upsample,
        kernel_size=9 if upsample == "transpose" else None,
        kernel_initializer=keras.initializers.VarianceScaling(0.1),
        name="enlarge",
    )
    # Before the crop, so that it stands next to a convolution and folds into it.
    x = to_pixels(x, include_rescaling, center=0.5)
    kind = "float32" if include_rescaling else None
    x = keras.layers.Cropping2D(_REACH * scale, dtype=kind, name="crop")(x)
    return keras.Model(inputs, x, name=name)
