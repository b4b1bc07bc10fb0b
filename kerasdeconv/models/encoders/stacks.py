"""Encoders of blocks and poolings: U-Net's own half, and VGG16."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.encoder_decoder import contract
from kerasdeconv.models.encoders.pixels import prepare
from kerasdeconv.models.heads import rescale_pixels

# Channels of VGG16's convolutions, stage by stage (Simonyan and Zisserman 2015, configuration D),
# for a width of 64.
VGG16_STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))


def _small(x: Any, width: int | None, output_stride: int, include_rescaling: bool) -> dict:
    """U-Net's encoder with BatchNorm: it trains from scratch."""
    _check("small", width, output_stride)
    options: dict[str, Any] = {"padding": "same", "norm": "batch", "activation": "relu"}
    widths = [(width or 16) * 2**level for level in range(6)]
    x = rescale_pixels(x, include_rescaling)
    x, skips = _contract(x, widths[:-1], output_stride, **options)
    dilation = 32 // output_stride
    x = layers.plain_block(x, widths[-1], dilation_rate=dilation, name="encoder_5", **options)
    return _pyramid(skips, x, output_stride)


def _vgg16(x: Any, width: int | None, output_stride: int, include_rescaling: bool) -> dict:
    _check("vgg16", width, output_stride)
    options: dict[str, Any] = {"padding": "same", "norm": None, "activation": "relu"}
    widths = [tuple((width or 64) * n for n in stage) for stage in VGG16_STAGES]
    x = prepare(x, "caffe", include_rescaling)
    x, skips = _contract(x, widths, output_stride, **options)
    return _pyramid(skips, x, output_stride)


STACKS: dict[str, Callable[..., dict[int, Any]]] = {"small": _small, "vgg16": _vgg16}


def _check(name: str, width: int | None, output_stride: int) -> None:
    if width is not None and width < 1:
        raise ValueError(f"width must be 1 or more. Received: {width}")
    if output_stride == 8:
        raise ValueError(
            f"The encoder {name!r} has poolings, and a dilated pooling there is not: its "
            "output_stride must be 16 or 32. Received: 8"
        )


def _contract(
    x: Any, widths: list[Any], output_stride: int, **options: Any
) -> tuple[Any, list[Any]]:
    """`contract` with five poolings of 2, the last of which may keep its map's size."""
    x, skips = contract(x, widths[:4], strides=[(2, 2)] * 4, **options)
    x = layers.plain_block(x, widths[4], name="encoder_4", **options)
    skips.append(x)
    # With stride 1 "same" adds a row behind the map, none before: each second window stays.
    stride, padding = (2, "valid") if output_stride == 32 else (1, "same")
    pool = keras.layers.MaxPooling2D(2, strides=stride, padding=padding, name="encoder_4_pool")
    return pool(x), skips


def _pyramid(skips: list[Any], x: Any, output_stride: int) -> dict[int, Any]:
    maps = {2**level: skip for level, skip in enumerate(skips)}
    return {stride: map for stride, map in maps.items() if stride < output_stride} | {
        output_stride: x
    }
