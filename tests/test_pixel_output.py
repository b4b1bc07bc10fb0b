"""An int8 super-resolution file puts out bytes that are pixels."""

from __future__ import annotations

import numpy as np
import pytest

from kerasdeconv import runtime, zoo
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, read_artifact


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize("door", ["uint8", "float32"])
def test_the_output_is_pixels(target: str, door: str, tmp_path) -> None:
    report = export(
        "espcn_x2", tmp_path, target=target, precision="int8", size=(32, 32), door=door, tune=False
    )
    if door == "uint8":
        assert report.outputs[0]["quantization"] == {"scale": 1.0, "zero_point": 0}
    assert float_operators(read_artifact(report.artifact), "int8") == []
    # A step from black to white overshoots in the network; the file clips it.
    image = np.zeros((1, 32, 32, 1), np.float32)
    image[:, :, 16:] = 255
    expected = zoo.load("espcn_x2").predict_on_batch(image)
    assert expected.min() < -1
    assert expected.max() > 256
    (got,) = runtime.open(report.artifact).run(image)
    assert (got.min(), got.max()) == (0, 255)
    np.testing.assert_array_equal(got, np.rint(got))
    # Away from the step, which is harder than what the ranges were taken from, two levels of 255
    # are what 8-bit weights and activations cost.
    flat = np.r_[0:20, 44:64]
    assert np.abs(got - expected.clip(0, 255))[:, :, flat].max() <= 2
