"""MobileSR: super-resolution that is made to run in 8-bit integers on phones.

It has plain 3 x 3 convolutions with ReLU and an anchor: each pixel, repeated for all output pixels
of its block, is added before the shuffle, as in Du, Liu, Tang and Wu, "Anchor-based plain net for
mobile image super-resolution" (CVPR Workshops 2021), https://arxiv.org/abs/2105.09750. Its answer
is clipped to the range of pixels in training too, as in Ayazoglu, "Extremely lightweight
quantization robust real-time single-image super resolution for mobile devices" (CVPR Workshops
2021), https://arxiv.org/abs/2105.10288.

The widest map is that of the last convolution, and no map is kept but the input. The anchor carries
the picture, so that the convolutions' ranges hold only what is missing from it, and eight bits are
enough. The clip costs nothing in an 8-bit file: the last addition saturates at the range's ends.
"""

from __future__ import annotations

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, rescale_pixels
from kerasdeconv.models.super_resolution import check_scale, to_pixels


def MobileSR(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    scale: int = 2,
    *,
    width: int = 32,
    depth: int = 5,
    activation: str = "relu",
    clip: bool = True,
    include_rescaling: bool = True,
    name: str = "mobile_sr",
) -> keras.Model:
    """Builds a MobileSR. Untrained it is nearest-neighbour upsampling, nearly.

    Args:
        input_shape: Height, width (None for any) and channels C.
        scale: Upsampling factor, 2 or more.
        width: Channels of the hidden convolutions. Multiples of 16 fill vector registers.
        depth: Number of hidden convolutions.
        activation: Their activation.
        clip: Whether the answer is clipped to the range of pixels.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x (scale*H) x (scale*W) x C.

    Raises:
        ValueError: An argument is out of range, or the input shape is none of a picture.

    Example:
        >>> MobileSR(scale=2).count_params()
        41356
    """
    check_input_shape(input_shape, (2,))
    check_scale(scale)
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    blocks, channels = scale**2, input_shape[-1]
    inputs = keras.Input(input_shape, name="input")
    # Scaled without an offset and padded with zeros: both fold into the convolution.
    x = rescale_pixels(inputs, include_rescaling)
    for i in range(depth):
        x = keras.layers.Conv2D(
            width,
            3,
            padding="same",
            activation=activation,
            kernel_initializer="he_normal",
            name=f"feature_{i}",
        )(x)
    # Small, so that the sum starts within the range of pixels and the clip lets gradients through;
    # not zero, which would keep them from the layers before.
    x = keras.layers.Conv2D(
        blocks * channels,
        3,
        padding="same",
        kernel_initializer=layers.ICNR(blocks, keras.initializers.VarianceScaling(1e-3)),
        name="residual",
    )(x)
    x = to_pixels(x, include_rescaling)  # folds into the convolution
    # Pixels stay float32 under mixed precision.
    kind = "float32" if include_rescaling else None
    anchor = layers.RepeatChannels(blocks, dtype=kind, name="anchor")(inputs)
    x = keras.layers.Add(dtype=kind, name="add")([x, anchor])
    x = layers.DepthToSpace(scale, dtype=kind, name="shuffle")(x)
    if clip:
        white = 255.0 if include_rescaling else 1.0
        x = keras.layers.ReLU(max_value=white, dtype=kind, name="clip")(x)
    return keras.Model(inputs, x, name=name)
