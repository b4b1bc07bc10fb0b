"""SurfaceNormals: which way the surface faces that each pixel shows, from one picture.

As in Eigen and Fergus, "Predicting depth, surface normals and semantic labels with a common
multi-scale convolutional architecture" (ICCV 2015), https://arxiv.org/abs/1411.4734: a network for
depth that gives three numbers a pixel instead, made a unit vector, and learns the dot product
(`kerasdeconv.losses.CosineDistance`). The network is `DepthNet`'s here.

In int8 TFLite makes unit vectors of integers, by one operator. ONNX Runtime has none: an export
refuses the layer, "head_activation", unless it is allowed to stay in float, or left to the caller
with `head_activation=None`: the direction is the answer then, whatever the length.
"""

from __future__ import annotations

from pathlib import Path

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.fast_decoder import encode_and_decode


def SurfaceNormals(
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
    head_activation: str | None = "unit",
    include_rescaling: bool = True,
    name: str = "surface_normals",
) -> keras.Model:
    """Builds a network for surface normals.

    Args:
        input_shape: See `DepthNet`.
        encoder: See `DepthNet`.
        encoder_weights: See `DepthNet`.
        encoder_width: See `DepthNet`.
        width: See `DepthNet`.
        upsample: See `DepthNet`.
        kernel_size: See `DepthNet`.
        separable: See `DepthNet`.
        norm: See `DepthNet`.
        activation: See `DepthNet`.
        head_activation: "unit" for unit vectors, None for vectors of any length.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x 3: how far a step along the normal goes to the
        right, down, and away from the camera. A wall straight ahead has (0, 0, -1).

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32; the message names
            the nearest.
        WeightsError: The encoder's weights are missing, damaged, unreachable, or do not fit.

    Example:
        >>> SurfaceNormals((224, 224, 3)).output_shape
        (None, 224, 224, 3)
    """
    if head_activation not in ("unit", None):
        raise ValueError(
            f"head_activation is 'unit' or None. {closest(head_activation, ['unit'])} "
            f"Received: {head_activation!r}"
        )
    inputs, x = encode_and_decode(
        "SurfaceNormals",
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
    x = keras.layers.Conv2D(3, 1, name="head")(x)
    if head_activation == "unit":
        # float32 under mixed precision: a square may leave the range of float16.
        x = layers.UnitVectors(dtype="float32", name="head_activation")(x)
    return keras.Model(inputs, x, name=name)
