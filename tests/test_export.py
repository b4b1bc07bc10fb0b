"""The whole export: files, reports, refusals, and nothing left behind."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
from export_models import (
    CELLS,
    MANY,
    PIXELS,
    answers,
    autoencoder,
    pictures,
    random_weights,
    several_outputs,
    two_inputs,
    unet,
)

from kerasdeconv import models, runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.synthetic import synthetic_pairs
from kerasdeconv.errors import (
    DataError,
    ExportError,
    LoweringError,
    TargetError,
    UnknownModel,
    VerificationError,
    WeightsError,
)
from kerasdeconv.export import Report, candidates, export
from kerasdeconv.export.artifact import operator_counts, read_artifact
from kerasdeconv.export.lowering import forms
from kerasdeconv.export.targets import Target
from kerasdeconv.export.tuning import Chooser

L = keras.layers
# "The names that others rely on", and what an export adds.
KEYS = {
    "artifact", "format", "target", "precision", "size_bytes", "input", "outputs", "operators",
    "float_operators", "rewrites", "verification", "latency_ms", "versions",
}  # fmt: skip
ADDED = {"choices", "vendor", "warnings", "calibration", "metrics", "mixed_precision", "training"}


def small_zoo_unet() -> keras.Model:
    """The zoo's own network, untrained; with a bias it has an opinion that can agree."""
    keras.utils.set_random_seed(0)
    model = zoo.load("unet", weights=None, width=2, depth=2)
    model.get_layer("head").bias.assign([1.0])
    return model


def saved_report(path: str | Path) -> dict:
    """The report beside a file. JSON has no NaN and no infinity."""

    def refuse(constant):
        raise AssertionError(constant)

    written = Path(path).with_suffix(".report.json").read_text(encoding="utf-8")
    return json.loads(written, parse_constant=refuse)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@dataclasses.dataclass(frozen=True)
class Made:
    model: keras.Model
    report: Report
    folder: Path


@pytest.fixture(scope="module", params=["android-cpu", "onnxruntime-cpu"])
def made(request, tmp_path_factory) -> Made:
    """An int8 export with all candidates tried."""
    model, folder = small_zoo_unet(), tmp_path_factory.mktemp("made") / "build" / "unet"
    report = export(model, folder, target=request.param, precision="int8", size=(16, 24))
    return Made(model, report, folder)


