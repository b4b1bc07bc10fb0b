"""VoxelNet: a picture to the occupancy of the space behind its pixels, voxel by voxel.

Direct volumetric regression of Jackson et al., "Large pose 3D face reconstruction from a single
image via direct volumetric CNN regression" (ICCV 2017), https://arxiv.org/abs/1703.07834: the grid
lies in the camera's frame, the channels of a 2D map are its slices in depth, and every voxel is
classified. There the whole network is 2D; here a 2D encoder is followed by a decoder of 3D
transposed convolutions, as in Choy et al., "3D-R2N2" (ECCV 2016), https://arxiv.org/abs/1604.00449,
with a skip connection at each scale from the pixels to the voxels behind them, as in Popov et al.,
"CoReNet: coherent 3D scene reconstruction from a single RGB image" (ECCV 2020),
https://arxiv.org/abs/2004.12989, for a camera without perspective.

`VoxelDecoder` goes through a code instead, which knows the kind of an object and not its place: for
objects in a frame of their own, whichever way the camera sees them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import activate_scores, check_input_shape, check_sides, multiple_of
from kerasdeconv.models.voxel_decoder import double_voxels

_COARSEST, _FINEST = 32, 2  # strides of the first map and of the grid


def VoxelNet(
    input_shape: tuple[int | None, int | None, int] = (64, 64, 3),
    depth: int = 32,
    *,
    width: int = 16,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "transpose",
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "voxel_net",
) -> keras.Model:
    """Builds a network from a picture to voxels.

    Args:
        input_shape: Height, width (multiples of 32, or None) and channels.
        depth: Slices of the grid, a multiple of 16.
        width: Channels of the finest hidden grid; each coarser one has twice as many. A skip
            connection adds as many.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the decoder's hidden layers.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        head_activation: "probabilities" for a sigmoid, None for logits, or a Keras activation.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x depth x H/2 x W/2 x 1, the probability that a voxel is
        occupied; the first slice is the nearest.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> VoxelNet((64, 64, 3)).output_shape
        (None, 32, 32, 32, 1)
    """
    check_input_shape(input_shape, (2,))
    check_sides("VoxelNet", input_shape[:-1], multiple_of(_COARSEST))
    check_sides("VoxelNet", [depth], multiple_of(_COARSEST // _FINEST))
    if width < 1:
        raise ValueError(f"width must be 1 or more. Received: {width}")
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        include_rescaling=include_rescaling,
    )
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    stride, filters = _COARSEST, width * _COARSEST // (4 * _FINEST)
    x = _lift(maps[stride], depth * _FINEST // stride, filters, f"lift_{stride}", **options)
    while stride > 2 * _FINEST:
        stride, filters = stride // 2, filters // 2
        label = f"up_{stride}"
        x = double_voxels(x, filters, upsample, label, use_bias=norm is None)
        x = layers.normalize(x, norm, f"{label}_norm")
        x = layers.activate(x, activation, f"{label}_act")
        slices = depth * _FINEST // stride
        skip = _lift(maps[stride], slices, filters, f"lift_{stride}", **options)
        x = keras.layers.Concatenate(name=f"concat_{stride}")([x, skip])
    x = double_voxels(x, 1, upsample, "head")
    return keras.Model(inputs, activate_scores(x, head_activation), name=name)


def _lift(x: Any, depth: int, filters: int, name: str, **options: Any) -> Any:
    """Makes a grid of a map: a 1 x 1 convolution whose channels are the slices behind a pixel."""
    x = layers.conv_norm_activation(x, depth * filters, kernel_size=1, name=name, **options)
    return layers.ChannelsToDepth(depth, name=f"{name}_slices")(x)
