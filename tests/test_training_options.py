"""What a recipe may ask of a training beyond epochs and a loss."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv import imaging, models, train, zoo
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.data.synthetic_folders import write_synthetic
from kerasdeconv.train.devices import data_parallel
from kerasdeconv.train.precision import mix_precision
from kerasdeconv.train.recipe import FitRecipe
from kerasdeconv.train.run import make_loss, make_optimizer
from kerasdeconv.train.schedules import PolynomialDecay, make_schedule
from kerasdeconv.train.stopping import StopEarly

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

RECIPE = """
entry = "espcn_x2"

[data]
kind = "super-resolution"
folders = ["textures"]
validation = 0.25
patch = 12
batch = 4
steps = 3
border = 3

[fit]
epochs = 2
loss = { mean_squared_error = 1.0 }
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for i, picture in enumerate(synthetic_samples("textures", 4, (48, 56))):
        imaging.write_image(folder / "textures" / f"{i}.png", picture)
    return folder


def run(pictures: Path, out: Path, more: str = "", **options: object) -> keras.Model:
    path = out.parent / "recipe.toml"
    path.write_text(RECIPE + more)
    return train.run(train.read_recipe(path), data=pictures, out=out, **options)


class TestPrecision:
    def test_convolutions_but_the_last_are_mixed(self):
        model = models.UNet((32, 32, 3), 2, width=4, depth=1, padding="same", norm="batch")
        x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
        expected = model(x).numpy()
        mix_precision(model, "mixed_bfloat16")
        layers = [layer for layer in model.layers if layer.weights]
        mixed = {layer.name for layer in layers if layer.compute_dtype == "bfloat16"}
        convolutions = [layer.name for layer in layers if "Conv" in type(layer).__name__]
        assert mixed == set(convolutions[:-1])
        assert {variable.dtype for variable in model.variables} == {"float32"}
        got = model(x)
        assert got.dtype == "float32"
        # bfloat16 has 8 bits: a relative error of 0.4 % a layer, and it is not none.
        assert 0 < np.abs(got - expected).max() < 0.05
        mix_precision(model, "float32")
        np.testing.assert_array_equal(model(x), expected)

    def test_trains(self, pictures, tmp_path):
        more = 'precision = "mixed_bfloat16"\naverage = 0.5\n'
        model = run(pictures, tmp_path / "out", more)
        assert all(np.isfinite(weights).all() for weights in model.get_weights())
        plain = run(pictures, tmp_path / "plain", "average = 0.5\n")
        keras.utils.set_random_seed(train.read_recipe(tmp_path / "recipe.toml").seed)
        untrained = zoo.load("espcn_x2", weights=None)
        moved, rest = (
            np.concatenate(
                [(a - b).ravel() for a, b in zip(x.get_weights(), y.get_weights(), strict=True)]
            )
            for x, y in ((plain, untrained), (model, plain))
        )
        # What six steps change is the same but for rounding in 16 bits.
        assert 0 < np.linalg.norm(rest) < 0.5 * np.linalg.norm(moved)

    def test_unknown(self, pictures, tmp_path):
        with pytest.raises(ValueError, match=r"Did you mean 'mixed_bfloat16'.*'mixed_bfloat'$"):
            run(pictures, tmp_path / "out", 'precision = "mixed_bfloat"\n')
        assert not (tmp_path / "out").exists()


class TestSchedules:
    def test_polynomial(self):
        fit = FitRecipe(epochs=1, loss={}, learning_rate=2.0, warmup=0.1, schedule="polynomial")
        rates = [float(make_schedule(fit, 100)(step)) for step in (0, 5, 10, 55, 100)]
        np.testing.assert_allclose(rates, [0.02, 1.01, 2.0, 2 * 0.5**0.9, 0], rtol=1e-5)

    def test_constant(self):
        fit = FitRecipe(epochs=1, loss={}, learning_rate=2.0, warmup=0.0, schedule="constant")
        assert [float(make_schedule(fit, 100)(step)) for step in (0, 1, 50, 100)] == 4 * [2.0]

    def test_serializes(self):
        schedule = PolynomialDecay(2.0, 3, 10, 0.5)
        copy = keras.optimizers.schedules.deserialize(
            keras.optimizers.schedules.serialize(schedule)
        )
        assert float(copy(7)) == float(schedule(7)) > 0

    def test_unknown(self):
        with pytest.raises(ValueError, match=r"Did you mean 'cosine'\? Received: 'cosin'$"):
            make_schedule(FitRecipe(epochs=1, loss={}, schedule="cosin"), 10)


def test_clip_norm():
    assert make_optimizer(FitRecipe(epochs=1, loss={}, clip_norm=0.5), 10).global_clipnorm == 0.5
    assert make_optimizer(FitRecipe(epochs=1, loss={}), 10).global_clipnorm is None


MEAN = {"mean_squared_error": 1.0}


