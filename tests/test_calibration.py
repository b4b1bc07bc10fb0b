"""Samples for calibration: what is read, what is refused."""

from __future__ import annotations

import keras
import numpy as np
import PIL.Image
import pytest
from export_models import CELLS, LUMA, PIXELS, pictures

from kerasdeconv import imaging
from kerasdeconv.convention import Convention
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.errors import DataError
from kerasdeconv.export.calibration import (
    COUNT,
    from_pictures,
    samples_from,
    samples_of_several,
    span_range,
)

SHAPE = (1, 8, 12, 3)
PLAIN = Convention()


def save(folder, pixels):
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pixels):
        PIL.Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


class TestArrays:
    @pytest.mark.parametrize("kind", ["array", "list", "generator", "batches", "pairs", "bytes"])
    def test_any_iterable(self, kind):
        batch = np.concatenate(pictures(SHAPE[1:], 4))
        source = {
            "array": batch,
            "list": list(batch),
            "generator": (picture for picture in batch),
            "batches": [batch[:1], batch[1:]],
            "pairs": [(batch[:3], np.zeros(3)), (batch[3:], np.zeros(1))],
            "bytes": np.rint(batch).astype(np.uint8),
        }[kind]
        samples = samples_from(source, SHAPE, PIXELS)
        assert [sample.shape for sample in samples] == [SHAPE] * 4
        assert {sample.dtype for sample in samples} == {np.dtype(np.float32)}
        expected = np.rint(batch) if kind == "bytes" else batch
        np.testing.assert_array_equal(np.concatenate(samples), expected)

    def test_a_dataset_of_keras(self):
        batch = np.concatenate(pictures(SHAPE[1:], 5))
        dataset = keras.utils.timeseries_dataset_from_array(batch, None, 1, batch_size=2)
        windows = dataset.map(lambda window: window[:, 0])
        samples = samples_from(windows, SHAPE, PIXELS)
        np.testing.assert_array_equal(np.concatenate(samples), batch)

    def test_no_more_than_asked_for_is_drawn(self):
        drawn = []

        def endless():
            while True:
                drawn.append(1)
                yield pictures(SHAPE[1:], 1)[0]

        assert len(samples_from(endless(), SHAPE, PIXELS, count=3)) == 3
        assert len(samples_from(endless(), SHAPE, PIXELS)) == COUNT
        assert len(drawn) == 3 + COUNT

    @pytest.mark.parametrize(
        "array", [np.ones((2, 8, 8, 3)), np.ones((8, 12)), np.ones((2, 8, 12, 1)), 5.0, "picture"]
    )
    def test_wrong_shapes(self, array):
        with pytest.raises(DataError, match=r"shape \(8, 12, 3\), .* Received: \("):
            samples_from([array], SHAPE, PIXELS)

    @pytest.mark.parametrize("source", [[], np.zeros((0, 8, 12, 3)), iter(())])
    def test_nothing(self, source):
        with pytest.raises(DataError, match="There is no sample"):
            samples_from(source, SHAPE, PIXELS)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_no_numbers(self, value):
        batch = np.concatenate(pictures(SHAPE[1:], 2))
        batch[1, 2, 3, 1] = value
        with pytest.raises(DataError, match="finite numbers"):
            samples_from(batch, SHAPE, PLAIN)
        with pytest.raises(DataError, match=r"finite numbers\. Received: bool"):
            samples_from(batch > 9, SHAPE, PLAIN)

    @pytest.mark.parametrize("source", [5, None, np.float32(1)])
    def test_no_iterable(self, source):
        with pytest.raises(TypeError, match="a folder, an array, a data set, or an iterable"):
            samples_from(source, SHAPE, PIXELS)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda x: x / 255, r"scaled already, or blank. Received: values from 0\S* to [01]"),
            (lambda x: x / 127.5 - 1, r"must be in \[0, 255\]. Received: values from -"),
            (lambda x: x + 200, r"must be in \[0, 255\]. Received: values from \d+\S* to 4"),
            (lambda x: x * 0 + 40, "blank. Received: values from 40 to 40"),
        ],
    )
    def test_another_range(self, change, message):
        batch = change(np.concatenate(pictures(SHAPE[1:], 3)))
        with pytest.raises(DataError, match=message):
            samples_from(batch, SHAPE, PIXELS)
        assert len(samples_from(batch, SHAPE, PLAIN)) == 3  # of this nothing is known

    def test_the_range_is_that_of_all_samples(self):
        dark, light = np.zeros((1, 8, 12, 3)), np.full((1, 8, 12, 3), 255.0)
        assert len(samples_from([dark, light], SHAPE, PIXELS)) == 2


