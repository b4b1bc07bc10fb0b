"""FlowNetS: how far each pixel moves from one picture to the next.

Dosovitskiy et al., "FlowNet: learning optical flow with convolutional networks" (ICCV 2015),
https://arxiv.org/abs/1504.06852: two pictures on six channels, ten convolutions down to a stride of
64, and a refinement that enlarges features and flow by 4 x 4 transposed convolutions, up to a
quarter of the input's sides. Training asks every level for the end-point error
(`kerasdeconv.losses.EndPointError`) with the weights 0.32, 0.08, 0.02, 0.01 and 0.005 from the
coarsest to the finest.

Only the encoder has biases. Departures from the paper: pixels are scaled to [0, 1] and keep their
mean, and the transposed convolutions of the flow start as bilinear resize.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.coarse_to_fine import check_pair, encode_pair, predict_levels
from kerasdeconv.models.heads import rescale_pixels


def FlowNetS(
    input_shape: tuple[int | None, int | None, int] = (None, None, 6),
    *,
    width: int = 64,
    upsample: str = "transpose",
    multiscale: bool = False,
    unit: float = 20.0,
    include_rescaling: bool = True,
    name: str = "flownet_s",
) -> keras.Model:
    """Builds a FlowNetS.

    Args:
        input_shape: Height, width (multiples of 64, or None) and channels: those of the first
            picture, and then those of the second.
        width: Channels of the first level, and of the last; 16 times as many at the coarsest.
        upsample: How features are enlarged, one of `kerasdeconv.layers.UPSAMPLING_METHODS`; the
            paper's is "transpose", 4 x 4.
        multiscale: Whether the flow of every level is an output, "flow_2" to "flow_6", the finest
            first, which a loss for each needs; otherwise the finest alone. Weights are the same.
        unit: Pixels of motion that 1 stands for within the network.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H/4 x W/4 x 2: by how many input pixels what is there in
        the first picture is farther right, and farther down, in the second. With `multiscale` to a
        list of these for the strides 4, 8, 16, 32 and 64.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 64; the message names
            the nearest.

    Example:
        >>> FlowNetS((384, 512, 6)).output_shape
        (None, 96, 128, 2)
    """
    check_pair("FlowNetS", input_shape, width, 1, unit)
    inputs = keras.Input(input_shape, name="input")
    maps = encode_pair(rescale_pixels(inputs, include_rescaling), width)
    flows = predict_levels(
        maps,
        [8 * width, 4 * width, 2 * width, width],
        channels=2,
        enlarge=_double,
        smooth=False,
        use_bias=False,
        upsample=upsample,
        unit=unit,
        label="flow",
    )
    return keras.Model(inputs, flows if multiscale else flows[0], name=name)


def _double(flow: Any, name: str) -> Any:
    return keras.layers.Conv2DTranspose(
        2,
        4,
        strides=2,
        padding="same",
        use_bias=False,
        kernel_initializer=layers.BilinearKernel(),
        name=name,
    )(flow)