class TestFiles:
    def test_two_by_their_names(self, made):
        suffix = made.report.format
        assert names(made.folder) == ["unet.int8." + end for end in sorted([suffix, "report.json"])]
        assert made.report.artifact == str(made.folder / f"unet.int8.{suffix}")

    def test_report(self, made):
        report = saved_report(made.report.artifact)
        assert set(report) == KEYS | ADDED
        assert report == made.report.to_dict()
        assert report["size_bytes"] == Path(made.report.artifact).stat().st_size
        assert report["operators"] == operator_counts(read_artifact(made.report.artifact))
        assert report["input"]["shape"] == [1, 16, 24, 3]
        assert report["input"]["dtype"] == "uint8"
        assert report["input"]["quantization"]["scale"] == pytest.approx(1.0, abs=1e-6)
        assert report["input"]["quantization"]["zero_point"] == 0
        assert report["input"]["color"] == "rgb"
        assert [output["shape"] for output in report["outputs"]] == [[1, 16, 24, 1]]
        assert set(report["verification"]) == {
            "max_abs_error", "mean_abs_error", "psnr_db", "agreement", "samples", "source",
        }  # fmt: skip
        assert report["verification"]["samples"] == 8
        assert 0 < report["verification"]["mean_abs_error"] < 0.02
        assert report["verification"]["agreement"] > 0.97
        assert {"median", "runs", "threads"} <= set(report["latency_ms"])
        assert report["float_operators"] == []
        assert report["metrics"] is None
        count = zoo.card("unet").calibration.count
        assert report["calibration"] == {
            "source": "synthetic nuclei",
            "samples": count,
            "ranges": "minmax",
            "seed": 0,
        }
        assert {"kerasdeconv", "keras", "tensorflow", "numpy"} <= set(report["versions"])
        assert any("folded into" in line for line in report["rewrites"])

    def test_rows_for_the_terminal(self, made):
        rows = dict(made.report.rows())
        assert rows["file"] == made.report.artifact
        assert "labels agree" in rows["verified on 8 samples"]

    def test_metadata_is_read_back(self, made):
        predictor = runtime.open(made.report.artifact)
        assert predictor.convention == zoo.convention_of(made.model)
        metadata = predictor.metadata
        assert metadata["schema"] == 1
        assert metadata["name"] == "unet.nuclei"
        assert metadata["precision"] == "int8"
        assert metadata["target"] == made.report.target
        assert metadata["outputs"] == made.report.outputs
        assert metadata["versions"] == made.report.versions

    def test_a_picture_through_the_runtime(self, made):
        (picture,) = pictures((16, 24, 3), 1, seed=5)
        picture = np.rint(picture)
        answer = runtime.open(made.report.artifact).predict(picture[0].astype(np.uint8))
        assert answer.shape == (16, 24, 1)
        # 8 bits in six untrained layers of two channels: 0.055 was the worst of 20 pictures in
        # exact arithmetic.
        assert np.abs(answer - answers(made.model, picture)[0][0]).max() < 0.06

    def test_never_slower_than_the_stock_conversion(self, made):
        latency = made.report.latency_ms
        assert latency["median"] == latency["forms"][latency["form"]]
        if latency["stock_refused"] is None:
            assert latency["median"] <= latency["forms"]["stock"] / 0.98

    def test_choices(self, made):
        choices = {choice["layer"]: choice for choice in made.report.choices}
        assert set(choices) >= {"decoder_0_up", "decoder_1_up"}
        for choice in choices.values():
            times = choice["milliseconds"]
            assert choice["source"] in ("measured", "remembered", "profile")
            assert bool(times) == (choice["source"] != "profile")
            assert not times or times[choice["form"]] == min(times.values())


def test_tuning_times_the_stock_conversion_too(tmp_path):
    reports = {
        tune: export(autoencoder(), tmp_path / str(tune), target="onnxruntime-cpu", tune=tune)
        for tune in (True, False)
    }
    assert set(reports[True].latency_ms["forms"]) == {"lowered", "stock"}
    assert set(reports[False].latency_ms["forms"]) == {"lowered"}
    assert all(choice["source"] == "profile" for choice in reports[False].choices)


def test_a_stock_conversion_that_is_faster_is_kept(tmp_path, monkeypatch):
    """Bad advice from the chooser: all forms in the one that is slowest by far."""
    layer = L.Conv2DTranspose(32, 2, 2, padding="same", name="up")  # split: 1.6 times as long
    image = keras.Input((64, 64, 64))
    model = random_weights(keras.Model(image, layer(image)))
    monkeypatch.setattr(Chooser, "pick", lambda self, site: list(site.options)[-1])
    monkeypatch.setattr(Target, "forms", lambda *a, **k: ("split",))
    report = export(model, tmp_path, target="onnxruntime-cpu")
    assert report.latency_ms["form"] == "stock"
    assert "ConvTranspose" in report.operators
    assert report.rewrites == []


def test_a_stock_file_that_is_kept_has_fitted_weights_too(tmp_path, monkeypatch):
    """Which file is faster by a hair must not decide over quality."""
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(16, 5, activation="relu")(image)
    model = random_weights(keras.Model(image, L.Conv2D(4, 3)(x)))
    # Neighbours that are alike, as in pictures: errors of weights add up.
    samples = [0.5 + picture / 2550 for picture in pictures((16, 16, 3), 16)]
    options = {"target": "android-cpu", "precision": "int8", "calibration": samples}
    lowered = export(model, tmp_path / "lowered", tune=False, **options)
    monkeypatch.setattr(candidates, "_FASTER", math.inf)  # whatever the stock conversion takes
    stock = export(model, tmp_path / "stock", **options)
    assert stock.latency_ms["form"] == "stock"
    assert stock.verification["psnr_db"] == pytest.approx(lowered.verification["psnr_db"], abs=0.5)


