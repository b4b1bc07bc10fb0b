"""Adversarial training: losses and steps against NumPy, recipes, and measures of generators."""

from __future__ import annotations

import csv
import dataclasses
import importlib
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasdeconv import data, losses, models, train, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.evaluation import evaluate
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.recipe import AdversarialRecipe, FitRecipe
from kerasdeconv.train.run import make_game

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(0)
REAL, FAKE = (RNG.normal(size=(6, 1)).astype(np.float32) for _ in range(2))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class TestLosses:
    def test_non_saturating(self):
        loss = losses.adversarial_loss("non_saturating")
        real, fake = (sigmoid(scores.astype(np.float64)) for scores in (REAL, FAKE))
        for smoothing in (0.0, 0.1):
            entropy = (1 - smoothing) * np.log(real) + smoothing * np.log(1 - real)
            expected = -entropy.mean() - np.log(1 - fake).mean()
            got = loss.discriminator(REAL, FAKE, smoothing)
            assert float(got) == pytest.approx(expected, rel=1e-5)
        assert float(loss.generator(FAKE)) == pytest.approx(-np.log(fake).mean(), rel=1e-5)

    def test_hinge(self):
        loss = losses.adversarial_loss("hinge")
        expected = np.maximum(0, 1 - REAL).mean() + np.maximum(0, 1 + FAKE).mean()
        assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-5)
        assert float(loss.generator(FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-5)

    def test_wasserstein(self):
        loss = losses.adversarial_loss("wasserstein")
        expected = FAKE.mean() - REAL.mean()
        assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-5)
        assert float(loss.generator(FAKE)) == pytest.approx(-FAKE.mean(), rel=1e-5)

    def test_penalties(self):
        gradients = RNG.normal(size=(4, 3, 2, 1)).astype(np.float32)
        norms = np.sqrt((gradients.reshape(4, -1) ** 2).sum(axis=1))
        expected = ((norms - 1) ** 2).mean()
        assert float(losses.gradient_penalty(gradients)) == pytest.approx(expected, rel=1e-5)
        expected = (norms**2).mean() / 2
        assert float(losses.r1_penalty(gradients)) == pytest.approx(expected, rel=1e-5)

    def test_an_unknown_one(self):
        with pytest.raises(ValueError, match=r"Did you mean 'hinge'\? Received: 'hing'$"):
            losses.adversarial_loss("hing")


def linear_game(**options: Any) -> train.Adversarial:
    """Pictures of 2 x 2 that are a matrix times a code, judged by a linear map."""
    code, picture = keras.Input((3,)), keras.Input((2, 2, 1))
    made = keras.layers.Reshape((2, 2, 1))(keras.layers.Dense(4, use_bias=False)(code))
    score = keras.layers.Dense(1)(keras.layers.Flatten()(picture))
    keras.utils.set_random_seed(0)
    return train.Adversarial(
        keras.Model(code, made), keras.Model(picture, score), **{"unit": 1.0, **options}
    )


class TestSteps:
    """One step of both networks, without momentum, against its formula."""

    codes = RNG.normal(size=(8, 3)).astype(np.float32)
    pictures = RNG.uniform(0, 2, (8, 2, 2, 1)).astype(np.float32)

    def step(self, game: train.Adversarial) -> tuple[list[np.ndarray], list[np.ndarray]]:
        before = [np.array(w) for w in game.get_weights()[:3]]
        game.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        game.train_on_batch(self.codes, self.pictures)
        return before, game.get_weights()[:3]

    def test_non_saturating(self):
        (mix, kernel, bias), after = self.step(linear_game(smoothing=0.1))
        real, made = self.pictures.reshape(8, 4), self.codes @ mix
        seen, fooled = sigmoid(real @ kernel + bias), sigmoid(made @ kernel + bias)
        slope = real.T @ (seen - 0.9) / 8 + made.T @ fooled / 8
        kernel = kernel - 0.1 * slope
        bias = bias - 0.1 * ((seen - 0.9).mean() + fooled.mean())
        # The generator meets the discriminator that has learned.
        unconvinced = sigmoid(made @ kernel + bias) - 1
        mix = mix - 0.1 * self.codes.T @ (unconvinced @ kernel.T) / 8
        for expected, got in zip((mix, kernel, bias), after, strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-5)

    @pytest.mark.parametrize(
        ("options", "penalty"),
        [
            # By the kernel w: of 10 (|uw| - 1)^2 and of 3 |uw|^2 / 2.
            (
                {"penalty": 10.0},
                lambda w, u: 20 * (u * np.linalg.norm(w) - 1) * u / np.linalg.norm(w),
            ),
            ({"r1": 3.0}, lambda w, u: 3 * u**2),
        ],
    )
    def test_penalties(self, options, penalty):
        """A linear critic is as steep everywhere."""
        game = linear_game(loss="wasserstein", unit=0.5, **options)
        (mix, kernel, _), after = self.step(game)
        slope = (self.codes @ mix).mean(axis=0) - self.pictures.reshape(8, 4).mean(axis=0)
        expected = kernel - 0.1 * (slope[:, None] + penalty(kernel, 0.5) * kernel)
        np.testing.assert_allclose(after[1], expected, atol=1e-5)

    def test_critic_steps(self):
        """Two steps on half a batch each are two steps of the discriminator, and one of G."""
        game = linear_game(loss="wasserstein", critic_steps=2)
        (mix, kernel, _), after = self.step(game)
        for half in (slice(0, 4), slice(4, 8)):
            made = self.codes[half] @ mix
            slope = made.mean(axis=0) - self.pictures[half].reshape(4, 4).mean(axis=0)
            kernel = kernel - 0.1 * slope[:, None]
        np.testing.assert_allclose(after[1], kernel, atol=1e-5)
        mix = mix + 0.1 * self.codes[4:].mean(axis=0)[:, None] * kernel.T
        np.testing.assert_allclose(after[0], mix, atol=1e-5)
        assert int(game.optimizer.discriminator.iterations) == 2
        assert int(game.optimizer.iterations) == 1


