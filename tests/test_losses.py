"""The weighted sum of losses, against NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv.losses import WeightedSum

RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 2, (3, 6, 5, 1)).astype(np.float32)
GUESS = RNG.uniform(0.05, 0.95, TRUTH.shape).astype(np.float32)
WEIGHTS = RNG.uniform(0, 2, TRUTH.shape[:-1]).astype(np.float32)


def squared(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return ((truth - guess) ** 2).mean(axis=-1)


def crossentropy(truth: np.ndarray, guess: np.ndarray) -> np.ndarray:
    return -(truth * np.log(guess) + (1 - truth) * np.log(1 - guess)).mean(axis=-1)


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
    ],
    ids=["squares", "crossentropy", "with dice"],
)
def test_against_numpy(terms, expected, weights):
    got = WeightedSum(terms)(TRUTH, GUESS, sample_weight=weights)
    assert got.shape == ()
    share = np.ones_like(WEIGHTS) if weights is None else weights
    np.testing.assert_allclose(got, expected(share), rtol=1e-5)  # float32 sums of 90 numbers


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
        # An instance of the class would take the mean before the pixel weights.
        ({"MeanSquaredError": 1.0}, r"Received: 'MeanSquaredError'$"),
    ],
)
def test_mistakes(terms, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}"):
        WeightedSum(terms)