@pytest.mark.parametrize(
    ("target", "precision"),
    [
        *(("android-cpu", p) for p in ("float32", "float16", "dynamic", "int8", "int16x8")),
        *(("onnxruntime-cpu", p) for p in ("float32", "float16", "dynamic", "int8")),
    ],
)
def test_a_users_model_in_every_precision(tmp_path, target, precision):
    model = autoencoder()
    report = export(
        model,
        tmp_path,
        target=target,
        precision=precision,
        calibration=np.concatenate(pictures((16, 16, 3), 12)),
        tune=False,
    )
    assert Path(report.artifact).name.startswith(f"autoencoder.{precision}.")
    assert report.verification["source"] == "given samples"
    assert report.input["dtype"] == "float32"  # nothing says that these are pixels
    saved = saved_report(report.artifact)
    assert saved["precision"] == precision
    assert (saved["calibration"] is None) == (precision not in ("int8", "int16x8"))
    (got,) = runtime.open(report.artifact).run(pictures((16, 16, 3), 1, seed=5)[0])
    assert got.shape == (1, 16, 16, 3)


class TestShapes:
    def test_a_batch(self, tmp_path):
        model = autoencoder()
        report = export(model, tmp_path, target="android-cpu", batch=2, tune=False)
        batch = np.concatenate(pictures((16, 16, 3), 2))
        (got,) = runtime.open(report.artifact).run(batch)
        np.testing.assert_allclose(got, answers(model, batch)[0], rtol=0, atol=1e-5)
        assert report.input["shape"] == [2, 16, 16, 3]

    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    def test_several_outputs_in_int8(self, tmp_path, target):
        model = several_outputs()
        report = export(
            model,
            tmp_path,
            target=target,
            precision="int8",
            calibration=pictures((8, 12, 3), 16),
            convention=PIXELS,
            tune=False,
        )
        (image,) = pictures((8, 12, 3), 1, seed=5)
        predictor = runtime.open(report.artifact)
        for want, have in zip(answers(model, image), predictor.run(image), strict=True):
            assert want.shape == have.shape
            assert np.abs(want - have).mean() < 0.02 * np.ptp(want)

    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    def test_several_inputs_in_int8(self, tmp_path, target):
        model = two_inputs()
        drawn = zip(pictures((8, 8, 1), 16), pictures((8, 8, 3), 16, seed=1), strict=True)
        report = export(
            model, tmp_path, target=target, precision="int8", calibration=drawn, tune=False
        )
        inputs = pictures((8, 8, 1), 1, seed=5)[0], pictures((8, 8, 3), 1, seed=6)[0]
        (want,), (have,) = answers(model, *inputs), runtime.open(report.artifact).run(*inputs)
        assert np.abs(want - have).mean() < 0.02 * np.ptp(want)

    def test_bytes_at_a_float_models_door(self, tmp_path):
        image = keras.Input((6, 8, 3), dtype="uint8")
        x = L.Conv2D(2, 3, padding="same")(L.Rescaling(1 / 255)(image))
        model = random_weights(keras.Model(image, x, name="bytes"))
        report = export(model, tmp_path, target="android-cpu", convention=PIXELS, tune=False)
        assert report.input["dtype"] == "uint8"
        picture = np.rint(pictures((6, 8, 3), 1)[0]).astype(np.uint8)
        (got,) = runtime.open(report.artifact).run(picture)
        np.testing.assert_allclose(got, answers(model, picture)[0], rtol=0, atol=1e-5)

    def test_an_entrys_own_size(self, tmp_path):
        model = zoo.load("espcn_x2", weights=None)
        report = export(model, tmp_path, target="onnxruntime-cpu", tune=False)
        assert report.input["shape"] == [1, *zoo.card("espcn_x2").export_size, 1]
        assert report.verification["max_abs_error"] < 1e-2

    def test_a_size_that_the_network_cannot_take(self, tmp_path):
        with pytest.raises(ValueError, match=r"nearest are 16 x 24 and 20 x 24. Received: 17 x 24"):
            export(small_zoo_unet(), tmp_path / "new", target="android-cpu", size=(17, 24))
        assert not (tmp_path / "new").exists()

    def test_a_size_that_is_left_open(self, tmp_path):
        with pytest.raises(ExportError, match="give size="):
            export(models.ESPCN(), tmp_path, target="android-cpu")


