"""Cameras store a picture as the sensor saw it and note how it was held; we read it upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest

from kerasdeconv.convention import Convention
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import pixels, read_image, write_image
from kerasdeconv.runtime import pictures

_ORIENTATION = 0x0112  # EXIF tag
# What each orientation does to the stored rows, by the EXIF standard (CIPA DC-008, 4.6.5.1).
_UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


@pytest.fixture
def stored() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def _save(path: Path, array: np.ndarray, orientation: int) -> Path:
    exif = PIL.Image.Exif()
    exif[_ORIENTATION] = orientation
    PIL.Image.fromarray(array).save(path, exif=exif)
    return path


@pytest.mark.parametrize("orientation", _UPRIGHT)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_files_are_read_upright(
    tmp_path: Path, stored: np.ndarray, orientation: int, suffix: str
) -> None:
    path = tmp_path / f"held{suffix}"
    exif = PIL.Image.Exif()
    exif[_ORIENTATION] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    PIL.Image.fromarray(stored).save(path, exif=exif, **options)
    np.testing.assert_array_equal(read_image(path), _UPRIGHT[orientation](stored))


def test_a_photograph_is_read_upright(tmp_path: Path, stored: np.ndarray) -> None:
    path = _save(tmp_path / "phone.jpg", np.kron(stored, np.ones((16, 16, 1), np.uint8)), 6)
    assert read_image(path).shape == (112, 80, 3)
    assert read_image(path, "L").shape == (112, 80)
    turned = np.rot90(np.asarray(PIL.Image.open(path)), -1)
    np.testing.assert_array_equal(read_image(path), turned)


def test_pillow_images_are_read_as_files_are(tmp_path: Path, stored: np.ndarray) -> None:
    path = _save(tmp_path / "held.png", stored, 8)
    with PIL.Image.open(path) as image:
        np.testing.assert_array_equal(pixels(image), read_image(path))
        np.testing.assert_array_equal(pictures.load(image, "L"), read_image(path, "L"))
        assert image.size == (7, 5)  # the caller's image is left as it was
    batch, single = pictures.to_batch(path, Convention(color="rgb"))
    assert single
    assert batch.shape == (1, 7, 5, 3)


def test_gray_is_turned_too(tmp_path: Path, stored: np.ndarray) -> None:
    path = _save(tmp_path / "gray.png", stored[..., 0], 5)
    np.testing.assert_array_equal(read_image(path, "L"), stored[..., 0].T)


@pytest.mark.parametrize(
    "block",
    [b"Exif\0\0no header at all", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0\xff\xff"],
    ids=["garbage", "empty", "cut off"],
)
def test_a_damaged_note_is_as_none(tmp_path: Path, stored: np.ndarray, block: bytes) -> None:
    path = tmp_path / "damaged.jpg"
    PIL.Image.fromarray(stored).save(path, exif=block)
    assert read_image(path).shape == stored.shape  # warnings are errors here: it is silent too


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_deep_pillow_images_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=f"8 bits a channel.*{mode}.*Received: 'scan'"):
        pixels(PIL.Image.new(mode, (3, 2)), source="scan")


def test_16_bit_colour_is_refused(tmp_path: Path) -> None:
    # Pillow would read it as 8-bit and drop the low bytes: a dark picture from 12-bit data.
    path = tmp_path / "deep.png"
    path.write_bytes(_png_16_bit_rgb(2, 2))
    with PIL.Image.open(path) as image:
        assert image.mode == "RGB"
    with pytest.raises(DataError, match="RGB with 16 bits"):
        read_image(path)


def test_transparency_is_refused_and_opaque_alpha_dropped(stored: np.ndarray) -> None:
    opaque = np.dstack([stored, np.full(stored.shape[:2], 255, np.uint8)])
    np.testing.assert_array_equal(pixels(PIL.Image.fromarray(opaque)), stored)
    opaque[0, 0, 3] = 254
    with pytest.raises(DataError, match="transparent"):
        pixels(PIL.Image.fromarray(opaque))


def test_a_picture_is_written_whole_or_not(tmp_path: Path, stored: np.ndarray) -> None:
    write_image(tmp_path / "sub" / "a.png", stored)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["a.png"]
    (tmp_path / "taken.png").mkdir()
    with pytest.raises(DataError, match="Cannot write the image"):
        write_image(tmp_path / "taken.png", stored)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["sub", "taken.png"]


def _png_16_bit_rgb(width: int, height: int) -> bytes:
    """A PNG that Pillow can read but not write."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + checksum

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    rows = (b"\0" + b"\x0f\xff" * 3 * width) * height
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
