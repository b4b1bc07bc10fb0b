"""The notebooks run as they are, from the first cell to the last."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


# The others take a minute or more each.
SHORT = ("super_resolution",)


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=() if path.stem in SHORT else pytest.mark.slow)
        for path in NOTEBOOKS
    ],
)
def test_it_runs(path, tmp_path, monkeypatch):
    # Jupyter looks for the interpreter of its kernels in the folders of the environment.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()  # raises what a cell raises


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} > {*SHORT}