def test_it_learns_and_keeps_the_average():
    """Made pictures come nearer to the real ones on average; spectral norms come to 1."""
    pictures = np.zeros((64, 8, 8, 1), np.uint8)
    pictures[:, :, :4] = RNG.integers(200, 256, (64, 8, 4, 1))
    keras.utils.set_random_seed(0)
    generator = models.DCGANGenerator((4,), 8, channels=1, width=8, kernel_size=4)
    judge = models.DCGANDiscriminator((8, 8, 1), width=8, norm=None, spectral=True)
    game = train.Adversarial(generator, judge, loss="hinge")
    game.compile(
        keras.optimizers.Adam(5e-3, beta_1=0.5, use_ema=True, ema_momentum=0.9),
        keras.optimizers.Adam(5e-3, beta_1=0.5),
    )
    codes = RNG.normal(size=(64, 4)).astype(np.float32)

    def distance() -> float:
        made = keras.ops.convert_to_numpy(generator(codes)).mean(axis=0)
        return float(np.abs(made - pictures.mean(axis=0)).mean())

    before = distance()
    game.fit(data.CodedPictures(pictures, code=4, batch_size=16, steps=80), epochs=1, verbose=0)
    train.estimate_statistics(generator, [codes])
    assert distance() < before / 2
    average = game.optimizer.generator._model_variables_moving_average[0]
    np.testing.assert_array_equal(generator.trainable_weights[0].numpy(), average.numpy())
    for layer in judge.layers:
        if isinstance(layer, keras.layers.SpectralNormalization):
            kernel = layer.kernel.numpy().reshape(-1, layer.kernel.shape[-1])
            # The last step has changed it after it was scaled, and power iteration only comes near.
            assert np.linalg.norm(kernel, 2) == pytest.approx(1, abs=0.15)


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"loss": "hinge", "smoothing": 0.1}, r"'non_saturating'\. Received: 0\.1 for 'hinge'"),
            ({"smoothing": 0.5}, r"less than 0\.5.*Received: 0\.5"),
            ({"critic_steps": 0}, r"1 or more.*Received: 0\.0, 0\.0, 0, 1\.0"),
            ({"r1": -1.0}, r"r1 must be 0 or more.*Received: 0\.0, -1\.0"),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            linear_game(**options)

    def test_networks_that_do_not_fit(self):
        generator = models.DCGANGenerator((4,), 8, channels=1, width=4)
        judge = models.DCGANDiscriminator((16, 16, 1), width=4)
        with pytest.raises(ValueError, match=r"\(16, 16, 1\)\. Received: a generator of \(8, 8, 1"):
            train.Adversarial(generator, judge)

    def test_a_batch_that_does_not_divide(self):
        game = linear_game(critic_steps=3)
        game.compile(keras.optimizers.SGD(0.1), run_eagerly=True)
        with pytest.raises(ValueError, match=r"into 3 critic_steps\. Received: 8 pictures"):
            game.train_on_batch(TestSteps.codes, TestSteps.pictures)


RECIPE = """
entry = "dcgan.mnist"
seed = 1

[data]
kind = "generation"
folders = ["digits"]
last = 20
batch = 8
steps = 4

[fit]
epochs = 3
learning_rate = 1e-3
average = 0.5
statistics = 2

[fit.adversarial]
discriminator = "DCGANDiscriminator"
arguments = { width = 4, kernel_size = 4 }
smoothing = 0.1
rate = 0.5
"""


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    data.write_synthetic("digits", folder / "digits", 60)
    return folder


def recipe_of(folder: Path, text: str = RECIPE) -> train.Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return train.read_recipe(path)


