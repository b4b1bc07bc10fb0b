"""The streaming metrics against their definitions, over several batches, and within `fit`."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest
import skimage.data
import skimage.metrics
from metric_cases import CASES, IGNORE

from kerasdeconv import metrics
from kerasdeconv.imaging import luma, to_uint8

every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_against_the_definition(name):
    case = CASES[name]
    expected = case.expected(case.batches())
    assert 0.05 < expected < 50
    # Counts are exact; SSIM and errors are sums of some hundred float32 numbers.
    assert case.streamed() == pytest.approx(expected, rel=1e-5)


@every_case
def test_reset_and_serialization(name):
    case = CASES[name]
    metric = case.make()
    copy = keras.metrics.deserialize(keras.metrics.serialize(metric))
    assert type(copy) is type(metric) and copy.get_config() == metric.get_config()
    first, *_, last = case.batches()
    metric.update_state(first[0], first[1], sample_weight=first[2])
    metric.reset_state()
    for each in (metric, copy):
        each.update_state(last[0], last[1], sample_weight=last[2])
    assert float(metric.result()) == float(copy.result())
    assert float(copy.result()) == pytest.approx(case.expected([last]), rel=1e-5)


@every_case
def test_nothing_measured(name):
    """NaN, as the definitions have it, and not a figure."""
    case = CASES[name]
    nothing = float(case.make().result())
    assert nothing == 0 if name == "pixel_accuracy" else np.isnan(nothing)
    if not name.startswith("mask"):
        metric = case.make()
        truth, guess, _ = case.batches()[0]
        metric.update_state(truth, guess, sample_weight=np.zeros(len(truth)))
        assert float(metric.result()) == 0 or np.isnan(float(metric.result()))


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("mask")])
def test_weights(name):
    """A sample of weight 0 is not there; one of weight 2 is there twice."""
    case = CASES[name]
    truth, guess, _ = case.batches()[-1 if len(case.batches()[-1][0]) > 2 else 0]
    truth, guess = truth[:2], guess[:2]
    weighted, twice = case.make(), case.make()
    weighted.update_state(truth, guess, sample_weight=np.array([2.0, 0.0]))
    for _ in range(2):
        twice.update_state(truth[:1], guess[:1])
    assert float(weighted.result()) == pytest.approx(float(twice.result()), rel=1e-6)
    by_pixel = case.make()
    weights = np.zeros(truth.shape[:-1], np.float32)
    weights[0] = 2
    by_pixel.update_state(truth, guess, sample_weight=weights)
    assert float(by_pixel.result()) == pytest.approx(float(twice.result()), rel=1e-6)


@every_case
def test_in_a_compiled_model(name):
    """`evaluate` compiles the update; the figure is that of all its batches."""
    case = CASES[name]
    batches = case.batches()
    size = min(len(truth) for truth, _, _ in batches)
    batches = [(t[:size], g[:size], None if w is None else w[:size]) for t, g, w in batches]
    truth, guess, weights = zip(*batches, strict=True)
    inputs = keras.Input(guess[0].shape[1:])
    model = keras.Model(inputs, keras.layers.Activation("linear")(inputs))
    model.compile(loss="mse", weighted_metrics=[case.make()])
    figures = model.evaluate(
        np.concatenate(guess),
        np.concatenate(truth).astype(np.float32),
        sample_weight=None if weights[0] is None else np.concatenate(weights),
        batch_size=size,
        verbose=0,
        return_dict=True,
    )
    assert figures[case.make().name] == pytest.approx(case.expected(batches), rel=1e-5)


@pytest.mark.parametrize("make", [metrics.PSNR, metrics.SSIM])
def test_against_skimage(make):
    """On Y of a photograph, with the border shaved."""
    picture = skimage.data.astronaut()[40:120, 180:270].astype(np.float32)
    copy = np.clip(0.9 * picture + np.random.default_rng(0).normal(0, 9, picture.shape), 0, 255)
    metric = make(shave=4)
    metric.update_state(picture[None], copy[None].astype(np.float32))
    wanted, got = (to_uint8(luma(to_uint8(part)))[4:-4, 4:-4] for part in (picture, copy))
    if make is metrics.PSNR:
        expected = skimage.metrics.peak_signal_noise_ratio(wanted, got, data_range=255)
    else:
        _, alike = skimage.metrics.structural_similarity(
            wanted,
            got,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            full=True,
        )
        expected = alike[5:-5, 5:-5].mean()  # whole windows
    # A luma that lies on a half may round either way in float32: one pixel in 6000 by 1.
    assert float(metric.result()) == pytest.approx(expected, rel=1e-4)


def test_equal_pictures():
    picture = np.full((1, 12, 12, 3), 7, np.float32)
    psnr, ssim = metrics.PSNR(), metrics.SSIM()
    for metric in (psnr, ssim):
        metric.update_state(picture, picture + 0.3)  # the same bytes
    assert float(psnr.result()) == np.inf
    assert float(ssim.result()) == pytest.approx(1)
    exact = metrics.PSNR(round=False, peak=1.0)
    exact.update_state(picture[..., :1], picture[..., :1] + 0.1)
    assert float(exact.result()) == pytest.approx(20, rel=1e-5)


@pytest.mark.parametrize("make", [metrics.MeanIoU, metrics.DiceCoefficient])
def test_per_class(make):
    case = CASES["mean_iou"]
    metric, matrix = make(4, IGNORE), metrics.ConfusionMatrix(4, IGNORE)
    for truth, guess, _ in case.batches():
        metric.update_state(truth, guess)
        matrix.update(truth[..., 0], guess.argmax(-1))
    expected = matrix.iou if make is metrics.MeanIoU else matrix.dice
    np.testing.assert_allclose(np.asarray(metric.per_class()), expected, rtol=1e-6)
    assert np.isnan(expected[3])


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("mean_iou", keras.metrics.MeanIoU(4, sparse_y_pred=False, ignore_class=IGNORE)),
        ("mean_iou binary", keras.metrics.BinaryIoU()),
    ],
)
def test_as_keras_has_it(name, own):
    """Training logs go on with the figures that Keras' own metrics gave."""
    truth, guess, _ = CASES[name].batches()[1]
    if name == "mean_iou binary":
        truth = np.where(truth == IGNORE, 0, truth)
    ours = CASES[name].make()
    for metric in (own, ours):
        metric.update_state(truth, guess)
    # Keras adds 1e-7 below its fractions.
    assert float(ours.result()) == pytest.approx(float(own.result()), rel=1e-6)


