"""Exports that train for 8 bits first, by a recipe, on the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import nibabel
import numpy as np
import pytest
from export_models import answers, random_weights

from kerasdeconv import imaging, models, runtime
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.errors import DataError, ExportError
from kerasdeconv.export import export, quantize_aware
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.job import resolve
from kerasdeconv.export.lowering import lower
from kerasdeconv.export.training.aware import resized

pytest_plugins = ["cli_fixtures"]

TEXTURES = """
entry = "espcn_x2"
seed = 3

[data]
kind = "super-resolution"
folders = ["textures"]
validation = 0.25
patch = 12
batch = 2
steps = 4
border = 2

[fit]
epochs = 2
loss = { mean_squared_error = 1.0 }
learning_rate = 1e-3
"""
COMPRESS = "[compress]\nsparsity = 0.5\nclusters = 8\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for i, picture in enumerate(synthetic_samples("textures", 4, (48, 56))):
        imaging.write_image(folder / "textures" / f"{i}.png", picture)
    return folder


def recipe(folder: Path, text: str = TEXTURES) -> Path:
    path = folder / "qat.toml"
    path.write_text(text)
    return path


def test_on_the_command_line(run, data, tmp_path):
    out = tmp_path / "out"
    done = run(
        *f"export espcn_x2 --target android-cpu --precision int8 --no-tune --size 24 --out {out} "
        f"--qat {recipe(tmp_path)} --data {data}".split()
    )
    assert done.code == 0, done.err
    assert "trained for 8 bits" in done.out and "2 epochs, loss" in done.out
    assert {path.name for path in out.iterdir()} == {
        "espcn_x2.int8.tflite",
        "espcn_x2.int8.report.json",
    }
    report = json.loads((out / "espcn_x2.int8.report.json").read_text())
    assert len(report["training"]["loss"]) == len(report["training"]["val_loss"]) == 2
    assert report["training"]["recipe"]["data"]["patch"] == 12
    artifact = read_artifact(out / "espcn_x2.int8.tflite")
    assert float_operators(artifact, "int8") == []
    assert artifact.inputs[0].dtype == "uint8"
    assert run("check", out / "espcn_x2.int8.tflite", "--target", "android-cpu").code == 0
    # A trained network still enlarges: it is near the one that it came from.
    picture = synthetic_samples("textures", 1, (24, 24))[0]
    gray = picture[..., 0] if picture.ndim == 3 else picture
    plain = export("espcn_x2", tmp_path, target="android-cpu", precision="int8", size=(24, 24))
    trained = runtime.open(out / "espcn_x2.int8.tflite").predict(gray).astype(float)
    untrained = runtime.open(plain.artifact).predict(gray).astype(float)
    assert 0 < np.abs(trained - untrained).mean() < 4


def test_pruned_and_clustered(data, tmp_path):
    report = export(
        "espcn_x2",
        tmp_path,
        target="android-cpu",
        precision="int8",
        size=(24, 24),
        tune=False,
        qat=recipe(tmp_path, TEXTURES + COMPRESS),
        data=data,
    )
    assert report.training is not None
    assert report.training["sparsity"] > 0.45
    assert report.training["unique_weights"] <= 8
    assert report.training["gzip_bytes"] < report.size_bytes
    rows = dict(report.rows())
    assert "% zeros, at most 8 values" in rows["weights"]
    assert rows["sparse inference"].startswith("not used")


def test_what_was_trained_in_python(data, tmp_path):
    samples = np.stack(synthetic_samples("textures", 8, (24, 24)))[..., :1].astype(np.float32)
    aware = quantize_aware("espcn_x2", samples, size=(24, 24))
    large = np.repeat(np.repeat(samples, 2, axis=1), 2, axis=2)
    for _ in range(2):
        aware.fit((samples, large), loss="mse", epochs=1)
    report = export(aware, tmp_path / "out", target="android-cpu", precision="int8", tune=False)
    assert report.artifact.endswith("espcn_x2.int8.tflite")
    assert report.training is not None and len(report.training["loss"]) == 2
    assert report.verification["source"] == "given samples"
    plain = {"target": "android-cpu", "precision": "int8", "tune": False}
    with pytest.raises(ValueError, match=r"was trained for \(24, 24\).*Received: \(16, 16\)"):
        export(aware, tmp_path / "no", size=(16, 16), **plain)
    with pytest.raises(ValueError, match=r"The network is trained already"):
        export(aware, tmp_path / "no", qat=recipe(tmp_path), data=data, **plain)
    with pytest.raises(ExportError, match=r"int8 TFLite"):
        export(aware, tmp_path / "no", target="onnxruntime-cpu", precision="int8")
    assert not (tmp_path / "no").exists()


def test_volumes(run, tmp_path):
    """At the file's own size, a batch of one at a time."""
    rng = np.random.default_rng(0)
    for number in range(4):
        labels = rng.integers(0, 3, (8, 8, 8)).astype(np.uint8)
        for part, values in (("images", labels * 50.0), ("labels", labels)):
            path = tmp_path / "scans" / part / f"{number}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(values.T.astype("f4"), np.eye(4)), path)
    text = """
entry = "unet3d.hippocampus"
[data]
kind = "segmentation"
folders = ["scans"]
validation = 0.25
sides = [8, 8, 8]
batch = 1
steps = 2
[fit]
epochs = 1
loss = { sparse_categorical_crossentropy = 1.0, sparse_dice = 0.5 }
"""
    arguments: dict[str, Any] = {
        "target": "android-cpu",
        "precision": "int8",
        "calibration": tmp_path / "scans",
        "tune": False,
        "like": "unet3d.hippocampus",
        "data": tmp_path,
    }
    net = models.UNet3D((8, 8, 8, 1), 3, width=2, depth=1, padding="same")
    random_weights(net)
    report = export(net, tmp_path / "out", qat=recipe(tmp_path, text), **arguments)
    assert report.float_operators == [] and report.training is not None
    assert not any("3D" in name for name in report.operators)
    measured = run("evaluate", report.artifact, "--data", tmp_path / "scans")
    assert measured.code == 0 and "mean dice" in measured.out
    wrong = text.replace("sides = [8, 8, 8]", "sides = [8, 12, 8]")
    with pytest.raises(ExportError, match=r"train with patches of \(8, 8, 8\).*\(8, 12, 8\)"):
        export(net, tmp_path / "no", qat=recipe(tmp_path, wrong), **arguments)
    assert not (tmp_path / "no").exists()


