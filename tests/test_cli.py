"""The command line: what the commands print and write, how fast they start, what they import."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
from cli_runs import SIDE, Ran, scene

import kerasdeconv
from kerasdeconv import models
from kerasdeconv.zoo import list_models

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., Ran]
HEAVY = ("keras", "tensorflow", "jax", "torch", "onnx", "tf2onnx")


def _process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kerasdeconv", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _imported(*arguments: str | Path) -> set[str]:
    """Top-level modules that a command has imported when it is done."""
    code = (
        "import sys; from kerasdeconv.cli import main; code = main(sys.argv[1:]); "
        "print(*{m.partition('.')[0] for m in sys.modules}, file=sys.stderr); sys.exit(code)"
    )
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split())


def _processor_time(*arguments: str) -> float:
    """Seconds of a Python process, whatever else the machine does."""
    before = os.times()
    subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
    after = os.times()
    return sum(after[2:4]) - sum(before[2:4])


class TestStart:
    @pytest.mark.parametrize("command", ["list", "list --json", "--help", "targets", "show unet"])
    def test_light_commands_import_nothing_heavy(self, command: str) -> None:
        assert not _imported(*command.split()) & {*HEAVY, "numpy", "PIL"}

    def test_predict_imports_neither_keras_nor_tensorflow(
        self, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        for file, used in (("cells.float32.tflite", "ai_edge_litert"),
                           ("enlarger.float32.onnx", "onnxruntime")):  # fmt: skip
            modules = _imported("predict", exports / file, picture, "--out", tmp_path / "a.png")
            assert used in modules
            assert not modules & set(HEAVY)

    @pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is told")
    @pytest.mark.parametrize("called", [True, False])
    def test_training_keeps_what_is_freed(self, called: bool) -> None:
        code = (
            "import sys, numpy as np; from kerasdeconv.cli.machine import keep_memory\n"
            "if sys.argv[1] == 'True': keep_memory()\n"
            "def pages(): return int(open('/proc/self/statm').read().split()[1])\n"
            "before = pages(); np.ones(2**24); print(pages() - before)"
        )
        command = [sys.executable, "-c", code, str(called)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        kept = int(done.stdout) * os.sysconf("SC_PAGE_SIZE") / 2**27
        assert kept == pytest.approx(float(called), abs=0.05)

    @pytest.mark.skipif(platform.machine() != "x86_64", reason="TensorFlow has oneDNN on x86 alone")
    @pytest.mark.parametrize("said", [None, "0"])
    def test_training_uses_onednn_unless_told_not_to(self, said: str | None) -> None:
        code = (
            "from kerasdeconv.cli import main; main('train no.toml --data . --out no'.split())\n"
            "from tensorflow.python.util import _pywrap_util_port as x; print(x.IsMklEnabled())"
        )
        environment = {k: v for k, v in os.environ.items() if k != "TF_ENABLE_ONEDNN_OPTS"}
        environment |= {"TF_ENABLE_ONEDNN_OPTS": said} if said else {}
        told = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert told.strip() == str(said is None)

    @pytest.mark.parametrize("command", ["list", "--help", "targets"])
    def test_answers_at_once(self, command: str) -> None:
        """In 8 times what Python and Typer take to load: Keras takes far longer."""
        loaded = min(_processor_time("-c", "import typer") for _ in range(3))
        answered = min(_processor_time("-m", "kerasdeconv", command) for _ in range(3))
        assert answered < 8 * loaded

    def test_the_module_and_the_script_are_one(self) -> None:
        version = f"kerasdeconv {kerasdeconv.__version__}\n"
        script = Path(sys.executable).with_name("kerasdeconv")
        done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == _process("--version").stdout == version

    @pytest.mark.parametrize(
        "command",
        [
            "list",
            "show",
            "targets",
            "export",
            "check",
            "verify",
            "quantize-report",
            "predict",
            "train",
            "evaluate",
        ],
    )
    def test_help_teaches_by_example(self, run: Run, command: str) -> None:
        done = run(command, "--help")
        assert done.code == 0
        assert "Example" in done.out
        if command != "targets":
            assert f"$ kerasdeconv {command} " in done.out

    def test_alone_it_prints_help(self, run: Run) -> None:
        assert "Commands" in run().out


class TestBrowsing:
    def test_list(self, run: Run) -> None:
        done = run("list", "espcn*")
        assert done.code == 0
        assert [line.split()[0] for line in done.out.splitlines()[1:]] == list_models("espcn*")

    def test_list_filters_as_the_library_does(self, run: Run) -> None:
        done = run("list", "--task", "segmentation", "--untrained", "--json")
        names = [entry["name"] for entry in done.json]
        assert names == list_models(task="segmentation", pretrained=False)
        assert "unet.paper" in names

    def test_show_an_entry(self, run: Run) -> None:
        done = run("show", "unet")
        for words in ("1,942,577", "RGB in [0, 255]", "256 x 256", "nucleus", "CC0", "arxiv.org"):
            assert words in done.out
        card = run("show", "unet", "--json").json
        assert card["name"] == "unet.nuclei"
        assert card["convention"]["labels"] == ["background", "nucleus"]

    def test_show_a_file(self, run: Run, exports: Path) -> None:
        done = run("show", exports / "cells.float32.tflite")
        for words in ("CONV_2D", f"float32 1 x {SIDE} x {SIDE} x 3", "RGB in [0, 255]"):
            assert words in done.out
        fields = run("show", exports / "enlarger.float32.onnx", "--json").json
        assert fields["format"] == "onnx"
        assert fields["operators"]["Conv"] == 3
        assert fields["metadata"]["convention"]["scale"] == 3
        assert fields["inputs"][0]["shape"] == [1, 16, 24, 1]

    def test_targets(self, run: Run) -> None:
        assert "microcontroller" in run("targets").out
        found = {target["name"]: target for target in run("targets", "--json").json}
        assert found["onnxruntime-web"]["format"] == "onnx"
        assert "int8" in found["android-cpu"]["precisions"]


class TestExport:
    def test_writes_the_file_and_its_report(self, run: Run, networks: Path, tmp_path: Path) -> None:
        out = tmp_path / "build" / "deep"
        done = run(
            "export", networks / "enlarger.keras", "--like", "espcn_x3", "--target", "android-cpu",
            "--precision", "int8", "--size", "24x16", "--no-tune", "--out", out, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        names = sorted(path.name for path in out.iterdir())
        assert names == ["enlarger.int8.report.json", "enlarger.int8.tflite"]
        report = json.loads((out / names[0]).read_text())
        assert done.json == report
        assert report["artifact"] == str(out / names[1])
        assert report["input"]["shape"] == [1, 24, 16, 1]
        assert report["input"]["dtype"] == "uint8"
        assert report["float_operators"] == []

    def test_options_reach_the_file(self, run: Run, networks: Path, tmp_path: Path) -> None:
        done = run(
            "export", networks / "cells.keras", "--like", "unet", "--target", "onnxruntime-cpu",
            "--size", SIDE, "--batch", 2, "--head", "labels", "--name", "labeller",
            "--no-tune", "--out", tmp_path,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "labeller.float32.onnx" in done.out
        fields = run("show", tmp_path / "labeller.float32.onnx", "--json").json
        assert fields["outputs"][0]["shape"] == [2, SIDE, SIDE]
        assert fields["metadata"]["convention"]["output"] == "labels"

    def test_measures_both_on_labelled_data(
        self, run: Run, networks: Path, labelled: Path, tmp_path: Path
    ) -> None:
        done = run(
            "export", networks / "cells.keras", "--like", "unet", "--target", "onnxruntime-cpu",
            "--size", SIDE, "--no-tune", "--evaluate", labelled, "--out", tmp_path,
        )  # fmt: skip
        assert done.code == 0, done.err
        metrics = json.loads((tmp_path / "cells.float32.report.json").read_text())["metrics"]
        (line,) = [line.split() for line in done.out.splitlines() if line.startswith("mean iou")]
        assert line[2:] == [f"{metrics[side]['mean_iou']:.4f}" for side in ("keras", "file")]

    def test_says_when_a_file_will_know_nothing_of_pictures(
        self, run: Run, networks: Path, tmp_path: Path
    ) -> None:
        done = run(
            "export", networks / "cells.keras", "--target", "raspberry-pi", "--size", SIDE,
            "--no-tune", "--out", tmp_path,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert "--like" in done.err

    def test_a_real_process_is_quiet(self, networks: Path, tmp_path: Path) -> None:
        done = _process(
            "export", networks / "enlarger.keras", "--like", "espcn_x3", "--target", "android-cpu",
            "--size", 16, "--no-tune", "--out", tmp_path, "--json",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        assert json.loads(done.stdout)["format"] == "tflite"


class TestCheck:
    def test_exit_code_says_what_the_target_says(self, run: Run, exports: Path) -> None:
        file = exports / "cells.float32.tflite"
        assert run("check", file, "--target", "android-cpu").code == 0
        refused = run("check", file, "--target", "onnxruntime-cpu")
        assert refused.code == 1
        assert "takes onnx files" in refused.out
        assert refused.err == ""
        done = run("check", file, "--target", "onnxruntime-cpu", "--json")
        assert done.code == 1
        assert done.json["accepted"] is False
        assert done.json["violations"][0]["severity"] == "error"


class TestVerify:
    def test_a_file_against_its_model(
        self, run: Run, networks: Path, exports: Path, picture: Path
    ) -> None:
        file = exports / "enlarger.float32.onnx"
        done = run("verify", file, "--model", networks / "enlarger.keras", "--json")
        assert done.code == 0, done.err
        assert done.json["max_abs_error"] < 1e-2
        assert done.json["source"] == "synthetic textures"
        done = run("verify", file, "--model", networks / "enlarger.keras", "--data", picture.parent)
        assert done.code == 0, done.err
        assert str(picture.parent) in done.out

    def test_another_head(self, run: Run, networks: Path, tmp_path: Path) -> None:
        model = networks / "cells.keras"
        run(
            "export", model, "--like", "unet", "--target", "android-cpu", "--size", SIDE,
            "--head", "logits", "--no-tune", "--out", tmp_path,
        )  # fmt: skip
        done = run("verify", tmp_path / "cells.float32.tflite", "--model", model)
        assert done.code == 0, done.err
        assert "passed, as float32" in done.out

    def test_another_model(self, run: Run, networks: Path, exports: Path, tmp_path: Path) -> None:
        import keras

        file = exports / "enlarger.float32.onnx"
        run("verify", file, "--model", networks / "cells.keras").refused("was not made from it")
        keras.utils.set_random_seed(1)
        kerasdeconv.models.ESPCN(scale=3).save(tmp_path / "other.keras")
        run("verify", file, "--model", tmp_path / "other.keras").refused("does not compute")
        kerasdeconv.models.ESPCN(scale=2).save(tmp_path / "smaller.keras")
        run("verify", file, "--model", tmp_path / "smaller.keras").refused("was not made from it")


class TestPredict:
    def test_tiles_what_is_larger(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        file, out = exports / "enlarger.float32.onnx", tmp_path / "sub" / "large.png"
        done = run("predict", file, picture, "--out", out)
        assert done.code == 0, done.err
        assert "48 x 60, in tiles of 16 x 24" in done.err
        with PIL.Image.open(out) as image:
            assert image.size == (180, 144)
        expected = kerasdeconv.runtime.open(file).predict_tiled(picture)
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(out)), expected)

    def test_the_network_s_own_size_is_run_whole(
        self, run: Run, exports: Path, tmp_path: Path
    ) -> None:
        PIL.Image.fromarray(scene(SIDE, SIDE)).save(tmp_path / "in.jpg")
        done = run(
            "predict", exports / "cells.float32.tflite", tmp_path / "in.jpg",
            "--out", tmp_path / "out", "--json",
        )  # fmt: skip
        (result,) = done.json
        assert not result["tiled"]
        assert result["output"] == str(tmp_path / "out" / "in.png")
        assert sum(result["share"].values()) == pytest.approx(1)
        assert set(result["share"]) == {"background", "nucleus"}

    @pytest.mark.parametrize(
        ("like", "build"),
        [
            ("depthnet.room", lambda: models.DepthNet((64, 64, 3), encoder="small", width=4)),
            (
                "style_transfer.batch",
                lambda: models.StyleTransfer((64, 64, 3), width=2, norm="batch"),
            ),
        ],
    )
    def test_answers_that_are_pictures_themselves(
        self, run: Run, tmp_path: Path, like: str, build: Callable[[], keras.Model]
    ) -> None:
        build().save(tmp_path / "model.keras")
        export = f"export {tmp_path}/model.keras --like {like} --target onnxruntime-cpu --no-tune"
        assert run(*export.split(), "--size", 64, "--out", tmp_path).code == 0
        PIL.Image.fromarray(scene(64, 64)).save(tmp_path / "in.png")
        file, out = tmp_path / "model.float32.onnx", tmp_path / "out.png"
        done = run("predict", file, tmp_path / "in.png", "--out", out, "--json")
        assert done.code == 0, done.err
        predictor = kerasdeconv.runtime.open(file)
        answer = predictor.predict(tmp_path / "in.png")
        expected = kerasdeconv.runtime.render(predictor.convention, scene(64, 64), answer)
        np.testing.assert_array_equal(np.asarray(PIL.Image.open(out)), expected)
        if like == "depthnet.room":
            assert done.json[0]["nearest"] == pytest.approx(float(answer.min()))
            assert done.json[0]["farthest"] == pytest.approx(float(answer.max()))

    def test_folders_go_to_folders(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "small.png")
        done = run(
            "predict", exports / "cells.float32.tflite", picture.parent, tmp_path / "small.png",
            "--out", tmp_path / "out", "--halo", 4,
        )  # fmt: skip
        assert done.code == 0, done.err
        assert {p.name for p in (tmp_path / "out").iterdir()} == {"scene.png", "small.png"}

    def test_outputs_that_would_be_lost_are_refused(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        file = exports / "cells.float32.tflite"
        before = picture.read_bytes()
        run("predict", file, picture, "--out", picture).refused("over its picture")
        assert picture.read_bytes() == before
        PIL.Image.fromarray(scene(20, 20)).save(tmp_path / "scene.jpg")
        out = tmp_path / "out"
        run("predict", file, picture, tmp_path / "scene.jpg", "--out", out).refused("Two pictures")
        run("predict", file, picture, picture, "--out", tmp_path / "a.png").refused("folder")
        run("predict", file, picture, "--out", tmp_path / "a.gif").refused(".png")
        assert not out.exists()


class TestEvaluate:
    def test_a_model_and_its_file_by_the_same_code(
        self, run: Run, networks: Path, exports: Path, labelled: Path
    ) -> None:
        file = run("evaluate", exports / "cells.float32.tflite", "--data", labelled, "--json")
        assert file.code == 0, file.err
        assert file.json["images"] == 2
        assert 0 <= file.json["metrics"]["mean_iou"] <= 1
        model = run(
            "evaluate", networks / "cells.keras", "--like", "unet", "--data", labelled, "--json"
        )
        assert model.code == 0, model.err
        assert set(model.json["metrics"]) == set(file.json["metrics"])
        table = run("evaluate", exports / "cells.float32.tflite", "--data", labelled)
        assert f"mean iou {file.json['metrics']['mean_iou']:.4f}" in " ".join(table.out.split())

    def test_super_resolution(self, run: Run, exports: Path, picture: Path) -> None:
        file = exports / "enlarger.float32.onnx"
        done = run("evaluate", file, "--data", picture.parent, "--json")
        assert done.code == 0, done.err
        assert done.json["metrics"]["psnr_y"] > 0


class TestTrain:
    @pytest.fixture
    def recipe(self, tmp_path: Path, picture: Path) -> Path:
        path = tmp_path / "recipe.toml"
        path.write_text(
            'entry = "espcn_x3"\n'
            f'[data]\nkind = "super-resolution"\nfolders = ["{picture.parent.name}"]\n'
            "validation = 0.0\npatch = 8\nbatch = 1\nsteps = 1\nborder = 1\n"
            "[fit]\nepochs = 1\nloss = { mean_squared_error = 1.0 }\n"
        )
        return path

    def test_weights_come_out(self, run: Run, recipe: Path, picture: Path, tmp_path: Path) -> None:
        out = tmp_path / "trained"
        data = picture.parent.parent
        done = run("train", recipe, "--data", data, "--out", out, "--json")
        assert done.code == 0, done.err
        assert done.json["weights"] == str(out / "weights.npz")
        assert (out / "weights.npz").is_file()
        assert "epoch 1/1" in done.err

    def test_mistakes(self, run: Run, recipe: Path, tmp_path: Path) -> None:
        out = tmp_path / "trained"
        run("train", tmp_path / "no.toml", "--data", ".", "--out", out).refused("No such recipe")
        run("train", recipe, "--data", tmp_path, "--out", out).refused("No such data folder")
        recipe.write_text(recipe.read_text().replace("epochs", "epoch"))
        run("train", recipe, "--data", tmp_path, "--out", out).refused("Did you mean 'epochs'?")
        assert not out.exists()

    def test_fresh_starts_over_and_takes_nothing_else_away(
        self, run: Run, recipe: Path, picture: Path, tmp_path: Path
    ) -> None:
        out = tmp_path / "home"
        out.mkdir()
        (out / "thesis.txt").write_text("years of work")
        arguments = ("train", recipe, "--data", picture.parent.parent, "--out", out)
        for option, epochs in (("--json", 1), ("--json", 0), ("--fresh", 1)):
            done = run(*arguments, option)
            assert done.code == 0, done.err
            assert done.err.count("epoch 1/1") == epochs, option
        assert (out / "thesis.txt").exists()
