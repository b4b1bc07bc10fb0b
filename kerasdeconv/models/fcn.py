"""FCN-32s, FCN-16s and FCN-8s: fully convolutional networks for semantic segmentation.

Long, Shelhamer and Darrell, "Fully convolutional networks for semantic segmentation" (CVPR 2015),
https://arxiv.org/abs/1411.4038. A classifier is applied everywhere, and its coarse scores are
upsampled, after scores of finer maps have been added.

The defaults are the paper's network: VGG16 with its dense layers as convolutions, 100 pixels of
padding so that a picture of any size has a score, poolings that keep an odd row, transposed
convolutions that start as bilinear interpolation, the last of which stays so.

Departures from the paper: scores start at small random values instead of zero, through which no
gradient would reach the layers below; the finer scores are added from the start instead of network
by network. With another encoder or way to upsample, see `FCN8s`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoders import VGG16_STAGES, encode
from kerasdeconv.models.encoders.pixels import prepare
from kerasdeconv.models.encoders.weights import load_encoder_weights
from kerasdeconv.models.heads import (
    activate_scores,
    check_classes,
    check_input_shape,
    check_sides,
    multiple_of,
)

_PADDING = 100  # of the first convolution, which is unpadded: the 7 x 7 one takes 6 * 32 = 192 away


def _vgg16(
    inputs: Any, width: int, weights: str | Path | None, include_rescaling: bool
) -> dict[int, Any]:
    """The encoder "vgg16" with the paper's padding: its pooled maps by stride, from 2 to 32."""
    x = prepare(inputs, "caffe", include_rescaling)
    # The first convolution pads by one pixel more.
    x = keras.layers.ZeroPadding2D(_PADDING - 1, name="pad")(x)
    maps = {}
    for level, stage in enumerate(VGG16_STAGES):
        label, widths = f"encoder_{level}", tuple(width * n for n in stage)
        x = layers.plain_block(x, widths, padding="same", norm=None, activation="relu", name=label)
        # "same" adds a row behind an odd side, as Caffe's poolings do.
        x = keras.layers.MaxPooling2D(2, padding="same", name=f"{label}_pool")(x)
        maps[2 ** (level + 1)] = x
    if weights is not None:
        load_encoder_weights("vgg16", inputs, maps, weights)
    return maps


def _upsample(
    x: Any, classes: int, factor: int, *, method: str, padding: str, trainable: bool, name: str
) -> Any:
    """Upsamples scores: a transposed convolution that starts bilinear, or any other method."""
    if method != "transpose":
        return layers.upsample(x, classes, factor=factor, method=method, use_bias=False, name=name)
    return keras.layers.Conv2DTranspose(
        classes,
        2 * factor,
        strides=factor,
        padding=padding,
        use_bias=False,
        kernel_initializer=layers.BilinearKernel(),
        trainable=trainable,
        name=name,
    )(x)


def _fcn(
    finest: int,
    *,
    input_shape: tuple[int | None, int | None, int],
    classes: int,
    encoder: str,
    encoder_weights: str | Path | None,
    width: int | None,
    fc_width: int,
    dropout: float,
    upsample: str,
    train_upsampling: bool | str,
    head_activation: str | None,
    include_rescaling: bool,
    name: str,
) -> keras.Model:
    """Builds the network whose finest scores have a stride of `finest`. Arguments: see `FCN8s`."""
    check_input_shape(input_shape, (2,))
    check_classes(classes)
    if fc_width < 1 or (width is not None and width < 1):
        raise ValueError(f"width and fc_width must be 1 or more. Received: {width}, {fc_width}")
    if train_upsampling not in (True, False, "intermediate"):
        raise ValueError(
            "train_upsampling must be True, False or 'intermediate'. "
            f"Received: {train_upsampling!r}"
        )
    if upsample != "transpose" and not train_upsampling:
        raise ValueError(
            "Only upsample='transpose' starts as bilinear interpolation and can be left so. "
            f"Received: upsample={upsample!r}, train_upsampling=False"
        )
    inputs = keras.Input(input_shape, name="input")
    paper = encoder == "vgg16"
    if paper:
        maps = _vgg16(inputs, width or 64, encoder_weights, include_rescaling)
    else:
        check_sides(f"FCN with {encoder}", input_shape[:-1], multiple_of(32))
        maps = encode(
            encoder,
            inputs,
            weights=encoder_weights,
            width=width,
            include_rescaling=include_rescaling,
        )

    x = maps[32]
    for label, kernel in (("fc6", 7), ("fc7", 1)):
        x = layers.conv_norm_activation(
            x, fc_width, kernel_size=kernel, padding="valid" if paper else "same", name=label
        )
        x = keras.layers.Dropout(dropout, name=f"{label}_dropout")(x)
    x = _score(x, classes, "score_32")

    # How many pixels before the picture the scores begin, and the encoder's maps: these begin where
    # the padding does, to one pixel, and fc6 has taken three of the coarsest map's. The crops that
    # follow from it are the paper's.
    origin, before = (_PADDING - 1 - 3 * 32, _PADDING - 1) if paper else (0, 0)
    stride = 32
    while stride > 1:
        target = stride // 2 if stride > finest else 1
        unpadded = paper and upsample == "transpose"
        x = _upsample(
            x,
            classes,
            stride // target,
            method=upsample,
            padding="valid" if unpadded else "same",
            trainable=bool(train_upsampling) and (target > 1 or train_upsampling != "intermediate"),
            name=f"upsample_{target}",
        )
        origin += stride // 2 if unpadded else 0
        stride = target
        if stride > 1:
            skip = _score(maps[stride], classes, f"score_{stride}")
            if paper:
                offset = (before - origin) // stride
                skip = layers.CropLike(offset, name=f"score_{stride}_crop")([skip, x])
            x = keras.layers.Add(name=f"add_{stride}")([skip, x])
    if paper:
        x = layers.CropLike(origin, name="crop")([x, inputs])
    return keras.Model(inputs, activate_scores(x, head_activation), name=name)


