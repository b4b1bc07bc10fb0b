"""InstanceSegmenter: finds the objects of a picture, and draws the mask of each.

Objects are found as in Zhou, Wang and Krähenbühl, "Objects as points" (CenterNet, 2019),
https://arxiv.org/abs/1904.07850: a heat map of their centres, whose peaks are the objects, without
anchors and without suppression of boxes. Masks are those of Mask R-CNN (He et al. 2017,
https://arxiv.org/abs/1703.06870) in the boxes that were found: `MaskSegmenter` behind a detector.

It departs from CenterNet in three things. The heat map stands on a feature pyramid. A cell does not
give a size and an offset, but the distances of the four edges of the box, as in Tian et al., "FCOS"
(ICCV 2019), https://arxiv.org/abs/1904.01355, which are learned in all cells near a centre (Liu et
al., "Training-time-friendly network", AAAI 2020, https://arxiv.org/abs/1909.00700). And objects are
of one kind: there is one heat map.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.encoders import encode
from kerasdeconv.models.fpn import feature_pyramid
from kerasdeconv.models.heads import activate_scores, check_input_shape, check_sides, multiple_of
from kerasdeconv.models.mask_head import activate_masks
from kerasdeconv.models.mask_segmenter import masks_in_boxes

# What the network takes and gives: in use, and while it learns.
FORMS = ("inference", "training")
# So that a new network calls one cell in ten a centre; CenterNet, section 5.
_RARE = -2.19


def detector_branch(
    x: Any, outputs: int, *, depth: int, norm: str | None, activation: str, bias: float, name: str
) -> Any:
    """Applies convolutions to a map of the pyramid: as many as `depth`, and one to the outputs."""
    for i in range(depth):
        x = layers.conv_norm_activation(
            x, x.shape[-1], norm=norm, activation=activation, name=f"{name}_{i}"
        )
    # Weights this small leave the start to the bias; Lin et al. 2017, "Focal loss", section 4.1.
    last = keras.layers.Conv2D(
        outputs,
        1,
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),
        bias_initializer=keras.initializers.Constant(bias),
        name=name,
    )
    return last(x)


def InstanceSegmenter(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    boxes: int | None = 100,
    *,
    form: str = "inference",
    encoder: str = "small",
    encoder_weights: str | Path | None = None,
    encoder_width: int | None = None,
    channels: int = 256,
    strides: Sequence[int] = (4, 8, 16, 32),
    centre_stride: int = 4,
    threshold: float = 0.05,
    canonical_size: float = 224,
    size: int = 14,
    width: int = 256,
    depth: int = 4,
    detector_depth: int = 1,
    norm: str | None = None,
    activation: str = "relu",
    upsample: str = "transpose",
    top_down: str = "nearest",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "instance_segmenter",
) -> keras.Model:
    """Builds a network from a picture to the objects in it: their masks, boxes and scores.

    A box is (y0, x0, y1, x1) in pixels of the input picture, whole numbers being edges of pixels.

    Args:
        input_shape: Height, width (multiples of 32, or None) and channels.
        boxes: Number of objects K that are found at most; in the training form that of true boxes,
            or None for any.
        form: "inference", or "training": then true boxes are the second input, whose masks are
            drawn. Both forms have the same weights under the same names.
        encoder: One of `kerasdeconv.models.encoders.ENCODERS`.
        encoder_weights: None, "imagenet", or the path of a file; see
            `kerasdeconv.models.encoders.encode`.
        encoder_width: Channels of the encoder's first stage, where it has that choice.
        channels: Channels of the pyramid and of the detector.
        strides: Strides of the pyramid's maps, the finest first.
        centre_stride: That of the map in which centres are found.
        threshold: Least score of an object.
        canonical_size: See `kerasdeconv.layers.ROIAlign`.
        size: Side of the features that are cut out for a box; its mask has 2 * size.
        width: Channels of the mask head.
        depth: Number of 3 x 3 convolutions of the mask head.
        detector_depth: The same of the detector, one branch for centres and one for edges.
        norm: Normalization in mask head and detector: None as published, "batch", "group" or
            "instance".
        activation: Activation of the hidden layers of mask head and detector.
        upsample: How the mask head upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        top_down: How the pyramid upsamples, one of `kerasdeconv.models.fpn.TOP_DOWN`.
        head_activation: Of the masks: "probabilities" (a sigmoid), None for logits, or a Keras
            activation. Scores are probabilities always.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to "masks" over the boxes, N x K x 2*size x 2*size x 1, "boxes",
        N x K x 4, and "scores", N x K, the surest first; all 0 but the masks where no more objects
        are found. In its training form one from `[picture, boxes]` to the heat map "centres",
        N x H/s x W/s x 1, the "distances" of the top, left, bottom and right edges from the middle
        of each cell, in cells of s = `centre_stride` pixels, N x H/s x W/s x 4, and "masks".

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 32; the message names
            the nearest.

    Example:
        >>> [y.shape for y in InstanceSegmenter((256, 256, 3), boxes=50).outputs]
        [(None, 50, 28, 28, 1), (None, 50, 4), (None, 50)]
    """
    check_input_shape(input_shape, (2,))
    check_sides("InstanceSegmenter", input_shape[:-1], multiple_of(32))
    if form not in FORMS:
        raise ValueError(f"No such form. {closest(form, FORMS)} Received: {form!r}")
    if centre_stride not in strides:
        raise ValueError(
            f"centre_stride must be one of the strides {tuple(strides)}. Received: {centre_stride}"
        )
    if detector_depth < 0:
        raise ValueError(f"detector_depth must be 0 or more. Received: {detector_depth}")
    count = _found(boxes, input_shape, centre_stride) if form == "inference" else 0
    inputs = keras.Input(input_shape, name="input")
    maps = encode(
        encoder,
        inputs,
        weights=encoder_weights,
        width=encoder_width,
        include_rescaling=include_rescaling,
    )
    pyramid = feature_pyramid(maps, strides, channels=channels, upsample=top_down)
    finest = pyramid[list(strides).index(centre_stride)]
    options: dict[str, Any] = {"depth": detector_depth, "norm": norm, "activation": activation}
    x = detector_branch(finest, 1, bias=_RARE, name="centre", **options)
    centres = activate_scores(x, "probabilities", name="centre")
    x = detector_branch(finest, 4, bias=0.0, name="distance", **options)
    # As in FCOS distances are positive; float32, because the exponential function soon ends.
    distances = keras.layers.Activation("exponential", dtype="float32", name="distances")(x)
    if form == "training":
        corners = keras.Input((boxes, 4), name="boxes")
    else:
        find = layers.TopCentres(
            count, stride=centre_stride, threshold=threshold, dtype="float32", name="find"
        )
        corners, scores = find([centres, distances])
    x = masks_in_boxes(
        pyramid,
        corners,
        strides=strides,
        canonical_size=canonical_size,
        size=size,
        classes=1,
        width=width,
        depth=depth,
        norm=norm,
        activation=activation,
        upsample=upsample,
    )
    masks = activate_masks(x, head_activation)
    if form == "training":
        return keras.Model(
            [inputs, corners],
            _named(centres=centres, distances=distances, masks=masks),
            name=name,
        )
    return keras.Model(inputs, _named(masks=masks, boxes=corners, scores=scores), name=name)


def _found(boxes: int | None, input_shape: tuple[int | None, ...], stride: int) -> int:
    """The number of objects that are found, if a picture can have as many.

    Raises:
        ValueError: It is not positive, or more than the cells in which centres are found.
    """
    if boxes is None or boxes < 1:
        raise ValueError(f"boxes must be 1 or more; None in training alone. Received: {boxes}")
    height, width, _ = input_shape
    if height is not None and width is not None and boxes > (height // stride) * (width // stride):
        raise ValueError(
            f"The picture has {height // stride} x {width // stride} cells for centres: boxes must "
            f"not be more. Received: {boxes}"
        )
    return boxes


def _named(**outputs: Any) -> list[Any]:
    """Gives outputs names, by which losses and files know them."""
    return [
        x
        if x._keras_history.operation.name == name
        else keras.layers.Identity(dtype="float32", name=name)(x)
        for name, x in outputs.items()
    ]
