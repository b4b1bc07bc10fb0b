"""Voxel decoder: a latent code, or a picture, to the occupancy of a cube.

The decoder is the generator of Wu et al., "Learning a probabilistic latent space of object shapes
via 3D generative-adversarial modeling" (3D-GAN, NIPS 2016), https://arxiv.org/abs/1610.07584: from
a code of 200 numbers to 512 channels of 4 x 4 x 4, then 4 x 4 x 4 transposed convolutions with
stride 2 to 256, 128 and 64 channels and to one, BatchNorm and ReLU between them, a sigmoid behind.
Its first transposed convolution, of a map of one voxel, is a dense layer here: the same function.

For a picture an encoder stands in front that ends in such a code, as in the TL-embedding network
(Girdhar et al., "Learning a predictable and generative vector representation for objects", ECCV
2016, https://arxiv.org/abs/1603.08637). It is trained with voxels as labels, from one view, without
a recurrent part: a small relative of 3D-R2N2 (Choy et al., ECCV 2016).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.heads import activate_scores, check_input_shape, check_sides, multiple_of

_START = 4  # side of the first map


def VoxelDecoder(
    input_shape: tuple[int | None, ...] = (200,),
    side: int = 64,
    *,
    width: int = 64,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "transpose",
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    code: int = 200,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "voxel_decoder",
) -> keras.Model:
    """Builds a voxel decoder.

    Args:
        input_shape: Length of a latent code, `(200,)`; or height, width (None for any multiple of
            32) and channels of a picture.
        side: Side of the voxel grid: 8, 16, 32, 64 or any larger power of two.
        width: Channels of the finest hidden map; each coarser one has twice as many.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the decoder's hidden layers.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        encoder: What turns a picture into a code, one of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        code: Length of the code that a picture is turned into.
        head_activation: "probabilities" for a sigmoid, None for logits, or a Keras activation.
        include_rescaling: Whether a picture is pixels in [0, 255], instead of [0, 1]. A latent
            code is taken as it is.
        name: Name of the model.

    Returns:
        A model from N x code or N x H x W x C to N x side x side x side x 1, the probability that
        a voxel is occupied.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> VoxelDecoder((128, 128, 3), 32).output_shape
        (None, 32, 32, 32, 1)
    """
    check_input_shape(input_shape, (0, 2))
    check_sides("voxel decoder", [side], _is_a_grid)
    if min(width, code) < 1:
        raise ValueError(f"width and code must be 1 or more. Received: {width}, {code}")
    doublings = (side // _START).bit_length() - 1

    inputs = x = keras.Input(input_shape, name="input")
    if len(input_shape) > 1:
        check_sides("voxel decoder", input_shape[:-1], multiple_of(32))
        maps = encode(
            encoder,
            x,
            weights=encoder_weights,
            width=encoder_width,
            include_rescaling=include_rescaling,
        )
        x = keras.layers.GlobalAveragePooling2D(name="pool")(maps[32])
        x = keras.layers.Dense(code, name="code")(x)
    widths = [width * 2**level for level in reversed(range(doublings))]
    x = keras.layers.Dense(
        _START**3 * widths[0], use_bias=norm is None, kernel_initializer="he_normal", name="start"
    )(x)
    x = keras.layers.Reshape((_START, _START, _START, widths[0]), name="start_map")(x)
    x = layers.normalize(x, norm, "start_norm")
    x = layers.activate(x, activation, "start_act")
    for i, filters in enumerate(widths[1:]):
        x = double_voxels(x, filters, upsample, f"up_{i}", use_bias=norm is None)
        x = layers.normalize(x, norm, f"up_{i}_norm")
        x = layers.activate(x, activation, f"up_{i}_act")
    x = double_voxels(x, 1, upsample, "head")
    return keras.Model(inputs, activate_scores(x, head_activation), name=name)


def double_voxels(x: Any, filters: int, method: str, name: str, **options: Any) -> Any:
    """Doubles the sides of a grid; transposed convolutions have the paper's kernels."""
    kernel = 4 if method == "transpose" else None
    return layers.upsample(x, filters, method=method, kernel_size=kernel, name=name, **options)


def _is_a_grid(side: int, axis: int) -> bool:
    return side >= 2 * _START and side & (side - 1) == 0