class TestHead:
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    @pytest.mark.parametrize("precision", ["float32", "int8"])
    @pytest.mark.parametrize("classes", [1, 3])
    def test_labels(self, tmp_path, target, precision, classes):
        model = unet(classes)
        report = export(
            model,
            tmp_path,
            target=target,
            precision=precision,
            head="labels",
            convention=CELLS if classes == 1 else MANY,
            calibration=pictures((16, 24, 3), 24),
            tune=False,
        )
        assert report.outputs[0]["dtype"] == "int32"
        assert report.outputs[0]["quantization"] is None
        assert report.verification["agreement"] > 0.97
        predictor = runtime.open(report.artifact)
        assert predictor.convention.output == "labels"
        (picture,) = pictures((16, 24, 3), 1, seed=5)
        got = predictor.predict(np.rint(picture[0]).astype(np.uint8))
        scores = answers(model, np.rint(picture))[0][0]
        expected = scores.argmax(-1) if classes > 1 else scores[..., 0] > 0.5
        assert got.shape == (16, 24)
        assert (got == expected).mean() > (0.999 if precision == "float32" else 0.9)

    def test_logits(self, tmp_path):
        model = unet(3)
        report = export(
            model, tmp_path, target="android-cpu", head="logits", convention=MANY, tune=False
        )
        predictor = runtime.open(report.artifact)
        assert predictor.convention == dataclasses.replace(MANY, output="logits")
        (picture,) = pictures((16, 24, 3), 1)
        (logits,) = predictor.run(picture)
        probabilities = keras.ops.softmax(logits)
        np.testing.assert_allclose(probabilities, answers(model, picture)[0], rtol=0, atol=1e-4)

    def test_none_to_change(self, tmp_path):
        with pytest.raises(ExportError, match="ends in softmax or sigmoid"):
            export(two_inputs(), tmp_path / "new", target="android-cpu", head="labels")
        with pytest.raises(ValueError, match="'labels'"):
            export(unet(), tmp_path / "new", target="android-cpu", head="label")
        assert not (tmp_path / "new").exists()


class TestDoors:
    @pytest.mark.parametrize("door", ["uint8", "int8", "float32"])
    def test_as_asked_for(self, tmp_path, door):
        report = export(
            unet(),
            tmp_path,
            target="android-cpu",
            precision="int8",
            convention=CELLS,
            calibration=[np.clip(p, 50, 200) for p in pictures((16, 24, 3), 16)],
            door=door,
            tune=False,
        )
        assert report.input["dtype"] == report.outputs[0]["dtype"] == door
        # Bytes are pixels, though the samples were neither black nor white.
        if door == "float32":
            assert report.input["quantization"] is None
        else:
            assert report.input["quantization"]["scale"] == pytest.approx(1.0, abs=1e-6)
            assert report.input["quantization"]["zero_point"] == {"uint8": 0, "int8": -128}[door]

    @pytest.mark.parametrize(
        ("precision", "door"), [("int8", "uint16"), ("float32", "uint8"), ("float32", "bytes")]
    )
    def test_none(self, tmp_path, precision, door):
        with pytest.raises(ValueError, match=f"door must be one of .* Received: '{door}'"):
            export(
                unet(),
                tmp_path / "new",
                target="android-cpu",
                precision=precision,
                calibration=pictures((16, 24, 3)),
                door=door,
            )
        assert not (tmp_path / "new").exists()


