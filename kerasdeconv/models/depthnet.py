"""DepthNet: the distance of what each pixel shows, from one picture.

Wofk et al., "FastDepth: fast monocular depth estimation on embedded systems" (ICRA 2019),
https://arxiv.org/abs/1903.03273: a mobile encoder, five depthwise separable 5 x 5 convolutions each
followed by nearest-neighbour resize, and additive skip connections at strides 8, 4 and 2. The other
decoders that the paper compares are in `kerasdeconv.models.fast_decoder`.

Departures from the paper: MobileNetV2 instead of MobileNet, and where the encoder's maps have
other channels than the decoder's, a 1 x 1 convolution on the skip.
"""

from __future__ import annotations

from pathlib import Path

import keras

from kerasdeconv.models.fast_decoder import encode_and_decode


def DepthNet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    encoder: str = "mobilenet_v2",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    width: int = 32,
    upsample: str = "resize_nearest",
    kernel_size: int = 5,
    separable: bool = True,
    norm: str | None = "batch",
    activation: str = "relu",
    head_activation: str | None = "relu",
    include_rescaling: bool = True,
    name: str = "depthnet",
) -> keras.Model:
    """Builds a DepthNet.

    Args:
        input_shape: Height, width (multiples of 32, or None) and channels.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        width: Channels of the decoder's last block; each before has twice as many.
        upsample: What the decoder's blocks are: "resize_nearest" or "resize_bilinear" behind a
            convolution, "transpose", "subpixel", or "projection".
        kernel_size: Kernel of the blocks' convolutions, 5 in the paper. A transposed convolution
            whose kernel is no multiple of 2 gives some pixels more than others: take 4 or 6.
        separable: Whether the blocks' convolutions are depthwise and 1 x 1 convolutions.
        norm: None, "batch", "group" or "instance", of the decoder.
        activation: Activation of the decoder's hidden layers.
        head_activation: Activation of the depth; None for any number.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x 1, metres.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32; the message names
            the nearest.
        WeightsError: The encoder's weights are missing, damaged, unreachable, or do not fit.

    Example:
        >>> DepthNet((224, 224, 3)).output_shape
        (None, 224, 224, 1)
    """
    inputs, x = encode_and_decode(
        "DepthNet",
        input_shape,
        encoder=encoder,
        encoder_weights=encoder_weights,
        encoder_width=encoder_width,
        include_rescaling=include_rescaling,
        width=width,
        upsample=upsample,
        kernel_size=kernel_size,
        separable=separable,
        norm=norm,
        activation=activation,
    )
    # It starts a metre away, so that a ReLU lets gradients through.
    x = keras.layers.Conv2D(1, 1, bias_initializer="ones", name="head")(x)
    if head_activation is not None:
        x = keras.layers.Activation(head_activation, dtype="float32", name="head_activation")(x)
    return keras.Model(inputs, x, name=name)
