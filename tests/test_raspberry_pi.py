import subprocess
import sys
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import skimage.data
import small_models

from kerasdeconv import imaging, runtime

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "export" / "raspberry-pi"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "small.tflite"
    return small_models.write_tflite(
        path, small_models.segmentation_model(), small_models.SEGMENTATION, door=np.uint8
    )


@pytest.fixture(scope="module")
def photograph(tmp_path_factory):
    path = tmp_path_factory.mktemp("photograph") / "cell.png"
    imaging.write_image(path, skimage.data.immunohistochemistry()[:100, :150])
    return path


def run(python, *arguments, cwd):
    return subprocess.run(
        [python, FOLDER / "run.py", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_pictures_and_folders(model, photograph, tmp_path):
    done = run(sys.executable, model, photograph, photograph.parent, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("cell: 150 x 100, ")
    assert lines[0].endswith(" ms -> answers/cell.small.png")
    assert lines[-1].startswith("median of 2: ")
    predictor = runtime.open(model)
    expected = runtime.render(predictor.convention, photograph, predictor.predict_tiled(photograph))
    written = np.asarray(PIL.Image.open(tmp_path / "answers" / "cell.small.png"))
    np.testing.assert_array_equal(written, expected)


def test_super_resolution(photograph, tmp_path):
    path = small_models.write_tflite(
        tmp_path / "sr.tflite",
        small_models.super_resolution_model(),
        small_models.SUPER_RESOLUTION,
    )
    done = run(sys.executable, path, photograph, "--out", "large", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert imaging.read_image(tmp_path / "large" / "cell.sr.png").shape == (300, 450, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.tflite", "photograph"], "error: No such file"),
        (["model", "missing.png"], "error: No such image"),
        (["model"], "give pictures, or --camera"),
        (["model", "--camera"], "error: The camera needs picamera2"),
        (["model", "--camera", "--frames", "0"], "--frames must be at least 1"),
        (["model", "--camera", "--size", "640"], "must be like 640x480"),
        (["model", "photograph", "--threads", "0"], "error: threads must be at least 1"),
    ],
)
def test_mistakes(model, photograph, tmp_path, arguments, message):
    known = {"model": model, "photograph": photograph}
    done = run(sys.executable, *(known.get(a, a) for a in arguments), cwd=tmp_path)
    assert done.returncode in (1, 2)
    assert message in done.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_in_a_fresh_environment_without_tensorflow(model, photograph, tmp_path):
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", environment], check=True, timeout=120)
    python = environment / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet"]
    for packages in (["-r", FOLDER / "requirements.txt"], ["--no-deps", ROOT]):
        done = subprocess.run(
            [*install, *packages], capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    installed = {line.split("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"kerasdeconv", "ai-edge-litert", "numpy", "pillow", "wrapt"} <= installed
    assert not {"tensorflow", "keras", "onnx", "onnxruntime", "tf-keras"} & installed
    done = run(python, model, photograph, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "median of 1: " in done.stdout
    overlay = imaging.read_image(tmp_path / "answers" / "cell.small.png")
    assert overlay.shape == (100, 150, 3)
