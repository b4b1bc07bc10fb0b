"""Diffusion: the way to noise, the way back, and networks that go it in Keras and in files."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv import cli, data, export, layers, models, runtime, train, zoo
from kerasdeconv.convention import Convention, Diffusion
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.imaging import read_image
from kerasdeconv.runtime import diffusion as way

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RNG = np.random.default_rng(0)


class Knowing(runtime.Predictor):
    """Tells the noise in pictures that are all alike: what a perfect network would say.

    With some doubt it takes what it sees for a part of the picture.
    """

    def __init__(self, picture: np.ndarray, diffusion: Diffusion, doubt: float = 0.0) -> None:
        convention = Convention(task="generation", diffusion=diffusion)
        super().__init__(convention, (None, *picture.shape), (None, 1))
        self.picture, self.shares = picture, way.signal_shares(diffusion)
        self.doubt = doubt
        self.steps: list[int] = []

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        noised, steps = inputs
        self.steps.append(int(steps[0, 0]))
        share = self.shares[steps[:, 0]].reshape(-1, 1, 1, 1)
        picture = self.picture + self.doubt * np.tanh(noised)
        noise = (noised - np.sqrt(share) * picture) / np.sqrt(1 - share)
        if self.convention.diffusion.prediction == "velocity":
            return [np.sqrt(share) * noise - np.sqrt(1 - share) * picture]
        return [noise]


class TestWay:
    def test_linear_is_the_papers(self):
        shares = way.signal_shares(Diffusion())
        betas = [1e-4 + (0.02 - 1e-4) * i / 999 for i in range(1000)]
        expected = 1.0
        for share, beta in zip(shares, betas, strict=True):
            expected *= 1 - beta
            assert share == pytest.approx(expected)
        assert shares[-1] == pytest.approx(4.04e-5, rel=0.01)  # nothing but noise is left

    def test_cosine_is_the_papers(self):
        shares = way.signal_shares(Diffusion(noise="cosine"))
        f = [np.cos((t / 1000 + 0.008) / 1.008 * np.pi / 2) ** 2 for t in range(1001)]
        # The last step is cut: no step is more than 0.999 noise.
        np.testing.assert_allclose(shares[:-1], [x / f[0] for x in f[1:-1]])
        assert shares[-1] == pytest.approx(0.001 * shares[-2])

    def test_fewer_steps_end_in_as_much_noise(self):
        few, many = (way.signal_shares(Diffusion(steps))[-1] for steps in (250, 1000))
        assert few == pytest.approx(many, rel=0.3)

    def test_targets(self):
        pictures, noise = RNG.normal(size=(2, 3, 4, 4, 1))
        steps, shares = np.array([0, 5, 9]), way.signal_shares(Diffusion(10))
        for i, step in enumerate(steps):
            signal, rest = np.sqrt(shares[step]), np.sqrt(1 - shares[step])
            noised = way.noised(pictures, noise, steps, shares)[i]
            np.testing.assert_allclose(noised, signal * pictures[i] + rest * noise[i])
            velocity = way.prediction_target(pictures, noise, steps, shares, "velocity")[i]
            # What is told gives both back.
            np.testing.assert_allclose(signal * noised - rest * velocity, pictures[i])
            np.testing.assert_allclose(rest * noised + signal * velocity, noise[i])


class TestSampling:
    picture = RNG.uniform(-1, 1, (4, 4, 1))

    @pytest.mark.parametrize("noise", ["linear", "cosine"])
    @pytest.mark.parametrize("prediction", ["noise", "velocity"])
    @pytest.mark.parametrize("eta", [0.0, 1.0])
    def test_a_perfect_network_finds_its_picture(self, noise, prediction, eta):
        predictor = Knowing(self.picture, Diffusion(50, noise, prediction))
        made = way.sample(predictor, RNG.normal(size=(3, 4, 4, 1)), steps=10, eta=eta)
        np.testing.assert_allclose(made, np.stack([self.picture] * 3), atol=1e-3)
        assert predictor.steps == sorted(predictor.steps, reverse=True)
        assert (predictor.steps[0], predictor.steps[-1], len(predictor.steps)) == (49, 0, 10)

    def test_ddpm_is_the_papers(self):
        """All steps with eta 1 are Ho et al.'s algorithm 2, with their smaller variance."""
        diffusion = Diffusion(8)
        predictor = Knowing(0.1 * self.picture, diffusion, doubt=0.8)
        x = RNG.normal(size=(1, 4, 4, 1))
        got = way.sample(predictor, x, steps=8, eta=1.0, seed=3)
        bars = way.signal_shares(diffusion)
        alphas = bars / np.concatenate([[1.0], bars[:-1]])
        rng = np.random.default_rng(3)
        for t in reversed(range(8)):
            (told,) = predictor.run(x, np.full((1, 1), t))
            x = (x - (1 - alphas[t]) / np.sqrt(1 - bars[t]) * told) / np.sqrt(alphas[t])
            if t:
                variance = (1 - bars[t - 1]) / (1 - bars[t]) * (1 - alphas[t])
                x = x + np.sqrt(variance) * rng.standard_normal(x.shape)
        np.testing.assert_allclose(got, x, atol=1e-5)

    def test_mistakes(self):
        predictor = Knowing(self.picture, Diffusion(8))
        noise = np.zeros((1, 4, 4, 1))
        with pytest.raises(ValueError, match=r"steps must be in 1\.\.8, eta .*Received: 9, 0\.0$"):
            way.sample(predictor, noise, steps=9)
        predictor.convention = Convention(task="depth")
        with pytest.raises(ValueError, match=r"Only a diffusion network.*task 'depth'$"):
            way.sample(predictor, noise)
        with pytest.raises(ValueError, match=r"task 'generation'.*Received: task 'depth'"):
            runtime.generate(predictor, 1)


