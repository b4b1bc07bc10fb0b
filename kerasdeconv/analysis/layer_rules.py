"""What the layers of Keras and of this package read of their inputs: `RULES`, by class."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import keras

from kerasdeconv import layers as ours
from kerasdeconv.analysis.intervals import NOTHING, SAME
from kerasdeconv.analysis.reading import (
    Axes,
    Rule,
    UnknownReach,
    Use,
    blocks_apart,
    blocks_together,
    elementwise,
    everywhere,
    joined_along,
    keeps_sides,
    over_axes,
    resize_to,
    resized,
    shifted,
    spreads,
    windows,
)


def _convolution(use: Use) -> list[Axes]:
    layer = use.layer
    options = use.spread(layer.strides), use.spread(layer.dilation_rate), layer.padding
    return [windows(use, use.spread(layer.kernel_size), *options)]


def _pooling(use: Use) -> list[Axes]:
    layer = use.layer
    options = use.spread(layer.strides), (1,) * use.rank, layer.padding
    return [windows(use, use.spread(layer.pool_size), *options)]


def _transposed(use: Use) -> list[Axes]:
    layer = use.layer
    options = use.spread(layer.strides), use.spread(layer.dilation_rate), layer.padding
    return [spreads(use, use.spread(layer.kernel_size), *options)]


def _depthwise_transposed(use: Use) -> list[Axes]:
    layer, ones = use.layer, (1,) * use.rank
    return [spreads(use, use.spread(layer.kernel_size), use.spread(layer.strides), ones, "same")]


def _upsampling(use: Use) -> list[Axes]:
    return resized(use, getattr(use.layer, "interpolation", "nearest"))


def _margins(use: Use, margins: Any) -> list[int]:
    """Pixels at the start of each axis; the layers of 1D maps hold one pair alone."""
    pairs = [margins] if use.rank == 1 and isinstance(margins[0], int) else margins
    return [pair[0] for pair in pairs]


def _crop_like(use: Use) -> list[Axes]:
    pairs = zip(use.sides(), use.output_sides, strict=True)
    middle = [(side - out) // 2 for side, out in pairs]
    offset = use.layer.offset
    starts = middle if offset is None else [offset] * use.rank
    return [shifted(starts), (NOTHING,) * use.rank]


def last_axis_alone(use: Use) -> list[Axes]:
    """Dense layers and the like, which read along the channels."""
    return everywhere(SAME, use) if len(use.inputs[0]) > 1 + use.rank else everywhere(None, use)


def _einsum_dense(use: Use) -> list[Axes]:
    # What stands before the channels must come out in the same order: "abc,cd->abd".
    form = re.fullmatch(r"(\.\.\.|[a-z]*)([a-z]+),([a-z]+)->\1([a-z]+)", use.layer.equation)
    if form is None:
        raise UnknownReach
    kept = len(use.inputs[0]) - len(form[2])
    return everywhere(SAME, use) if kept > use.rank else everywhere(None, use)


def _attention(use: Use) -> list[Axes]:
    if set(getattr(use.layer, "_attention_axes", None) or ()) - set(range(1, 1 + use.rank)):
        raise UnknownReach
    return everywhere(None, use)


def _named(*names: str) -> list[type]:
    """Classes of `keras.layers`; {} stands for 1, 2 and 3."""
    full = [name.replace("{}", rank) for name in names for rank in ("1", "2", "3")]
    found = (getattr(keras.layers, name, None) for name in dict.fromkeys(full))
    return [kind for kind in found if kind is not None]


def _table(*rows: tuple[Iterable[type], Rule]) -> dict[type, Rule]:
    return {kind: rule for kinds, rule in rows for kind in kinds}


RULES: dict[type, Rule] = _table(
    (_named("Conv{}D", "DepthwiseConv{}D", "SeparableConv{}D"), _convolution),
    (_named("MaxPooling{}D", "AveragePooling{}D"), _pooling),
    (_named("Conv{}DTranspose"), _transposed),
    ([ours.DepthwiseConvTranspose], _depthwise_transposed),
    (_named("UpSampling{}D"), _upsampling),
    ([ours.LinearUpsampling], lambda use: resized(use, "bilinear")),
    ([ours.CubicUpsampling], lambda use: resized(use, "bicubic")),
    (_named("Resizing"), resize_to),
    ([ours.DepthToSpace, ours.MaxUnpooling], blocks_apart),
    ([ours.MaxPoolingWithIndices], blocks_together),
    (_named("Cropping{}D"), lambda use: [shifted(_margins(use, use.layer.cropping))]),
    (
        _named("ZeroPadding{}D"),
        lambda use: [shifted(-m for m in _margins(use, use.layer.padding))],
    ),
    ([ours.ReflectPadding], lambda use: [shifted([-use.layer.margin] * use.rank)]),
    ([ours.CropLike], _crop_like),
    (
        _named(
            *("Activation", "ReLU", "LeakyReLU", "ELU", "PReLU", "Identity", "Rescaling"),
            *("Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Normalization"),
            # As in inference, where statistics are constants and nothing is dropped.
            *("BatchNormalization", "Dropout", "SpatialDropout{}D", "AlphaDropout"),
            *("GaussianDropout", "GaussianNoise", "ActivityRegularization"),
        ),
        elementwise,
    ),
    (_named("Concatenate"), lambda use: joined_along(use, use.layer.axis)),
    (
        _named("Softmax", "LayerNormalization", "RMSNormalization", "UnitNormalization"),
        lambda use: over_axes(use, use.layer.axis),
    ),
    (
        # The parts of a picture are as large as the picture has them.
        [
            *_named("GlobalAveragePooling{}D", "GlobalMaxPooling{}D", "GroupNormalization"),
            ours.BinPooling,
        ],
        lambda use: everywhere(None, use),
    ),
    ([ours.ResizeLike], lambda use: [*resized(use, "bilinear"), (NOTHING,) * use.rank]),
    ([ours.UnitVectors], lambda use: over_axes(use, -1)),
    (_named("MultiHeadAttention", "Attention", "AdditiveAttention"), _attention),
    (_named("Flatten", "Reshape"), keeps_sides),
    (_named("Dense"), last_axis_alone),
    (_named("EinsumDense"), _einsum_dense),
)
