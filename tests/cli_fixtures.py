"""Fixtures of the tests of the command line: a runner, and models and files made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
from cli_runs import SIDE, Ran, scene

from kerasdeconv import models
from kerasdeconv.cli import main


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ran]:
    """Runs a command in this process, as wide as in a pipe."""
    monkeypatch.delenv("COLUMNS", raising=False)  # pytest-xdist sets it

    def run(*arguments: str | Path) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with untrained .keras files: like espcn_x3 and like unet."""
    folder = tmp_path_factory.mktemp("networks")
    keras.utils.set_random_seed(0)
    models.ESPCN(scale=3).save(folder / "enlarger.keras")
    small = {"width": 2, "depth": 2, "padding": "same", "norm": "batch"}
    cells = models.UNet((None, None, 3), 1, **small)
    # Untrained, it calls every pixel about 0.5: with a bias it has an opinion that can agree.
    cells.get_layer("head").bias.assign([1.0])
    cells.save(folder / "cells.keras")
    return folder


@pytest.fixture(scope="session")
def exports(networks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both networks exported: enlarger.float32.onnx and cells.float32.tflite."""
    folder = tmp_path_factory.mktemp("exports")
    for name, like, target, size in (
        ("enlarger", "espcn_x3", "onnxruntime-cpu", "16x24"),
        ("cells", "unet", "android-cpu", str(SIDE)),
    ):
        code = main(
            f"export {networks / name}.keras --like {like} --target {target} --size {size} "
            f"--no-tune --out {folder}".split()
        )
        assert code == 0
    return folder


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture larger than both networks take."""
    path = tmp_path_factory.mktemp("pictures") / "scene.png"
    PIL.Image.fromarray(scene(48, 60)).save(path)
    return path


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of two pictures with masks: what is in the lower half."""
    for name in ("images", "masks"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(2):
        picture = scene(40 + 8 * number, 40)
        PIL.Image.fromarray(picture).save(tmp_path / f"set/images/{number}.png")
        mask = PIL.Image.fromarray((picture[..., 0] > 128).astype(np.uint8))
        mask.save(tmp_path / f"set/masks/{number}.png")
    return tmp_path / "set"
