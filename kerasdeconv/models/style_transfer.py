"""StyleTransfer: repaints a picture in the one style that it has learned.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution"
(ECCV 2016), https://arxiv.org/abs/1603.08155, with the network of its supplement: two strided
convolutions, five residual blocks, two that upsample, 9 x 9 kernels at both ends. It learns by
`kerasdeconv.losses.Perceptual` and `kerasdeconv.losses.TotalVariation`.

Departures, all of which later work has made usual: instance normalization (Ulyanov et al.,
"Instance normalization: the missing ingredient for fast stylization", 2016) instead of batch
normalization; nearest resize and a convolution instead of a transposed one (Odena et al.,
"Deconvolution and checkerboard artifacts", 2016); and reflection before each convolution instead of
40 pixels of it before the first.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import (
    check_input_shape,
    check_sides,
    rescale_pixels,
    squash_to_pixels,
)

_STRIDE = 4
_LEAST = (
    12  # pixels of a side, of which 9 x 9 kernels reflect 4, and residual blocks 1 of a quarter
)


def StyleTransfer(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    *,
    width: int = 32,
    depth: int = 5,
    norm: str | None = "instance",
    activation: str = "relu",
    upsample: str = "resize_nearest",
    include_rescaling: bool = True,
    name: str = "style_transfer",
) -> keras.Model:
    """Builds a StyleTransfer.

    Args:
        input_shape: Height, width (None for any multiple of 4, 12 or more) and channels.
        width: Channels at full size; there are four times as many at a quarter of it.
        depth: Residual blocks.
        norm: None, "batch", "group" or "instance". Batch normalization folds into convolutions.
        activation: Activation of the hidden layers.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`; "transpose" has
            4 x 4 kernels.
        include_rescaling: Whether pixels are in [0, 255] at both ends, instead of [0, 1] and
            [-1, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x C.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> StyleTransfer().count_params()
        1679235
    """
    check_input_shape(input_shape, (2,))
    check_sides("StyleTransfer", input_shape[:-1], _fits)
    if width < 1 or depth < 1:
        raise ValueError(f"width and depth must be 1 or more. Received: {width}, {depth}")
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)

    def block(x: Any, filters: int, name: str, kernel_size: int = 3, **options: Any) -> Any:
        x = _conv(x, filters, name, kernel_size, **options)
        x = layers.normalize(x, norm, f"{name}_norm")
        return layers.activate(x, activation, f"{name}_act")

    x = block(x, width, "down_0", 9)
    for i in (1, 2):
        x = block(x, width << i, f"down_{i}", strides=2)
    for i in range(depth):
        residual = block(x, 4 * width, f"block_{i}_0")
        residual = _conv(residual, 4 * width, f"block_{i}_1")
        residual = layers.normalize(residual, norm, f"block_{i}_1_norm")
        x = keras.layers.Add(name=f"block_{i}_add")([x, residual])
    kernel = 4 if upsample == "transpose" else None
    for i in (1, 0):
        x = layers.upsample(x, width << i, method=upsample, kernel_size=kernel, name=f"up_{i}")
        x = layers.normalize(x, norm, f"up_{i}_norm")
        x = layers.activate(x, activation, f"up_{i}_act")
    x = _conv(x, input_shape[-1], "head", 9, initializer="glorot_uniform")
    return keras.Model(inputs, squash_to_pixels(x, include_rescaling), name=name)


def _conv(
    x: Any,
    filters: int,
    name: str,
    kernel_size: int = 3,
    *,
    strides: int = 1,
    initializer: str = "he_normal",
) -> Any:
    """A convolution of a map that is continued by reflection."""
    x = layers.ReflectPadding(kernel_size // 2, name=f"{name}_reflect")(x)
    return keras.layers.Conv2D(
        filters, kernel_size, strides=strides, kernel_initializer=initializer, name=name
    )(x)


def _fits(side: int, axis: int) -> bool:
    return side >= _LEAST and side % _STRIDE == 0
