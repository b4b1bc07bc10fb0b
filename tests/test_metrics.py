"""Measures against scikit-image and against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
import skimage.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv.metrics import ConfusionMatrix, psnr, ssim


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """A photograph and a noisy, dimmed copy of it."""
    picture = skimage.data.camera()[100:180, 200:290]
    noise = np.random.default_rng(0).normal(0, 12, picture.shape)
    return picture, np.clip(0.9 * picture + noise, 0, 255).astype(np.uint8)


class TestPsnr:
    @pytest.mark.parametrize("peak", [1.0, 255.0])
    def test_against_skimage(self, pair, peak):
        picture, copy = (part / 255 * peak for part in pair)
        expected = skimage.metrics.peak_signal_noise_ratio(picture, copy, data_range=peak)
        assert psnr(picture, copy, peak) == pytest.approx(expected, abs=1e-9)

    def test_bytes_do_not_wrap(self):
        assert psnr(np.array([0, 255], np.uint8), np.array([255, 0], np.uint8)) == 0

    def test_a_difference_of_one(self):
        assert psnr(np.zeros(9), np.ones(9)) == pytest.approx(20 * math.log10(255))

    def test_no_difference(self, pair):
        assert psnr(pair[0], pair[0]) == math.inf


class TestSsim:
    @pytest.mark.parametrize("peak", [1.0, 255.0])
    def test_against_skimage(self, pair, peak):
        picture, copy = (part / 255 * peak for part in pair)
        _, similar = skimage.metrics.structural_similarity(
            picture,
            copy,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=peak,
            full=True,
        )
        # Its windows are 11 x 11, too; those that reach beyond the picture are left out here.
        assert ssim(picture, copy, peak) == pytest.approx(similar[5:-5, 5:-5].mean(), abs=1e-7)

    def test_of_itself_and_of_its_negative(self, pair):
        picture = pair[0]
        assert ssim(picture, picture) == pytest.approx(1)
        assert ssim(picture, 255 - picture) < 0

    def test_symmetric(self, pair):
        assert ssim(*pair) == pytest.approx(ssim(*pair[::-1]))

    def test_one_window(self, pair):
        x, y = (part[:11, :11] for part in pair)
        window = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
        weights = np.outer(window, window) / window.sum() ** 2
        mx, my = (weights * x).sum(), (weights * y).sum()
        vx, vy = (weights * (x - mx) ** 2).sum(), (weights * (y - my) ** 2).sum()
        cov = (weights * (x - mx) * (y - my)).sum()
        c1, c2 = 2.55**2, 7.65**2
        expected = (2 * mx * my + c1) * (2 * cov + c2)
        expected /= (mx**2 + my**2 + c1) * (vx + vy + c2)
        assert ssim(x, y) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("first", "second"),
        [((10, 20), (10, 20)), ((20, 20), (20, 21)), ((20, 20, 1), (20, 20, 1)), ((20,), (20,))],
    )
    def test_pictures_that_cannot_be_compared(self, first, second):
        with pytest.raises(ValueError, match=r"11 x 11 pixels or more. Received: \("):
            ssim(np.zeros(first), np.zeros(second))


class TestConfusionMatrix:
    @settings(deadline=None, max_examples=30)
    @given(
        classes=st.integers(1, 4),
        ignore=st.sampled_from([None, 255, 0]),
        sizes=st.lists(st.integers(0, 30), min_size=1, max_size=3),
        seed=st.integers(0, 999),
    )
    def test_against_counting(self, classes, ignore, sizes, seed):
        rng = np.random.default_rng(seed)
        matrix = ConfusionMatrix(classes, ignore)
        pairs = []
        for size in sizes:
            expected = rng.integers(0, classes, size, np.uint8)
            if ignore is not None:
                expected[rng.random(size) < 0.3] = ignore
            got = rng.integers(0, classes, size)
            matrix.update(expected, got)
            pairs += [p for p in zip(expected, got, strict=True) if p[0] != ignore]
        counts = np.zeros((classes, classes), int)
        for expected, got in pairs:
            counts[expected, got] += 1
        np.testing.assert_array_equal(matrix.counts, counts)
        for number in range(classes):
            truth = {i for i, p in enumerate(pairs) if p[0] == number}
            guess = {i for i, p in enumerate(pairs) if p[1] == number}
            if truth | guess:
                shared = len(truth & guess)
                assert matrix.iou[number] == pytest.approx(shared / len(truth | guess))
                dice = 2 * shared / (len(truth) + len(guess))
                assert matrix.dice[number] == pytest.approx(dice)
            else:
                assert math.isnan(matrix.iou[number])
                assert math.isnan(matrix.dice[number])
        right = sum(expected == got for expected, got in pairs)
        assert matrix.pixel_accuracy == pytest.approx(right / len(pairs) if pairs else 0)
        occurring = [value for value in matrix.iou if not math.isnan(value)]
        if occurring:
            assert matrix.mean_iou == pytest.approx(sum(occurring) / len(occurring))
        else:
            assert math.isnan(matrix.mean_iou)

    def test_rows_are_true_classes(self):
        matrix = ConfusionMatrix(2)
        matrix.update(np.array([[0, 0], [1, 0]]), np.array([[1, 1], [1, 0]]))
        np.testing.assert_array_equal(matrix.counts, [[1, 2], [0, 1]])

    def test_shapes_that_differ(self):
        with pytest.raises(ValueError, match=r"one shape. Received: \(2, 3\) and \(3, 2\)"):
            ConfusionMatrix(2).update(np.zeros((2, 3)), np.zeros((3, 2)))

    @pytest.mark.parametrize("which", [0, 1])
    @pytest.mark.parametrize("value", [3, -1])
    def test_classes_out_of_range(self, which, value):
        pair = [np.array([0, 2]), np.array([0, 2])]
        pair[which][0] = value
        matrix = ConfusionMatrix(3)
        with pytest.raises(ValueError, match=rf"in 0\.\.2. Received: .*{value}"):
            matrix.update(*pair)
        assert not matrix.counts.any()

    def test_what_is_ignored_may_be_guessed_as_anything(self):
        matrix = ConfusionMatrix(2, ignore=255)
        matrix.update(np.array([255, 1]), np.array([7, 1]))
        np.testing.assert_array_equal(matrix.counts, [[0, 0], [0, 1]])
