"""The losses, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv.losses import WeightedSum, charbonnier

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, (3, 6, 5, 1)).astype(np.float32)
GUESS = RNG.uniform(0.05, 0.95, TRUTH.shape).astype(np.float32)
WEIGHTS = RNG.uniform(0, 2, TRUTH.shape[:-1]).astype(np.float32)


def squared(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return ((truth - guess) ** 2).mean(axis=-1)


def crossentropy(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return -(truth * np.log(guess) + (1 - truth) * np.log(1 - guess)).mean(axis=-1)


def smooth(truth: np.ndarray, guess: np.ndarray, epsilon: float = 0.255) -> np.ndarray:
    return np.sqrt((truth - guess) ** 2 + epsilon**2).mean(axis=-1)


def dice(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return 1 - 2 * (truth * guess).sum() / (truth.sum() + guess.sum())


@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "pixel weights"])
@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({"mean_squared_error": 2.0}, lambda w: 2 * (w * squared(TRUTH, GUESS)).mean()),
        ({"binary_crossentropy": 1.0}, lambda w: (w * crossentropy(TRUTH, GUESS)).mean()),
        (
            {"binary_crossentropy": 1.0, "dice": 0.5},
            lambda w: (w * crossentropy(TRUTH, GUESS) + 0.5 * w * dice(TRUTH, GUESS)).mean(),
        ),
        ({"charbonnier": 2.0}, lambda w: 2 * (w * smooth(TRUTH, GUESS)).mean()),
    ],
    ids=["squares", "crossentropy", "with dice", "charbonnier"],
)
def test_against_numpy(terms, expected, weights):
    got = WeightedSum(terms)(TRUTH, GUESS, sample_weight=weights)
    assert got.shape == ()
    share = np.ones_like(WEIGHTS) if weights is None else weights
    np.testing.assert_allclose(got, expected(share), rtol=1e-5)  # float32 sums of 90 numbers


class TestCharbonnier:
    def test_against_numpy(self):
        got = charbonnier(255 * TRUTH, 255 * GUESS)
        np.testing.assert_allclose(got, smooth(255 * TRUTH, 255 * GUESS), rtol=1e-5)
        got = charbonnier(TRUTH, GUESS, epsilon=1e-3)
        np.testing.assert_allclose(got, smooth(TRUTH, GUESS, 1e-3), rtol=1e-5)

    def test_the_papers_epsilon_for_pixels(self):
        """1e-3 for pixels in [0, 1] is the same loss for pixels in [0, 255], 255 times."""
        pixels = charbonnier(255 * TRUTH, 255 * GUESS)
        np.testing.assert_allclose(pixels, 255 * charbonnier(TRUTH, GUESS, 1e-3), rtol=1e-5)

    def test_smooth_at_zero(self):
        zero = keras.ops.zeros((1, 1))
        np.testing.assert_allclose(charbonnier(zero, zero), [0.255], rtol=1e-6)

    def test_keras_trains_with_it_and_stores_it(self, tmp_path):
        model = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Conv2D(1, 1)])
        model.compile("sgd", charbonnier)
        expected = smooth(TRUTH, model(TRUTH).numpy()).mean()
        assert model.evaluate(TRUTH, TRUTH, verbose=0) == pytest.approx(expected, rel=1e-5)
        assert keras.losses.get(keras.losses.serialize(charbonnier)) is charbonnier


def test_class_numbers():
    labels = RNG.integers(0, 4, (2, 5, 5, 1)).astype(np.float32)
    guess = RNG.dirichlet(np.ones(4), (2, 5, 5)).astype(np.float32)
    chosen = np.take_along_axis(guess, labels.astype(int), axis=-1)
    got = WeightedSum({"sparse_categorical_crossentropy": 1.0})(labels, guess)
    np.testing.assert_allclose(got, -np.log(chosen).mean(), rtol=1e-5)


def test_pixels_of_no_weight_do_not_count():
    weights = np.zeros_like(WEIGHTS)
    weights[:, 1:-1, 1:-1] = 1
    changed = GUESS.copy()
    changed[:, 0], changed[:, :, -1] = 0.5, 0.5
    loss = WeightedSum({"mean_squared_error": 1.0})
    assert loss(TRUTH, GUESS, weights) == loss(TRUTH, changed, weights)
    assert loss(TRUTH, GUESS) != loss(TRUTH, changed)


def test_keras_trains_with_it():
    model = keras.Sequential([keras.Input((6, 5, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", WeightedSum({"mean_squared_error": 3.0}))
    expected = 3 * (WEIGHTS * squared(TRUTH, model(TRUTH).numpy())).mean()
    got = model.evaluate(TRUTH, TRUTH, sample_weight=WEIGHTS, verbose=0)
    assert got == pytest.approx(expected, rel=1e-5)


def test_serialization():
    loss = WeightedSum({"binary_crossentropy": 1.0, "dice": 0.5}, name="both")
    copy = keras.losses.get(keras.losses.serialize(loss))
    assert isinstance(copy, WeightedSum) and copy.name == "both"
    assert copy.terms == loss.terms
    assert copy(TRUTH, GUESS) == loss(TRUTH, GUESS)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({}, r"at least one loss.*Received: {}$"),
        ({"mean_square_error": 1.0}, r"'mean_squared_error'.*Received: 'mean_square_error'$"),
        ({"charbonier": 1.0}, r"Did you mean 'charbonnier'.*Received: 'charbonier'$"),
        # An instance of the class would take the mean before the pixel weights.
        ({"MeanSquaredError": 1.0}, r"Received: 'MeanSquaredError'$"),
    ],
)
def test_mistakes(terms, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}"):
        WeightedSum(terms)
