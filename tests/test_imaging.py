"""Pictures in and out, BT.601, and MATLAB's bicubic resize."""

from __future__ import annotations

import io
import math
import struct
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.color
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import imaging
from kerasdeconv.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (13, 17, 3), np.uint8)


def encoded(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def saved(folder: Path, image: PIL.Image.Image, name: str = "x.png", **options: object) -> Path:
    image.save(folder / name, **options)
    return folder / name


class TestReading:
    def test_colour(self, tmp_path):
        path = saved(tmp_path, PIL.Image.fromarray(RGB))
        np.testing.assert_array_equal(imaging.read_image(path), RGB)
        luma = np.rint(RGB @ [0.299, 0.587, 0.114])  # Pillow's weights, those of BT.601
        np.testing.assert_allclose(imaging.read_image(path, "L"), luma, atol=1)

    def test_gray(self, tmp_path):
        path = saved(tmp_path, PIL.Image.fromarray(RGB[..., 0]))
        np.testing.assert_array_equal(imaging.read_image(path, "L"), RGB[..., 0])
        np.testing.assert_array_equal(imaging.read_image(path), RGB[..., :1].repeat(3, -1))

    def test_black_and_white(self, tmp_path):
        bits = RGB[..., 0] > 127
        path = saved(tmp_path, PIL.Image.fromarray(bits))
        np.testing.assert_array_equal(imaging.read_image(path, "L"), bits * np.uint8(255))

    def test_palette(self, tmp_path):
        image = PIL.Image.fromarray(RGB).quantize(8)
        path = saved(tmp_path, image)
        assert image.mode == "P"
        np.testing.assert_array_equal(imaging.read_image(path), np.asarray(image.convert("RGB")))

    def test_alpha_that_hides_nothing(self, tmp_path):
        opaque = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
        path = saved(tmp_path, PIL.Image.fromarray(opaque))
        np.testing.assert_array_equal(imaging.read_image(path), RGB)

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
    def test_transparency_is_refused(self, tmp_path, mode):
        if mode == "P":
            path = saved(tmp_path, PIL.Image.fromarray(RGB).quantize(8), transparency=0)
        else:
            image = PIL.Image.fromarray(RGB).convert(mode)
            image.putalpha(254)
            path = saved(tmp_path, image)
        with pytest.raises(DataError, match=r"transparent.*Received: '.*x\.png'$"):
            imaging.read_image(path)

    @pytest.mark.parametrize(
        "image",
        [
            PIL.Image.fromarray(RGB[..., 0].astype(np.uint16) * 257),
            PIL.Image.fromarray(RGB[..., 0].astype(np.int32)),
            PIL.Image.fromarray(RGB[..., 0].astype(np.float32)),
        ],
        ids=["uint16", "int32", "float32"],
    )
    def test_more_than_8_bits_is_refused(self, tmp_path, image):
        with pytest.raises(DataError, match=r"8 bits a channel.*Received: '.*x\.tiff'$"):
            imaging.read_image(saved(tmp_path, image, "x.tiff"))

    def test_16_bit_gray_png_is_refused(self, tmp_path):
        path = saved(tmp_path, PIL.Image.fromarray(RGB[..., 0].astype(np.uint16) * 257))
        with pytest.raises(DataError, match="8 bits a channel"):
            imaging.read_image(path)

    def test_16_bit_colour_is_refused(self, tmp_path):
        """Pillow cannot write such a file, and reads it as if it had 8 bits."""
        path = tmp_path / "deep.png"
        path.write_bytes(png(RGB.astype(">u2") * 257, depth=16, color=2))
        with PIL.Image.open(path) as image:
            assert image.mode == "RGB"
        with pytest.raises(DataError, match=r"RGB with 16 bits.*Received: '.*deep\.png'$"):
            imaging.read_image(path)

    def test_16_bits_for_three_channels_are_taken(self, tmp_path):
        """The BMP of old screens: 5, 6 and 5 bits."""
        header = struct.pack("<2sIHHI", b"BM", 70, 0, 0, 66)
        info = struct.pack("<IiiHHIIiiII", 40, 1, 1, 1, 16, 3, 4, 0, 0, 0, 0)
        masks = struct.pack("<III", 0xF800, 0x07E0, 0x001F)
        path = tmp_path / "old.bmp"
        path.write_bytes(header + info + masks + struct.pack("<HH", 0xF800, 0))
        np.testing.assert_array_equal(imaging.read_image(path), [[[255, 0, 0]]])

    def test_printing_inks(self, tmp_path):
        path = saved(tmp_path, PIL.Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "cyan.tiff")
        np.testing.assert_array_equal(imaging.read_image(path)[0, 0], (0, 255, 255))

    @pytest.mark.parametrize(
        ("orientation", "upright"),
        [
            (1, lambda x: x),
            (2, lambda x: x[:, ::-1]),
            (3, lambda x: x[::-1, ::-1]),
            (4, lambda x: x[::-1]),
            (5, lambda x: x.swapaxes(0, 1)),
            (6, lambda x: x.swapaxes(0, 1)[:, ::-1]),
            (7, lambda x: x.swapaxes(0, 1)[::-1, ::-1]),
            (8, lambda x: x.swapaxes(0, 1)[::-1]),
        ],
    )
    def test_turned_upright(self, tmp_path, orientation, upright):
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        path = saved(tmp_path, PIL.Image.fromarray(RGB), exif=exif)
        np.testing.assert_array_equal(imaging.read_image(path), upright(RGB))

    @pytest.mark.parametrize("block", [b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x09"])
    def test_damaged_exif_does_not_matter(self, tmp_path, block):
        path = saved(tmp_path, PIL.Image.fromarray(RGB), "x.webp", lossless=True, exif=block)
        np.testing.assert_array_equal(imaging.read_image(path), RGB)

    def test_missing(self, tmp_path):
        with pytest.raises(DataError, match=r"No such image. Received: '.*none\.png'$"):
            imaging.read_image(tmp_path / "none.png")
        with pytest.raises(DataError, match="Not a readable image"):
            imaging.read_image(tmp_path)


SMOOTH = PIL.Image.fromarray(skimage.data.astronaut()[100:120, 200:230])
FILES = {
    "png": encoded(SMOOTH, "png"),
    "palette": encoded(SMOOTH.quantize(16), "png"),
    "jpeg": encoded(SMOOTH, "jpeg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
    "bmp": encoded(SMOOTH, "bmp"),
    "tiff": encoded(SMOOTH, "tiff"),
    "webp": encoded(SMOOTH, "webp", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"),
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "file.png"


class TestDamage:
    @pytest.mark.parametrize("kind", FILES)
    def test_truncated_files_are_never_misread(self, scratch, kind):
        scratch.write_bytes(FILES[kind])
        whole = imaging.read_image(scratch)
        refused = 0
        for length in np.linspace(0, len(FILES[kind]) - 1, 60).astype(int):
            scratch.write_bytes(FILES[kind][:length])
            try:  # the last few bytes may hold nothing but a checksum
                np.testing.assert_array_equal(imaging.read_image(scratch), whole)
            except DataError as error:
                assert str(error).endswith(f"Received: {str(scratch)!r}")
                assert "\n" not in str(error)
                refused += 1
        assert refused > 50

    # A wrong size in a header may make Pillow warn of a "decompression bomb".
    @pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
    @settings(deadline=None, max_examples=300, derandomize=True)  # Pillow is not ours to search
    @given(
        kind=st.sampled_from(sorted(set(FILES) - {"tiff"})),  # libtiff writes to stderr
        changes=st.lists(st.tuples(st.integers(0, 199), st.integers(0, 255)), max_size=4),
    )
    def test_wrong_bytes_give_a_picture_or_one_error(self, scratch, kind, changes):
        content = bytearray(FILES[kind])
        for place, value in changes:
            content[place % len(content)] = value
        scratch.write_bytes(content)
        try:
            assert imaging.read_image(scratch).dtype == np.uint8
        except DataError as error:
            assert "\n" not in str(error)

    @settings(deadline=None, max_examples=50)
    @given(content=st.binary(max_size=300))
    def test_random_bytes(self, scratch, content):
        scratch.write_bytes(content)
        with pytest.raises(DataError, match="Not a readable image"):
            imaging.read_image(scratch)


def png(pixels: np.ndarray, depth: int, color: int) -> bytes:
    """Writes a PNG by hand: signature, IHDR, one IDAT, IEND."""
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


class TestFolders:
    def test_sorted_pictures_alone(self, tmp_path):
        for name in ("b.PNG", "a.jpg", "notes.txt", "c.webp"):
            (tmp_path / name).touch()
        assert [p.name for p in imaging.list_images(tmp_path)] == ["a.jpg", "b.PNG", "c.webp"]

    def test_missing_or_empty(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no image.*Received"):
            imaging.list_images(tmp_path)
        with pytest.raises(DataError, match=r"No such folder.*Received"):
            imaging.list_images(tmp_path / "none")


class TestWriting:
    @pytest.mark.parametrize("pixels", [RGB, RGB[..., 0]], ids=["rgb", "gray"])
    def test_round_trip(self, tmp_path, pixels):
        path = tmp_path / "new" / "x.png"
        imaging.write_image(path, pixels)
        np.testing.assert_array_equal(
            imaging.read_image(path, "RGB" if pixels.ndim > 2 else "L"), pixels
        )
        assert list(path.parent.iterdir()) == [path]

    def test_unknown_suffix(self, tmp_path):
        with pytest.raises(ValueError, match=r"must end in one of \.png, .*Received: x\.xyz$"):
            imaging.write_image(tmp_path / "x.xyz", RGB)
        assert not list(tmp_path.iterdir())

    def test_nothing_is_left_of_a_failure(self, tmp_path):
        (tmp_path / "x.png").mkdir()
        with pytest.raises(DataError, match=r"Cannot write.*Received: '.*x\.png'$"):
            imaging.write_image(tmp_path / "x.png", RGB)
        assert [p.name for p in tmp_path.iterdir()] == ["x.png"]

    def test_to_uint8(self):
        values = np.array([-3.0, 0.4, 0.6, 254.6, 300.0])
        np.testing.assert_array_equal(imaging.to_uint8(values), [0, 0, 1, 255, 255])


class TestColour:
    def test_against_scikit_image(self):
        expected = skimage.color.rgb2ycbcr(RGB)
        np.testing.assert_allclose(imaging.rgb_to_ycbcr(RGB), expected, atol=1e-10)
        np.testing.assert_allclose(imaging.luma(RGB), expected[..., 0], atol=1e-10)

    def test_back_again(self):
        back = imaging.ycbcr_to_rgb(imaging.rgb_to_ycbcr(RGB))
        np.testing.assert_allclose(back, RGB, atol=1e-10)

    def test_studio_swing(self):
        np.testing.assert_allclose(imaging.luma(np.array([[0, 255]])), [[16, 235]])
        white = imaging.rgb_to_ycbcr(np.full(3, 255.0))
        np.testing.assert_allclose(white, [235, 128, 128], atol=1e-10)


def cubic(x: float) -> float:
    """Keys 1981, equation 15, a = -1/2."""
    x = abs(x)
    if x < 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0


def resized_line(line: np.ndarray, scale: float) -> np.ndarray:
    """MATLAB's imresize along one line, pixel by pixel, borders mirrored with the edge repeated."""
    spread = min(scale, 1.0)
    result = []
    for o in range(math.ceil(len(line) * scale)):
        center = (o + 0.5) / scale - 0.5
        total = weights = 0.0
        for i in range(math.floor(center - 2 / spread) - 1, math.ceil(center + 2 / spread) + 2):
            weight = cubic((center - i) * spread)
            mirrored = i % (2 * len(line))
            mirrored = min(mirrored, 2 * len(line) - 1 - mirrored)
            total += weight * line[mirrored]
            weights += weight
        result.append(total / weights)
    return np.array(result)


class TestBicubic:
    @settings(deadline=None, max_examples=60)
    @given(
        height=st.integers(1, 12),
        width=st.integers(1, 12),
        scale=st.sampled_from([1 / 4, 1 / 3, 1 / 2, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0]),
        seed=st.integers(0, 99),
    )
    def test_against_the_definition(self, height, width, scale, seed):
        image = np.random.default_rng(seed).uniform(0, 255, (height, width))
        rows = np.apply_along_axis(resized_line, 0, image, scale)
        expected = np.apply_along_axis(resized_line, 1, rows, scale)
        np.testing.assert_allclose(imaging.resize_bicubic(image, scale), expected, atol=1e-10)

    def test_known_weights(self):
        """Enlarging by 2: Keys' kernel at 0.25, 0.75, 1.25 and 1.75, worked out by hand."""
        step = np.zeros((1, 8))
        step[0, 4] = 128.0
        expected = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 128 * 128
        # The kernel's values are 111/128, 29/128, -9/128 and -3/128.
        np.testing.assert_allclose(imaging.resize_bicubic(step, 2)[0, 5:13], expected)

    @pytest.mark.parametrize("name", ["astronaut", "coffee", "camera"])
    @pytest.mark.parametrize("scale", [1 / 3, 0.37, 2])
    def test_photographs(self, name, scale):
        image = getattr(skimage.data, name)()[:150, :211]
        result = imaging.resize_bicubic(image, scale)
        sides = tuple(math.ceil(side * scale) for side in image.shape[:2])
        assert result.shape == sides + image.shape[2:]
        assert result.dtype == np.float64
        # Bicubic overshoots, by a seventh of a step at most, and keeps the mean.
        assert -40 < result.min() < result.max() < 295
        np.testing.assert_allclose(result.mean(), image.mean(), atol=1.5)

    @given(whole=st.integers(1, 5000), scale=st.integers(1, 16))
    def test_a_multiple_of_the_scale_shrinks_to_the_whole_number(self, whole, scale):
        assert math.ceil(whole * scale * (1 / scale)) == whole

    def test_enlarging_what_was_shrunk_gives_a_smooth_picture_back(self):
        y, x = np.mgrid[:48, :60]
        smooth = 128 + 60 * np.sin(x / 9) * np.cos(y / 11)
        back = imaging.resize_bicubic(imaging.resize_bicubic(smooth, 1 / 3), 3)
        np.testing.assert_allclose(back[6:-6, 6:-6], smooth[6:-6, 6:-6], atol=1.0)