def test_another_size_computes_the_same():
    model = random_weights(models.UNet((None, None, 3), 2, width=4, depth=2, padding="same"))
    made = resized(lower(model, "android-cpu", (32, 48)), model, (16, 24), pixels=False)
    x = np.random.default_rng(0).uniform(0, 255, (1, 16, 24, 3)).astype(np.float32)
    # Other orders of sums.
    np.testing.assert_allclose(answers(made, x)[0], answers(model, x)[0], atol=1e-4)


def test_a_network_that_was_made_for_its_size():
    image = keras.Input(batch_shape=(1, 16, 16, 3))
    made_for_16 = keras.Model(image, image[:, 2:14, 2:14])
    free = keras.Input((None, None, 3))
    original = keras.Model(free, keras.layers.Cropping2D(2)(free))
    with pytest.raises(ExportError, match=r"train with patches of \(16, 16\)"):
        resized(made_for_16, original, (24, 24), pixels=False)


MISTAKES = {
    "onnx": (ExportError, "int8 TFLite", {"target": "onnxruntime-cpu"}),
    "float": (ExportError, "int8 TFLite", {"precision": "float32"}),
    "another entry": (ValueError, "for 'espcn_x2'.*Received: 'espcn_x3'", {"model": "espcn_x3"}),
    "no data": (ExportError, "data=None", {"data": None}),
    "no such data": (DataError, "No such data folder", {"data": "nowhere"}),
    "quality": (ValueError, "Either layers .*both", {"min_psnr": 30}),
    "layers": (ExportError, "leaves no layer in float", {"allow_float": ["conv1"]}),
    "start": (ValueError, "starts from the model.*Received: start='x.npz'", {"start": "x.npz"}),
    "no recipe": (DataError, "No such recipe", {"qat": "none.toml"}),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_named(name, data, tmp_path):
    kind, message, changed = MISTAKES[name]
    arguments = {
        "model": "espcn_x2",
        "target": "android-cpu",
        "precision": "int8",
        "qat": recipe(tmp_path),
        "data": data,
        "size": (24, 24),
        "tune": False,
        **changed,
    }
    if start := arguments.pop("start", None):
        arguments["qat"] = recipe(tmp_path, f'start = "{start}"' + TEXTURES)
    if "allow_float" in changed:
        model = resolve("espcn_x2", None, None).model
        arguments["allow_float"] = [model.layers[-2].name]
    with pytest.raises(kind, match=message):
        export(arguments.pop("model"), tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()


def test_a_recipe_for_an_export_is_not_trained_alone(run, data, tmp_path):
    path = recipe(tmp_path, TEXTURES + COMPRESS)
    done = run("train", path, "--data", data, "--out", tmp_path / "out")
    done.refused("kerasdeconv export --qat")
    assert not (tmp_path / "out").exists()
