"""Every loss against its definition, in 2D and 3D, and what all of them have in common."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import skimage.metrics
from loss_cases import CASES, IGNORE, LABELS, SIDES, clean, gradient, perfect, samples

from kerasdeconv import losses

every_case = pytest.mark.parametrize("name", CASES)
every_label_case = pytest.mark.parametrize("name", LABELS)
every_rank = pytest.mark.parametrize("rank", SIDES)
# Sums of some thousand float32 numbers, logarithms and squares of pixels among them.
CLOSE = {"rtol": 2e-5, "atol": 2e-6}


@every_rank
@every_case
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "pixel weights"])
def test_against_the_definition(name, rank, weighted):
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES[rank])
    truth = clean(truth) if case.labels else truth
    given = weights if weighted else None
    counts = weights if weighted else np.ones_like(weights)
    expected = case.expected(truth, guess, np.ones(weights.shape, bool), counts)
    assert expected > 0.01
    np.testing.assert_allclose(case.make()(truth, guess, given), expected, **CLOSE)


@every_rank
@every_label_case
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "pixel weights"])
def test_ignored_pixels(name, rank, weighted):
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES[rank])
    valid = truth != IGNORE
    given = weights if weighted else None
    counts = weights if weighted else np.ones_like(weights)
    loss = case.make(ignore=IGNORE)
    expected = case.expected(np.where(valid, truth, 0), guess, valid, counts)
    np.testing.assert_allclose(loss(truth, guess, given), expected, **CLOSE)
    slope = gradient(loss, truth, guess, given)
    assert np.isfinite(slope).all()
    assert not slope[~valid].any()
    assert slope[valid].any()


@every_case
@every_rank
def test_gradients(name, rank):
    """Finite also where answers are as sure as they can be; no weight, no gradient."""
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES[rank])
    truth = clean(truth) if case.labels else truth
    loss = case.make()
    for answer in (guess, perfect(case, truth), *([1 - perfect(case, truth)] * case.labels)):
        assert np.isfinite(gradient(loss, truth, answer)).all()
    assert gradient(loss, truth, guess).any()
    if not name.startswith("ssim"):  # whose windows reach beyond their middles
        assert not gradient(loss, truth, guess, weights)[weights == 0].any()


@every_case
def test_gradients_point_downhill(name):
    """The slope along the gradient is what two values of the loss say."""
    case = CASES[name]
    truth, guess, _ = samples(case, SIDES["2D"])
    truth = clean(truth) if case.labels else truth
    loss = case.make()
    if case.labels and not case.logits:  # the logarithm is too steep near 0
        guess = np.clip(guess, 0.05, 0.95)
    slope = gradient(loss, truth, guess)
    # Boxes have kinks, where edges pass each other: a shorter step leaves fewer behind.
    length = 0.001 if case.kind == "boxes" else 0.01
    step = length * np.abs(guess).max() * slope / np.abs(slope).max()
    ahead, behind = (float(loss(truth, guess + sign * step)) for sign in (1, -1))
    # The loss is curved, and float32 leaves a small difference few digits.
    assert ahead - behind == pytest.approx(2 * float((slope * step).sum()), rel=0.05)


@every_label_case
@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "pixel weights"])
def test_nothing_but_ignored_pixels(name, weighted):
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES["2D"])
    truth = np.full_like(truth, IGNORE)
    loss = case.make(ignore=IGNORE)
    given = weights if weighted else None
    assert float(loss(truth, guess, given)) == pytest.approx(0, abs=1e-6)
    assert not gradient(loss, truth, guess, given).any()


@every_case
def test_no_weight_at_all(name):
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES["2D"])
    truth = clean(truth) if case.labels else truth
    loss = case.make()
    assert float(loss(truth, guess, 0 * weights)) == 0
    assert np.isfinite(gradient(loss, truth, guess, 0 * weights)).all()


@every_rank
@every_case
def test_a_perfect_answer(name, rank):
    case = CASES[name]
    truth, guess, _ = samples(case, SIDES[rank])
    truth = clean(truth) if case.labels else truth
    loss = case.make()
    least = float(loss(truth, perfect(case, truth)))
    if case.least is not None:
        # Probabilities are kept 1e-7 from 0 and 1; SSIM divides two float32 sums.
        assert least == pytest.approx(case.least, abs=1e-5)
    assert least < float(loss(truth, guess))


@every_case
def test_weights(name):
    """Losses are multiplied by them; one for each sample stands for all its pixels."""
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES["2D"])
    truth = clean(truth) if case.labels else truth
    loss = case.make()
    one = float(loss(truth, guess, weights))
    assert float(loss(truth, guess, 3 * weights)) == pytest.approx(3 * one, rel=1e-5)
    assert float(loss(truth, guess, weights[..., None])) == one
    each = np.array([2.0, 0.5], np.float32)
    whole = np.broadcast_to(each[:, None, None], weights.shape)
    got = float(loss(truth, guess, each))
    assert got == pytest.approx(float(loss(truth, guess, whole)), rel=1e-5)
    alone = [float(loss(truth[i : i + 1], guess[i : i + 1])) for i in (0, 1)]
    assert got == pytest.approx((2 * alone[0] + 0.5 * alone[1]) / 2, rel=1e-5)
    with pytest.raises(ValueError, match=r"for each pixel.*Received: \(2, 12, 13, 3\)$"):
        loss(truth, guess, np.ones((2, 12, 13, 3)))


@every_case
def test_serialization(name):
    case = CASES[name]
    truth, guess, weights = samples(case, SIDES["2D"])
    loss = case.make(name="mine", ignore=IGNORE) if case.labels else case.make()
    copy = keras.losses.deserialize(keras.losses.serialize(loss))
    assert type(copy) is type(loss)
    assert copy.get_config() == loss.get_config()
    assert float(copy(truth, guess, weights)) == float(loss(truth, guess, weights))


@every_label_case
def test_shapes_and_types_of_labels(name):
    case = CASES[name]
    truth, guess, _ = samples(case, SIDES["2D"])
    loss = case.make(ignore=IGNORE)
    value = float(loss(truth, guess))
    for dtype in ("uint8", "float32"):
        assert float(loss(truth[..., None].astype(dtype), guess)) == value
    with pytest.raises(ValueError, match=r"class numbers.*Received: \(2, 12, 13, 3\) for "):
        loss(np.zeros((2, 12, 13, 3)), guess)
    # Forgotten: a label that is no class is not taken for one.
    assert np.isnan(float(case.make()(truth, guess)))


def test_ssim_of_volumes_against_skimage():
    truth, guess, _ = samples(CASES["ssim"], SIDES["3D"])
    alike = [
        skimage.metrics.structural_similarity(
            t,
            g.astype(np.float64),
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255.0,
            channel_axis=-1,
            full=True,
        )[1][5:-5, 5:-5, 5:-5].mean()
        for t, g in zip(truth, guess, strict=True)
    ]
    # Windows are 11 pixels wide there, too; float32 here.
    assert float(losses.SSIM()(truth, guess)) == pytest.approx(1 - np.mean(alike), abs=1e-5)


def test_losses_that_are_others():
    truth, guess, _ = samples(CASES["dice"], SIDES["2D"])
    truth = clean(truth)

    def value(loss):
        return pytest.approx(float(loss(truth, guess)), rel=1e-5)

    assert value(losses.Focal(gamma=0.0)) == float(losses.CrossEntropy()(truth, guess))
    twins = losses.Tversky(alpha=0.5, beta=0.5, smooth=0.5)
    assert value(twins) == float(losses.Dice()(truth, guess))
    assert value(losses.Tversky(alpha=1, beta=1)) == float(losses.Jaccard()(truth, guess))
    keras_own = keras.losses.SparseCategoricalCrossentropy()
    assert value(losses.CrossEntropy()) == float(keras_own(truth, guess))
    hard = np.eye(3, dtype=np.float32)[guess.argmax(-1)]
    jaccard = losses.Jaccard(smooth=1e-6)(truth, hard)
    # The one class that the first sample lacks is answered there: 1 in both.
    assert float(losses.Lovasz()(truth, hard)) == pytest.approx(float(jaccard), abs=1e-5)


def test_a_wrong_scale_of_depth_is_forgiven():
    truth, guess, _ = samples(CASES["depth"], SIDES["2D"])
    loss = losses.ScaleInvariantDepth(balance=1.0)
    assert float(loss(truth, 7 * guess)) == pytest.approx(float(loss(truth, guess)), rel=1e-4)
    half = losses.ScaleInvariantDepth()
    assert float(half(truth, 7 * guess)) > 5 * float(half(truth, guess))
    slope = gradient(half, truth, guess)
    assert not slope[truth == 0].any() and slope[truth > 0].all()
    assert np.isfinite(float(half(truth, np.zeros_like(guess))))
    assert float(half(0 * truth, guess)) == 0


def test_a_pixel_far_from_the_boundary_costs_more():
    truth = np.zeros((1, 1, 20), int)
    truth[..., :5] = 1
    loss = losses.Boundary(reach=6)
    costs = []
    for place in range(20):
        guess = (truth == 1).astype(np.float32)[..., None]
        guess[0, 0, place] = 1 - guess[0, 0, place]
        costs.append(20 * float(loss(truth, guess)))
    expected = [4.5, 3.5, 2.5, 1.5, 0.5, 0.5, 1.5, 2.5, 3.5, 4.5, *[5.5] * 10]
    np.testing.assert_allclose(costs, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.CrossEntropy(label_smoothing=1.0), r"less than 1\. Received: 1\.0"),
        (lambda: losses.CrossEntropy(ignore="x"), r"a whole number\. Received: 'x'"),
        (lambda: losses.CrossEntropy(ignore=True), r"a whole number\. Received: True"),
        (lambda: losses.CrossEntropy(class_weights=[1, -1]), r"0 or more.*Received: \[1, -1\]"),
        (lambda: losses.CrossEntropy(from_logits=1), r"true or false\. Received: 1"),
        (lambda: losses.CrossEntropy(reduction="max"), r"sum and None\. Received: 'max'"),
        (lambda: losses.Focal(gamma=-1), r"0 or more\. Received: -1"),
        (lambda: losses.Boundary(reach=0), r"1 or more\. Received: 0"),
        (lambda: losses.Dice(smooth=0), r"more than 0\. Received: 0"),
        (lambda: losses.Dice(background=None), r"true or false\. Received: None"),
        (lambda: losses.Tversky(alpha=-0.1), r"0 or more\. Received: -0\.1, 0\.7"),
        (lambda: losses.Lovasz(absent="no"), r"true or false\. Received: 'no'"),
        (lambda: losses.Charbonnier(epsilon=0), r"more than 0\. Received: 0"),
        (lambda: losses.SSIM(peak=0), r"more than 0\. Received: 0"),
        (lambda: losses.ScaleInvariantDepth(balance=2), r"between 0 and 1.*Received: 2, 0\.001"),
        (
            lambda: losses.Dice(class_weights=[1, 2])(np.zeros((1, 4, 4)), np.ones((1, 4, 4, 3))),
            r"each of 3 classes\. Received: \[1, 2\]",
        ),
        (
            lambda: losses.SSIM()(np.zeros((1, 10, 20, 1)), np.zeros((1, 10, 20, 1))),
            r"sides of 11 or more\. Received: \(1, 10, 20, 1\) and \(1, 10, 20, 1\)",
        ),
        (
            lambda: losses.ScaleInvariantDepth()(np.zeros((1, 4, 4)), np.zeros((1, 4, 4, 2))),
            r"sides x 1.*Received: \(1, 4, 4\) and \(1, 4, 4, 2\)",
        ),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        make()
