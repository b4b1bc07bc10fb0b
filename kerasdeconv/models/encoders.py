"""Encoders: networks that turn a picture into maps of ever coarser strides.

`encode` gives any of them as a pyramid, stride to map, for a decoder to build on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kerasdeconv import layers
from kerasdeconv.errors import closest
from kerasdeconv.models.encoder_decoder import contract
from kerasdeconv.models.heads import rescale_pixels

# Channels of VGG16's convolutions, stage by stage (Simonyan and Zisserman 2015, configuration D),
# for a width of 64.
VGG16_STAGES = ((1, 1), (2, 2), (4, 4, 4), (8, 8, 8), (8, 8, 8))

Pyramid = dict[int, Any]


def encode(
    name: str,
    x: Any,
    *,
    weights: str | Path | None = None,
    width: int | None = None,
    include_rescaling: bool = True,
) -> Pyramid:
    """Applies an encoder to a picture.

    Args:
        name: One of `ENCODERS`.
        x: A picture, N x H x W x C; sides are multiples of 32.
        weights: Path of trained weights, or None.
        width: Channels of the first stage of "small" (16) and "vgg16" (64).
        include_rescaling: Whether the input is pixels in [0, 255].

    Returns:
        Maps by stride, 2 to 32, and 1 where there is one.

    Raises:
        ValueError: No such encoder, or no such width.
    """
    if name not in ENCODERS:
        raise ValueError(f"No such encoder. {closest(name, ENCODERS)} Received: {name!r}")
    return ENCODERS[name](x, width, include_rescaling)


def _small(x: Any, width: int | None, include_rescaling: bool) -> Pyramid:
    """U-Net's encoder with BatchNorm: it trains from scratch."""
    options: dict[str, Any] = {"padding": "same", "norm": "batch", "activation": "relu"}
    widths = [(width or 16) * 2**level for level in range(6)]
    x = rescale_pixels(x, include_rescaling)
    x, skips = contract(x, widths[:-1], strides=[(2, 2)] * 5, **options)
    x = layers.plain_block(x, widths[-1], name="bottom", **options)
    return {2**level: skip for level, skip in enumerate([*skips, x])}


def _vgg16(x: Any, width: int | None, include_rescaling: bool) -> Pyramid:
    options: dict[str, Any] = {"padding": "same", "norm": None, "activation": "relu"}
    widths = [tuple((width or 64) * n for n in stage) for stage in VGG16_STAGES]
    x = rescale_pixels(x, include_rescaling)
    x, skips = contract(x, widths, strides=[(2, 2)] * 5, **options)
    return {2**level: skip for level, skip in enumerate([*skips, x])}


ENCODERS: dict[str, Callable[..., Pyramid]] = {"small": _small, "vgg16": _vgg16}
