"""Exports for NPUs: the vendor's compiler places every operator on it."""

from __future__ import annotations

import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import models
from kerasdeconv.export import export

TARGETS = ("ethos-u55", "ethos-u65", "ethos-u85")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASDECONV_CACHE", str(tmp_path / "cache"))


def place(model, target, folder):
    """Exports in int8 and returns the report; what the compiler says of it is checked."""
    shape = (8, *model.inputs[0].shape[1:])
    samples = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    options = {"precision": "int8", "head": "logits", "door": "int8", "calibration": samples}
    report = export(random_weights(model), folder, target=target, **options)
    assert report.vendor["tool"] == "ethos-u-vela"
    assert report.vendor["left"] == ()
    assert report.vendor["fraction"] == 1
    assert report.vendor["placed"] == report.vendor["operators"] > 10
    assert report.vendor["cycles"] > 1000
    assert report.float_operators == []
    return report


@pytest.mark.parametrize("target", TARGETS)
def test_a_unet_is_on_the_npu(target, tmp_path):
    model = models.UNet((48, 48, 3), classes=2, width=8, depth=2, padding="same", norm="batch")
    report = place(model, target, tmp_path)
    chosen = [c for c in report.choices if c["family"] == "transposed_convolution"]
    assert [c["source"] for c in chosen] == ["estimated", "estimated"]
    for choice in chosen:
        times = choice["milliseconds"]
        assert set(times) == {"rows", "keep"}
        assert times[choice["form"]] == min(times.values())


@pytest.mark.parametrize(
    "target", ["ethos-u55", *(pytest.param(t, marks=pytest.mark.slow) for t in TARGETS[1:])]
)
def test_a_volume_is_on_the_npu(target, tmp_path):
    """Max pooling, concatenations, windows of slices and transposed convolutions."""
    model = models.UNet3D((16, 16, 16, 1), 2, width=8, depth=2, padding="same", norm="batch")
    report = place(model, target, tmp_path)
    assert not {"DEPTH_TO_SPACE", "CONV_3D"} & set(report.operators)