class TestLosses:
    """One loss for every output, or one for each."""

    def test_each_output_has_its_own(self):
        model = models.LapSRN((8, 8, 1), scale=4, width=4, depth=1)
        losses = {
            name: {"mean_squared_error": 10.0**i} for i, name in enumerate(model.output_names)
        }
        model.compile(loss=make_loss(FitRecipe(epochs=1, losses=losses), model))
        answers = model(np.zeros((1, 8, 8, 1)))
        targets = [np.asarray(answer) + 1 for answer in answers]
        assert model.evaluate(np.zeros((1, 8, 8, 1)), targets, verbose=0)[0] == pytest.approx(11)

    def test_an_unknown_output(self):
        model = models.ESPCN((8, 8, 1), scale=2)
        losses = {"heat": MEAN}
        with pytest.raises(
            ValueError, match=r"the outputs \['to_pixels'\]\. Received: \['heat'\]$"
        ):
            make_loss(FitRecipe(epochs=1, losses=losses), model)

    @pytest.mark.parametrize("given", [{}, {"loss": MEAN, "losses": {"output": MEAN}}])
    def test_not_one_of_both(self, given):
        with pytest.raises(ValueError, match=r"Give a loss, or the losses of each output"):
            make_loss(FitRecipe(epochs=1, **given), models.ESPCN((8, 8, 1), scale=2))


class TestStopEarly:
    def after(self, callback: StopEarly, losses: list[float], first: int = 0) -> int | None:
        """The epoch after which it stops."""
        callback.set_model(keras.Sequential())
        callback.model.stop_training = False
        callback.on_train_begin()
        for epoch, loss in enumerate(losses, start=first):
            callback.on_epoch_end(epoch, {"val_loss": loss})
            if callback.model.stop_training:
                return epoch
        return None

    def test_stops(self):
        assert self.after(StopEarly(2), [3, 2, 2.5, 1, 1, 1.5, 0]) == 5
        assert self.after(StopEarly(3), [3, 2, 2.5, 1, 1, 1.5, 0]) is None

    def test_remembers_what_was_before_an_interruption(self, tmp_path):
        log = tmp_path / "log.csv"
        log.write_text("epoch,loss,val_loss\n0,1,3.0\n1,1,1.0\n2,1,1.5\n")
        assert self.after(StopEarly(2, log), [1.2, 1.1], first=3) == 3
        assert self.after(StopEarly(2), [1.2, 1.1], first=3) is None

    def test_in_a_training(self, pictures, tmp_path):
        # A learning rate of next to nothing in float32 leaves every epoch with the same loss.
        more = "patience = 2\nlearning_rate = 1e-30\n"
        text = RECIPE.replace("epochs = 2", "epochs = 9") + more
        (tmp_path / "recipe.toml").write_text(text)
        recipe = train.read_recipe(tmp_path / "recipe.toml")
        train.run(recipe, data=pictures, out=tmp_path / "out")
        lines = (tmp_path / "out" / "log.csv").read_text().splitlines()
        assert len(lines) == 1 + 3
        zoo.load("espcn_x2", weights=tmp_path / "out" / "weights.npz")


def test_tensorboard(pictures, tmp_path):
    run(pictures, tmp_path / "out", tensorboard=True)
    events = list((tmp_path / "out" / "tensorboard").rglob("events.out.tfevents.*"))
    assert {path.parent.name for path in events} == {"train", "validation"}
    run(pictures, tmp_path / "out", fresh=True)
    assert not (tmp_path / "out" / "tensorboard").exists()


def test_several_devices_need_jax(pictures, tmp_path):
    with pytest.raises(ValueError, match=r"KERAS_BACKEND=jax\. Received: devices=2 on tensorflow"):
        run(pictures, tmp_path / "out", devices=2)
    assert not (tmp_path / "out").exists()
    with data_parallel(1, 3):
        pass


class TestStatistics:
    """Moving averages have a momentum of 0.99: a few batches leave them near 0 and 1."""

    def network(self) -> tuple[keras.Model, list[keras.layers.BatchNormalization]]:
        image = keras.Input((None, None, 3))
        norms = [keras.layers.BatchNormalization() for _ in range(3)]
        x = norms[0](image)
        x = norms[1](keras.layers.Conv2D(4, 3)(x))
        return keras.Model(image, norms[2](x)), norms

    def test_means_over_batches(self):
        model, norms = self.network()
        norms[2].trainable = False
        batches = np.random.default_rng(0).uniform(1, 3, (5, 4, 8, 8, 3)).astype(np.float32)
        train.estimate_statistics(model, batches)
        mean, variance = (np.asarray(v) for v in (norms[0].moving_mean, norms[0].moving_variance))
        # Sums of float32 in another order.
        np.testing.assert_allclose(mean, batches.mean((0, 1, 2, 3)), rtol=1e-5)
        np.testing.assert_allclose(variance, batches.var((1, 2, 3)).mean(0), rtol=1e-5)
        assert np.abs(norms[1].moving_mean).min() > 1e-3
        assert not np.asarray(norms[2].moving_mean).any()
        assert {norm.momentum for norm in norms} == {0.99}

    def test_of_a_recipe(self, tmp_path):
        """They are all that changes."""
        write_synthetic("nuclei", tmp_path / "nuclei", 4, (32, 32))
        recipe = """
        entry = "unet.nuclei"
        [data]
        kind = "segmentation"
        folders = ["nuclei"]
        patch = 16
        batch = 2
        steps = 3
        [fit]
        epochs = 1
        loss = { binary_crossentropy = 1.0 }
        """
        found = []
        for name, more in (("moving", ""), ("estimated", "statistics = 4")):
            (tmp_path / f"{name}.toml").write_text(recipe + more)
            read = train.read_recipe(tmp_path / f"{name}.toml")
            model = train.run(read, data=tmp_path, out=tmp_path / name)
            found.append({v.path: np.asarray(v) for v in model.variables})
        moving, estimated = found
        changed = {path for path in moving if (moving[path] != estimated[path]).any()}
        assert changed == {path for path in moving if "/moving_" in path} != set()