def _score(x: Any, classes: int, name: str) -> Any:
    start = keras.initializers.RandomNormal(stddev=0.001)
    return keras.layers.Conv2D(classes, 1, kernel_initializer=start, name=name)(x)


def FCN32s(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "vgg16",
    encoder_weights: str | Path | None = None,
    width: int | None = None,
    fc_width: int = 4096,
    dropout: float = 0.5,
    upsample: str = "transpose",
    train_upsampling: bool | str = "intermediate",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "fcn32s",
) -> keras.Model:
    """Builds an FCN-32s: scores of stride 32, upsampled at once. Arguments: see `FCN8s`.

    Example:
        >>> FCN32s().count_params()
        136152917
    """
    return _fcn(32, **locals())


def FCN16s(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "vgg16",
    encoder_weights: str | Path | None = None,
    width: int | None = None,
    fc_width: int = 4096,
    dropout: float = 0.5,
    upsample: str = "transpose",
    train_upsampling: bool | str = "intermediate",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "fcn16s",
) -> keras.Model:
    """Builds an FCN-16s: scores of strides 32 and 16. Arguments: see `FCN8s`.

    Example:
        >>> FCN16s().count_params()
        134815994
    """
    return _fcn(16, **locals())


def FCN8s(
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    classes: int = 21,
    *,
    encoder: str = "vgg16",
    encoder_weights: str | Path | None = None,
    width: int | None = None,
    fc_width: int = 4096,
    dropout: float = 0.5,
    upsample: str = "transpose",
    train_upsampling: bool | str = "intermediate",
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "fcn8s",
) -> keras.Model:
    """Builds an FCN-8s: scores of strides 32, 16 and 8.

    Args:
        input_shape: Height, width (None for any) and channels. The paper's network takes any size;
            with another encoder sides are multiples of 32.
        classes: Number of classes; 1 makes a binary network with a sigmoid.
        encoder: "vgg16" for the paper's network, or any other of
            `kerasdeconv.models.encoders.ENCODERS`: the same heads on its maps, padded to their
            size instead of by 100 pixels at the start.
        encoder_weights: "imagenet", the path of a file of weights, or None; see `encode`.
        width: Channels of the first stage of "vgg16" (64) and "small" (16).
        fc_width: Channels of the two layers between the encoder and the coarsest scores.
        dropout: Share of them that training drops.
        upsample: How scores are upsampled, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
            "transpose" starts as bilinear interpolation.
        train_upsampling: Which transposed convolutions are trained: "intermediate", as in the
            paper, for all but the last; True for all; False for none.
        head_activation: "probabilities", None for logits, or a Keras activation.
        include_rescaling: Whether the input is pixels in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x H x W x classes.

    Raises:
        ValueError: An argument is out of range, or the encoder cannot take the size.

    Example:
        >>> FCN8s().count_params()
        134489759
    """
    return _fcn(8, **locals())
