"""DCGAN: a code to a picture with transposed convolutions, and the discriminator it learns against.

Radford, Metz and Chintala, "Unsupervised representation learning with deep convolutional generative
adversarial networks" (ICLR 2016), https://arxiv.org/abs/1511.06434, with the kernels and widths of
the authors' code for 64 x 64 pixels: 5 x 5 with stride 2, nowhere a bias, weights from N(0, 0.02).

Departures: gains of BatchNorm start at 1, not at N(1, 0.02); the discriminator gives logits; and
both take any size that doubles up from 4, 5, 6 or 7 pixels.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import (
    activate_scores,
    check_input_shape,
    check_sides,
    squash_to_pixels,
)

_STARTS = range(4, 8)  # sides of the first map


def DCGANGenerator(
    input_shape: tuple[int, ...] = (100,),
    size: int = 64,
    *,
    channels: int = 3,
    width: int = 128,
    kernel_size: int = 5,
    norm: str | None = "batch",
    norm_by_unit: bool = True,
    activation: str = "relu",
    upsample: str = "transpose",
    include_rescaling: bool = True,
    name: str = "dcgan_generator",
) -> keras.Model:
    """Builds the generator of DCGAN.

    Args:
        input_shape: Length of a code, `(100,)`, whose numbers training draws from N(0, 1).
        size: Side of the picture: 4, 5, 6 or 7, doubled once or more; 28, 32 and 64 are some.
        channels: Channels of the picture: 1 for gray, 3 for RGB.
        width: Channels of the finest hidden map; each coarser one has twice as many.
        kernel_size: Side of transposed kernels. An even one starts without a checkerboard.
        norm: None, "batch", "group" or "instance".
        norm_by_unit: Whether "batch" gives each unit of the first map statistics of its own, as the
            authors' code does, instead of each channel.
        activation: Activation of the hidden layers.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        include_rescaling: Whether pixels are in [0, 255], instead of in [-1, 1].
        name: Name of the model.

    Returns:
        A model from N x code to N x size x size x channels.

    Raises:
        ValueError: An argument is out of range; for a size, the message names the nearest.

    Example:
        >>> DCGANGenerator().count_params(), DCGANGenerator((64,), 28, channels=1).output_shape
        (18920320, (None, 28, 28, 1))
    """
    check_input_shape(input_shape, (0,))
    check_sides("DCGAN", [size], _doubles)
    if min(channels, width, kernel_size) < 1:
        raise ValueError(
            "channels, width and kernel_size must be 1 or more. "
            f"Received: {channels}, {width}, {kernel_size}"
        )
    doublings = doublings_of(size)
    start, first = size >> doublings, width << (doublings - 1)
    inputs = keras.Input(input_shape, name="input")
    x = keras.layers.Dense(start * start * first, name="start", **_options(norm))(inputs)
    by_unit = norm == "batch" and norm_by_unit
    if by_unit:
        x = layers.normalize(x, norm, "start_norm")
    x = keras.layers.Reshape((start, start, first), name="start_map")(x)
    if not by_unit:
        x = layers.normalize(x, norm, "start_norm")
    x = layers.activate(x, activation, "start_act")
    kernel = kernel_size if upsample == "transpose" else None
    for i in range(doublings - 1):
        filters = first >> (i + 1)
        x = layers.upsample(
            x, filters, method=upsample, kernel_size=kernel, name=f"up_{i}", **_options(norm)
        )
        x = layers.normalize(x, norm, f"up_{i}_norm")
        x = layers.activate(x, activation, f"up_{i}_act")
    x = layers.upsample(
        x, channels, method=upsample, kernel_size=kernel, name="head", **_options(norm)
    )
    return keras.Model(inputs, squash_to_pixels(x, include_rescaling), name=name)


def DCGANDiscriminator(
    input_shape: tuple[int, ...] = (64, 64, 3),
    *,
    width: int = 128,
    kernel_size: int = 5,
    norm: str | None = "batch",
    spectral: bool = False,
    activation: str = "leaky_relu",
    head_activation: str | None = None,
    include_rescaling: bool = True,
    name: str = "dcgan_discriminator",
) -> keras.Model:
    """Builds the discriminator of DCGAN.

    Args:
        input_shape: Height and width, as `DCGANGenerator` has them, and channels.
        width: Channels of the first map; each coarser one has twice as many.
        kernel_size: Side of the kernels.
        norm: None, "batch", "group" or "instance", but for the first map, which has none. A
            gradient penalty wants one that does not mix the pictures of a batch.
        spectral: Whether each layer is scaled to a spectral norm of 1 in training: Miyato et al.,
            "Spectral normalization for generative adversarial networks" (ICLR 2018).
        activation: Activation; Keras' "leaky_relu" has the paper's slope of 0.2.
        head_activation: None for logits, as training takes them; "probabilities" for a sigmoid.
        include_rescaling: Whether pixels are in [0, 255], instead of in [-1, 1].
        name: Name of the model.

    Returns:
        A model from N x size x size x channels to N x 1, how real a picture seems.

    Raises:
        ValueError: An argument is out of range; for a size, the message names the nearest.
    """
    check_input_shape(input_shape, (2,))
    check_sides("DCGAN", [side or 0 for side in input_shape[:-1]], _doubles)
    if input_shape[0] != input_shape[1]:
        raise ValueError(f"Pictures must be square. Received: {input_shape[0]} x {input_shape[1]}")
    if min(width, kernel_size) < 1:
        raise ValueError(
            f"width and kernel_size must be 1 or more. Received: {width}, {kernel_size}"
        )
    inputs = x = keras.Input(input_shape, name="input")
    if include_rescaling:
        x = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(x)
    for i in range(doublings_of(input_shape[0])):
        conv = keras.layers.Conv2D(
            width << i,
            kernel_size,
            strides=2,
            padding="same",
            name=f"down_{i}",
            **_options(norm if i else None, use_bias=spectral or norm is None),
        )
        x = _scaled(conv, spectral)(x)
        x = layers.normalize(x, norm, f"down_{i}_norm") if i else x
        x = layers.activate(x, activation, f"down_{i}_act")
    x = keras.layers.Flatten(name="flatten")(x)
    head = keras.layers.Dense(1, name="head", **_options(None, use_bias=spectral or norm is None))
    x = activate_scores(_scaled(head, spectral)(x), head_activation)
    return keras.Model(inputs, x, name=name)


def doublings_of(size: int) -> int:
    """How often a side is doubled from 4, 5, 6 or 7; 0 for a side that is not made so."""
    doublings = 0
    while size not in _STARTS:
        if size % 2 or size < _STARTS[0]:
            return 0
        size, doublings = size // 2, doublings + 1
    return doublings


def _doubles(size: int, axis: int) -> bool:
    return doublings_of(size) > 0


def _options(norm: str | None, use_bias: bool | None = None) -> dict[str, Any]:
    """What all layers of both networks share; there are biases where there are no norms."""
    return {
        "use_bias": norm is None if use_bias is None else use_bias,
        "kernel_initializer": keras.initializers.RandomNormal(stddev=0.02),
    }


def _scaled(layer: keras.layers.Layer, spectral: bool) -> keras.layers.Layer:
    if not spectral:
        return layer
    return keras.layers.SpectralNormalization(layer, name=f"{layer.name}_spectral")