def test_labels_that_are_no_class_are_not_overlooked():
    truth, guess, _ = CASES["mean_iou"].batches()[0]
    for make in (metrics.MeanIoU, metrics.DiceCoefficient, metrics.PixelAccuracy):
        metric = make(4)
        metric.update_state(truth, guess)
        assert np.isnan(float(metric.result()))


def test_masks_by_hand():
    """Two boxes: one mask is right, the surer one is half of what it should be."""
    truth = np.ones((1, 2, 4, 4, 1), np.float32)
    guess = np.full(truth.shape, 0.8, np.float32)
    guess[0, 1] = 0.9
    guess[0, 1, :2] = 0.1
    metric = metrics.MaskAveragePrecision()
    metric.update_state(truth, guess)
    # At 0.50 both are hits. Above, the first answer is a miss and the second a hit: precision 1/2
    # up to a recall of 1/2, 51 of 101 recalls.
    assert float(metric.result()) == pytest.approx((1 + 9 * 0.5 * 51 / 101) / 10)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: metrics.MeanIoU(1), r"two classes or more\. Received: 1"),
        (lambda: metrics.PSNR(shave=-1), r"shave=-1, peak=255\.0, round=True"),
        (lambda: metrics.SSIM(peak=1.0), r"rounding is for a peak of 255\. Received: .*"),
        (lambda: metrics.DeltaAccuracy(1.0), r"more than 1\. Received: 1\.0"),
        (lambda: metrics.MaskAveragePrecision(bins=0), r"a bin or more\. Received: 0"),
        (
            lambda: metrics.MeanIoU(3).update_state(np.zeros((1, 4, 4)), np.zeros((1, 4, 4, 1))),
            r"3 channels\. Received: \(1, 4, 4, 1\)",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        make()


def test_definitions_need_no_keras():
    code = (
        "import sys; from kerasdeconv.metrics import psnr, ConfusionMatrix, roc_auc\n"
        "print(sorted({'keras', 'tensorflow', 'jax'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(metrics.__all__) == {name for name in metrics.__all__ if getattr(metrics, name)}
    with pytest.raises(AttributeError, match="no attribute 'miou'"):
        _ = metrics.miou