def log_of(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


class TestRecipes:
    def test_interrupted_and_resumed(self, digits, tmp_path, monkeypatch):
        recipe = recipe_of(tmp_path)
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        model = train.run(recipe, data=digits, out=whole)
        assert model.name == "dcgan"
        rows = log_of(whole)
        assert [row["epoch"] for row in rows] == [0, 1, 2]
        names = ("generator_loss", "discriminator_loss")
        assert set(rows[0]) == {"epoch", *names, *(f"val_{name}" for name in names)}

        def press_ctrl_c(progress: Progress, batch: int, logs: object = None) -> None:
            if len(log_of(broken)) == 2:
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Progress, "on_train_batch_end", press_ctrl_c)
            train.run(recipe, data=digits, out=broken)
        assert not (broken / "weights.npz").exists()
        train.run(recipe, data=digits, out=broken)
        # Both networks, both optimizers and the average went on where they were; threads may sum in
        # another order.
        for expected, got in zip(rows, log_of(broken), strict=True):
            assert got == pytest.approx(expected, rel=1e-3)
        with np.load(whole / "weights.npz") as expected, np.load(broken / "weights.npz") as got:
            for name, values in expected.items():
                np.testing.assert_allclose(got[name], values, atol=2e-3, err_msg=name)
        zoo.load("dcgan.mnist", weights=whole / "weights.npz")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (("epochs = 3", "epochs = 3\npatience = 2"), r"leave out loss.*Received: {}, {}, 2"),
            (("DCGANDiscriminator", "DCGANDiscriminato"), r"Did you mean 'DCGANDiscriminator'"),
            (("width = 4", "widht = 4"), r"cannot have these arguments \(.*widht.*\)\. Received"),
            (("rate = 0.5", "critic_steps = 3"), r"3 critic_steps\. Received: batch=8"),
            (("rate = 0.5", 'loss = "hinges"'), r"Did you mean 'hinge'\? Received: 'hinges'"),
            (("rate = 0.5", "ratio = 0.5"), r"no such field\..* Received: 'ratio'"),
        ],
    )
    def test_mistakes(self, digits, tmp_path, change, message):
        with pytest.raises(ValueError, match=message):
            train.run(recipe_of(tmp_path, RECIPE.replace(*change)), data=digits, out=tmp_path)

    def test_without_a_discriminator(self, digits, tmp_path):
        recipe = recipe_of(tmp_path)
        fit = FitRecipe(epochs=1, loss={"l1": 1.0})
        with pytest.raises(ValueError, match=r"give \[fit\.adversarial\]\. Received: .*=None$"):
            train.run(dataclasses.replace(recipe, fit=fit), data=digits, out=tmp_path)

    def test_a_network_that_is_no_generator(self, digits, tmp_path):
        text = RECIPE.replace("dcgan.mnist", "espcn_x2").replace("generation", "super-resolution")
        with pytest.raises(
            ValueError, match=r"\[fit\.adversarial\]\. Received: 'super-resolution'$"
        ):
            train.run(recipe_of(tmp_path, text.replace("last = 20", "")), data=digits, out=tmp_path)

    def test_the_discriminator_has_a_rate_of_its_own(self, tmp_path):
        adversarial = AdversarialRecipe(
            "DCGANDiscriminator", {"width": 4}, rate=2.0, critic_steps=2
        )
        fit = FitRecipe(epochs=1, schedule="constant", warmup=0.0, adversarial=adversarial)
        recipe = dataclasses.replace(recipe_of(tmp_path), fit=fit)
        game = make_game(recipe, recipe.fit.adversarial, zoo.load("dcgan.mnist", weights=None), 10)
        rates = [
            float(optimizer.learning_rate)
            for optimizer in (game.optimizer.generator, game.optimizer.discriminator)
        ]
        assert rates == pytest.approx([1e-3, 2e-3])
        assert game.optimizer.generator.beta_1 == 0.5


class TestMeasure:
    @pytest.fixture
    def classified(self, monkeypatch: pytest.MonkeyPatch) -> None:
        keras.utils.set_random_seed(0)
        network = models.Classifier((28, 28, 1), classes=10, width=4)
        module = importlib.import_module("kerasdeconv.evaluation.generators")
        monkeypatch.setattr(module, "_classifier", lambda shape: network)

    def test_of_a_generator(self, digits, tmp_path, classified):
        recipe_of(tmp_path)
        model = zoo.load("dcgan.mnist", weights=None)
        folder, recipe = digits / "digits", tmp_path / "recipe.toml"
        result = evaluate(model, folder, recipe=recipe)
        assert (result["task"], result["images"]) == ("generation", 20)
        found = result["metrics"]
        assert found["fid"] > found["real_fid"] >= 0
        assert found["inception_score"] >= 1
        assert evaluate(model, folder, recipe=recipe) == result

    def test_of_what_takes_pictures(self, digits, classified):
        with pytest.raises(ValueError, match=r"from codes.*Received: inputs of shape"):
            evaluate(models.ESPCN((8, 8, 1)), digits, convention=Convention(task="generation"))
