"""Autoencoders of whole pictures: to a few numbers and back.

`Autoencoder` follows Hinton and Salakhutdinov, "Reducing the dimensionality of data with neural
networks" (Science 2006), with convolutions for its outer dense layers, and trained at once.
`ConvVAE` is the variational one of Kingma and Welling, "Auto-encoding variational Bayes" (ICLR
2014), https://arxiv.org/abs/1312.6114, with the same layers. `kerasdeconv.models.split` makes an
encoder and a decoder of either.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of, rescale_pixels


def Autoencoder(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    code: int = 32,
    *,
    width: int = 32,
    depth: int = 2,
    hidden: int = 256,
    norm: str | None = None,
    activation: str = "relu",
    upsample: str = "transpose",
    include_rescaling: bool = True,
    name: str = "autoencoder",
) -> keras.Model:
    """Builds an autoencoder.

    Args:
        input_shape: Height, width (multiples of 2^depth) and channels.
        code: Length of the code.
        width: Channels of the first convolution; each level has twice as many.
        depth: Levels, each of half the size.
        hidden: Length of the dense layers before and behind the code; 0 for none.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`; kernels
            of transposed convolutions are 4 x 4.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to the same.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> Autoencoder((28, 28, 1), code=32).get_layer("code").output.shape
        (None, 32)
    """
    _check("autoencoder", input_shape, code=code, width=width, depth=depth, hidden=hidden)
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    x, shape = _encode(x, width, depth, hidden, **options)
    x = keras.layers.Dense(code, name="code")(x)
    channels = inputs.shape[-1]
    x = _decode(x, shape, channels, width, hidden, upsample=upsample, **options)
    return keras.Model(inputs, _reconstruct(x, include_rescaling), name=name)


def ConvVAE(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    latents: int = 16,
    *,
    width: int = 32,
    depth: int = 2,
    hidden: int = 256,
    norm: str | None = None,
    activation: str = "relu",
    upsample: str = "transpose",
    seed: int | None = None,
    include_rescaling: bool = True,
    name: str = "conv_vae",
) -> keras.Model:
    """Builds a convolutional variational autoencoder.

    Args:
        input_shape: See `Autoencoder`.
        latents: Number of latents.
        width: See `Autoencoder`.
        depth: See `Autoencoder`.
        hidden: See `Autoencoder`.
        norm: See `Autoencoder`.
        activation: See `Autoencoder`.
        upsample: See `Autoencoder`.
        seed: Seed of what training draws; see `kerasdeconv.layers.Sampling`.
        include_rescaling: See `Autoencoder`.
        name: Name of the model.

    Returns:
        A model from N x H x W x C to two outputs: "reconstruction", N x H x W x C, 255 times the
        probability that a pixel is white, from latents that training draws and that are the means
        of the posterior otherwise; and "posterior", N x 2 latents, means and then log variances.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> model = ConvVAE((28, 28, 1), latents=16)
        >>> model.compile("adam", [losses.BernoulliNats(), losses.GaussianKL()])
        >>> model.fit(data.PosteriorBatches(pictures), epochs=10)
    """
    _check(
        "variational autoencoder",
        input_shape,
        code=latents,
        width=width,
        depth=depth,
        hidden=hidden,
    )
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    x, shape = _encode(x, width, depth, hidden, **options)
    # Log variances stay float32 under mixed precision: their exponentials don't fit into float16.
    # They start at 0: as the prior has them.
    posterior = keras.layers.Dense(2 * latents, dtype="float32", name="posterior")(x)
    x = layers.Sampling(seed, name="code")(posterior)
    channels = inputs.shape[-1]
    x = _decode(x, shape, channels, width, hidden, upsample=upsample, **options)
    return keras.Model(inputs, [_reconstruct(x, include_rescaling), posterior], name=name)


def _encode(
    x: Any, width: int, depth: int, hidden: int, *, norm: str | None, activation: str
) -> tuple[Any, tuple[int, ...]]:
    """Halves a picture some times, and makes one vector of it; also the last map's shape."""
    for level in range(depth):
        x = layers.conv_norm_activation(
            x,
            width * 2**level,
            strides=2,
            norm=norm,
            activation=activation,
            name=f"encoder_{level}",
        )
    shape = x.shape[1:]
    x = keras.layers.Flatten(name="encoder_flatten")(x)
    return _dense(x, hidden, activation, "encoder_hidden") if hidden else x, shape


def _decode(
    x: Any,
    shape: tuple[int, ...],
    channels: int,
    width: int,
    hidden: int,
    *,
    norm: str | None,
    activation: str,
    upsample: str,
) -> Any:
    """The way back, from a code to a picture before its sigmoid."""
    if hidden:
        x = _dense(x, hidden, activation, "decoder_hidden")
    x = _dense(x, shape[0] * shape[1] * shape[2], activation, "start")
    x = keras.layers.Reshape(shape, name="start_map")(x)
    filters = shape[-1]
    while filters > width:
        filters //= 2
        label = f"decoder_{filters // width}"
        x = _double(x, filters, upsample, label, use_bias=norm is None)
        x = layers.normalize(x, norm, f"{label}_norm")
        x = layers.activate(x, activation, f"{label}_act")
    # The last step starts near gray, where the sigmoid is steep.
    return _double(x, channels, upsample, "head", kernel_initializer="glorot_uniform")


def _reconstruct(x: Any, include_rescaling: bool) -> Any:
    """Pixels, or probabilities, in float32 also under mixed precision; always "reconstruction"."""
    last = "probabilities" if include_rescaling else "reconstruction"
    x = keras.layers.Activation("sigmoid", dtype="float32", name=last)(x)
    if not include_rescaling:
        return x
    return keras.layers.Rescaling(255.0, dtype="float32", name="reconstruction")(x)


def _dense(x: Any, length: int, activation: str, name: str) -> Any:
    x = keras.layers.Dense(length, kernel_initializer="he_normal", name=name)(x)
    return layers.activate(x, activation, f"{name}_act")


def _double(x: Any, filters: int, method: str, name: str, **options: Any) -> Any:
    kernel = 4 if method == "transpose" else None
    return layers.upsample(x, filters, method=method, kernel_size=kernel, name=name, **options)


def _check(
    network: str,
    input_shape: tuple[int | None, ...],
    *,
    code: int,
    width: int,
    depth: int,
    hidden: int,
) -> None:
    """Refuses what such a network cannot be made of.

    Raises:
        ValueError: An argument is out of range.
    """
    check_input_shape(input_shape, (2,))
    if min(code, width, depth) < 1 or hidden < 0:
        raise ValueError(
            "Lengths, width and depth must be 1 or more, hidden 0 or more. "
            f"Received: {code}, {width}, {depth}, {hidden}"
        )
    if None in input_shape:
        raise ValueError(f"This {network} needs the sides of its pictures. Received: {input_shape}")
    check_sides(network, input_shape[:-1], multiple_of(2**depth))