def test_batches():
    pixels = RNG.integers(0, 256, (10, 6, 5, 1), np.uint8)
    diffusion = Diffusion(100)
    batches = data.NoisedPictures(pixels, diffusion, batch_size=20, steps=3)
    (noised, steps), noise = batches[1]
    assert noised.dtype == noise.dtype == np.float32 and steps.dtype == np.int32
    # Evenly spread: one in each twentieth of the way.
    assert sorted(steps[:, 0] // 5) == list(range(20))
    share = way.signal_shares(diffusion)[steps[:, 0]].reshape(-1, 1, 1, 1)
    pictures = (noised - np.sqrt(1 - share) * noise) / np.sqrt(share)
    known = pixels / 127.5 - 1
    assert all(np.abs(known - p).max(axis=(1, 2, 3)).min() < 1e-3 for p in pictures)
    np.testing.assert_array_equal(batches[1][0][0], noised)
    assert not np.array_equal(batches[0][0][0], noised)


def test_step_embedding():
    waves = np.asarray(layers.StepEmbedding(50, 8)(np.array([[0], [7], [49]], np.int32)))
    for row, step in zip(waves, (0, 7, 49), strict=True):
        for i in range(4):
            angle = step / 10000 ** (i / 3)
            assert row[i] == pytest.approx(np.sin(angle), abs=1e-6)
            assert row[4 + i] == pytest.approx(np.cos(angle), abs=1e-6)


def test_pixel_attention():
    queries, keys, values = RNG.normal(size=(3, 2, 3, 2, 4)).astype(np.float32)
    got = np.asarray(layers.PixelAttention()([queries, keys, values]))
    for n in range(2):
        rows = [x[n].reshape(6, 4) for x in (queries, keys, values)]
        weights = np.exp(rows[0] @ rows[1].T)
        expected = weights / weights.sum(axis=1, keepdims=True) @ rows[2]
        np.testing.assert_allclose(got[n].reshape(6, 4), expected, rtol=1e-4)


def test_the_papers_network():
    """That of Ho et al. for CIFAR-10 has 35.7 million parameters (appendix B)."""
    assert models.DiffusionUNet().count_params() == 35_746_307


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(0)
    model = models.DiffusionUNet(
        (8, 8, 1), 20, width=16, multipliers=(1,), blocks=1, attention=(), dropout=0.0
    )
    for weight in model.weights:  # away from the start at next to nothing
        if len(weight.shape) == 4:
            weight.assign(RNG.normal(0, np.prod(weight.shape[:3]) ** -0.5, weight.shape))
    return model


CONVENTION = Convention(task="generation", color="gray", diffusion=Diffusion(20, "cosine"))


def samples() -> list[list[np.ndarray]]:
    batches = data.NoisedPictures(
        data.synthetic_samples("digits", 1, (8, 8))[0][None, ..., :1],
        CONVENTION.diffusion,
        batch_size=40,
    )
    (noised, steps), _ = batches[0]
    return [[x[None], step[None]] for x, step in zip(noised, steps, strict=True)]


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
def test_files_make_the_same_pictures(network, target, tmp_path):
    report = export.export(
        network, tmp_path, target=target, convention=CONVENTION, calibration=samples(), tune=False
    )
    file = runtime.open(report.artifact)
    assert file.convention.diffusion == CONVENTION.diffusion
    made = [
        runtime.generate(each, 3, seed=5, steps=6)
        for each in (file, KerasPredictor(network, CONVENTION))
    ]
    assert np.ptp(made[0]) > 100
    # A sum in another order may round a pixel to its neighbour.
    np.testing.assert_allclose(made[0].astype(int), made[1], atol=1)


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
def test_truly_int8(network, target, tmp_path):
    """Group normalization, attention and the embedding included: nothing is in float."""
    report = export.export(
        network,
        tmp_path,
        target=target,
        precision="int8",
        convention=CONVENTION,
        calibration=samples(),
        tune=False,
    )
    assert not report.float_operators
    assert report.verification["psnr_db"] > 30


def test_a_short_training(tmp_path, monkeypatch):
    """By a recipe; then a picture of its pictures."""
    data.write_synthetic("digits", tmp_path / "digits", 40)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'entry = "diffusion.mnist"\n[data]\nkind = "generation"\nfolders = ["digits"]\n'
        "batch = 4\nsteps = 6\n[fit]\nepochs = 2\nloss = { mean_squared_error = 1.0 }\n"
        "learning_rate = 3e-3\n"
    )
    model = train.run(train.read_recipe(recipe), data=tmp_path, out=tmp_path / "out")
    with (tmp_path / "out" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert losses[-1] < losses[0]
    monkeypatch.setattr(zoo, "load", lambda name: model)
    picture: Path = tmp_path / "made.png"
    command = ["generate", "diffusion.mnist", "--count", "5", "--steps", "2", "--out", str(picture)]
    assert cli.main(command) == 0
    assert read_image(picture).shape == (2 * 30 + 2, 3 * 30 + 2, 3)
