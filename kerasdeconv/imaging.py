"""Reading and writing pictures, BT.601 colour, and MATLAB's bicubic resize. NumPy and Pillow only.

Pixels are in [0, 255]. Arrays are height x width (x channels).
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps

from kerasdeconv.errors import DataError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

# ITU-R BT.601 studio swing, as MATLAB's rgb2ycbcr: rows give Y, Cb, Cr from RGB in [0, 1].
_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]])
_YCBCR_OFFSET = np.array([16.0, 128.0, 128.0])


def list_images(folder: str | Path) -> list[Path]:
    """Lists the pictures in a folder, sorted by name.

    Raises:
        DataError: The folder does not exist or holds no picture.
    """
    return list_files(folder, IMAGE_SUFFIXES, "image")


def list_files(folder: str | Path, suffixes: tuple[str, ...], what: str) -> list[Path]:
    """Lists the files of a kind in a folder, sorted by name; hidden ones are none.

    Args:
        folder: The folder.
        suffixes: How their names end, in lower case.
        what: What they are, in one word, for messages.

    Raises:
        DataError: The folder does not exist or holds no such file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"No such folder of {what}s. Received: {str(folder)!r}")
    # Hidden: macOS leaves files ._NAME beside those that it unpacks.
    paths = sorted(
        p
        for p in folder.iterdir()
        if p.name.lower().endswith(suffixes) and not p.name.startswith(".")
    )
    if not paths:
        raise DataError(
            f"The folder holds no {what} ({', '.join(suffixes)}). Received: {str(folder)!r}"
        )
    return paths


def read_image(path: str | Path, mode: str = "RGB") -> np.ndarray:
    """Reads an 8-bit picture, turned upright if the camera noted how it was held (EXIF).

    Gray becomes RGB by repetition, and RGB becomes gray by BT.601 luma; a palette is resolved. An
    alpha channel that hides nothing is dropped. What would have to be guessed is refused: 16-bit
    or float pixels, and transparency.

    Args:
        path: A picture file.
        mode: "RGB" or "L" (gray).

    Returns:
        A uint8 array, height x width x 3 for "RGB" and height x width for "L".

    Raises:
        DataError: The file is missing, truncated, no picture, or has pixels as described above.
    """
    try:
        with _damaged_exif_ignored(), PIL.Image.open(path) as image:
            # Pillow reads 16-bit colour as 8-bit, the low bytes dropped; its decoder's name tells.
            # ("BGR;16" of BMP is another thing: three channels in 16 bits.)
            wide = any(re.search(r";16[BLN]", str(tile)) for tile in getattr(image, "tile", ()))
            image.load()
    except FileNotFoundError:
        raise DataError(f"No such image. Received: {str(path)!r}") from None
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(f"Not a readable image ({error}). Received: {str(path)!r}") from None
    if wide and not image.mode.startswith("I"):
        raise _deep(f"{image.mode} with 16 bits", str(path))
    return pixels(image, mode, str(path))


def pixels(image: PIL.Image.Image, mode: str = "RGB", source: str = "an image") -> np.ndarray:
    """Returns the pixels of a Pillow image, upright and refused as by `read_image`.

    Args:
        image: An image.
        mode: "RGB" or "L" (gray).
        source: Where it came from, for messages.

    Returns:
        A uint8 array, height x width x 3 for "RGB" and height x width for "L".

    Raises:
        DataError: The image has 16-bit or float pixels, or transparency.
    """
    if image.mode.startswith(("I", "F")):
        raise _deep(f"mode {image.mode!r}", source)
    with _damaged_exif_ignored(), contextlib.suppress(SyntaxError, struct.error):
        image = PIL.ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema() != (255, 255):
            raise DataError(
                "An image must not have transparent pixels: put it on a background first. "
                f"Received: {source!r}"
            )
    return np.asarray(image.convert("RGB").convert(mode))


