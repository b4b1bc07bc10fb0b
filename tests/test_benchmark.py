"""Exports against the stock converter: the comparison, the command, and the page of results."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from cli_runs import Ran
from export_models import random_weights

from kerasdeconv import models
from kerasdeconv.benchmark import Comparison, compare, precisions_for
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError, TargetError
from kerasdeconv.export.stock import convert_stock
from kerasdeconv.random_weights import scale_weights
from kerasdeconv.zoo import list_models

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[1]
Run = Callable[..., Ran]


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    """The modules of benchmarks/, which is no package."""
    names = ("figures", "table", "run")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in names:
            sys.modules.pop(name, None)


def _upsampler() -> keras.Model:
    inputs = keras.Input((24, 24, 16))
    x = keras.layers.Conv2DTranspose(8, 2, strides=2, padding="same", activation="relu", name="up")(
        inputs
    )
    return random_weights(keras.Model(inputs, x, name="upsampler"))


def _volumes(pooled: bool) -> keras.Model:
    inputs = keras.Input((8, 8, 8, 2))
    x = keras.layers.Conv3D(4, 3, padding="same", activation="relu", name="conv")(inputs)
    if pooled:
        x = keras.layers.MaxPooling3D(2, name="pool")(x)
    x = keras.layers.Conv3D(4, 3, padding="same", name="last")(x)
    return random_weights(keras.Model(inputs, x, name="volumes"))


def _noise(model: keras.Model) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    shape = (1, *model.inputs[0].shape[1:])
    return [rng.normal(size=shape).astype(np.float32) for _ in range(2)]


def _compare(model: keras.Model, **options: Any) -> Comparison:
    return compare(model, calibration=_noise(model), runs=5, **options)


class TestComparison:
    @pytest.mark.parametrize("precision", ["float32", "int8"])
    def test_both_files_are_timed(self, precision: str) -> None:
        result = _compare(_upsampler(), precision=precision)
        assert result.stock_problem is None and result.ours_problem is None
        assert result.stock_ms and result.ours_ms
        assert result.ratio == result.stock_ms / result.ours_ms
        # A layer of 0.3 million multiply-accumulates: neither nothing nor a second.
        assert min(result.stock_ms, result.ours_ms) > 1e-4
        assert max(result.stock_ms, result.ours_ms) < 1000
        assert (result.runs, result.threads, result.weights) == (5, 1, "given")
        assert result.shape == (1, 24, 24, 16)
        assert result.kept in ("lowered", "stock") and result.forms
        assert result.stock_float == {}
        # 16 x 8 x 4 weights; a flatbuffer's frame is a few thousand bytes.
        least = 512 * (4 if precision == "float32" else 1)
        assert result.stock_bytes and least < result.stock_bytes < 20_000
        assert result.ours_bytes and least < result.ours_bytes < 20_000
        assert Comparison.from_dict(json.loads(json.dumps(result.to_dict()))) == result

    def test_the_same_weights_are_on_both_sides(self, tmp_path: Path) -> None:
        """The stock file computes what the model computes, in its own order of channels."""
        from kerasdeconv import runtime

        model = _upsampler()
        path = tmp_path / "stock.tflite"
        path.write_bytes(convert_stock(model, [(1, 24, 24, 16)], format="tflite"))
        (sample, _) = _noise(model)
        # float32 rounding of sums of 16 products.
        np.testing.assert_allclose(
            runtime.open(path).run(sample)[0], np.asarray(model(sample)), atol=1e-4
        )

    def test_the_stock_model_is_not_lowered(self, tmp_path: Path) -> None:
        from kerasdeconv.export import read_artifact

        path = tmp_path / "stock.tflite"
        path.write_bytes(convert_stock(_upsampler(), [(1, 24, 24, 16)], format="tflite"))
        operators = read_artifact(path).operators
        assert [operator.name for operator in operators] == ["TRANSPOSE_CONV"]  # static: alone

    def test_the_stock_activation_is_fused(self, scripts: SimpleNamespace, tmp_path: Path) -> None:
        """Zero biases would be dropped, and then the activation stands alone, which is slow."""
        from kerasdeconv.export import read_artifact

        case = scripts.figures.CASES[0]
        model, samples = scripts.figures._prepared(case.build, Convention())
        path = tmp_path / "stock.tflite"
        content = convert_stock(
            model,
            [samples[0].shape],
            format="tflite",
            precision="int8",
            samples=samples,
            door="int8",
        )
        path.write_bytes(content)
        assert [o.name for o in read_artifact(path).operators] == ["TRANSPOSE_CONV"]

    def test_a_stock_conversion_that_fails_is_a_reason(self) -> None:
        result = _compare(_volumes(pooled=True), precision="int8")
        assert result.stock_problem and "MaxPool3D" in result.stock_problem
        assert "'pool'" in result.stock_problem
        assert result.ours_ms and result.ours_ms > 0
        assert result.stock_ms is None and result.ratio is None
        assert any(note.startswith("stock: ") for note in result.notes())

    def test_a_reason_names_no_place_in_a_script(self) -> None:
        inputs = keras.Input((4, 4, 4, 2))
        slopes = keras.layers.PReLU(shared_axes=[1, 2, 3])
        model = random_weights(keras.Model(inputs, slopes(keras.layers.Conv3D(2, 3)(inputs))))
        with pytest.raises(ExportError, match=r"cannot convert the model \('tfl.prelu' op failed"):
            convert_stock(model, [(1, 4, 4, 4, 2)], format="tflite")

    def test_a_stock_file_in_float_is_named(self) -> None:
        result = _compare(_volumes(pooled=False), precision="int8")
        assert result.stock_float == {"CONV_3D": 2}
        assert "stock stays in float: 2 CONV_3D" in result.notes()
        assert result.ratio and result.ratio > 0

    def test_onnx_keeps_transposed_convolutions_in_float(self) -> None:
        result = _compare(_upsampler(), target="onnxruntime-cpu", precision="int8", door="uint8")
        assert "ConvTranspose" in result.stock_float
        assert result.stock_ms and result.ours_ms

    def test_an_export_that_is_refused_is_a_reason(self) -> None:
        inputs = keras.Input((8, 8, 2))
        x = keras.layers.Conv2D(4, 3, name="conv")(inputs)
        model = random_weights(keras.Model(inputs, keras.ops.sin(x)))
        result = _compare(model, precision="int8")
        assert result.ours_problem and "Not everything can be int8" in result.ours_problem
        assert result.ours_ms is None and result.ratio is None
        assert result.stock_ms and result.stock_float == {"SIN": 1}

    def test_so_is_one_that_is_refused_beforehand(self) -> None:
        small = {"encoder_width": 4, "channels": 6, "width": 8, "depth": 2, "canonical_size": 16}
        model = random_weights(models.InstanceSegmenter((64, 64, 3), boxes=4, **small))
        result = _compare(model, precision="int8")
        assert result.ours_problem and "compute with coordinates" in result.ours_problem
        assert result.ours_ms is None and result.stock_ms

    def test_an_entry_without_weights_says_so(self) -> None:
        result = compare("fsrcnn_small_x2", size=(24, 24), precision="float32", runs=3)
        assert result.name == "fsrcnn_small_x2"
        assert result.weights == "random" and "random weights" in result.notes()
        assert result.shape == (1, 24, 24, 1) and result.ratio

    def test_refusals(self) -> None:
        model = _upsampler()
        with pytest.raises(TargetError, match="Received: 'int16x8'"):
            _compare(model, target="onnxruntime-cpu", precision="int16x8")
        with pytest.raises(ValueError, match="threads and runs"):
            compare(model, threads=0)
        with pytest.raises(ValueError, match="Received: 'pb'"):
            convert_stock(model, [(1, 24, 24, 16)], format="pb")
        with pytest.raises(ExportError, match="MaxPool3D"):
            convert_stock(_volumes(pooled=True), [(1, 8, 8, 8, 2)], format="tflite")

    def test_precisions_that_are_worth_it(self) -> None:
        assert precisions_for("android-cpu") == ["float32", "int8"]
        with pytest.raises(TargetError):
            precisions_for("toaster")


class TestRandomWeights:
    def _deep(self) -> keras.Model:
        inputs = x = keras.Input((16, 16, 3))
        for number in range(12):
            x = keras.layers.Conv2D(8, 3, padding="same", name=f"conv_{number}")(x)
            if number % 2:
                x = keras.layers.BatchNormalization(name=f"norm_{number}")(x)
            x = keras.layers.ReLU(name=f"act_{number}")(x)
        x = keras.layers.Conv2D(4, 1, activation="softmax", name="head")(x)
        return keras.Model(inputs, x)

    def test_maps_keep_their_size_through_a_deep_network(self) -> None:
        model = self._deep()
        sample = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
        scale_weights(model, sample)
        for number in range(12):
            inner = keras.Model(model.input, model.get_layer(f"conv_{number}").output)
            # Biases with a deviation of 0.1 come on top.
            assert np.asarray(inner(sample)).std() == pytest.approx(1, rel=0.05)
            assert np.ptp(model.get_layer(f"conv_{number}").bias) > 0
        norm = model.get_layer("norm_11")
        normed = np.asarray(keras.Model(model.input, norm.output)(sample, training=False))
        # Statistics of the sample itself; epsilon is 1e-3.
        np.testing.assert_allclose(normed.mean((0, 1, 2)), 0, atol=1e-4)
        np.testing.assert_allclose(normed.std((0, 1, 2)), 1, atol=1e-2)

    def test_a_network_that_classifies_has_an_opinion(self) -> None:
        model = self._deep()
        sample = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
        scale_weights(model, sample, Convention(task="segmentation", output="probabilities"))
        assert (np.asarray(model(sample)).argmax(-1) == 0).mean() > 0.8


class TestCommand:
    def test_a_file(self, run: Run, networks: Path, tmp_path: Path) -> None:
        out = tmp_path / "results.json"
        done = run(
            "bench", networks / "cells.keras", "--size", "16", "--precision", "float32",
            "--runs", 3, "--json", "--out", out,
        )  # fmt: skip
        assert done.code == 0, done.err
        (row,) = done.json["zoo"]
        assert row["precision"] == "float32" and row["runs"] == 3
        assert row["ratio"] == pytest.approx(row["stock_ms"] / row["ours_ms"])
        assert done.json["machine"]["versions"]["keras"] == keras.__version__
        assert json.loads(out.read_text()) == done.json

    def test_a_table(self, run: Run) -> None:
        done = run(
            "bench", "fsrcnn_small_x*", "--size", "24x24", "--precision", "float32", "--runs", 3,
            "--threads", 2,
        )  # fmt: skip
        assert done.code == 0, done.err
        heading, *rows = done.out.splitlines()
        assert heading.startswith("model") and heading.endswith("note")
        assert "stock ms" in heading and "ours ms" in heading and "ratio" in heading
        assert [row.split()[0] for row in rows] == list_models("fsrcnn_small_x*")
        assert all("random weights" in row and "float32" in row for row in rows)
        assert "2 threads" in done.err

    def test_help(self, run: Run) -> None:
        done = run("bench", "--help")
        assert "$ kerasdeconv bench " in done.out

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["unte"], ["Did you mean 'unet'", "Received: 'unte'"]),
            (["unet", "--target", "andriod-cpu"], ["'android-cpu'", "Received: 'andriod-cpu'"]),
            (["unet", "--precision", "int4"], ["'int8'", "Received: 'int4'"]),
            (["unet", "--precision", ","], ["Received: ','"]),
            (
                ["unet", "--target", "onnxruntime-cpu", "--precision", "int8,int16x8"],
                ["float32, int8, float16", "Received: 'int16x8'"],
            ),
            (["missing.keras"], ["Received: 'missing.keras'"]),
            (["unet.tflite"], ["kerasdeconv list", "Received: 'unet.tflite'"]),
            (["unet", "--size", "wide"], ["Received: 'wide'"]),
            (["unet", "--size", "250x250"], ["240 x 240 and 256 x 256", "Received: 250 x 250"]),
            (["unet", "--out", "no/such/folder/x.json"], ["Received: 'no/such/folder/x.json'"]),
            (["unet", "--threads", "0"], ["--threads"]),
        ],
    )
    def test_mistakes_are_one_line(self, run: Run, words: list[str], said: list[str]) -> None:
        run("bench", *words).refused(*said)


class TestScripts:
    def test_the_page_holds_the_results(self, scripts: SimpleNamespace) -> None:
        page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
        results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
        assert scripts.table.updated(page, results) == page, "run python benchmarks/table.py"

    def test_the_results_cover_the_zoo(self) -> None:
        results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
        measured = {row["name"] for row in results["zoo"]}
        assert measured | set(results["left_out"]) == set(list_models())
        assert not measured & set(results["left_out"])

    def test_the_results_cover_the_figures(self, scripts: SimpleNamespace) -> None:
        results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
        rows = {
            (row["what"].removesuffix(", without tanh"), row["target"], row["precision"])
            for row in results["figures"]
        }
        for case in scripts.figures.CASES:
            for target, precision, _ in scripts.figures.runs_of(case):
                assert (case.what, target, precision) in rows

    def test_a_page_without_markers_is_refused(self, scripts: SimpleNamespace) -> None:
        with pytest.raises(ValueError, match="needs the lines"):
            scripts.table.updated("no markers", {})

    def test_an_entry_that_fails_is_a_row(self, scripts: SimpleNamespace) -> None:
        row = scripts.run.measure_entry("no_such_entry", "int8")
        assert row.name == "no_such_entry" and row.ratio is None
        assert "UnknownModel" in row.ours_problem
        assert "not exported" in scripts.table._entry(row.to_dict())

    def test_large_entries_are_left_out_by_reason(self, scripts: SimpleNamespace) -> None:
        assert scripts.run.too_large("unet.nuclei") is None
        assert scripts.run.too_large("unet3d.padded") is None  # at a smaller size
        assert scripts.run.too_large("vnet.paper") == "502 G multiply-accumulates"
        assert scripts.run.too_large("fcn8s.vgg16") == "134 million weights"

    def test_a_part_replaces_its_rows_alone(self, scripts: SimpleNamespace) -> None:
        def row(name: str, ratio: float) -> dict[str, Any]:
            return {"name": name, "target": "t", "precision": "p", "ratio": ratio}

        merged = scripts.run.merged([row("a", 1), row("b", 1)], [row("b", 2), row("c", 2)])
        assert merged == [row("a", 1), row("b", 2), row("c", 2)]

    def test_a_figure_is_held_to_its_bar(self, scripts: SimpleNamespace) -> None:
        fast = Comparison(
            "m", "t", "int8", (1,), "given", 1, 5, stock_ms=3.0, ours_ms=2.0, ratio=1.5
        )
        alone = Comparison("m", "t", "int8", (1,), "given", 1, 5, ours_ms=2.0, stock_problem="no")
        judged = scripts.figures.judged
        assert judged("m", fast, 1.5).met and not judged("m", fast, 1.6).met
        assert judged("m", alone, None).met and not judged("m", alone, 1.0).met
        assert judged("m", alone, None).note == "stock: no"

    def test_a_case_runs(self, scripts: SimpleNamespace) -> None:
        case = next(c for c in scripts.figures.CASES if "k2 s2" in c.what and "128" in c.what)
        row = scripts.figures._figure(case, "android-cpu", "float32", 1.4)
        assert row.stock_ms and row.ours_ms and row.bar == 1.4
        assert row.value == pytest.approx(row.stock_ms / row.ours_ms)
