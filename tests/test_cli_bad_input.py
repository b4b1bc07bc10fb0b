"""Bad input on the command line: one line that names the mistake and the nearest right thing, exit
code 2, nothing left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import flatbuffers
import keras
import numpy as np
import onnx
import PIL.Image
import pytest
from ai_edge_litert import schema_py_generated as schema
from cli_runs import SIDE, Ran, scene

from kerasdeconv.zoo import cards

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., Ran]
Refuse = Callable[..., Ran]


@pytest.fixture
def export(run: Run, tmp_path: Path) -> Callable[..., Ran]:
    """Exports to a folder that must not come to exist."""

    def export(model: str | Path, *options: str | Path | int, target: str = "android-cpu") -> Ran:
        out = tmp_path / "new" / "out"
        done = run("export", model, "--target", target, "--no-tune", "--out", out, *options)
        assert not out.parent.exists()
        return done

    return export


class TestNames:
    def test_model(self, run: Run, export: Refuse, tmp_path: Path) -> None:
        export("unte").refused("Did you mean", "'unet'", "Received: 'unte'")
        run("show", "unte").refused("Did you mean", "'unet'")
        run("list", "unte").refused("Did you mean", "'unet'")
        run("evaluate", "unte", "--data", tmp_path).refused("Did you mean", "'unet'")
        export(tmp_path / "none.keras").refused("No such model file")
        export("mine.h5").refused("zoo entry", ".keras file")

    def test_task(self, run: Run) -> None:
        run("list", "--task", "segmentatoin").refused("Did you mean 'segmentation'")

    def test_target(self, run: Run, export: Refuse, exports: Path) -> None:
        export("unet", target="andriod-cpu").refused("Did you mean 'android-cpu'")
        file = exports / "cells.float32.tflite"
        run("check", file, "--target", "iso").refused("Did you mean 'ios'?")

    def test_precision(self, export: Refuse, networks: Path) -> None:
        model = networks / "cells.keras"
        export(model, "--precision", "int4").refused("Did you mean 'int8'")
        gpu = export(model, "--precision", "int8", target="android-gpu")
        gpu.refused("android-gpu", "float16, float32")

    def test_like(self, export: Refuse, networks: Path) -> None:
        export(networks / "cells.keras", "--like", "unett").refused("Did you mean 'unet'")


class TestSizes:
    def test_one_that_the_network_cannot_take(self, export: Refuse, networks: Path) -> None:
        done = export(networks / "cells.keras", "--like", "unet", "--size", "250x254")
        done.refused("248 x 252", "252 x 256", "Received: 250 x 254")

    @pytest.mark.parametrize("text", ["large", "256*256", "-4", "1.5", ""])
    def test_no_size_at_all(self, export: Refuse, networks: Path, text: str) -> None:
        export(networks / "cells.keras", f"--size={text}").refused("such as 256x256")

    def test_none_where_one_is_needed(self, export: Refuse, networks: Path) -> None:
        export(networks / "cells.keras").refused("give size")


class TestCalibration:
    @pytest.fixture
    def quantize(self, export: Refuse, networks: Path) -> Callable[..., Ran]:
        model = networks / "cells.keras"
        return lambda *options: export(model, "--size", SIDE, "--precision", "int8", *options)

    def test_none(self, quantize: Refuse) -> None:
        quantize().refused("needs calibration data", "a folder of pictures")

    def test_folders_without_pictures(self, quantize: Refuse, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        options = ("--like", "unet", "--calibration", folder)
        quantize(*options).refused("No such folder")
        folder.mkdir()
        quantize(*options).refused("holds no image")
        (folder / "notes.txt").write_text("none here")
        quantize(*options).refused("holds no image", ".png")
        (folder / "noise.png").write_bytes(b"no picture")
        quantize(*options).refused("Not a readable image", "noise.png")

    def test_values_that_cannot_be(self, quantize: Refuse, tmp_path: Path) -> None:
        # What a picture of floats in [0, 1] becomes when it is saved without scaling.
        PIL.Image.fromarray(scene(SIDE, SIDE) // 255).save(tmp_path / "scaled.png")
        done = quantize("--like", "unet", "--calibration", tmp_path)
        done.refused("scaled already, or blank", "values from 0 to 1")

    def test_pictures_for_what_takes_none(self, export: Refuse, tmp_path: Path) -> None:
        five = keras.Input((SIDE, SIDE, 5), name="five")
        model = keras.Model(five, keras.layers.Conv2D(1, 3, name="only")(five))
        model.save(tmp_path / "bands.keras")
        PIL.Image.fromarray(scene(SIDE, SIDE)).save(tmp_path / "a.png")
        done = export(tmp_path / "bands.keras", "--precision", "int8", "--calibration", tmp_path)
        done.refused("colour of its input")


class TestPictures:
    @pytest.fixture
    def predict(self, run: Run, exports: Path, tmp_path: Path) -> Callable[..., Ran]:
        out = tmp_path / "new" / "out.png"

        def predict(picture: Path, file: str = "cells.float32.tflite") -> Ran:
            done = run("predict", exports / file, picture, "--out", out)
            assert out.parent.exists() == (done.code == 0)
            return done

        return predict

    def test_missing_or_damaged(self, predict: Refuse, tmp_path: Path) -> None:
        path = tmp_path / "scene.jpg"
        predict(path).refused("No such image")
        PIL.Image.fromarray(scene(40, 40)).save(path)
        path.write_bytes(path.read_bytes()[:400])
        predict(path).refused("Not a readable image", "scene.jpg")

    def test_one_bad_picture_of_many(self, run: Run, exports: Path, tmp_path: Path) -> None:
        PIL.Image.fromarray(scene(40, 40)).save(tmp_path / "a.png")
        (tmp_path / "b.png").write_bytes(b"no picture")
        out = tmp_path / "out"
        file = exports / "cells.float32.tflite"
        run("predict", file, tmp_path, "--out", out).refused("b.png")
        assert not out.exists()

    def test_16_bit(self, predict: Refuse, tmp_path: Path) -> None:
        deep = scene(40, 40)[..., 0].astype(np.uint16) * 257
        PIL.Image.fromarray(deep).save(tmp_path / "deep.png")
        predict(tmp_path / "deep.png").refused("8 bits a channel", "convert it")

    def test_alpha(self, predict: Refuse, tmp_path: Path) -> None:
        picture = np.dstack([scene(40, 40), np.full((40, 40), 255, np.uint8)])
        PIL.Image.fromarray(picture).save(tmp_path / "opaque.png")
        assert predict(tmp_path / "opaque.png").code == 0
        (tmp_path / "new" / "out.png").unlink()
        (tmp_path / "new").rmdir()
        picture[:, :20, 3] = 100
        PIL.Image.fromarray(picture).save(tmp_path / "clear.png")
        predict(tmp_path / "clear.png").refused("transparent", "background")

    def test_one_channel_is_read_as_what_it_is(
        self, run: Run, exports: Path, tmp_path: Path
    ) -> None:
        gray = scene(40, 40)[..., 0]
        PIL.Image.fromarray(gray).save(tmp_path / "gray.png")
        PIL.Image.fromarray(np.dstack([gray] * 3)).save(tmp_path / "rgb.png")
        for file in ("cells.float32.tflite", "enlarger.float32.onnx"):
            pictures = (tmp_path / "gray.png", tmp_path / "rgb.png")
            assert run("predict", exports / file, *pictures, "--out", tmp_path / "out").code == 0
            outputs = [
                np.asarray(PIL.Image.open(tmp_path / "out" / picture.name).convert("RGB"))
                for picture in pictures
            ]
            np.testing.assert_array_equal(*outputs)


class TestFolders:
    @pytest.mark.parametrize("below", ["", "sub"])
    def test_an_output_folder_that_cannot_be_written(
        self, run: Run, networks: Path, tmp_path: Path, below: str
    ) -> None:
        # A file in the way: it stops root too, as whom tests may run.
        (tmp_path / "file").write_text("mine")
        out = tmp_path / "file" / below
        model = networks / "cells.keras"
        target = ("--target", "android-cpu", "--size", SIDE, "--like", "unet")
        run("export", model, *target, "--out", out).refused("Cannot write", str(out))
        assert (tmp_path / "file").read_text() == "mine"

    def test_an_output_picture_that_cannot_be_written(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("mine")
        out = tmp_path / "file" / "out.png"
        file = exports / "cells.float32.tflite"
        run("predict", file, picture, "--out", out).refused("Cannot write", "out.png")

    def test_data_that_is_not_there(
        self, run: Run, exports: Path, export: Refuse, networks: Path, tmp_path: Path
    ) -> None:
        file = exports / "cells.float32.tflite"
        run("evaluate", file, "--data", tmp_path / "no").refused("No such folder")
        model = networks / "cells.keras"
        options = ("--like", "unet", "--size", SIDE, "--evaluate", tmp_path / "no")
        export(model, *options).refused("No such folder")


class TestFiles:
    @pytest.fixture(params=["tflite", "onnx"])
    def suffix(self, request: pytest.FixtureRequest) -> str:
        return str(request.param)

    @pytest.mark.parametrize("damage", ["truncated", "random", "empty", "missing"])
    def test_damaged(
        self, *, run: Run, exports: Path, picture: Path, tmp_path: Path, suffix: str, damage: str
    ) -> None:
        (source,) = exports.glob(f"*.{suffix}")
        whole, path = source.read_bytes(), tmp_path / f"damaged.{suffix}"
        content = {
            "truncated": whole[: len(whole) // 2],
            "random": np.random.default_rng(0).bytes(4096),
            "empty": b"",
        }
        if damage in content:
            path.write_bytes(content[damage])
        out = tmp_path / "new" / "out.png"
        run("predict", path, picture, "--out", out).refused(path.name)
        run("show", path).refused(path.name)
        run("check", path, "--target", "ios").refused(path.name)
        run("verify", path).refused(path.name)
        run("evaluate", path, "--data", picture.parent).refused(path.name)
        assert not out.parent.exists()

    def test_without_our_metadata(
        self, *, run: Run, exports: Path, networks: Path, picture: Path, tmp_path: Path, suffix: str
    ) -> None:
        (source,) = exports.glob(f"*.{suffix}")
        path, out = tmp_path / f"plain.{suffix}", tmp_path / "new" / "out.png"
        _strip(source, path)
        name = source.name.partition(".")[0]
        model = networks / f"{name}.keras"
        like = {"cells": "unet", "enlarger": "espcn_x3"}[name]
        run("predict", path, picture, "--out", out).refused("does not say what it takes", "--like")
        assert not out.parent.exists()
        run("evaluate", path, "--data", picture.parent).refused("--like")
        run("verify", path).refused("--model")
        assert "none of kerasdeconv" in run("show", path).out
        # It works when it is told what it lacks.
        assert run("verify", path, "--model", model).code == 0
        assert run("predict", path, picture, "--out", out, "--like", like).code == 0
        expected = tmp_path / "expected.png"
        run("predict", source, picture, "--out", expected)
        assert out.read_bytes() == expected.read_bytes()

    def test_another_s_convention(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        file = exports / "cells.float32.tflite"
        done = run("predict", file, picture, "--out", tmp_path / "a.png", "--like", "espcn_x2")
        done.refused("'y' pictures")

    def test_tiles_that_cannot_be(
        self, run: Run, exports: Path, picture: Path, tmp_path: Path
    ) -> None:
        words = ("predict", exports / "cells.float32.tflite", picture, "--out", tmp_path / "a.png")
        run(*words, "--tile", 30).refused(f"{SIDE} x {SIDE}")
        run(*words, "--halo", SIDE).refused("two halos")
        assert not (tmp_path / "a.png").exists()


class TestWeights:
    def test_a_wrong_hash(
        self, run: Run, export: Refuse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        text = (cards._FOLDER / "espcn_x3.toml").read_text().partition(cards._MEASURED)[0]
        weights = '[weights]\nfile = "w.npz"\nsha256 = "{}"\nsize_bytes = 4\n'.format("0" * 64)
        for name in ("cards", "weights"):
            (tmp_path / name).mkdir()
        (tmp_path / "cards" / "espcn_x3.toml").write_text(text + weights)
        (tmp_path / "weights" / "w.npz").write_bytes(b"1234")
        monkeypatch.setattr(cards, "_FOLDER", tmp_path / "cards")
        monkeypatch.setattr("kerasdeconv.zoo.store._BUNDLED", tmp_path / "weights")
        export("espcn_x3").refused("damaged", "sha256", "w.npz")
        run("evaluate", "espcn_x3", "--data", tmp_path).refused("damaged", "sha256", "w.npz")

    def test_an_entry_that_was_never_trained(self, run: Run, export: Refuse) -> None:
        export("unet.paper").refused("no trained weights")


@keras.saving.register_keras_serializable("test_cli_bad_input")
class Subclassed(keras.Model):
    """A model that has no graph."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.only = keras.layers.Conv2D(1, 3)

    def call(self, inputs: object) -> object:
        return self.only(inputs)


