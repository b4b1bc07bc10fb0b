"""Turns what a caller has (a path, a Pillow image, an array) into arrays of pixels, and back.

Inside the runtime a batch of pictures is batch x height x width x channels, in [0, 255]. One
channel is a gray picture, whatever the network takes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL.Image

from kerasdeconv import imaging
from kerasdeconv.convention import Convention

Picture: TypeAlias = "str | Path | PIL.Image.Image | np.ndarray"

CHANNELS = {"rgb": 3, "gray": 1, "y": 1}
# Rec. 601 luma on the full range, as Pillow turns RGB into gray.
_GRAY = np.array([0.299, 0.587, 0.114])


def is_file_or_image(image: Picture) -> bool:
    """Says whether this is a picture by nature, rather than an array of numbers."""
    return isinstance(image, (str, Path, PIL.Image.Image))


def load(image: Picture, mode: str) -> np.ndarray:
    """Returns the pixels of a file or a Pillow image; an array comes back as it is.

    Args:
        image: A path, a Pillow image or an array.
        mode: "RGB" or "L".

    Raises:
        DataError: As `imaging.read_image`.
        TypeError: An array that holds no numbers.
    """
    if isinstance(image, (str, Path)):
        return imaging.read_image(Path(image), mode)
    if isinstance(image, PIL.Image.Image):
        return imaging.pixels(image, mode)
    array = np.asarray(image)
    if array.dtype.kind not in "uif":
        raise TypeError(f"A picture must be an array of real numbers. Received: {array.dtype}")
    return array


def to_batch(image: Picture, convention: Convention) -> tuple[np.ndarray, bool]:
    """Returns pictures for a network with a colour convention, and whether it was a single one.

    Args:
        image: A path, a Pillow image, or an array (H, W), (H, W, C) or (N, H, W, C).
        convention: Of the network; `color` must be set.

    Returns:
        An array N x H x W x C. C is the network's, or 1 for a gray picture.

    Raises:
        ValueError: Wrong rank or channel count, or no pixels.
    """
    pixels = load(image, "L" if convention.color == "gray" else "RGB")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    else:
        # The luma network takes colour pictures: their Y is taken here, in one place.
        channels = 1 if convention.color == "gray" else 3
        if pixels.ndim not in (3, 4) or pixels.shape[-1] != channels:
            raise ValueError(
                f"A {convention.color!r} network takes a picture (H, W), (H, W, {channels}) or "
                f"(N, H, W, {channels}). Received: shape {pixels.shape}"
            )
    if not pixels.size:
        raise ValueError(f"A picture must have pixels. Received: shape {pixels.shape}")
    single = pixels.ndim == 3
    return (pixels[None] if single else pixels), single


def to_network(pictures: np.ndarray, color: str | None) -> np.ndarray:
    """Turns a batch of pictures into what the network takes."""
    if color not in ("rgb", "y") or pictures.shape[-1] != 1:
        rgb = pictures
    else:
        rgb = np.repeat(pictures, 3, axis=-1)
    if color == "y":
        return imaging.rgb_to_ycbcr(rgb)[..., :1].astype(np.float32)
    return rgb


def from_network(picture: np.ndarray, pixels: np.ndarray, convention: Convention) -> np.ndarray:
    """Turns the pixels that a super-resolution network gives into a picture.

    Args:
        picture: What was asked, height x width x channels.
        pixels: What the network gave, in network units and `scale` times as large.
        convention: Of the network.

    Returns:
        uint8: RGB for an RGB picture, height x width for a gray one.
    """
    gray = picture.shape[-1] == 1
    if convention.color == "y":
        if gray:  # R = G = B has luma 16 + 219/255 of itself, and no chroma
            return imaging.to_uint8((pixels[..., 0] - 16.0) * (255.0 / 219.0))
        chroma = imaging.rgb_to_ycbcr(picture)[..., 1:]
        chroma = imaging.resize_bicubic(chroma, convention.scale)
        return imaging.to_uint8(imaging.ycbcr_to_rgb(np.concatenate([pixels, chroma], axis=-1)))
    if pixels.shape[-1] == 1:
        return imaging.to_uint8(pixels[..., 0])
    return imaging.to_uint8(pixels @ _GRAY if gray else pixels)
