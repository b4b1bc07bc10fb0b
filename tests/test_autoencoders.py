"""Autoencoders and classifiers of whole pictures: parts, draws, training, evaluation, int8."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from kerasdeconv import data, export, layers, models, train, zoo
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation import evaluate
from kerasdeconv.evaluation.base import kept_pictures
from kerasdeconv.metrics import bernoulli_nats

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SMALL: dict[str, Any] = {"width": 4, "hidden": 16}
DIGITS = np.stack(synthetic_samples("digits", 24, (28, 28)))[..., :1]

RECIPE = """
entry = "{entry}"
seed = 1
[data]
kind = "{kind}"
folders = ["digits"]
validation = 0.25
batch = 16
steps = 6
{more}
[fit]
epochs = 3
learning_rate = 2e-3
{loss}
"""
VAE = """[fit.losses]
reconstruction = { bernoulli_nats = 1.0 }
posterior = { gaussian_kl = { weight = 1.0, free_bits = 0.05 } }
"""
MEAN = "loss = { mean_squared_error = 1.0 }"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    data.write_synthetic("digits", path / "digits", 60)
    return path


def recipe_of(path: Path, entry: str, kind: str, loss: str, more: str = "") -> Path:
    path = path / "recipe.toml"
    path.write_text(RECIPE.format(entry=entry, kind=kind, loss=loss, more=more))
    return path


def log_of(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_counts():
    """Layer by layer: convolutions, dense layers, transposed convolutions."""
    convolutions = (9 * 1 + 1) * 32 + (9 * 32 + 1) * 64
    back = (16 * 64 + 1) * 32 + (16 * 32) * 1 + 1
    flat = 7 * 7 * 64
    dense = (flat + 1) * 256 + (256 + 1) * flat
    code = (256 + 1) * 32 + (32 + 1) * 256
    assert models.Autoencoder().count_params() == convolutions + back + dense + code
    latents = (256 + 1) * 2 * 16 + (16 + 1) * 256
    assert models.ConvVAE().count_params() == convolutions + back + dense + latents
    head = (flat + 1) * 128 + (128 + 1) * 10
    assert models.Classifier().count_params() == (9 + 1) * 32 + (9 * 32 + 1) * 64 + head


class TestParts:
    def test_an_autoencoder(self):
        model = models.Autoencoder(code=5, **SMALL)
        encoder, decoder = models.split(model)
        assert (encoder.output_shape, decoder.output_shape) == ((None, 5), (None, 28, 28, 1))
        assert [x.name for x in decoder.inputs] == ["code"]
        whole = model.predict(DIGITS, verbose=0)
        np.testing.assert_array_equal(decoder(encoder(DIGITS)), model(DIGITS))
        assert whole.min() >= 0 and whole.max() <= 255
        weights = {id(v) for part in (encoder, decoder) for v in part.weights}
        assert weights == {id(v) for v in model.weights}

    def test_a_variational_one(self):
        model = models.ConvVAE(latents=3, include_rescaling=False, **SMALL)
        assert model.output_names == ["reconstruction", "posterior"]
        encoder, decoder = models.split(model)
        code, posterior = encoder(DIGITS / 255)
        pixels, same = model(DIGITS / 255)
        np.testing.assert_array_equal(code, posterior[:, :3])  # means, in inference
        np.testing.assert_array_equal(posterior, same)
        np.testing.assert_array_equal(decoder(code), pixels)

    def test_no_code(self):
        with pytest.raises(ValueError, match=r"no such layer\. .*Received: 'code'$"):
            models.split(models.ESPCN())

    def test_features(self):
        model = models.Classifier(width=4, features=6, dropout=0.0)
        features = models.features_of(model)
        assert features.name == model.name
        scores = features(DIGITS) @ model.get_layer("head").kernel + model.get_layer("head").bias
        np.testing.assert_allclose(keras.ops.softmax(scores), model(DIGITS), atol=1e-6)
        with pytest.raises(ValueError, match=r"end in a dense layer\. Received: 'espcn'$"):
            models.features_of(models.ESPCN())


class TestSampling:
    def test_draws(self):
        posterior = np.tile(np.float32([2.0, -1.0, np.log(0.25), np.log(4.0)]), (4000, 1))
        drawn = np.asarray(layers.Sampling(seed=3)(posterior, training=True))
        # Four standard errors of 4000 draws.
        np.testing.assert_allclose(drawn.mean(axis=0), [2, -1], atol=4 * 2 / 4000**0.5)
        np.testing.assert_allclose(drawn.std(axis=0), [0.5, 2], rtol=4 / 8000**0.5)
        np.testing.assert_array_equal(layers.Sampling(seed=3)(posterior, training=True), drawn)
        layer = layers.Sampling(seed=3)
        assert not np.array_equal(layer(posterior, training=True), layer(posterior, training=True))

    def test_nothing_is_drawn_in_inference(self):
        posterior = np.float32([[1, 2, 3, 4]])
        np.testing.assert_array_equal(layers.Sampling()(posterior), [[1, 2]])


class TestBatches:
    def test_annealing(self):
        """By epoch and step alone: what was interrupted goes on with the right weight."""
        batches = data.PosteriorBatches(DIGITS, batch_size=2, steps=4, annealing=2)
        found = []
        for epoch in range(3):
            batches.epoch = epoch
            found += [float(batches[i][2][1][0]) for i in range(4)]
        np.testing.assert_allclose(found, [i / 8 for i in range(1, 9)] + [1] * 4)
        inputs, (target, _), (weight, _) = batches[0]
        np.testing.assert_array_equal(inputs, target)
        np.testing.assert_array_equal(weight, [1, 1])

    @pytest.mark.parametrize("options", [{"annealing": 0}, {"annealing": 5, "augment": False}])
    def test_no_annealing(self, options):
        assert data.PosteriorBatches(DIGITS, batch_size=2, **options)[0][2][1].tolist() == [1, 1]

    def test_mistakes(self):
        with pytest.raises(ValueError, match=r"0 or more\. Received: -1$"):
            data.PosteriorBatches(DIGITS, annealing=-1)
        with pytest.raises(DataError, match=r"no classes\. Received: 24 of them$"):
            data.ClassifiedPictures(data.Pictures(DIGITS))


class TestTraining:
    def test_a_variational_autoencoder(self, folder, tmp_path):
        path = recipe_of(tmp_path, "vae.mnist", "autoencoding", VAE, "annealing = 2")
        train.run(train.read_recipe(path), data=folder, out=tmp_path / "out")
        first, *_, last = log_of(tmp_path / "out")
        assert last["val_reconstruction_loss"] < 0.8 * first["val_reconstruction_loss"]
        parts = [last[f"val_{name}_loss"] for name in ("reconstruction", "posterior")]
        assert last["val_loss"] == pytest.approx(sum(parts), rel=1e-4)
        # Free bits can only add to it.
        assert 0 < last["val_posterior_kl"] <= last["val_posterior_loss"] * (1 + 1e-5)
        assert 0 <= last["val_posterior_active_latents"] <= 16
        found = evaluate(
            zoo.load("vae.mnist", weights=tmp_path / "out" / "weights.npz"),
            folder / "digits",
            recipe=path,
        )
        figures = found["metrics"]
        assert figures["negative_elbo"] == figures["nats_of_draws"] + figures["kl"]
        assert figures["nats_of_draws"] > figures["nats_of_means"] > 0

    def test_an_autoencoder(self, folder, tmp_path):
        path = recipe_of(tmp_path, "autoencoder.mnist", "autoencoding", MEAN)
        model = train.run(train.read_recipe(path), data=folder, out=tmp_path / "out")
        first, *_, last = log_of(tmp_path / "out")
        assert last["loss"] < 0.8 * first["loss"]
        held = kept_pictures(folder / "digits", path, "gray").pixels
        error = np.mean((model.predict(held, verbose=0) - held) ** 2) / 255**2
        options = {"recipe": path, "convention": zoo.card("autoencoder.mnist").convention}
        found = evaluate(model, folder / "digits", **options)
        assert found["metrics"] == {"mse": pytest.approx(error, rel=1e-5)}
        assert found["images"] == len(held)

    def test_a_classifier(self, folder, tmp_path):
        path = recipe_of(
            tmp_path, "classifier.mnist", "classification", "loss = { cross_entropy = 1.0 }"
        )
        model = train.run(train.read_recipe(path), data=folder, out=tmp_path / "out")
        first, *_, last = log_of(tmp_path / "out")
        assert last["loss"] < first["loss"]
        held = kept_pictures(folder / "digits", path, "gray")
        right = np.mean(model.predict(held.pixels, verbose=0).argmax(-1) == held.labels)
        options = {"recipe": path, "convention": zoo.card("classifier.mnist").convention}
        found = evaluate(model, folder / "digits", **options)
        assert found["metrics"] == {"accuracy": pytest.approx(right)}

    def test_annealing_without_a_posterior(self, folder, tmp_path):
        path = recipe_of(tmp_path, "autoencoder.mnist", "autoencoding", MEAN, "annealing = 2")
        with pytest.raises(ValueError, match=r"a posterior can be annealed\. .*annealing=2$"):
            train.run(train.read_recipe(path), data=folder, out=tmp_path / "out")


@pytest.fixture(scope="module")
def vae() -> keras.Model:
    """A little trained, so that its posterior is no constant."""
    keras.utils.set_random_seed(0)
    model = zoo.load("vae.mnist", weights=None, latents=4, **SMALL)
    target = [DIGITS.astype("float32"), np.zeros((24, 1))]
    model.compile(keras.optimizers.Adam(1e-2), ["mse", lambda _, posterior: 0 * posterior])
    model.fit(DIGITS.astype("float32"), target, epochs=15, verbose=0)
    return model


TARGETS = {"tflite": "android-cpu", "onnx": "onnxruntime-cpu"}


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
class TestFiles:
    def test_figures_of_files(self, vae, target, folder, tmp_path):
        """What a file gives is what the model gives: the posterior, and the picture of its mean."""
        wanted = evaluate(vae, folder / "digits")["metrics"]
        options = {"target": target, "tune": False}
        for precision, close in (("float32", 1e-4), ("int8", 0.1)):
            report = export.export(vae, tmp_path, precision=precision, **options)
            got = evaluate(report.artifact, folder / "digits")["metrics"]
            assert set(wanted) - set(got) == {"negative_elbo", "nats_of_draws"}
            for name in ("mse", "nats_of_means", "kl"):
                assert got[name] == pytest.approx(wanted[name], rel=close), (precision, name)

    def test_encoder_and_decoder_alone(self, vae, target, tmp_path):
        encoder, decoder = models.split(vae)
        pictures = [picture[None].astype(np.float32) for picture in DIGITS]
        codes = [np.asarray(encoder(picture)[0]) for picture in pictures]
        options = {"target": target, "precision": "int8", "tune": False}
        for part, samples in ((encoder, pictures), (decoder, codes)):
            report = export.export(part, tmp_path, calibration=samples, **options)
            assert report.verification["psnr_db"] > 24


def test_nats_are_those_of_bytes():
    """Half a step of a byte from black: as if it were that close."""
    assert bernoulli_nats([[255.0]], [[0.0]]) == pytest.approx([np.log(510)])