class TestLike:
    def test_a_model_that_was_saved_and_reloaded(self, tmp_path):
        small_zoo_unet().save(tmp_path / "mine.keras")
        model = keras.models.load_model(tmp_path / "mine.keras")
        report = export(
            model,
            tmp_path / "out",
            target="android-cpu",
            precision="int8",
            size=(16, 16),
            like="unet",
            name="mine",
            tune=False,
        )
        assert names(tmp_path / "out") == ["mine.int8.report.json", "mine.int8.tflite"]
        assert report.verification["source"] == "synthetic nuclei"
        predictor = runtime.open(report.artifact)
        assert predictor.convention == zoo.card("unet").convention

    def test_another_kind_of_input(self, tmp_path):
        with pytest.raises(ValueError, match=r"'espcn_x2' takes 1 channels.* Received: 3 channels"):
            export(unet(), tmp_path, target="android-cpu", like="espcn_x2")
        with pytest.raises(UnknownModel, match="unet"):
            export(unet(), tmp_path, target="android-cpu", like="unett")


class TestEvaluate:
    @pytest.fixture
    def cells(self, tmp_path) -> Path:
        folder = tmp_path / "cells"
        for part in ("images", "instances"):
            (folder / part).mkdir(parents=True)
        for number in range(2):
            ((picture, labels),) = synthetic_pairs("nuclei", 1, (20, 30), seed=number)
            PIL.Image.fromarray(picture).save(folder / f"images/{number}.png")
            labels = (labels * 0).astype(np.uint8)  # nothing in sight
            PIL.Image.fromarray(labels).save(folder / f"instances/{number}.png")
        return folder

    def test_the_task_measured(self, tmp_path, cells):
        model = unet()
        model.get_layer("head").bias.assign([-50.0])  # nothing called a nucleus: no IoU of it
        report = export(
            model,
            tmp_path / "out",
            target="android-cpu",
            convention=CELLS,
            evaluate=cells,
            tune=False,
        )
        saved = saved_report(report.artifact)
        assert saved["metrics"]["data"] == str(cells)
        assert saved["metrics"]["keras"] == saved["metrics"]["file"]
        assert saved["metrics"]["file"]["iou"] == {"background": 1.0, "nucleus": None}

    def test_data_that_cannot_be_used(self, tmp_path):
        with pytest.raises(DataError, match="nowhere"):
            export(
                unet(),
                tmp_path / "out",
                target="android-cpu",
                convention=CELLS,
                evaluate=tmp_path / "nowhere",
                tune=False,
            )
        assert not (tmp_path / "out").exists()


def group_norm() -> keras.Model:
    layers = [
        keras.Input((8, 8, 3)),
        L.Conv2D(8, 3, padding="same", activation="relu", name="first"),
        L.GroupNormalization(2, name="group"),
        L.Conv2D(2, 3, padding="same", name="last"),
    ]
    return random_weights(keras.Sequential(layers, name="grouped"))


def squashed() -> keras.Model:
    layers = [
        keras.Input((8, 8, 3)),
        L.Conv2D(8, 3, padding="same", activation="softplus", name="first"),
        L.Conv2D(2, 3, padding="same", name="last"),
    ]
    return random_weights(keras.Sequential(layers, name="squashed"))


