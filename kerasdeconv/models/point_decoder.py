"""PointDecoder: a picture to a cloud of points on the surface of what it shows.

The two-branch network of Fan et al., "A point set generation network for 3D object reconstruction
from a single image" (CVPR 2017), https://arxiv.org/abs/1612.00603: behind an encoder, a branch of
transposed convolutions makes a map with the three coordinates of a point at each pixel, good at
smooth surfaces, and a dense branch makes points of its own, good at what is thin. The cloud is
that of both. Maps of the encoder are added on the way up, as there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of

_COARSEST = 32
STRIDES = (2, 4, 8, 16)


def PointDecoder(
    input_shape: tuple[int, int, int] = (192, 256, 3),
    points: int = 256,
    *,
    stride: int = 8,
    width: int = 64,
    dense: int = 512,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "transpose",
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    include_rescaling: bool = True,
    name: str = "point_decoder",
) -> keras.Model:
    """Builds a network from a picture to points.

    Args:
        input_shape: Height, width (multiples of 32) and channels. The sides are numbers, since the
            dense branch reads the whole map.
        points: Points of the dense branch. The other has one for each pixel of its map: the paper's
            picture gives 24 x 32 = 768, and 1024 together.
        stride: Stride of that map, one of `STRIDES`.
        width: Channels of that branch's finest map; each coarser one has twice as many.
        dense: Units of the dense branch's hidden layer.
        norm: None, "batch", "group" or "instance"; of maps alone.
        activation: Activation of the decoder's hidden layers.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x K x 3, K points in the units of what it learned from;
        those of the map come first, row by row.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> PointDecoder().output_shape
        (None, 1024, 3)
    """
    check_input_shape(input_shape, (2,))
    if None in input_shape:
        raise ValueError(f"A dense branch needs sides that are numbers. Received: {input_shape}")
    check_sides("PointDecoder", input_shape[:-1], multiple_of(_COARSEST))
    if stride not in STRIDES:
        raise ValueError(f"stride must be one of {STRIDES}. Received: {stride}")
    if min(points, width, dense) < 1:
        raise ValueError(
            f"points, width and dense must be 1 or more. Received: {points}, {width}, {dense}"
        )
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        include_rescaling=include_rescaling,
    )
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    x, level = maps[_COARSEST], _COARSEST
    while level > stride:
        level //= 2
        x = _raise(x, maps[level], width * level // stride, upsample, f"up_{level}", **options)
    x = keras.layers.Conv2D(3, 3, padding="same", name="map")(x)
    mapped = keras.layers.Reshape((-1, 3), name="map_points")(x)
    code = keras.layers.Flatten(name="flatten")(maps[_COARSEST])
    code = keras.layers.Dense(dense, kernel_initializer="he_normal", name="dense")(code)
    code = layers.activate(code, activation, "dense_act")
    free = keras.layers.Dense(3 * points, name="dense_points")(code)
    free = keras.layers.Reshape((points, 3), name="free_points")(free)
    # Coordinates stay float32 under mixed precision: bfloat16 has 8 bits.
    cloud = keras.layers.Concatenate(axis=1, dtype="float32", name="points")([mapped, free])
    return keras.Model(inputs, cloud, name=name)


def _raise(x: Any, skip: Any, filters: int, method: str, name: str, **options: Any) -> Any:
    """Doubles a map's sides, and adds the encoder's map of that size."""
    norm, activation = options["norm"], options["activation"]
    kernel = 4 if method == "transpose" else None
    x = layers.upsample(
        x, filters, method=method, kernel_size=kernel, use_bias=norm is None, name=name
    )
    x = layers.normalize(x, norm, f"{name}_norm")
    skip = layers.conv_norm_activation(
        skip, filters, norm=norm, activation=None, name=f"{name}_skip"
    )
    x = keras.layers.Add(name=f"{name}_add")([x, skip])
    return layers.activate(x, activation, f"{name}_act")
