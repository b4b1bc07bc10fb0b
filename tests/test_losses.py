"""Losses by name, added and stored; each of ours is in `test_losses_definitions.py`."""

from __future__ import annotations

import subprocess
import sys

import keras
import numpy as np
import pytest

from kerasdeconv.losses import (
    L1,
    Charbonnier,
    CrossEntropy,
    Dice,
    Lovasz,
    WeightedSum,
    charbonnier,
)

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
        ({"cross_entropy": {"ignor": 255}}, r"no such option. Did you mean 'ignore'.*: 'ignor'$"),
        ({"cross_entropy": {"reduction": "sum"}}, r"no such option.*Received: 'reduction'$"),
        ({"huber": {"alpha": 1.0}}, r"'huber' has no such option.*'delta'.*Received: 'alpha'$"),
        ({"focal": {"gamma": "much"}}, r"cannot have these options.*Received: {'gamma': 'much'}$"),
        ({"l1": {"weight": "much"}}, r"'l1\w*' must be a finite number\. Received: 'much'$"),
        ({"l1": float("nan")}, r"'l1\w*' must be a finite number\. Received: nan$"),
        ([(Dice(reduction=None), 1.0)], r"reduced to one number.*'dice\w*' with reduction=None$"),
    ],
)
def test_mistakes(terms, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}"):
        WeightedSum(terms)


def test_options_by_name():
    labels = RNG.integers(0, 3, (2, 5, 5))
    labels[:, 0] = 255
    guess = RNG.dirichlet(np.ones(3), (2, 5, 5)).astype(np.float32)
    options = {"ignore": 255, "class_weights": [1.0, 2.0, 0.5]}
    got = WeightedSum(
        {
            "cross_entropy": {"weight": 2.0, **options},
            "sparse_dice": {"background": True, "ignore": 255},
        }
    )(labels, guess)
    expected = 2 * CrossEntropy(**options)(labels, guess)
    expected += Dice(background=True, ignore=255)(labels, guess)
    assert float(got) == pytest.approx(float(expected), rel=1e-6)
    got = WeightedSum({"huber": {"delta": 0.1}})(TRUTH, GUESS)
    assert float(got) == pytest.approx(float(keras.losses.Huber(delta=0.1)(TRUTH, GUESS)))


def test_keras_names_keep_their_meaning():
    """Recipes say `dice` for Keras' function, over a whole batch; ours is `sparse_dice`."""
    assert float(WeightedSum({"dice": 1.0})(TRUTH, GUESS)) == pytest.approx(dice(TRUTH, GUESS))
    function = keras.losses.tversky(TRUTH, GUESS, alpha=0.2)
    got = WeightedSum({"tversky": {"alpha": 0.2}})(TRUTH, GUESS)
    assert float(got) == pytest.approx(float(function), rel=1e-6)


class TestSums:
    def value(self, loss: keras.losses.Loss) -> float:
        return float(loss(TRUTH, GUESS, WEIGHTS))

    def test_losses_add(self):
        a, b, c = self.value(Dice()), self.value(CrossEntropy()), self.value(Lovasz())
        both = Dice() + CrossEntropy()
        assert isinstance(both, WeightedSum)
        for loss, expected in (
            (both, a + b),
            (2 * Dice(), 2 * a),
            (Dice() * 0.5, a / 2),
            (0.5 * (Dice() + 4 * CrossEntropy()) + Lovasz(), a / 2 + 2 * b + c),
            (Lovasz() + (Dice() + CrossEntropy()), a + b + c),
            (sum([Dice(), CrossEntropy(), Lovasz()]), a + b + c),
        ):
            assert self.value(loss) == pytest.approx(expected, rel=1e-6)
        assert self.value(both) == pytest.approx(a + b, rel=1e-6)  # not changed by adding to it

    def test_with_those_of_keras_and_those_by_name(self):
        own, ours = keras.losses.MeanSquaredError(), L1()
        squares = (WEIGHTS * squared(TRUTH, GUESS)).mean()
        expected = pytest.approx(self.value(ours) + squares, rel=1e-5)
        assert self.value(ours + own) == expected
        assert self.value(own + ours) == expected
        assert self.value(WeightedSum({"mean_squared_error": 1.0}) + ours) == expected

    def test_serialization(self):
        loss = Dice() + 0.5 * (WeightedSum({"huber": {"delta": 2.0}}) + Charbonnier(epsilon=0.1))
        loss = loss + keras.losses.Poisson()
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        assert self.value(copy) == self.value(loss)
        assert [weight for _, weight in copy.parts] == [1.0, 0.5, 0.5, 1.0]
        assert copy.get_config() == loss.get_config()

    @pytest.mark.parametrize(
        "add",
        [
            lambda: Dice() + 1,
            lambda: "dice" + Dice(),
            lambda: Dice() * Dice(),
            lambda: WeightedSum([("dice", 1.0)]),
        ],
    )
    def test_what_does_not_add(self, add):
        with pytest.raises(TypeError):
            add()

    def test_a_saved_model_reloads_in_a_new_process(self, tmp_path):
        """With the package imported alone, as its layers do."""
        model = keras.Sequential(
            [keras.Input((6, 5, 1)), keras.layers.Conv2D(1, 1, activation="sigmoid")]
        )
        model.compile("sgd", Dice() + 0.5 * CrossEntropy(ignore=255, class_weights=[1, 2]))
        model.save(tmp_path / "model.keras")
        np.savez(tmp_path / "data.npz", x=GUESS, y=TRUTH)
        code = (
            "import sys, keras, kerasdeconv, numpy as np; from pathlib import Path\n"
            "folder = Path(sys.argv[1]); data = np.load(folder / 'data.npz')\n"
            "model = keras.models.load_model(folder / 'model.keras')\n"
            "print(model.evaluate(data['x'], data['y'], verbose=0))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        expected = model.evaluate(GUESS, TRUTH, verbose=0)
        assert float(done.stdout) == pytest.approx(expected, rel=1e-6)
