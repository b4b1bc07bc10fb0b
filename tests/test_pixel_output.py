"""An int8 super-resolution file puts out bytes that are pixels."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import skimage.data

from kerasdeconv import models, runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.pixel_output import without_clip

# Moves of all kinds lie between their convolutions and the doors: slices, joins, crops, reshapes.
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "srcnn": lambda: models.SRCNN((24, 24, 1), 2, width=16),
    "fsrcnn": lambda: models.FSRCNN((24, 24, 1), 2, width=16, activation="relu"),
    "edsr": lambda: models.EDSR((24, 24, 3), 2, width=16, depth=1),
    "lapsrn": lambda: models.LapSRN((24, 24, 1), 4, width=16, depth=1),
    "mobile_sr": lambda: models.MobileSR((24, 24, 3), 3, width=16, depth=2),
}


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


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network(name: str, target: str, tmp_path) -> None:
    """All integers, pixels at both doors, and what the network gives to a few gray levels."""
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    channels = model.input_shape[-1]
    picture = skimage.data.astronaut()[100:148, 180:228, :channels].astype(np.float32)
    samples = picture.reshape(2, 24, 2, 24, channels).swapaxes(1, 2).reshape(4, 24, 24, channels)
    convention = Convention(
        task="super-resolution",
        color="rgb" if channels == 3 else "y",
        value_range=(0.0, 255.0),
        output="pixels",
        scale=model.outputs[0].shape[1] // 24,
    )
    report = export(
        model,
        tmp_path,
        target=target,
        precision="int8",
        calibration=samples,
        convention=convention,
        tune=False,
    )
    assert float_operators(read_artifact(report.artifact), "int8") == []
    for door in (report.input, report.outputs[0]):
        assert door["dtype"] == "uint8"
        assert door["quantization"] == {"scale": 1.0, "zero_point": 0}
    got = runtime.open(report.artifact).run(samples[:1])
    expected = keras.tree.flatten(model(samples[:1]))
    for answer, wanted in zip(got, expected, strict=True):
        error = answer.clip(0, 255) - np.asarray(wanted).clip(0, 255)
        # 8 bits in each of some ten layers of untrained networks, of a range beyond that of pixels.
        assert np.abs(error).mean() < 3


def clipped(maximum: float = 255.0, **options: bool) -> keras.Model:
    inputs = keras.Input((4, 4, 1), name="input")
    x = keras.layers.Conv2D(2, 3, name="conv")(inputs)
    y = keras.layers.ReLU(maximum, name="clip")(x)
    if options.get("read"):
        y = keras.layers.Add(name="add")([x, y])
    return keras.Model(inputs, [y, y] if options.get("twice") else y, name="small")


def test_a_final_clip_is_left_out() -> None:
    model = clipped()
    x = np.random.default_rng(0).uniform(0, 255, (1, 4, 4, 1)).astype(np.float32)
    bare, rewrites = without_clip(model)
    assert rewrites == ["clip: left to the output's saturation"]
    assert [layer.name for layer in bare.layers] == ["input", "conv"]
    np.testing.assert_allclose(model(x), np.clip(bare(x), 0, 255), rtol=1e-6)


@pytest.mark.parametrize("model", [clipped(6.0), clipped(read=True), clipped(twice=True)])
def test_any_other_clip_stays(model: keras.Model) -> None:
    same, rewrites = without_clip(model)
    assert same is model
    assert rewrites == []
