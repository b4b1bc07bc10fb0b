"""Short trainings of depth, normals, flow and disparity by recipes, and how they are measured."""

from __future__ import annotations

import csv
from pathlib import Path

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import export, models, train, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.depth import depth_pairs
from kerasdeconv.data.normals import REACH, normals_from_depth
from kerasdeconv.data.synthetic_folders import write_synthetic
from kerasdeconv.data.synthetic_inputs import synthetic_inputs
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation import KerasPredictor, evaluate
from kerasdeconv.metrics import abs_rel, angular_errors, delta_accuracy, rmse
from kerasdeconv.train.kinds import kind_of, make_datasets
from kerasdeconv.train.run import make_loss

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOMS = 'folders = ["rooms"]\nheld_out = ["00[67]"]\nsides = [32, 64]\nbatch = 2\nsteps = 5\n'
TEXTURES = 'folders = ["textures"]\nvalidation = 0.25\npatch = 64\nbatch = 2\nsteps = 5\n'
SMALL = 'encoder = "small", encoder_width = 2, width = 2'
RECIPES = {
    "depth": ("depthnet.room", "encoder_width = 2, width = 2", ROOMS, "loss = { l1 = 1.0 }"),
    "normals": (
        "surface_normals",
        SMALL,
        ROOMS + "focal = 57.6\n",
        "loss = { cosine_distance = 1.0 }",
    ),
    "flow": (
        "flownet_s.warps",
        "width = 4, multiscale = true",
        TEXTURES,
        "losses = { "
        + ", ".join(f"flow_{i} = {{ end_point_error = {2.0**-i} }}" for i in range(2, 7))
        + " }",
    ),
    "disparity": ("dispnet", "width = 4", TEXTURES, "loss = { end_point_error = 1.0 }"),
}
SMALL_MODEL = {"encoder": "small", "encoder_width": 2, "width": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_synthetic("rooms", folder / "rooms", count=8, size=(40, 64))
    write_synthetic("textures", folder / "textures", count=4, size=(70, 80))
    return folder


def recipe_of(folder: Path, kind: str) -> train.Recipe:
    entry, arguments, data, loss = RECIPES[kind]
    path = folder / f"{kind}.toml"
    path.write_text(
        f'entry = "{entry}"\narguments = {{ {arguments} }}\n[data]\nkind = "{kind}"\n{data}'
        f"[fit]\nepochs = 3\nlearning_rate = 3e-3\n{loss}\n"
    )
    return train.read_recipe(path)


def test_a_training_with_all_levels(folder, tmp_path):
    out = tmp_path / "out"
    model = train.run(recipe_of(tmp_path, "flow"), data=folder, out=out)
    with (out / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[-1]["val_loss"]) < float(rows[0]["val_loss"])
    finest = "val_flow_2_end_point_error"
    assert float(rows[-1][finest]) < float(rows[0][finest])
    # The finest alone has the weights of all; weights files are in float16.
    alone = zoo.load("flownet_s.warps", weights=out / "weights.npz", width=4)
    x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 6)).astype(np.float32)
    np.testing.assert_allclose(alone(x), model(x)[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", ["depth", "normals", "disparity"])
def test_a_short_training_lowers_the_loss(kind, folder, tmp_path):
    recipe = recipe_of(tmp_path, kind)
    keras.utils.set_random_seed(0)
    model = zoo.load(recipe.entry, weights=None, **recipe.arguments)
    # Eager, because compiling takes longer than these few steps.
    model.compile(
        keras.optimizers.Adam(recipe.fit.learning_rate),
        make_loss(recipe.fit, model),
        weighted_metrics=kind_of(recipe).metrics(model),
        run_eagerly=True,
    )
    batch = make_datasets(recipe, folder)[0][0]
    logs = []
    for _ in range(6):
        model.reset_metrics()  # otherwise Keras gives means over all steps so far
        logs.append(model.train_on_batch(*batch, return_dict=True))
    assert logs[-1]["loss"] < logs[0]["loss"]
    metric = {"depth": "abs_rel", "normals": "angular_error", "disparity": "end_point_error"}
    assert np.isfinite(logs[-1][metric[kind]])


def test_frames_that_follow_are_split_by_blocks(folder, tmp_path):
    training, validation = make_datasets(recipe_of(tmp_path, "depth"), folder)
    assert (len(training._pairs), len(validation._pairs)) == (6, 2)


def test_normals_need_a_focal_length(folder, tmp_path):
    recipe = recipe_of(tmp_path, "normals")
    path = tmp_path / "normals.toml"
    path.write_text(path.read_text().replace("focal = 57.6\n", ""))
    with pytest.raises(ValueError, match=r"focal length in pixels\. Received: focal=0\.0$"):
        make_datasets(train.read_recipe(path), folder)
    model = zoo.load(recipe.entry, weights=None, **SMALL_MODEL)
    with pytest.raises(DataError, match=r"give a recipe that says it\. Received: recipe=None$"):
        evaluate(model, folder / "rooms")


class TestMeasures:
    def test_depth(self, folder):
        model = zoo.load("depthnet", weights=None, **SMALL_MODEL)
        random_weights(model)
        found = evaluate(model, folder / "rooms")
        wanted, got = [], []
        for pair in depth_pairs(folder / "rooms"):
            image, depth = pair.read()
            wanted.append(depth)
            # The least size that the network takes; what is beyond the border is mirrored.
            got.append(KerasPredictor(model).predict_tiled(image, tile=(64, 64))[..., 0])
        pair = np.stack(wanted), np.stack(got)
        expected = {"abs_rel": abs_rel(*pair), "rmse": rmse(*pair), "delta1": delta_accuracy(*pair)}
        known = pair[0][pair[0] > 0]
        expected["abs_rel_of_median"] = np.mean(np.abs(np.median(known) - known) / known)
        assert found["metrics"] == pytest.approx(expected, rel=1e-5)
        assert found["images"] == 8

    def test_normals(self, folder, tmp_path):
        recipe_of(tmp_path, "normals")
        model = zoo.load("surface_normals", weights=None, **SMALL_MODEL)
        random_weights(model)
        found = evaluate(model, folder / "rooms", recipe=tmp_path / "normals.toml")
        assert found["images"] == 2  # those that are held out
        errors = []
        for pair in depth_pairs(folder / "rooms")[-2:]:
            image, depth = pair.read()
            got = KerasPredictor(model).predict_tiled(image, tile=(64, 64))
            errors.append(angular_errors(normals_from_depth(depth, focal=57.6, reach=REACH), got))
        angles = np.concatenate(errors)
        figures = found["metrics"]
        assert figures["mean_angle"] == pytest.approx(angles.mean(), rel=1e-5)
        assert figures["median_angle"] == pytest.approx(np.median(angles), rel=1e-5)
        assert figures["within_22"] == pytest.approx((angles < 22.5).mean(), abs=1e-3)

    def test_flow_of_models_and_files(self, folder, tmp_path):
        """All see the same pairs, made anew each time."""
        convention = Convention(task="flow", value_range=(0, 255))
        model = models.FlowNetS((64, 64, 6), width=2)
        random_weights(model)
        expected = evaluate(model, folder / "textures", convention=convention)
        assert expected["images"] == 32
        assert 2 < expected["metrics"]["zero"] < 12
        samples = [x[None] for (x,) in synthetic_inputs("picture_pairs", 2, [(64, 64, 6)])]
        for target in ("android-cpu", "onnxruntime-cpu"):
            report = export.export(
                model,
                tmp_path,
                target=target,
                convention=convention,
                calibration=samples,
                tune=False,
            )
            found = evaluate(report.artifact, folder / "textures")
            assert found["metrics"] == pytest.approx(expected["metrics"], rel=1e-4)

    def test_no_motion_is_as_bad_as_no_motion(self, folder):
        model = models.DispNet((64, 64, 6), width=2)
        head = model.get_layer("predict_1")
        head.set_weights([0 * weight for weight in head.get_weights()])
        convention = Convention(task="disparity", value_range=(0, 255))
        figures = evaluate(model, folder / "textures", convention=convention)["metrics"]
        assert figures["end_point_error"] == figures["zero"] > 1


def test_other_arguments_are_not_for_8_bits(tmp_path):
    """A network that is exported is trained as it is."""
    recipe = recipe_of(tmp_path, "flow")
    assert recipe.arguments == {"width": 4, "multiscale": True}
    with pytest.raises(ValueError, match=r"with its arguments\. Received: arguments="):
        export.export(
            zoo.load("flownet_s.warps", weights=None, width=2, input_shape=(64, 64, 6)),
            tmp_path / "out",
            target="android-cpu",
            precision="int8",
            qat=tmp_path / "flow.toml",
            data=tmp_path,
        )
