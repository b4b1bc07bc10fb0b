"""LapSRN: a pyramid that doubles the picture level by level and adds what is missing.

Lai, Huang, Ahuja and Yang, "Deep Laplacian pyramid networks for fast and accurate super-resolution"
(CVPR 2017), https://arxiv.org/abs/1704.03915.

One branch goes from features to residuals, the other enlarges the picture itself; each level's
answer is their sum, and the next level's picture. All are trained with the Charbonnier loss
(`kerasdeconv.losses.charbonnier`).

Departure from the paper: the image branch continues its picture by reflection before each
transposed convolution, instead of by zeros, which would darken the borders.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides, rescale_pixels
from kerasdeconv.models.super_resolution import at_least, check_scale, to_pixels

LEVELS = {2: 1, 4: 2, 8: 3}


def LapSRN(
    input_shape: tuple[int | None, int | None, int] = (None, None, 1),
    scale: int = 4,
    *,
    width: int = 64,
    depth: int = 10,
    activation: str = "leaky_relu",
    upsample: str = "transpose",
    progressive: bool = True,
    include_rescaling: bool = True,
    name: str = "lapsrn",
) -> keras.Model:
    """Builds a LapSRN. No layer has a bias, and levels share no weights.

    Args:
        input_shape: Height, width (None for any) and channels C; the paper's network takes luma.
        scale: Upsampling factor: 2, 4 or 8.
        width: Channels of the features.
        depth: Convolutions of each level: 10 in the paper (5 in its smaller networks).
        activation: Activation of the features; Keras' "leaky_relu" has the paper's slope of 0.2.
        upsample: How features are enlarged, one of `kerasdeconv.layers.UPSAMPLING_METHODS`; the
            paper's is "transpose", 4 x 4. The picture is always enlarged so, from a bilinear start.
        progressive: Whether every level's picture is an output, the finest first, which a loss for
            each needs; otherwise the finest is the only one. Weights are the same.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to a list of N x (s*H) x (s*W) x C for s = scale, scale / 2, ...,
        2; to one picture where there is but one. Outputs are not clipped.

    Raises:
        ValueError: An argument is out of range, or the input shape is none of a picture.

    Example:
        >>> LapSRN(scale=8).count_params()
        1304880
    """
    check_input_shape(input_shape, (2,))
    check_scale(scale, tuple(LEVELS))
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    check_sides("LapSRN", input_shape[:-1], at_least(2))
    channels = input_shape[-1]
    inputs = keras.Input(input_shape, name="input")
    # The image branch is in pixels, and float32 under mixed precision; so nothing is left to scale
    # that does not fold into a convolution.
    kind = "float32" if include_rescaling else None
    picture = inputs
    x = rescale_pixels(inputs, include_rescaling)
    x = _conv(x, width, activation, "input_conv")
    outputs = []
    for level in range(LEVELS[scale]):
        label = f"level_{level}"
        for i in range(depth):
            x = _conv(x, width, activation, f"{label}_{i}")
        x = layers.upsample(
            x,
            width,
            method=upsample,
            kernel_size=4 if upsample == "transpose" else None,
            activation=activation,
            use_bias=False,
            name=f"{label}_up",
        )
        residual = _conv(x, channels, None, f"{label}_residual")
        residual = to_pixels(residual, include_rescaling, name=f"{label}_to_pixels")
        enlarged = _enlarged(picture, kind, label)
        picture = keras.layers.Add(dtype=kind, name=f"{label}_add")([enlarged, residual])
        outputs.append(picture)
    finest = outputs[::-1] if progressive and len(outputs) > 1 else outputs[-1]
    return keras.Model(inputs, finest, name=name)


def _conv(x: Any, filters: int, activation: str | None, name: str) -> Any:
    """3 x 3 without bias. Residuals start small, so that the pyramid starts as bilinear resize."""
    start: Any = "he_normal" if activation else keras.initializers.VarianceScaling(0.01)
    return keras.layers.Conv2D(
        filters,
        3,
        padding="same",
        use_bias=False,
        activation=activation,
        kernel_initializer=start,
        name=name,
    )(x)


def _enlarged(picture: Any, kind: str | None, label: str) -> Any:
    """Doubles the picture by a transposed convolution that starts as bilinear resize."""
    x = layers.ReflectPadding(1, dtype=kind, name=f"{label}_image_reflect")(picture)
    x = keras.layers.Conv2DTranspose(
        picture.shape[-1],
        4,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=layers.BilinearKernel(),
        dtype=kind,
        name=f"{label}_image_up",
    )(x)
    return keras.layers.Cropping2D(2, dtype=kind, name=f"{label}_image_crop")(x)
