"""`show`, when it analyzes a network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import pytest
from cli_runs import Ran

from kerasdeconv import analysis, layers, zoo

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., Ran]
L = keras.layers


def test_an_entry(run: Run) -> None:
    done = run("show", "espcn_x3", "--analyze")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "espcn_x3"
    for words in ("22,729 trainable", "381.85 M, for 128 x 128", "9 x 9 pixels", "halo 4",
                  "MB in int8", "subpixel: phases differ by"):  # fmt: skip
        assert words in done.out
    assert "feature_0" not in done.out


def test_layer_by_layer(run: Run) -> None:
    done = run("show", "espcn_x3", "--layers", "--size", "32x64")
    rows = {line.split()[0]: line for line in done.out.splitlines() if line}
    assert "Conv2D" in rows["feature_1"]
    assert "34 x 66 x 32" in rows["feature_1"]
    assert "18,464" in rows["feature_1"]
    assert "41.36 M" in rows["feature_1"]  # 34 * 66 * 18,432
    assert rows["feature_1"].endswith("7 x 7  1")
    assert rows["subpixel_shuffle"].endswith("1/3")


def test_as_json(run: Run) -> None:
    fields = run("show", "espcn_x3", "--layers", "--size", "24", "--json").json
    model = zoo.load("espcn_x3")
    costs = analysis.costs(model, size=(24, 24))
    assert fields["macs"] == costs.macs
    assert fields["parameters"] == 22729
    assert fields["peak_bytes"] == costs.peak_bytes
    assert fields["halo"] == 4
    assert fields["receptive_field"][0]["size"] == [9, 9]
    assert fields["receptive_field"][0]["stride"] == [1 / 3, 1 / 3]
    assert fields["checkerboard"]["layers"][0]["strides"] == [3, 3]
    assert [row["name"] for row in fields["layers"]] == [row.name for row in costs.layers]
    assert len(fields["receptive_fields"]) == len(costs.layers)
    assert "layers" not in run("show", "espcn_x3", "--analyze", "--json").json


def test_an_entry_without_weights_says_so(run: Run) -> None:
    names = zoo.list_models("espcn*") + zoo.list_models("*", pretrained=False)
    name = min(names, key=lambda name: (zoo.card(name).pretrained, zoo.card(name).parameters))
    done = run("show", name, "--analyze")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == f"{name}, not trained: patterns are of the start"


def test_a_file_of_any_model(run: Run, networks: Path) -> None:
    done = run("show", networks / "cells.keras")
    assert done.code == 0, done.err
    assert "give --size" in done.out
    assert "receptive field" in done.out
    done = run("show", networks / "cells.keras", "--size", "64x32")
    assert "for 64 x 32" in done.out
    assert run("show", networks / "cells.keras", "--json").json["macs"] is None


@pytest.mark.parametrize("side", [None, 16])
def test_volumes_and_what_is_wrong(run: Run, tmp_path: Path, side: int | None) -> None:
    x = inputs = keras.Input((side, side, side, 1), name="scan")
    x = L.Conv3DTranspose(2, 3, strides=2, padding="same", name="up")(x)
    model = keras.Model(inputs, L.GlobalAveragePooling3D(name="pool")(x))
    model.save(tmp_path / "volume.keras")
    done = run("show", tmp_path / "volume.keras", *(["--size", "16"] if side is None else []))
    assert done.code == 0, done.err
    assert "for 16 x 16 x 16" in done.out
    assert "kernel 3 is not divisible by stride 2: use kernel 4" in done.out
    assert "all of scan, by way of pool" in done.out


def test_what_is_not_known_is_said(run: Run, tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 2))
    x = L.Permute((2, 1, 3), name="turn")(layers.DepthwiseConvTranspose(4, 2)(inputs))
    keras.Model(inputs, x).save(tmp_path / "turned.keras")
    done = run("show", tmp_path / "turned.keras", "--layers")
    assert done.code == 0, done.err
    text = " ".join(done.out.split())
    assert "receptive field not known. " in text
    assert "Received: Transpose 'transpose" in text
    assert "in 'turn'" in text
    assert "16 x 16 x 2" in text
    recurrent = keras.Input((4, 3))
    keras.Model(recurrent, L.LSTM(2, name="lstm")(recurrent)).save(tmp_path / "lstm.keras")
    assert "not known of lstm" in run("show", tmp_path / "lstm.keras").out


def test_mistakes(run: Run, networks: Path, exports: Path) -> None:
    run("show", "unte", "--analyze").refused("Did you mean 'unet'")
    run("show", "none.keras").refused("No such model file", "none.keras")
    run("show", "unet", "--size", "large").refused("such as 256x256")
    run("show", "unet", "--size", "250").refused("nearest are 240 x 240 and 256 x 256")
    run("show", "unet", "--size", "16x16x16").refused("2 positive numbers")
    file = exports / "cells.float32.tflite"
    run("show", file, "--layers").refused("Only networks are analyzed", "cells.float32.tflite")
    broken = networks / "broken.keras"
    broken.write_text("no model")
    run("show", broken).refused("broken.keras")
