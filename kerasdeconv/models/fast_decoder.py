"""FastDepth's decoders: five small blocks from an encoder's coarsest map to the picture's size.

Wofk et al., "FastDepth: fast monocular depth estimation on embedded systems" (ICRA 2019),
https://arxiv.org/abs/1903.03273, compares them, each with dense and with depthwise separable
convolutions: nearest-neighbour resize behind a 5 x 5 convolution ("NNConv5"), transposed
convolution ("DeConv5"), and the up-projection of Laina et al. (3DV 2016,
https://arxiv.org/abs/1606.00373). Unpooling with zeros before a convolution ("UpConv") is a
transposed convolution, too. Sub-pixel convolution and bilinear resize are added here.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of

_STRIDES = (16, 8, 4, 2, 1)
# Where the encoder's maps are added.
_SKIPS = (8, 4, 2)


def encode_and_decode(
    network: str,
    input_shape: tuple[int | None, int | None, int],
    *,
    encoder: str,
    encoder_weights: str | Path | None,
    encoder_width: int | None,
    include_rescaling: bool,
    **options: Any,
) -> tuple[Any, Any]:
    """Goes from a picture to features of its size.

    Args:
        network: What messages call the network.
        input_shape: Height, width (multiples of 32, or None) and channels.
        encoder: See `kerasdeconv.models.encoders.encode`.
        encoder_weights: See there.
        encoder_width: See there, `width`.
        include_rescaling: See there.
        **options: See `decode`.

    Returns:
        The input, and N x H x W x width.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32.
        WeightsError: The encoder's weights are missing, damaged, unreachable, or do not fit.
    """
    check_input_shape(input_shape, (2,))
    check_sides(network, input_shape[:-1], multiple_of(32))
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        include_rescaling=include_rescaling,
    )
    return inputs, decode(maps, **options)


def decode(
    maps: dict[int, Any],
    *,
    width: int,
    upsample: str,
    kernel_size: int,
    separable: bool,
    norm: str | None,
    activation: str,
) -> Any:
    """Goes from an encoder's maps to features of the picture's size.

    Each block doubles the sides; the encoder's maps of strides 8, 4 and 2 are added to what the
    blocks give, through a 1 x 1 convolution where they have other channels.

    Args:
        maps: Maps by stride, as `encode` gives them.
        width: Channels of the last block; each before has twice as many.
        upsample: One of `UPSAMPLINGS`.
        kernel_size: Kernel of the blocks' large convolutions.
        separable: Whether these are depthwise and 1 x 1 convolutions.
        norm: None, "batch", "group" or "instance".
        activation: Keras activation.

    Returns:
        N x H x W x width.

    Raises:
        ValueError: No such upsampling, or a number is out of range.
    """
    if upsample not in UPSAMPLINGS:
        raise ValueError(
            f"No such upsampling. {closest(upsample, UPSAMPLINGS)} Received: {upsample!r}"
        )
    if width < 1 or kernel_size < 2:
        raise ValueError(
            f"width must be 1 or more, kernel_size 2 or more. Received: {width}, {kernel_size}"
        )
    block = _Block(kernel_size, separable, norm, activation)
    x = maps[32]
    for stride in _STRIDES:
        name = f"decoder_{stride}"
        x = UPSAMPLINGS[upsample](block, x, stride * width, name)
        if stride in _SKIPS:
            skip = maps[stride]
            if skip.shape[-1] != x.shape[-1]:
                skip = keras.layers.Conv2D(x.shape[-1], 1, name=f"{name}_skip")(skip)
            x = keras.layers.Add(name=f"{name}_add")([x, skip])
    return x


class _Block:
    """Makes the blocks of a decoder, all with the same kernels, norms and activations."""

    def __init__(
        self, kernel_size: int, separable: bool, norm: str | None, activation: str
    ) -> None:
        self.kernel_size, self.separable = kernel_size, separable
        self.norm, self.activation = norm, activation

    def nearest(self, x: Any, filters: int, name: str) -> Any:
        """A convolution, and then nearest-neighbour resize: cheaper than the other way around."""
        x = self._convolve(x, filters, name)
        return keras.layers.UpSampling2D(2, name=f"{name}_up")(x)

    def bilinear(self, x: Any, filters: int, name: str) -> Any:
        """A convolution, and then bilinear resize."""
        return layers.linear_upsample(self._convolve(x, filters, name), 2, f"{name}_up")

    def transpose(self, x: Any, filters: int, name: str, *, activated: bool = True) -> Any:
        """A transposed convolution."""
        activation = self.activation if activated else None
        if self.separable:
            x = layers.DepthwiseConvTranspose(self.kernel_size, 2, name=f"{name}_depthwise")(x)
            x = self._finish(x, f"{name}_depthwise", self.activation)
            return self._pointwise(x, filters, name, activation)
        x = keras.layers.Conv2DTranspose(
            filters,
            self.kernel_size,
            strides=2,
            padding="same",
            use_bias=self.norm is None,
            kernel_initializer="he_normal",
            name=f"{name}_conv",
        )(x)
        return self._finish(x, name, activation)

    def subpixel(self, x: Any, filters: int, name: str) -> Any:
        """A sub-pixel convolution."""
        if self.separable:
            x = self._depthwise(x, name)
        x = layers.upsample(
            x,
            filters,
            method="subpixel",
            kernel_size=1 if self.separable else self.kernel_size,
            use_bias=self.norm is None,
            name=f"{name}_conv",
        )
        return self._finish(x, name, self.activation)

    def projection(self, x: Any, filters: int, name: str) -> Any:
        """Up-projection: a residual block around transposed convolutions."""
        shortcut = self.transpose(x, filters, f"{name}_shortcut", activated=False)
        x = self.transpose(x, filters, f"{name}_0")
        x = layers.conv_norm_activation(
            x, filters, norm=self.norm, activation=None, name=f"{name}_1"
        )
        x = keras.layers.Add(name=f"{name}_residual")([x, shortcut])
        return layers.activate(x, self.activation, f"{name}_act")

    def _convolve(self, x: Any, filters: int, name: str) -> Any:
        if self.separable:
            return self._pointwise(self._depthwise(x, name), filters, name, self.activation)
        return layers.conv_norm_activation(
            x,
            filters,
            kernel_size=self.kernel_size,
            norm=self.norm,
            activation=self.activation,
            name=name,
        )

    def _depthwise(self, x: Any, name: str) -> Any:
        # He et al.'s start: each output sums kernel_size^2 products; Keras would count channels.
        start = keras.initializers.RandomNormal(stddev=2**0.5 / self.kernel_size)
        x = keras.layers.DepthwiseConv2D(
            self.kernel_size,
            padding="same",
            use_bias=self.norm is None,
            depthwise_initializer=start,
            name=f"{name}_depthwise",
        )(x)
        return self._finish(x, f"{name}_depthwise", self.activation)

    def _pointwise(self, x: Any, filters: int, name: str, activation: str | None) -> Any:
        return layers.conv_norm_activation(
            x, filters, kernel_size=1, norm=self.norm, activation=activation, name=name
        )

    def _finish(self, x: Any, name: str, activation: str | None) -> Any:
        x = layers.normalize(x, self.norm, f"{name}_norm")
        return layers.activate(x, activation, f"{name}_act") if activation else x


UPSAMPLINGS: dict[str, Callable[[_Block, Any, int, str], Any]] = {
    "resize_nearest": _Block.nearest,
    "resize_bilinear": _Block.bilinear,
    "transpose": _Block.transpose,
    "subpixel": _Block.subpixel,
    "projection": _Block.projection,
}