@contextlib.contextmanager
def _damaged_exif_ignored() -> Iterator[None]:
    """Of a damaged EXIF block Pillow reads what it can; without an orientation all is upright."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def _deep(kind: str, source: str) -> DataError:
    return DataError(
        f"An image must have 8 bits a channel, this one has {kind}: convert it, choosing which "
        f"intensities become black and white. Received: {source!r}"
    )


def write_image(path: str | Path, pixels: np.ndarray) -> None:
    """Writes a uint8 picture, height x width (gray) or height x width x 3 (RGB), whole or not.

    Raises:
        DataError: The file cannot be written.
        ValueError: The suffix names no picture format.
    """
    path = Path(path)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        raise ValueError(
            f"An output image must end in one of {', '.join(IMAGE_SUFFIXES)}. Received: {path.name}"
        )
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            PIL.Image.fromarray(pixels).save(partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"Cannot write the image ({error.strerror}). Received: {str(path)!r}"
        ) from None


def to_uint8(pixels: np.ndarray) -> np.ndarray:
    """Rounds and clips pixels in [0, 255] to uint8."""
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def as_gray(picture: np.ndarray) -> np.ndarray:
    """Turns RGB bytes gray, height x width, as Pillow does: what networks for gray are given."""
    return np.asarray(PIL.Image.fromarray(picture).convert("L"))


def rgb_to_ycbcr(rgb: np.ndarray) -> np.ndarray:
    """Converts RGB in [0, 255] to YCbCr (BT.601, Y in 16..235), float64, ... x 3."""
    return rgb @ (_YCBCR.T / 255.0) + _YCBCR_OFFSET


def ycbcr_to_rgb(ycbcr: np.ndarray) -> np.ndarray:
    """Converts YCbCr (BT.601, Y in 16..235) to RGB, float64 and not clipped, ... x 3."""
    return (ycbcr - _YCBCR_OFFSET) @ (255.0 * np.linalg.inv(_YCBCR).T)


def luma(image: np.ndarray) -> np.ndarray:
    """Returns Y of BT.601 (16..235) of a picture, float64, height x width.

    A gray picture (height x width) is taken as R = G = B.
    """
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    return rgb_to_ycbcr(image)[..., 0]


def _cubic(x: np.ndarray) -> np.ndarray:
    """Keys' cubic convolution kernel with a = -0.5 (IEEE ASSP 1981)."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


@functools.lru_cache(maxsize=256)
def _bicubic_weights(length: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Source rows and weights of each output row, borders mirrored; each is `output x taps`."""
    output = math.ceil(length * scale)
    shrink = min(scale, 1.0)  # when shrinking, the kernel widens: MATLAB's antialiasing
    width = 4.0 / shrink
    taps = math.ceil(width) + 2
    center = (np.arange(output) + 0.5) / scale - 0.5
    rows = np.floor(center - width / 2)[:, None].astype(int) + 1 + np.arange(taps)
    weights = _cubic((center[:, None] - rows) * shrink)
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.arange(2 * length)
    mirrored[length:] = mirrored[length - 1 :: -1][:length]
    return mirrored[rows % (2 * length)], weights


def resize_bicubic(image: np.ndarray, scale: float) -> np.ndarray:
    """Resizes like MATLAB's `imresize(image, scale)`: bicubic, antialiased when shrinking.

    Args:
        image: height x width (x channels), any real type.
        scale: Output size over input size; sizes are rounded up.

    Returns:
        float64, ceil(height * scale) x ceil(width * scale) (x channels), neither rounded nor
        clipped.
    """
    result = np.asarray(image, dtype=np.float64)
    for axis in (0, 1):
        rows, weights = _bicubic_weights(result.shape[axis], scale)
        taken = np.take(result, rows, axis=axis)  # (..., output, taps, ...)
        result = np.moveaxis(taken, (axis, axis + 1), (-2, -1))
        result = np.moveaxis((result * weights).sum(axis=-1), -1, axis)
    return result