class TestPrecisionIsHonest:
    """ONNX Runtime has no integer softplus: it would run in float between two casts."""

    def ask(self, folder: Path, **options) -> Report:
        samples = [sample / 255 for sample in pictures((8, 8, 3), 16)]
        return export(
            squashed(),
            folder,
            target="onnxruntime-cpu",
            precision="int8",
            calibration=samples,
            tune=False,
            **options,
        )

    def test_a_float_island_is_refused_by_name(self, tmp_path):
        with pytest.raises(ExportError, match=r"Softplus|layer 'first'") as caught:
            self.ask(tmp_path / "new")
        assert "layer 'first'" in str(caught.value)
        assert "allow_float=['first']" in str(caught.value)
        assert not (tmp_path / "new").exists()

    def test_unless_it_is_allowed(self, tmp_path):
        """Then the whole layer is in float, and nothing else."""
        report = self.ask(tmp_path, allow_float=["first"])
        assert report.float_operators
        assert all(name.endswith("of layer 'first'") for name in report.float_operators)
        assert saved_report(report.artifact)["float_operators"] == report.float_operators
        assert any(row[0] == "in float" for row in report.rows())

    def test_another_layer_does_not_count(self, tmp_path):
        with pytest.raises(ExportError, match="layer 'first'"):
            self.ask(tmp_path, allow_float=["last"])
        with pytest.raises(ValueError, match=r"'first'.* Received: 'fisrt'"):
            self.ask(tmp_path, allow_float=["fisrt"])

    @pytest.mark.parametrize(
        ("target", "precision"),
        [
            ("android-cpu", "int8"),
            ("android-cpu", "int16x8"),
            ("microcontroller", "int16x8"),
            ("qualcomm-htp", "int16x8"),
            ("onnxruntime-cpu", "int8"),
        ],
    )
    def test_group_norm(self, tmp_path, target, precision):
        samples = [sample / 255 for sample in pictures((8, 8, 3), 16)]
        options = {"target": target, "precision": precision, "calibration": samples, "tune": False}
        report = export(group_norm(), tmp_path, **options)
        assert not report.float_operators and report.verification["psnr_db"] > 30


class TestNothingIsLeftBehind:
    @pytest.fixture
    def earlier(self, tmp_path) -> dict[str, bytes]:
        """What an earlier export left in the folder stays as it is."""
        export(autoencoder(), tmp_path / "out", target="android-cpu", tune=False)
        return self.content(tmp_path / "out")

    def content(self, folder: Path) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def test_a_file_that_computes_something_else(self, tmp_path, earlier, monkeypatch):
        right = forms.phase_kernels
        monkeypatch.setattr(forms, "phase_kernels", lambda k, axes: right(k[::-1], axes))
        for folder in (tmp_path / "out", tmp_path / "deep" / "new"):
            with pytest.raises(VerificationError, match="does not compute what the Keras model"):
                export(autoencoder(), folder, target="android-cpu", tune=False)
        assert self.content(tmp_path / "out") == earlier
        assert names(tmp_path) == ["out"]

    def test_an_interrupt(self, tmp_path, earlier):
        for stop in ("loading", "lowering", "converting", "timing", "verifying"):

            def progress(step, stop=stop):
                if step.startswith(stop):
                    raise KeyboardInterrupt

            for folder in (tmp_path / "out", tmp_path / "deep" / "new"):
                with pytest.raises(KeyboardInterrupt):
                    export(
                        autoencoder(), folder, target="android-cpu", tune=False, progress=progress
                    )
        assert self.content(tmp_path / "out") == earlier
        assert names(tmp_path) == ["out"]

    def test_an_operator_that_the_target_refuses(self, tmp_path):
        refused = L.Activation("log_softmax", name="unusual")
        model = keras.Sequential(
            [keras.Input((4, 4, 2)), L.Conv2D(2, 1), refused, L.Conv2D(2, 1)], name="net"
        )
        with pytest.raises(TargetError, match=r"'android-gpu' does not .*layer 'unusual'.* 'net'$"):
            export(model, tmp_path / "new", target="android-gpu")
        pool = L.MaxPooling3D(2, data_format="channels_first", name="halve")  # keeps its five axes
        flex = keras.Sequential([keras.Input((4, 4, 4, 2)), pool])
        with pytest.raises(ExportError, match=r"MaxPool3D \(layer 'halve'\)"):
            export(flex, tmp_path / "new", target="android-cpu")
        assert names(tmp_path) == []

    def test_a_folder_that_cannot_be_written(self, tmp_path):
        (tmp_path / "file").write_text("not a folder")
        for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
            with pytest.raises(ExportError, match="Cannot write to the output directory"):
                export(autoencoder(), folder, target="android-cpu")
        assert names(tmp_path) == ["file"]

    @pytest.mark.parametrize("end", ["tflite", "report.json"])
    def test_a_folder_in_the_way_of_a_file(self, tmp_path, end):
        blocked = tmp_path / f"autoencoder.float32.{end}"
        blocked.mkdir()
        with pytest.raises(ExportError, match=f"A folder is where .* {str(blocked)!r}"):
            export(autoencoder(), tmp_path, target="android-cpu")
        assert names(tmp_path) == [blocked.name]


