"""Encoders: networks that turn a picture into maps of ever coarser strides.

`encode` gives any of them as a pyramid, stride to map, for a decoder to build on. "small" is
U-Net's own half; the others are those of keras.applications, layer by layer, and take its weights.

Maps by stride, with their channels; the layers are keras.applications' own, in which the name is
`encoder_` and the name there. MobileNets and EfficientNets give the widened map that the next
strided convolution reads, as is usual, and each its last map at stride 32.

| encoder            | 1  | 2                            | 4                            | 8                            | 16                           | 32               |
|--------------------|----|------------------------------|------------------------------|------------------------------|------------------------------|------------------|
| small              | 16 | 32                           | 64                           | 128                          | 256                          | 512              |
| vgg16              | 64 | 128                          | 256                          | 512                          | 512                          | 512 (pooled)     |
| resnet50           |    | conv1_relu 64                | conv2_block3_out 256         | conv3_block4_out 512         | conv4_block6_out 1024        | conv5_block3_out 2048 |
| mobilenet_v2       |    | block_1_expand_relu 96       | block_3_expand_relu 144      | block_6_expand_relu 192      | block_13_expand_relu 576     | out_relu 1280    |
| mobilenet_v3_small |    | conv_act 16                  | expanded_conv_1_expand_act 72 | expanded_conv_3_expand_act 96 | expanded_conv_8_expand_act 288 | conv_1_act 576 |
| mobilenet_v3_large |    | expanded_conv_1_expand_act 64 | expanded_conv_3_expand_act 72 | expanded_conv_6_expand_act 240 | expanded_conv_12_expand_act 672 | conv_1_act 960 |
| efficientnet_b0    |    | block2a_expand_activation 96 | block3a_expand_activation 144 | block4a_expand_activation 240 | block6a_expand_activation 672 | top_activation 1280 |
| efficientnet_v2_b0 |    | block1a_project_activation 16 | block2b_add 32              | block4a_expand_activation 192 | block6a_expand_activation 672 | top_activation 1280 |

Activations have no names of their own in MobileNetV3: they are named after their BatchNorm.
"""  # noqa: E501

from __future__ import annotations

from pathlib import Path
from typing import Any

from kerasdeconv.errors import closest
from kerasdeconv.models.encoders.published import PUBLISHED, encode_published
from kerasdeconv.models.encoders.stacks import STACKS, VGG16_STAGES
from kerasdeconv.models.encoders.weights import check_weights, load_encoder_weights

__all__ = ["ENCODERS", "VGG16_STAGES", "Pyramid", "encode"]

Pyramid = dict[int, Any]
ENCODERS = (*STACKS, *PUBLISHED)


def encode(
    name: str,
    x: Any,
    *,
    weights: str | Path | None = None,
    width: int | None = None,
    output_stride: int = 32,
    include_rescaling: bool = True,
) -> Pyramid:
    """Applies an encoder to a picture.

    The names of all its layers with weights start with `encoder_`, so that
    `kerasdeconv.zoo.freeze(model, "encoder_*")` freezes any of them.

    What the pixels become is the encoder's own, whether it has weights or not, so that a network
    that started from published weights can be stored and built again without them: "small" and
    "efficientnet_b0" take [0, 1], the MobileNets [-1, 1], "vgg16" and "resnet50" pixels minus
    ImageNet's mean, "efficientnet_v2_b0" ImageNet's mean 0 and deviation 1. Where it is by channel
    and there are not three, the mean over ImageNet's channels stands for each.

    `output_stride` takes strides away from the last layers that have one and spreads the kernels
    behind them instead (atrous convolution, Chen et al. 2017, https://arxiv.org/abs/1706.05587).
    The zeros before a formerly strided convolution stay and those behind it grow, so that each
    position that the strided network has is computed from the same pixels: every `32 /
    output_stride`-th row and column of the dilated map is the strided one, exactly in "small",
    "vgg16", "resnet50" and "mobilenet_v2". Squeeze-and-excite in the others weighs channels by
    their mean over all positions, and the dilated map has positions in between: there the two
    agree only as far as those means do.

    Args:
        name: One of `ENCODERS`.
        x: A picture, N x H x W x C; sides are multiples of `output_stride`.
        weights: None; "imagenet" for the published weights, which keras.applications downloads and
            caches; or the path of a .h5 file of the keras.applications network without its top,
            or of an .npz file of `kerasdeconv.zoo.save_weights`, of any model with this encoder.
        width: Channels of the first stage of "small" (16) and "vgg16" (64).
        output_stride: Stride of the coarsest map: 32, 16, or 8 ("small" and "vgg16" have no 8).
        include_rescaling: Whether the input is pixels in [0, 255]; otherwise it is in [0, 1], and
            is multiplied by 255 first, in the same step.

    Returns:
        Maps by stride, from 2 (1 for "small" and "vgg16") to `output_stride`, under which is the
        network's last map; the keys are in rising order.

    Raises:
        ValueError: No such encoder, or it cannot be had with this width, stride or channels.
        WeightsError: The weights are missing, damaged, unreachable, or of another network.

    Example:
        >>> pyramid = encode("mobilenet_v2", keras.Input((None, None, 3)))
        >>> {stride: x.shape[-1] for stride, x in pyramid.items()}
        {2: 96, 4: 144, 8: 192, 16: 576, 32: 1280}
    """
    if name not in ENCODERS:
        raise ValueError(f"No such encoder. {closest(str(name), ENCODERS)} Received: {name!r}")
    if len(x.shape) != 4:
        raise ValueError(f"Encoders take pictures, N x H x W x C. Received: {tuple(x.shape)}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32. Received: {output_stride!r}")
    if weights is not None and x.shape[-1] != 3:
        raise ValueError(
            "Trained encoders take RGB pictures: other channels need weights=None. "
            f"Received: {x.shape[-1]} channels"
        )
    if weights is not None:
        check_weights(name, weights)
    if name in STACKS:
        pyramid = STACKS[name](x, width, output_stride, include_rescaling)
    else:
        pyramid = encode_published(name, x, width, output_stride, include_rescaling)
    if weights is not None:
        load_encoder_weights(name, x, pyramid, weights)
    return pyramid
