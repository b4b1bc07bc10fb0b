import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv.runtime import tiled
from kerasdeconv.runtime.tiling import spans


def convolutions(image: np.ndarray, layers: int = 3) -> np.ndarray:
    """3x3 convolutions with zero padding and a nonlinearity between: receptive radius `layers`."""
    x = image.astype(np.float64)
    for kernel in np.random.default_rng(0).normal(size=(layers, 3, 3)):
        padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
        rows, columns = x.shape[:2]
        x = np.tanh(
            sum(
                kernel[i, j] * padded[i : i + rows, j : j + columns]
                for i in range(3)
                for j in range(3)
            )
        )
    return x


def pooled(image: np.ndarray) -> np.ndarray:
    """Pools by 4, convolves, enlarges: what a U-Net's deepest level does. Radius 4 + 4."""
    rows, columns, channels = image.shape
    small = image.reshape(rows // 4, 4, columns // 4, 4, channels).mean(axis=(1, 3))
    return convolutions(small, layers=1).repeat(4, axis=0).repeat(4, axis=1)


def picture(rows: int, columns: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(rows * 100 + columns).normal(size=(rows, columns, channels))


# Tiles of 16 with a halo of 4 step by 8: each neighbour has its 4 pixels and not one more.
@pytest.mark.parametrize("shape", [(40, 31), (16, 50), (16, 16), (17, 33)])
@pytest.mark.parametrize(("halo", "layers"), [(4, 4), (5, 5), (0, 0)])
def test_equals_the_whole_picture_where_the_halo_covers_the_radius(shape, halo, layers):
    image = picture(*shape)
    answer = tiled(lambda x: convolutions(x, layers), image, 16, halo)
    np.testing.assert_allclose(answer, convolutions(image, layers), rtol=0, atol=1e-12)


def test_a_halo_too_small_leaves_seams():
    image = picture(40, 31)
    answer = tiled(lambda x: convolutions(x, 5), image, 16, 4)
    assert np.abs(answer - convolutions(image, 5)).max() > 1e-3


@pytest.mark.parametrize("halo", [8, 9, 11])
def test_tiles_keep_to_the_grid_of_a_pooling_network(halo):
    image = picture(96, 72)
    np.testing.assert_allclose(tiled(pooled, image, 32, halo), pooled(image), rtol=0, atol=1e-12)


def test_rectangular_tiles_and_enlargement():
    image = picture(37, 45)

    def enlarged(x):
        return convolutions(x).repeat(3, axis=0).repeat(3, axis=1)

    answer = tiled(enlarged, image, (16, 24), 3, scale=3)
    assert answer.shape == (111, 135, 2)
    np.testing.assert_allclose(answer, enlarged(image), rtol=0, atol=1e-12)


def test_volumes():
    volume = np.random.default_rng(0).normal(size=(9, 21, 14))

    def blurred(x):
        wide = np.pad(x, 1)
        sides = [np.arange(n) for n in x.shape]
        shifts = itertools.product(range(3), repeat=3)
        return sum(
            (1 + i + 3 * j + 9 * k) * wide[np.ix_(sides[0] + i, sides[1] + j, sides[2] + k)]
            for i, j, k in shifts
        )

    answer = tiled(blurred, volume, (6, 8, 8), 1)
    np.testing.assert_allclose(answer, blurred(volume), rtol=0, atol=1e-12)


def test_a_small_picture_is_padded_by_its_edge_and_cropped():
    image = picture(5, 40)
    wide = np.pad(image, [(0, 11), (0, 0), (0, 0)], mode="edge")
    np.testing.assert_allclose(
        tiled(convolutions, image, 16, 3), convolutions(wide)[:5], rtol=0, atol=1e-12
    )


def test_answers_may_have_no_channels_and_any_type():
    image = picture(40, 31)
    answer = tiled(lambda x: (x[..., 0] > 0).astype(np.int32), image, 16, 0)
    assert answer.dtype == np.int32
    np.testing.assert_array_equal(answer, image[..., 0] > 0)


@given(
    tile=st.integers(1, 70), length=st.integers(1, 400), share=st.floats(0, 0.49, exclude_max=True)
)
@settings(deadline=None)
def test_spans_cover_each_pixel_once_with_its_halo(tile, length, share):
    halo = min(int(tile * share), (tile - 1) // 2)
    placed = spans(length, tile, halo)
    assert placed[0].core_start == 0
    assert placed[-1].core_stop == length
    for before, after in itertools.pairwise(placed):
        assert before.core_stop == after.core_start
        assert before.core_stop - before.core_start > 0
    for span in placed:
        stop = span.start + tile
        assert span.start >= 0
        assert stop <= max(length, tile)
        assert span.start == 0 or span.core_start - span.start >= halo
        assert stop >= length or stop - span.core_stop >= halo


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tile": 16, "halo": 8}, "larger than two halos"),
        ({"tile": 0, "halo": 0}, "must be positive"),
        ({"tile": 16, "halo": -1}, "must not be negative"),
        ({"tile": 16, "halo": 1, "scale": 0}, "must be positive"),
        ({"tile": 16, "halo": 1, "scale": 2}, "must give 32 x 32"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiled(convolutions, picture(40, 40), **arguments)


def test_an_empty_picture():
    with pytest.raises(ValueError, match="must have pixels"):
        tiled(convolutions, np.zeros((0, 5, 1)), 16, 1)