class TestCalibration:
    def ask(self, folder: Path, source) -> Report:
        return export(
            unet(),
            folder,
            target="android-cpu",
            precision="int8",
            calibration=source,
            convention=CELLS,
            tune=False,
        )

    def test_a_folder_of_pictures(self, tmp_path):
        (tmp_path / "photos").mkdir()
        for number, picture in enumerate(pictures((33, 50, 3), 4)):
            pixels = np.rint(picture[0]).astype(np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / f"photos/{number}.png")
        report = self.ask(tmp_path / "out", tmp_path / "photos")
        assert report.calibration == {
            "source": str(tmp_path / "photos"),
            "samples": 16,
            "ranges": "minmax",
            "seed": 0,
        }
        assert any(warning.startswith("calibrated with 16 samples") for warning in report.warnings)

    @pytest.mark.parametrize(
        ("source", "message"),
        [
            (np.ones((2, 16, 16, 3)), r"shape \(16, 24, 3\).* Received: \(16, 16, 3\)"),
            ([p / 255 for p in pictures((16, 24, 3))], r"\[0, 255\]: .* scaled already"),
            ([p - 100 for p in pictures((16, 24, 3))], r"must be in \[0, 255\]. Received: .* -100"),
            ([], "There is no sample"),
            (iter(()), "There is no sample"),
        ],
    )
    def test_what_cannot_be_used(self, tmp_path, source, message):
        with pytest.raises(DataError, match=message):
            self.ask(tmp_path / "new", source)
        assert not (tmp_path / "new").exists()

    def test_an_empty_folder(self, tmp_path):
        (tmp_path / "photos").mkdir()
        with pytest.raises(DataError, match="photos"):
            self.ask(tmp_path / "new", tmp_path / "photos")
        assert names(tmp_path) == ["photos"]

    @pytest.mark.parametrize("precision", ["int8", "int16x8"])
    def test_a_users_model_needs_some(self, tmp_path, precision):
        with pytest.raises(ExportError, match=f"{precision} needs calibration.* 'autoencoder'"):
            export(autoencoder(), tmp_path / "new", target="android-cpu", precision=precision)
        assert not (tmp_path / "new").exists()

    def test_of_several_inputs(self, tmp_path):
        samples = [[np.zeros((8, 8, 1)), np.zeros((9, 8, 3))]]
        with pytest.raises(DataError, match=r"shape \(8, 8, 3\).* Received: \(9, 8, 3\)"):
            export(two_inputs(), tmp_path, target="android-cpu", calibration=samples)


