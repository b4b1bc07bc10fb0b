"""The definitions in NumPy against scikit-image and against counting by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
import skimage.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv.metrics import (
    ConfusionMatrix,
    abs_rel,
    average_precision,
    delta_accuracy,
    mask_average_precision,
    mask_score,
    psnr,
    rmse,
    roc_auc,
    ssim,
)


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


class TestRocAuc:
    @settings(deadline=None, max_examples=50)
    @given(
        pairs=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=40),
    )
    def test_against_all_pairs(self, pairs):
        labels, scores = (np.array(part) for part in zip(*pairs, strict=True))
        wins = [
            (x > y) + (x == y) / 2
            for x in scores[labels].tolist()
            for y in scores[~labels].tolist()
        ]
        got = roc_auc(labels, scores)
        assert got == pytest.approx(np.mean(wins)) if wins else math.isnan(got)

    def test_extremes(self):
        labels = np.array([[0, 1], [1, 0]])
        assert roc_auc(labels, labels * 3.0) == 1
        assert roc_auc(labels, -labels) == 0
        assert roc_auc(labels, np.ones((2, 2))) == 0.5

    def test_many_pixels(self):
        """More pairs than 32 bits count."""
        labels = np.arange(400_000) % 2 == 0
        assert roc_auc(labels, labels.astype(np.float32)) == 1

    @pytest.mark.parametrize(
        ("labels", "scores"), [([0, 255], [0.1, 0.2]), ([0, 1], [0.1]), ([0, 1], [0.1, math.nan])]
    )
    def test_mistakes(self, labels, scores):
        with pytest.raises(ValueError, match=r"labels of 0 and 1.*Received: \("):
            roc_auc(np.array(labels), np.array(scores))


class TestAveragePrecision:
    @settings(deadline=None, max_examples=50)
    @given(
        answers=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=30),
        more=st.integers(0, 5),
    )
    def test_against_going_down_the_list(self, answers, more):
        positives = sum(hit for hit, _ in answers) + more
        hits = np.array([hit for hit, _ in answers], bool)
        got = average_precision(hits, np.array([score for _, score in answers]), positives)
        if not positives:
            assert math.isnan(got)
            return
        points = []
        for level in range(9, -1, -1):
            kept = [hit for hit, score in answers if score >= level]
            if kept:
                points.append((sum(kept), sum(kept) / len(kept)))
        best = [
            max((p for right, p in points if 100 * right >= r * positives), default=0)
            for r in range(101)
        ]
        assert got == pytest.approx(np.mean(best))

    def test_by_hand(self):
        hits, scores = np.array([1, 0, 1]), np.array([0.9, 0.8, 0.7])
        # Precision 1 up to a recall of 1/2 (51 recalls), 2/3 from there.
        assert average_precision(hits, scores, 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
        assert average_precision(hits, scores, 4) == pytest.approx((26 + 25 * 2 / 3) / 101)
        assert average_precision(hits[:0], scores[:0], 4) == 0
        assert average_precision(np.ones(2), np.zeros(2)) == 1

    def test_mistakes(self):
        with pytest.raises(ValueError, match=r"2 hits of 1$"):
            average_precision(np.ones(2), np.ones(2), 1)
        with pytest.raises(ValueError, match=r"Received: \(2,\) and \(3,\)"):
            average_precision(np.ones(2), np.ones(3))

    def test_of_masks(self):
        # 3/5 is a hit at 0.60; the threshold is no rounding below or above it.
        assert mask_average_precision(np.array([3 / 5]), np.array([0.5])) == pytest.approx(0.3)
        assert mask_average_precision(np.ones(4), np.arange(4)) == 1
        assert math.isnan(mask_average_precision(np.ones(0), np.ones(0)))

    def test_score_of_a_mask(self):
        assert mask_score(np.array([[0.5, 0.9], [0.1, 0.4]])) == pytest.approx(0.7)
        assert mask_score(np.array([0.1, 0.4])) == 0


class TestDepth:
    def test_by_hand(self):
        expected = np.array([[2.0, 4.0], [0.0, 1.0]])
        got = np.array([[3.0, 4.4], [9.0, 0.5]])
        assert abs_rel(expected, got) == pytest.approx((0.5 + 0.1 + 0.5) / 3)
        assert rmse(expected, got) == pytest.approx(math.sqrt((1 + 0.16 + 0.25) / 3))
        assert delta_accuracy(expected, got) == pytest.approx(1 / 3)
        assert delta_accuracy(expected, got, 1.25**2) == pytest.approx(2 / 3)
        assert delta_accuracy(np.ones(1), np.zeros(1)) == 0

    @pytest.mark.parametrize("measure", [abs_rel, rmse, delta_accuracy])
    def test_nothing_known(self, measure):
        assert math.isnan(measure(np.zeros((2, 2)), np.ones((2, 2))))
        with pytest.raises(ValueError, match=r"one shape\. Received: \(2,\) and \(2, 1\)"):
            measure(np.ones(2), np.ones((2, 1)))
