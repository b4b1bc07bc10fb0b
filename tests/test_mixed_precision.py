"""Layers in float in an int8 file: by name, and as few as a quality takes."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from export_models import pictures, random_weights
from PIL import Image

from kerasdeconv import runtime, zoo
from kerasdeconv.errors import ExportError
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, layer_of, read_artifact
from kerasdeconv.export.onnx import to_onnx
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.verification import compare
from kerasdeconv.layers import DepthToSpace

L = keras.layers
TARGETS = ("android-cpu", "onnxruntime-cpu")


def outliers() -> keras.Model:
    """Its second layer puts out one channel that is forty times the others."""
    image = keras.Input((12, 12, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(image)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="third")(x)
    model = random_weights(keras.Model(image, L.Conv2D(2, 1, name="last")(x)))
    kernel, bias = model.get_layer("second").get_weights()
    kernel[..., 0] *= 40
    model.get_layer("second").set_weights([kernel, bias])
    kernel, bias = model.get_layer("third").get_weights()
    kernel[:, :, 0] /= 40
    model.get_layer("third").set_weights([kernel, bias])
    return model


def floats_of(path: str, model: keras.Model) -> set[str | None]:
    names = {layer.name for layer in model.layers}
    found = float_operators(read_artifact(path), "int8")
    return {layer_of(operator, names) for operator in found}


def ask(folder: Path, target: str, **options):
    given = {"calibration": [p / 255 for p in pictures((12, 12, 3), 32)], "tune": False}
    return export(outliers(), folder, target=target, precision="int8", **given, **options)


@pytest.mark.parametrize("target", TARGETS)
class TestByName:
    def test_these_layers_and_no_others(self, target, tmp_path):
        report = ask(tmp_path, target, allow_float=["first", "third"])
        assert floats_of(report.artifact, outliers()) == {"first", "third"}

    def test_between_layers_that_move_values_or_pick_some(self, target, tmp_path):
        image = keras.Input((16, 16, 3))
        x = L.Conv2D(8, 3, padding="same", activation="relu", name="pooled")(image)
        x = L.MaxPooling2D(2, name="pool")(x)
        x = L.Conv2D(16, 3, padding="same", name="spread")(x)
        x = DepthToSpace(2, name="shuffle")(x)
        model = random_weights(
            keras.Model(image, L.Conv2D(1, 1, activation="sigmoid", name="head")(x))
        )
        report = export(
            model, tmp_path, target=target, precision="int8", tune=False,
            calibration=[p / 255 for p in pictures((16, 16, 3), 8)],
            allow_float=["pooled", "spread", "head"],
        )  # fmt: skip
        floats = floats_of(report.artifact, model)
        assert floats - {"pool", "shuffle"} == {"pooled", "spread", "head"}
        # What stands between two of them is in float as well, without a detour.
        kinds = [o.name.upper() for o in read_artifact(report.artifact).operators]
        assert kinds.count("QUANTIZE") + kinds.count("QUANTIZELINEAR") <= 2

    def test_the_first_at_a_door_of_integers(self, target, tmp_path):
        report = ask(tmp_path, target, allow_float=["first"], door="uint8")
        assert floats_of(report.artifact, outliers()) == {"first"}
        assert report.input["dtype"] == "uint8"
        assert report.input["quantization"]["scale"] == pytest.approx(1 / 255, rel=0.05)

    def test_all_forms_of_a_layer_that_was_lowered(self, target, tmp_path):
        image = keras.Input((8, 8, 3))
        x = L.Conv2DTranspose(4, 4, 2, padding="same", activation="relu", name="up")(image)
        model = random_weights(keras.Model(image, L.Conv2D(2, 1, name="last")(x)))
        report = export(
            model, tmp_path, target=target, precision="int8", tune=False, allow_float=["up"],
            calibration=[p / 255 for p in pictures((8, 8, 3), 8)],
        )  # fmt: skip
        assert "up" in floats_of(report.artifact, model)
        assert "last" not in floats_of(report.artifact, model)


@pytest.mark.parametrize("target", TARGETS)
class TestTheLastLayer:
    """What it puts out is at the door what any int8 file puts out there."""

    def edges(self, sides: int, channels: int) -> np.ndarray:
        edges = np.zeros((1, sides, sides, channels), np.float32)
        edges[:, :, sides // 2 :] = 255
        return edges

    @pytest.mark.parametrize(
        ("name", "layers"), [("espcn_x2", ["subpixel"]), ("mobile_sr_x2", ["residual", "add"])]
    )
    def test_of_pixels(self, target, name, layers, tmp_path):
        model = zoo.load(name)
        report = export(
            model, tmp_path, target=target, precision="int8", size=(16, 16), tune=False,
            allow_float=layers,
        )  # fmt: skip
        assert floats_of(report.artifact, model) == set(layers)
        (output,) = report.outputs
        assert (output["dtype"], output["quantization"]) == (
            "uint8",
            {"scale": 1.0, "zero_point": 0},
        )
        (answer,) = runtime.open(report.artifact).run(self.edges(16, model.inputs[0].shape[-1]))
        np.testing.assert_array_equal(answer, np.clip(np.rint(answer), 0, 255))

    def test_of_pixels_at_a_door_of_floats(self, target, tmp_path):
        ask = {"target": target, "precision": "int8", "size": (16, 16), "tune": False}
        ask |= {"allow_float": ["subpixel"], "door": "float32"}
        if target == "android-cpu":
            with pytest.raises(ExportError, match=r"at a door of integers alone.*door='float32'"):
                export("espcn_x2", tmp_path / "new", **ask)
            assert not (tmp_path / "new").exists()
            return
        report = export("espcn_x2", tmp_path, **ask)
        (answer,) = runtime.open(report.artifact).run(self.edges(16, 1))
        np.testing.assert_array_equal(answer, np.clip(np.rint(answer), 0, 255))

    @pytest.mark.parametrize("door", ["uint8", "float32"])
    def test_of_scores(self, target, door, tmp_path):
        report = ask(tmp_path, target, allow_float=["last"], door=door)
        assert floats_of(report.artifact, outliers()) == {"last"}
        (output,) = report.outputs
        assert output["dtype"] == door
        assert (output["quantization"] is None) == (door == "float32")


@pytest.mark.parametrize("target", TARGETS)
def test_a_layer_that_is_part_of_another_is_named(target, tmp_path):
    report = export(
        "mobile_sr_x2", tmp_path, target=target, precision="int8", size=(16, 16), tune=False,
        allow_float=["to_pixels"],
    )  # fmt: skip
    assert report.float_operators == []
    assert any(warning.startswith("to_pixels: nothing is in float") for warning in report.warnings)


@pytest.mark.parametrize("target", TARGETS)
class TestAsFewAsItTakes:
    def test_the_layer_that_costs_most(self, target, tmp_path):
        plain = ask(tmp_path / "plain", target)
        needed = plain.verification["psnr_db"] + 6
        report = ask(tmp_path / "mixed", target, min_psnr=needed)
        mixed = report.mixed_precision
        assert mixed is not None
        assert mixed["asked"] == {"max_drop": None, "min_psnr": needed}
        assert mixed["measured"]["psnr_db"] >= needed
        assert 1 <= len(mixed["float_layers"]) <= 2
        assert {"second", "third"} & set(mixed["float_layers"])
        assert floats_of(report.artifact, outliers()) == set(mixed["float_layers"])
        samples = [p / 255 for p in pictures((12, 12, 3), 8)]
        measured = compare(outliers(), runtime.open(report.artifact), samples)
        assert measured.psnr_db == pytest.approx(mixed["measured"]["psnr_db"], abs=1)
        assert any(row[0] == "mixed precision" for row in report.rows())

    def test_none_where_int8_is_good_enough(self, target, tmp_path):
        report = ask(tmp_path, target, min_psnr=5.0)
        assert report.mixed_precision["float_layers"] == []
        assert report.float_operators == []

    def test_more_than_float_can_do(self, target, tmp_path):
        with pytest.raises(ExportError, match="Even with all its layers in float"):
            ask(tmp_path / "new", target, min_psnr=1000.0)
        assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("convert", [to_tflite, to_onnx])
def test_converters_refuse_ranges_that_they_would_not_take(convert):
    with pytest.raises(ValueError, match=r"others take minmax. Received: 'mse' for float32"):
        convert(outliers(), precision="float32", ranges="mse")


def test_a_loss_of_the_tasks_figure(tmp_path):
    """ESPCN on a photograph: int8 with room, and with none, which takes layers in float."""
    rng = np.random.default_rng(0)
    data = tmp_path / "HR"
    data.mkdir()
    smooth = np.kron(rng.uniform(0, 255, (12, 12, 3)), np.ones((8, 8, 1)))
    Image.fromarray(smooth.astype(np.uint8)).save(data / "a.png")
    options = {"target": "android-cpu", "precision": "int8", "tune": False, "evaluate": tmp_path}
    loose = export("espcn_x2", tmp_path / "a", max_drop=3.0, size=(32, 32), **options)
    assert loose.mixed_precision["float_layers"] == []
    lost = loose.mixed_precision["measured"]["drop"]
    assert lost == pytest.approx(
        loose.metrics["keras"]["psnr_y"] - loose.metrics["file"]["psnr_y"], abs=1e-9
    )
    assert lost > 0
    tight = export("espcn_x2", tmp_path / "b", max_drop=lost / 3, size=(32, 32), **options)
    assert tight.mixed_precision["float_layers"]
    assert tight.mixed_precision["measured"]["drop"] <= lost / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": 0.1}, r"give evaluate=FOLDER.* Received: max_drop=0.1"),
        ({"max_drop": -1.0, "evaluate": "x"}, r"max_drop must be 0 or more. Received: -1"),
        ({"min_psnr": 40.0, "precision": "float32"}, r"for int8 files. Received: precision='float"),
        (
            {"ranges": "mse", "precision": "float32"},
            r"Received: 'mse' for float32",
        ),
        ({"ranges": "msee"}, r"No such method for ranges.*'mse'.* Received: 'msee'"),
    ],
)
def test_what_cannot_be_asked(tmp_path, options, message):
    given = {"target": "android-cpu", "precision": "int8", **options}
    with pytest.raises(ValueError, match=message):
        export(zoo.load("espcn_x2"), tmp_path / "new", **given)
    assert not (tmp_path / "new").exists()