class TestModels:
    def test_not_functional(self, export: Refuse, tmp_path: Path) -> None:
        model = Subclassed()
        model(np.zeros((1, SIDE, SIDE, 3), np.float32))
        model.save(tmp_path / "subclassed.keras")
        done = export(tmp_path / "subclassed.keras", "--size", SIDE)
        done.refused("functional")

    def test_never_built(self, export: Refuse, tmp_path: Path) -> None:
        with pytest.warns(UserWarning, match="not yet been built"):
            keras.Sequential([keras.layers.Conv2D(1, 3)]).save(tmp_path / "unbuilt.keras")
        export(tmp_path / "unbuilt.keras", "--size", SIDE).refused("never built")

    def test_damaged(self, export: Refuse, networks: Path, tmp_path: Path) -> None:
        whole = (networks / "cells.keras").read_bytes()
        path = tmp_path / "damaged.keras"
        for content in (b"", b"no model", whole[: len(whole) // 2]):
            path.write_bytes(content)
            export(path, "--size", SIDE).refused("Not a .keras file", "damaged.keras")

    def test_an_operator_that_the_target_refuses(self, export: Refuse, tmp_path: Path) -> None:
        path = tmp_path / "bent.keras"
        _around(keras.layers.Activation("gelu", name="bend")).save(path)
        export(path, target="microcontroller").refused("GELU", "'bend'", "microcontroller")
        _around(keras.layers.UpSampling2D(interpolation="bicubic", name="enlarge")).save(path)
        export(path, target="android-cpu").refused("ResizeBicubic", "'enlarge'")

    def test_layers_that_are_not_there(self, export: Refuse, networks: Path) -> None:
        done = export(networks / "cells.keras", "--size", SIDE, "--allow-float", "haed")
        done.refused("Did you mean 'head'")


def _around(layer: keras.layers.Layer) -> keras.Model:
    """A small network with a layer in its middle."""
    image = keras.Input((16, 16, 3), name="image")
    x = keras.layers.Conv2D(2, 3, name="first")(image)
    return keras.Model(image, keras.layers.Conv2D(1, 1, name="last")(layer(x)))


def _strip(source: Path, path: Path) -> None:
    """Writes a copy of a file as another exporter would have made it: without our metadata."""
    if source.suffix == ".onnx":
        proto = onnx.load(source)
        del proto.metadata_props[:]
        onnx.save(proto, path)
        return
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(source.read_bytes()))
    model.metadata = []
    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    path.write_bytes(bytes(builder.Output()))
