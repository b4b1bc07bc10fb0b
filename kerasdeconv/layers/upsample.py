"""One function for every way to upsample a map with learned weights."""

from __future__ import annotations

import math
from typing import Any

from kerasdeconv.errors import closest
from kerasdeconv.layers.depth_to_space import DepthToSpace
from kerasdeconv.layers.depthwise_transpose import DepthwiseConvTranspose
from kerasdeconv.layers.initializers import ICNR
from kerasdeconv.layers.linear_upsampling import linear_upsample
from kerasdeconv.layers.ranks import of_rank, per_axis

UPSAMPLING_METHODS = (
    "transpose",
    "separable_transpose",
    "resize_nearest",
    "resize_bilinear",
    "subpixel",
)


def upsample(
    x: Any,
    filters: int,
    *,
    factor: int | tuple[int, ...] = 2,
    method: str = "transpose",
    kernel_size: int | tuple[int, ...] | None = None,
    activation: str | None = None,
    use_bias: bool = True,
    kernel_initializer: Any = "he_normal",
    name: str,
) -> Any:
    """Upsamples a 2D or 3D map with learned weights.

    | method | layers | default kernel |
    |---|---|---|
    | "transpose" | transposed convolution | factor |
    | "separable_transpose" | depthwise transposed convolution, 1 x 1 convolution | 2 * factor |
    | "resize_nearest" | nearest-neighbour resize, convolution | 3 |
    | "resize_bilinear" | (tri)linear resize, convolution | 3 |
    | "subpixel" | convolution with ICNR start, activation, depth to space | 3 |

    Default kernels are divisible by the stride, so that no method starts with a checkerboard
    (Odena et al., "Deconvolution and checkerboard artifacts", 2016).

    Args:
        x: N x H x W x C or N x D x H x W x C.
        filters: Output channels.
        factor: Upsampling factor, or one for each spatial axis.
        method: One of `UPSAMPLING_METHODS`.
        kernel_size: Kernel size, or one for each spatial axis.
        activation: Keras activation of the result.
        use_bias: Whether there is a bias.
        kernel_initializer: Start of the kernel (of the distinct kernels for "subpixel").
        name: Name of the layer, prefix of the names where there are several.

    Returns:
        A map of `factor` times the size with `filters` channels.

    Raises:
        ValueError: No such method, or a factor for another number of axes.
    """
    rank = len(x.shape) - 2
    factors = per_axis(factor, rank)
    conv = of_rank("Conv{}D", rank)
    options: dict[str, Any] = {
        "activation": activation,
        "use_bias": use_bias,
        "kernel_initializer": kernel_initializer,
    }
    if method == "transpose":
        return of_rank("Conv{}DTranspose", rank)(
            filters, kernel_size or factors, strides=factors, padding="same", name=name, **options
        )(x)
    if method == "separable_transpose":
        kernel = kernel_size or tuple(2 * s for s in factors)
        x = DepthwiseConvTranspose(kernel, factors, name=f"{name}_depthwise")(x)
        return conv(filters, 1, name=name, **options)(x)
    if method in ("resize_nearest", "resize_bilinear"):
        if method == "resize_nearest":
            x = of_rank("UpSampling{}D", rank)(factors, name=f"{name}_resize")(x)
        else:
            x = linear_upsample(x, factors, name=f"{name}_resize")
        return conv(filters, kernel_size or 3, padding="same", name=name, **options)(x)
    if method == "subpixel":
        # Activating before the shuffle is the same function and stays integer in ONNX Runtime.
        blocks = math.prod(factors)
        options["kernel_initializer"] = ICNR(blocks, kernel_initializer)
        x = conv(filters * blocks, kernel_size or 3, padding="same", name=name, **options)(x)
        return DepthToSpace(factors, name=f"{name}_shuffle")(x)
    raise ValueError(
        f"No such upsampling method. {closest(method, UPSAMPLING_METHODS)} Received: {method!r}"
    )
