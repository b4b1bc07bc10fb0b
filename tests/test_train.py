"""Recipes, and small but real trainings by them."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from kerasdeconv import imaging, train, zoo
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.data.synthetic import synthetic_pairs, synthetic_samples
from kerasdeconv.errors import DataError, UnknownModel
from kerasdeconv.train.progress import Progress
from kerasdeconv.train.run import make_optimizer

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ZOO = Path(__file__).parents[1] / "zoo"
COMMITTED = sorted(ZOO.glob("*/recipe.toml"))
FIRST = sorted(ZOO.glob("*/first.toml"))  # what some of them go on from
FOR_8_BITS = sorted({*ZOO.glob("*/*.toml")} - {*COMMITTED, *FIRST})

NUCLEI = """
entry = "unet.nuclei"
seed = 3

[data]
kind = "segmentation"
folders = ["nuclei"]
validation = 0.25
patch = 32
batch = 4
steps = 12

[fit]
epochs = 2
loss = { binary_crossentropy = 1.0, dice = 0.5 }
learning_rate = 3e-3
average = 0.5
"""

TEXTURES = """
entry = "espcn_x2"
seed = 3

[data]
kind = "super-resolution"
folders = ["textures", "more"]
validation = 0.25
patch = 12
batch = 4
steps = 10
border = 3
shrinks = [1.0, 0.8]