class TestArguments:
    def refused(self, folder: Path, error: type[Exception], message: str, **changes) -> None:
        options = {"model": autoencoder(), "directory": folder / "new", "target": "android-cpu"}
        with pytest.raises(error, match=message) as caught:
            export(**{**options, **changes})
        assert "\n" not in str(caught.value)
        assert not (folder / "new").exists()

    def test_target_precision_format(self, tmp_path):
        self.refused(tmp_path, TargetError, "'android-cpu'", target="android-cup")
        self.refused(tmp_path, ValueError, "'int8'", precision="int")
        self.refused(
            tmp_path,
            TargetError,
            "Received: 'int16x8'",
            target="onnxruntime-cpu",
            precision="int16x8",
        )
        self.refused(tmp_path, TargetError, "runs tflite files", format="onnx")
        self.refused(tmp_path, ValueError, "one of", format="coreml")

    def test_names(self, tmp_path):
        self.refused(tmp_path, ValueError, "start of a file's name", name="a/b")
        self.refused(tmp_path, ValueError, "start of a file's name", name="")

    def test_models(self, tmp_path):
        self.refused(tmp_path, TypeError, "Received: int", model=5)
        self.refused(tmp_path, UnknownModel, "'unet", model="unett")
        self.refused(tmp_path, WeightsError, "no trained weights", model="unet.paper")
        unbuilt = keras.Sequential([L.Conv2D(1, 1)])
        self.refused(tmp_path, LoweringError, "never built", model=unbuilt)

    def test_batch(self, tmp_path):
        self.refused(tmp_path, ValueError, "batch must be 1 or more", batch=0)


def test_progress_says_what_is_done(tmp_path):
    steps = []
    export(autoencoder(), tmp_path, target="onnxruntime-cpu", progress=steps.append)
    assert steps == [
        "loading",
        "choosing forms",
        "converting",
        "converting without lowering",
        "timing",
        "verifying",
    ]


def test_a_model_of_which_nothing_is_known_is_verified_on_noise(tmp_path):
    report = export(autoencoder(), tmp_path, target="android-cpu", tune=False)
    assert report.verification["source"] == "seeded noise"
    assert runtime.open(report.artifact).convention == Convention()


@pytest.fixture(scope="module")
def folded(tmp_path_factory):
    model = random_weights(models.UNet3D((8, 8, 8, 2), 2, width=4, depth=1, padding="same"))
    samples = np.random.default_rng(0).normal(size=(8, 8, 8, 8, 2)).astype(np.float32)
    folder = tmp_path_factory.mktemp("folded")
    options = {"target": "android-cpu", "precision": "int8", "calibration": samples}
    return model, samples, export(model, folder, fold_doors=True, **options)


class TestFoldedDoors:
    """Volumes as pictures, at the doors too."""

    def test_no_tensor_has_five_axes(self, folded):
        _, _, report = folded
        operators = read_artifact(report.artifact).operators
        tensors = [t for o in operators for t in (*o.inputs, *o.outputs)]
        assert max(len(t.shape) for t in tensors) == 4
        assert report.input["shape"] == [8, 8, 8, 2]
        assert report.latency_ms["form"] == "lowered"

    def test_the_runtime_takes_either(self, folded):
        model, samples, report = folded
        predictor = runtime.open(report.artifact)
        (pictures,) = predictor.run(samples[0])
        (volumes,) = predictor.run(samples[:1])
        np.testing.assert_array_equal(pictures, volumes)
        expected = answers(model, samples[:1])[0].reshape(pictures.shape)
        # Probabilities of an untrained network in 8 bits: a few steps of 1/256.
        assert np.abs(pictures - expected).mean() < 0.02

    def test_where_volumes_are_not_folded(self, tmp_path):
        model = models.UNet3D((8, 8, 8, 2), 2, width=4, depth=1, padding="same")
        with pytest.raises(ValueError, match=r"onnxruntime-cpu takes volumes.*Received: True"):
            export(model, tmp_path / "new", target="onnxruntime-cpu", fold_doors=True)
        assert not (tmp_path / "new").exists()

    def test_where_there_is_no_volume(self, tmp_path):
        with pytest.raises(ValueError, match=r"networks on volumes.*1 x 16 x 16 x 3"):
            export(autoencoder(), tmp_path / "new", target="android-cpu", fold_doors=True)
