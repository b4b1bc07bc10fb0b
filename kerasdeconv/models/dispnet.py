"""DispNet: how far each pixel of a left picture lies to the left in the right one.

Mayer et al., "A large dataset to train convolutional networks for disparity, optical flow, and
scene flow estimation" (CVPR 2016), https://arxiv.org/abs/1512.02134, section 5: FlowNetS with
one more level up, to half of the input's sides, and a 3 x 3 convolution behind whatever is joined.
All convolutions have biases. Disparities are enlarged without weights, here to the nearest pixel,
which integers of 8 bits compute everywhere; the convolution behind smoothes them.

Departure from the paper: pixels are scaled to [0, 1] and keep their mean.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.models.coarse_to_fine import check_pair, encode_pair, predict_levels
from kerasdeconv.models.heads import rescale_pixels


def DispNet(
    input_shape: tuple[int | None, int | None, int] = (None, None, 6),
    *,
    width: int = 64,
    upsample: str = "transpose",
    multiscale: bool = False,
    unit: float = 20.0,
    include_rescaling: bool = True,
    name: str = "dispnet",
) -> keras.Model:
    """Builds a DispNet.

    Args:
        input_shape: Height, width (multiples of 64, or None) and channels: those of the left
            picture, and then those of the right one.
        width: Channels of the first level, 2 or more; 16 times as many at the coarsest, half as
            many at the last.
        upsample: How features are enlarged, one of `kerasdeconv.layers.UPSAMPLING_METHODS`; the
            paper's is "transpose", 4 x 4.
        multiscale: Whether the disparity of every level is an output, "disparity_1" to
            "disparity_6", the finest first, which a loss for each needs; otherwise the finest
            alone. Weights are the same.
        unit: Pixels of disparity that 1 stands for within the network.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H/2 x W/2 x 1, input pixels: what is at x in the left
        picture is at x - disparity in the right one. With `multiscale` to a list of these for the
        strides 2, 4, 8, 16, 32 and 64.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 64; the message names
            the nearest.

    Example:
        >>> DispNet((384, 768, 6)).output_shape
        (None, 192, 384, 1)
    """
    check_pair("DispNet", input_shape, width, 2, unit)
    inputs = keras.Input(input_shape, name="input")
    maps = encode_pair(rescale_pixels(inputs, include_rescaling), width)
    disparities = predict_levels(
        maps,
        [8 * width, 4 * width, 2 * width, width, width // 2],
        channels=1,
        enlarge=_double,
        smooth=True,
        use_bias=True,
        upsample=upsample,
        unit=unit,
        label="disparity",
    )
    return keras.Model(inputs, disparities if multiscale else disparities[0], name=name)


def _double(disparity: Any, name: str) -> Any:
    return keras.layers.UpSampling2D(2, name=name)(disparity)
