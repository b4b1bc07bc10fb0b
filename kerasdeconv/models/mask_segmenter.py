"""MaskSegmenter: Mask R-CNN without its detector, for boxes that are known already.

He et al., "Mask R-CNN" (ICCV 2017), https://arxiv.org/abs/1703.06870: an encoder, a feature
pyramid, ROIAlign, and the mask head. Boxes come from a detector, from a person or from another
network, and are the second input; so there is neither a proposal network nor a box head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.fpn import feature_pyramid
from kerasdeconv.models.heads import check_input_shape, check_sides, classify, multiple_of
from kerasdeconv.models.mask_head import activate_masks, mask_branch


def MaskSegmenter(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    boxes: int | None = 16,
    *,
    classes: int = 1,
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    channels: int = 256,
    strides: Sequence[int] = (4, 8, 16, 32),
    canonical_size: float = 224,
    size: int = 14,
    width: int = 256,
    depth: int = 4,
    norm: str | None = None,
    activation: str = "relu",
    upsample: str = "transpose",
    top_down: str = "nearest",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "mask_segmenter",
) -> keras.Model:
    """Builds a network from a picture and boxes to one mask a box.

    Its inputs are named "input" and "boxes": N x H x W x C and N x K x 4, where a box is
    (y0, x0, y1, x1) in pixels of the input picture, whole numbers being edges of pixels.

    Args:
        input_shape: Height, width (multiples of 32, or None) and channels.
        boxes: Number of boxes K of a picture, or None for any; an export needs a number.
        classes: Number of classes of a mask; each has a mask of its own.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        channels: Channels of the pyramid.
        strides: Strides of the pyramid's maps, the finest first. The paper's are the default;
            finer ones serve objects of less than 56 pixels.
        canonical_size: See `kerasdeconv.layers.ROIAlign`.
        size: Side of the features that are cut out for a box; its mask has 2 * size.
        width: Channels of the mask head.
        depth: Number of 3 x 3 convolutions of the mask head.
        norm: Normalization in the mask head: None as published, "batch", "group" or "instance".
        activation: Activation of the mask head's hidden layers.
        upsample: How the mask head upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        top_down: How the pyramid upsamples, one of `kerasdeconv.models.fpn.TOP_DOWN`.
        head_activation: "probabilities" (one sigmoid a class), None for logits, or a Keras
            activation.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from `[input, boxes]` to N x K x 2*size x 2*size x classes: the masks over their
        boxes. `kerasdeconv.runtime` pastes them back into the picture.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32; the message names
            the nearest.

    Example:
        >>> MaskSegmenter((256, 256, 3), boxes=8).output_shape
        (None, 8, 28, 28, 1)
    """
    check_input_shape(input_shape, (2,))
    check_sides("MaskSegmenter", input_shape[:-1], multiple_of(32))
    if boxes is not None and boxes < 1:
        raise ValueError(f"boxes must be 1 or more, or None for any. Received: {boxes}")
    inputs = keras.Input(input_shape, name="input")
    corners = keras.Input((boxes, 4), name="boxes")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        include_rescaling=include_rescaling,
    )
    pyramid = feature_pyramid(maps, strides, channels=channels, upsample=top_down)
    x = masks_in_boxes(
        pyramid,
        corners,
        strides=strides,
        canonical_size=canonical_size,
        size=size,
        classes=classes,
        width=width,
        depth=depth,
        norm=norm,
        activation=activation,
        upsample=upsample,
    )
    return keras.Model([inputs, corners], activate_masks(x, head_activation), name=name)


def masks_in_boxes(
    pyramid: Sequence[Any],
    corners: Any,
    *,
    strides: Sequence[int],
    canonical_size: float,
    size: int,
    classes: int,
    **branch: Any,
) -> Any:
    """Draws masks over boxes: ROIAlign and the mask head, all boxes of all pictures in one batch.

    Args:
        pyramid: One map a stride.
        corners: N x K x 4.
        strides: Strides of the maps.
        canonical_size: See `kerasdeconv.layers.ROIAlign`.
        size: Side of the features that are cut out.
        classes: Number of classes.
        **branch: See `mask_branch`.

    Returns:
        Logits, N x K x 2*size x 2*size x classes.
    """
    align = layers.ROIAlign(size, stride=strides, canonical_size=canonical_size, name="roi_align")
    x = layers.InstancesToBatch(name="to_batch")(align([*pyramid, corners]))
    x = classify(mask_branch(x, **branch), classes, None)
    return layers.BatchToInstances(name="to_instances")([x, corners])
