"""Errors on the command line: who made the mistake decides what is shown, and the exit code."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_runs import Ran

import kerasdeconv
from kerasdeconv.cli import main, message
from kerasdeconv.zoo import list_models

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

Run = Callable[..., Ran]


def test_usage(run: Run, tmp_path: Path) -> None:
    run("exprot").refused("'exprot'", "kerasdeconv --help")
    run("export").refused("Missing argument", "kerasdeconv export --help")
    run("list", "--taks", "x").refused("--task")
    run("export", "unet", "--out", tmp_path).refused("--target")
    run("export", "unet", "--out", tmp_path, "--target", "ios", "--batch", 0).refused("--batch")


@pytest.mark.parametrize("place", ["first", "last"])
def test_debug_shows_the_traceback(run: Run, place: str) -> None:
    words = ["show", "unte"]
    done = run(*(["--debug", *words] if place == "first" else [*words, "--debug"]))
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-1].startswith("kerasdeconv: The zoo has no model")


def test_only_mistakes_of_the_user_are_made_short() -> None:
    assert message(_raised(lambda: list_models(task="no task")))
    assert message(_raised(lambda: int("x"))) is None
    assert message(_raised(lambda: np.zeros(2).reshape(3))) is None
    assert message(_raised(lambda: kerasdeconv.imaging.resize_bicubic("x", 2))) is None
    refusal = message(PermissionError(errno.EACCES, "Permission denied", "/etc/x"))
    assert refusal == "Permission denied. Received: '/etc/x'"
    assert message(FileNotFoundError(errno.ENOENT, "No such file", "/package/data")) is None
    missing = message(ModuleNotFoundError("No module named 'tf2onnx'", name="tf2onnx"))
    assert missing is not None
    assert "pip install 'kerasdeconv[export]'" in missing
    assert message(ModuleNotFoundError("No module named 'numpi'", name="numpi")) is None


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kerasdeconv.cli.browsing.card", lambda name: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["show", "unet"])


def test_a_reader_that_leaves_is_no_error() -> None:
    command = [sys.executable, "-m", "kerasdeconv", "list"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr == b""


def test_ctrl_c(exports: Path, tmp_path: Path) -> None:
    pipe, out = tmp_path / "slow.png", tmp_path / "out"
    os.mkfifo(pipe)
    command = ["predict", exports / "cells.float32.tflite", pipe, "--out", out]
    # A shell that runs the tests in the background has them, and what they start, ignore Ctrl-C.
    here = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(
        [sys.executable, "-m", "kerasdeconv", *map(str, command)],
        stderr=subprocess.PIPE,
    )
    signal.signal(signal.SIGINT, here)
    writer = _when_read(pipe, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    os.close(writer)
    assert process.returncode == 130
    assert err.decode() == "kerasdeconv: interrupted\n"
    assert not out.exists()


def _raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("It raised nothing.")


def _when_read(pipe: Path, process: subprocess.Popen[bytes]) -> int:
    """Waits until a process reads a pipe, and opens the other end."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            assert error.errno == errno.ENXIO  # nobody reads it yet
            time.sleep(0.05)
    raise AssertionError("The process never read its input.")