class TestFolders:
    def test_tiles_of_all_pictures_before_a_second_of_one(self, tmp_path):
        # A picture's values tell which it is and where the tile lay.
        pixels = [np.full((16, 36, 3), 40 * (n + 1), np.uint8) for n in range(3)]
        for picture in pixels:
            picture[8:] += 5
            picture[:, 12:24] += 10
            picture[:, 24:] += 20
        samples = samples_from(save(tmp_path, pixels), SHAPE, PIXELS)
        values = [int(sample.max()) for sample in samples]
        assert [{v // 40 for v in values[i : i + 3]} for i in range(0, 18, 3)] == [{1, 2, 3}] * 6
        assert [sorted(v % 40 for v in values)[3 * i] for i in range(6)] == [0, 5, 10, 15, 20, 25]
        assert all(np.ptp(sample) == 0 and sample.shape == SHAPE for sample in samples)

    def test_a_seed_chooses(self, tmp_path):
        save(tmp_path, [np.full((8, 12, 3), 20 * n, np.uint8) for n in range(10)])

        def chosen(seed):
            samples = samples_from(tmp_path, SHAPE, PIXELS, count=5, seed=seed)
            return [sample.max() for sample in samples]

        assert chosen(0) == chosen(0)
        assert sorted(chosen(0)) != sorted(chosen(1))

    @pytest.mark.parametrize("inner", ["images", "HR"])
    def test_of_a_data_set(self, tmp_path, inner):
        save(tmp_path / inner, [np.full((8, 12, 3), 7 + 90 * n, np.uint8) for n in range(2)])
        samples = samples_from(str(tmp_path), SHAPE, PIXELS)
        assert sorted(sample.max() for sample in samples) == [7, 97]

    def test_small_pictures_are_continued(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
        (sample,) = samples_from(save(tmp_path, [picture]), SHAPE, PIXELS)
        expected = np.pad(picture, [(0, 3), (0, 5), (0, 0)], mode="edge")
        np.testing.assert_array_equal(sample[0], expected)

    def test_luma(self, tmp_path):
        picture = np.random.default_rng(0).integers(0, 256, (8, 12, 3), np.uint8)
        (sample,) = samples_from(save(tmp_path, [picture]), (1, 8, 12, 1), LUMA)
        np.testing.assert_allclose(sample[0, ..., 0], imaging.luma(picture), atol=1e-3)

    def test_no_picture_in_it(self, tmp_path):
        with pytest.raises(DataError, match=str(tmp_path)):
            samples_from(tmp_path, SHAPE, PIXELS)
        with pytest.raises(DataError, match="missing"):
            samples_from(tmp_path / "missing", SHAPE, PIXELS)

    def test_a_network_that_takes_no_pictures(self, tmp_path):
        for shape, convention in ((SHAPE, PLAIN), ((1, 8, 8, 8, 2), CELLS)):
            with pytest.raises(DataError, match="give arrays, or a convention"):
                samples_from(tmp_path, shape, convention)


class TestSeveralInputs:
    SHAPES = ((1, 8, 8, 1), (1, 4))

    def test_lists(self):
        with_batch = [np.ones((1, 8, 8, 1)), np.ones((1, 4), int)]
        without = (np.zeros((8, 8, 1)), np.zeros(4))
        samples = samples_of_several(iter([with_batch, without]), self.SHAPES)
        assert [[part.shape for part in sample] for sample in samples] == [list(self.SHAPES)] * 2
        assert {part.dtype for sample in samples for part in sample} == {np.dtype(np.float32)}
        assert samples[0][1].all()
        assert not samples[1][0].any()

    @pytest.mark.parametrize(
        ("sample", "message"),
        [
            ([np.ones((8, 8, 1))], "a list of 2 arrays. Received: 1"),
            (np.ones((2, 8, 8, 1)), "a list of 2 arrays. Received: ndarray"),
            ([np.ones((8, 9, 1)), np.ones(4)], r"shape \(8, 8, 1\).*Received: \(8, 9, 1\)"),
            ([np.ones((8, 8, 1)), np.ones(5)], r"shape \(4,\).*Received: \(5,\)"),
            ([np.ones((2, 8, 8, 1)), np.ones((2, 4))], "batch of 1"),
            ([np.full((8, 8, 1), np.nan), np.ones(4)], "finite"),
        ],
    )
    def test_wrong_ones(self, sample, message):
        with pytest.raises(DataError, match=message):
            samples_of_several([sample], self.SHAPES)

    def test_none(self):
        with pytest.raises(DataError, match="no sample"):
            samples_of_several([], self.SHAPES)
        for source in ("folder", 7):
            with pytest.raises(TypeError, match="iterable of lists"):
                samples_of_several(source, self.SHAPES)


class TestSpanRange:
    @pytest.mark.parametrize("convention", [PIXELS, Convention(value_range=(-2.0, 6.0))])
    def test_the_first_covers_the_range(self, convention):
        samples = pictures(SHAPE[1:], 3)
        low, high = convention.value_range
        spanned = span_range(samples, convention)
        # 8 bits over the range make steps 10,000 times larger than this.
        assert (spanned[0].min(), spanned[0].max()) == pytest.approx((low, high), abs=1e-6)
        assert spanned[0].dtype == np.float32
        assert np.corrcoef(spanned[0].ravel(), samples[0].ravel())[0, 1] > 0.999
        for kept, sample in zip(spanned[1:], samples[1:], strict=True):
            assert kept is sample

    def test_a_blank_first(self):
        (spanned,) = span_range([np.full(SHAPE, 9, np.float32)], PIXELS)
        assert (spanned.min(), spanned.max()) == (0, 255)
        assert spanned.shape == SHAPE

    def test_no_range(self):
        samples = pictures(SHAPE[1:], 2)
        assert span_range(samples, PLAIN) is samples


def test_synthetic_pictures_are_cut(tmp_path):
    drawn = synthetic_samples("nuclei", 2, (16, 24))
    tiles = list(from_pictures(drawn, SHAPE, CELLS))
    assert len(tiles) == 8
    joined = np.block([[[tiles[0][0]], [tiles[1][0]]], [[tiles[2][0]], [tiles[3][0]]]])
    np.testing.assert_array_equal(joined.reshape(16, 24, 3)[:8, :12], drawn[0][:8, :12])
    np.testing.assert_array_equal(tiles[3][0], drawn[0][8:, 12:])