[fit]
epochs = 4
loss = { mean_squared_error = 1.0 }
learning_rate = 2e-3
weight_decay = 1e-4
average = 0.9
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthetic data in the layout of real data."""
    folder = tmp_path_factory.mktemp("data")
    for part in ("images", "instances"):
        (folder / "nuclei" / part).mkdir(parents=True)
    for i, (picture, labels) in enumerate(synthetic_pairs("nuclei", 8, (64, 64))):
        imaging.write_image(folder / "nuclei" / "images" / f"{i}.png", picture)
        mask = PIL.Image.fromarray(labels.astype(np.uint16))
        mask.save(folder / "nuclei" / "instances" / f"{i}.png")
    for i, picture in enumerate(synthetic_samples("textures", 8, (48, 56))):
        imaging.write_image(folder / ("more" if i % 2 else "textures") / f"{i}.png", picture)
    return folder


def recipe_of(folder: Path, text: str) -> train.Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return train.read_recipe(path)


def log_of(out: Path) -> list[dict[str, float]]:
    with (out / "log.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def weights_of(out: Path) -> dict[str, np.ndarray]:
    with np.load(out / "weights.npz") as archive:
        return dict(archive)


class TestTraining:
    def test_segmentation(self, pictures, tmp_path, capsys):
        out = tmp_path / "out"
        model = train.run(recipe_of(tmp_path, NUCLEI), data=pictures, out=out)
        first, last = log_of(out)
        assert last["loss"] < first["loss"]
        assert 0 < last["val_mean_iou"] <= 1
        # What is on the disk is what was returned, at the precision of weights files.
        again = zoo.load("unet.nuclei", weights=out / "weights.npz")
        x = np.float32(synthetic_samples("nuclei", 1, (32, 32)))
        np.testing.assert_allclose(again(x), model(x), atol=0.01)
        lines = capsys.readouterr().err.splitlines()
        assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]

    def test_super_resolution_interrupted_and_resumed(self, pictures, tmp_path, monkeypatch):
        recipe = recipe_of(tmp_path, TEXTURES)
        whole, broken = tmp_path / "whole", tmp_path / "broken"
        train.run(recipe, data=pictures, out=whole)
        losses = [row["val_loss"] for row in log_of(whole)]
        assert losses[-1] < losses[0]

        def press_ctrl_c(progress: Progress, batch: int, logs: object = None) -> None:
            if len(log_of(broken)) == 2 and batch == 5:  # in the middle of the third epoch
                raise KeyboardInterrupt

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Progress, "on_train_batch_end", press_ctrl_c)
            train.run(recipe, data=pictures, out=broken)
        assert not (broken / "weights.npz").exists()
        assert len(log_of(broken)) == 2
        epochs = set()
        draw = RandomPatches.__getitem__
        with monkeypatch.context() as patched:
            patched.setattr(
                RandomPatches, "__getitem__", lambda x, i: (epochs.add(x.epoch), draw(x, i))[1]
            )
            train.run(recipe, data=pictures, out=broken)
        assert {2, 3} <= epochs  # the batches of the epochs that were missing
        # Equal to the last bit on one machine; threads may sum in another order elsewhere, and
        # Adam's division by small gradients enlarges that.
        assert [row["epoch"] for row in log_of(broken)] == [0, 1, 2, 3]
        for expected, got in zip(log_of(whole), log_of(broken), strict=True):
            assert got == pytest.approx(expected, rel=1e-4)
        expected, got = weights_of(whole), weights_of(broken)
        assert set(expected) == set(got)
        for name in expected:
            np.testing.assert_allclose(got[name], expected[name], atol=1e-3, err_msg=name)

        # A finished training has nothing left to do.
        before = weights_of(broken)
        train.run(recipe, data=pictures, out=broken)
        assert len(log_of(broken)) == 4
        for name, values in weights_of(broken).items():
            np.testing.assert_array_equal(values, before[name])

    @pytest.mark.parametrize(
        ("entry", "outputs", "channels"), [("mobile_sr_x2", 1, 3), ("lapsrn_x4", 2, 1)]
    )
    def test_super_resolution_of_other_entries(self, pictures, tmp_path, entry, outputs, channels):
        """Colour as the card says, and a target for each output."""
        text = TEXTURES.replace("espcn_x2", entry).replace("mean_squared_error", "charbonnier")
        text = text.replace("patch = 12", "patch = 8").replace("shrinks = [1.0, 0.8]", "")
        text = text.replace("epochs = 4", "epochs = 2").replace("border = 3", "border = 1")
        text = text.replace("2e-3", "1e-3")
        model = train.run(recipe_of(tmp_path, text), data=pictures, out=tmp_path / "out")
        assert (len(model.outputs), model.input_shape[-1]) == (outputs, channels)
        first, last = log_of(tmp_path / "out")
        assert last["val_loss"] < first["val_loss"]
        zoo.load(entry, weights=tmp_path / "out" / "weights.npz")

    def test_losses_with_options(self, pictures, tmp_path):
        """In tables, and with the name of the metric that logs have always had."""
        text = NUCLEI.replace(
            "loss = { binary_crossentropy = 1.0, dice = 0.5 }",
            "loss.cross_entropy = { ignore = 255, class_weights = [1, 2.0] }\n"
            "loss.sparse_dice = { weight = 0.5, smooth = 2 }\nloss.lovasz = 0.25",
        )
        recipe = recipe_of(tmp_path, text)
        assert recipe.fit.loss == {
            "cross_entropy": {"ignore": 255, "class_weights": [1, 2.0]},
            "sparse_dice": {"weight": 0.5, "smooth": 2},
            "lovasz": 0.25,
        }
        train.run(recipe, data=pictures, out=tmp_path / "out")
        first, last = log_of(tmp_path / "out")
        assert last["loss"] < first["loss"]
        assert 0 < last["mean_iou"] <= 1 and 0 < last["val_mean_iou"] <= 1

    def test_a_checkpoint_that_was_cut_off(self, pictures, tmp_path):
        """The one before is taken."""
        recipe = recipe_of(tmp_path, TEXTURES.replace("epochs = 4", "epochs = 2"))
        train.run(recipe, data=pictures, out=tmp_path / "out")
        expected = weights_of(tmp_path / "out")
        latest = tmp_path / "out" / "checkpoint" / "latest.weights.h5"
        latest.write_bytes(latest.read_bytes()[:2000])
        train.run(recipe, data=pictures, out=tmp_path / "out")
        for name, values in weights_of(tmp_path / "out").items():
            np.testing.assert_allclose(values, expected[name], atol=1e-3, err_msg=name)

    def test_fresh_starts_over_once_the_recipe_is_sound(self, pictures, tmp_path):
        out = tmp_path / "out"
        out.mkdir()
        (out / "log.csv").write_text("of an earlier training\n")
        (out / "notes.txt").touch()
        recipe = recipe_of(tmp_path, TEXTURES.replace("mean_squared_error", "mean_square_error"))
        with pytest.raises(ValueError, match="No such loss function"):
            train.run(recipe, data=pictures, out=out, fresh=True)
        assert (out / "log.csv").read_text() == "of an earlier training\n"
        short = TEXTURES.replace("epochs = 4", "epochs = 1").replace("steps = 10", "steps = 2")
        train.run(recipe_of(tmp_path, short), data=pictures, out=out, fresh=True)
        assert len(log_of(out)) == 1
        assert (out / "notes.txt").exists()

    def test_starts_from_other_weights(self, pictures, tmp_path):
        """The features of a network for another scale fit; a rate of next to nothing shows it."""
        x3 = zoo.load("espcn_x3", weights=None)
        zoo.save_weights(x3, tmp_path / "x3" / "weights.npz")
        text = 'start = "x3/weights.npz"\n' + TEXTURES.replace("2e-3", "1e-9")
        text = text.replace("epochs = 4", "epochs = 1").replace("weight_decay = 1e-4", "")
        model = train.run(recipe_of(tmp_path, text), data=pictures, out=tmp_path / "x2")
        kernels = (m.get_layer("feature_0").kernel.numpy() for m in (model, x3))
        np.testing.assert_allclose(*kernels, atol=1e-3)  # stored as float16


class TestOptimizer:
    def test_learning_rate_rises_and_falls(self):
        fit = train.recipe.FitRecipe(epochs=1, loss={}, learning_rate=1.0, warmup=0.1)
        rate = make_optimizer(fit, 100)._learning_rate
        values = np.array([float(rate(step)) for step in (0, 5, 10, 55, 100)])
        np.testing.assert_allclose(values, [0.01, 0.505, 1.0, 0.5005, 0.001], rtol=1e-3)

    def test_average_and_decay(self):
        optimizer = make_optimizer(
            train.recipe.FitRecipe(epochs=1, loss={}, weight_decay=0.1, average=0.9), 10
        )
        assert (optimizer.weight_decay, optimizer.use_ema, optimizer.ema_momentum) == (
            0.1,
            True,
            0.9,
        )
        assert not make_optimizer(train.recipe.FitRecipe(epochs=1, loss={}), 10).use_ema


class TestRecipes:
    def test_defaults_and_values(self, tmp_path):
        recipe = recipe_of(tmp_path, TEXTURES)
        assert recipe.data.folders == ("textures", "more")
        assert recipe.data.shrinks == (1.0, 0.8)
        assert recipe.fit.warmup == 0.02 and recipe.start is None
        whole = recipe_of(tmp_path, NUCLEI.replace("average = 0.5", "average = 0"))
        assert type(whole.fit.average) is float

    @pytest.mark.parametrize(
        "path", [*COMMITTED, *FIRST], ids=lambda path: f"{path.parent.name} {path.stem}"
    )
    def test_committed(self, path):
        recipe = train.read_recipe(path)
        card = zoo.card(recipe.entry)
        assert card.name == path.parent.name
        assert recipe.data.kind == card.convention.task
        assert 2 * recipe.data.border < recipe.data.patch
        if recipe.start:  # what another recipe made, in the folder that its first line names
            others = {*COMMITTED, *FIRST} - {path}
            made = [other.read_text().splitlines()[0].split("build/train/")[-1] for other in others]
            assert recipe.start.split("/")[0] in made

    @pytest.mark.parametrize("path", FOR_8_BITS, ids=lambda path: f"{path.parent.name} {path.stem}")
    def test_committed_for_8_bits(self, path):
        recipe = train.read_recipe(path)
        assert zoo.card(recipe.entry).name == path.parent.name
        assert not recipe.start and not recipe.fit.weight_decay

    def test_there_is_one_for_each_trained_entry(self):
        assert {path.parent.name for path in COMMITTED} >= set(zoo.list_models(pretrained=True))

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            ("epochs", "epoch", r"fit: no such field\. Did you mean 'epochs'\? Received: 'epoch'"),
            ("[fit]", "[fitting]", r"Did you mean 'fit'\? Received: 'fitting'"),
            ("epochs = 4", "", r"fit: epochs is missing\. Received: \['average', .*\]"),
            ('entry = "espcn_x2"', "", r"entry is missing\. Received: .*"),
            ("epochs = 4", "epochs = 4.5", r"epochs must be of type int\. Received: 4\.5"),
            ("epochs = 4", "epochs = true", r"epochs must be of type int\. Received: True"),
            ("epochs = 4", "epochs = 0", r"fit: epochs must be 1 or more\. Received: 0"),
            ("epochs = 4", "epochs = 4\nstatistics = -1", r"statistics must be 0 or .*: -1"),
            ("epochs = 4", "epochs = 4\nwarmup = 2", r"warmup must be between 0 and 1\. .*: 2\.0"),
            ("patch = 12", "patch = 0", r"data: patch must be 1 or more\. Received: 0"),
            ("patch = 12", 'patch = "12"', r"patch must be of type int\. Received: '12'"),
            ("seed = 3", "seed = 3\nstart = 1", r"start must be of type str \| None\. Received: 1"),
            ('["textures", "more"]', '"textures"', r"folders must .*Received: 'textures'"),
            (
                '["textures", "more"]',
                '["textures", 1]',
                r"folders must be of type str\. Received: 1",
            ),
            ("[1.0, 0.8]", '[1.0, "x"]', r"shrinks must be of type float\. Received: 'x'"),
            ("border = 3", "zoom = [1.0]", r"zoom must .*Received: \[1\.0\]"),
            ("{ mean_squared_error = 1.0 }", '"mse"', r"loss must .*Received: 'mse'"),
            (
                "mean_squared_error = 1.0",
                'mean_squared_error = "much"',
                r"loss\.mean_squared_error must be of type float \| table\. Received: 'much'",
            ),
            ("[data]", "data = 1\n[other]", r"Received: 'other'"),
        ],
    )
    def test_mistakes(self, tmp_path, old, new, message):
        assert old in TEXTURES
        with pytest.raises(ValueError, match=rf"^[^\n]*recipe\.toml[^\n]*{message}$"):
            recipe_of(tmp_path, TEXTURES.replace(old, new))

    def test_no_toml(self, tmp_path):
        with pytest.raises(ValueError, match=r"^Not a TOML file .*Received: '.*recipe\.toml'$"):
            recipe_of(tmp_path, "entry = ")
        with pytest.raises(DataError, match=r"^No such recipe\. Received: '.*none\.toml'$"):
            train.read_recipe(tmp_path / "none.toml")

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            (
                ("super-resolution", "superresolution"),
                ValueError,
                r"Did you mean 'super-resolution'",
            ),
            (("super-resolution", "segmentation"), ValueError, r"needs data of kind 'super-res"),
            (('"more"', '"mroe"'), DataError, r"No such data folder\. Received: '.*mroe'$"),
            (("espcn_x2", "espcn_2"), UnknownModel, r"Did you mean 'espcn_x2'"),
            (("patch = 12", "patch = 99"), DataError, r"No image is 198 pixels"),
            (("border = 3", "boxes = 4"), ValueError, r"no use for boxes\. Received: 4$"),
            (("border = 3", "border = 6"), ValueError, r"half a patch of 12\. Received: 6$"),
            (("validation = 0.25", "validation = 1.0"), ValueError, r"fraction must .*: 1\.0$"),
            (("mean_squared_error", "mse_"), ValueError, r"No such loss function.*'mse_'$"),
            (
                ("mean_squared_error = 1.0", "ssim = { peek = 1.0 }"),
                ValueError,
                r"'ssim' has no such option.*'peak'.*Received: 'peek'$",
            ),
        ],
    )
    def test_refused_before_anything_is_written(self, pictures, tmp_path, change, error, message):
        recipe = recipe_of(tmp_path, TEXTURES.replace(*change))
        with pytest.raises(error, match=rf"^[^\n]*{message}[^\n]*$"):
            train.run(recipe, data=pictures, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_pictures_are_not_cut_like_volumes(self, pictures, tmp_path):
        recipe = recipe_of(tmp_path, NUCLEI.replace("patch = 32", "sides = [8, 8, 8]"))
        with pytest.raises(ValueError, match=r"^Pictures have no use for sides.*\(8, 8, 8\)$"):
            train.run(recipe, data=pictures, out=tmp_path / "out")

    def test_a_broken_picture_is_named(self, pictures, tmp_path):
        folder = tmp_path / "data"
        shutil.copytree(pictures, folder)
        (folder / "nuclei" / "images" / "3.png").write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"Not a readable image.*3\.png'$"):
            train.run(recipe_of(tmp_path, NUCLEI), data=folder, out=tmp_path / "out")
        assert not (tmp_path / "out").exists()
