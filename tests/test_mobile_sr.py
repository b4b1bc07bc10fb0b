"""MobileSR: its size, its start, its clip, and its 8-bit files."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf
from export_models import random_weights

from kerasdeconv import layers, models, runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, read_artifact

PARAMETERS = {2: 41_356, 3: 45_691, 4: 51_760}
PICTURE = skimage.data.astronaut()[100:148, 180:228].astype(np.float32)[None]


def nearest(picture: np.ndarray, scale: int) -> np.ndarray:
    return picture.repeat(scale, 1).repeat(scale, 2)


@pytest.mark.parametrize("scale", PARAMETERS)
def test_parameters(scale):
    model = models.MobileSR(scale=scale)
    assert model.count_params() == PARAMETERS[scale] < 60_000
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert {c.kernel_size for c in convolutions} == {(3, 3)}
    assert [c.filters for c in convolutions] == [32] * 5 + [3 * scale**2]
    assert [c.activation.__name__ for c in convolutions] == ["relu"] * 5 + ["linear"]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_starts_as_nearest_neighbour_upsampling(scale):
    model = models.MobileSR(scale=scale)
    difference = model(PICTURE).numpy() - nearest(PICTURE, scale)
    assert 0 < np.abs(difference).mean() < 10
    # Exactly so without residuals: each pixel of the input is at its place.
    layer = model.get_layer("residual")
    layer.set_weights([0 * w for w in layer.get_weights()])
    np.testing.assert_array_equal(model(PICTURE), nearest(PICTURE, scale))


def test_the_clip_lets_gradients_through_at_the_start():
    """As many as without it, but for pixels that are black or white already."""
    target = np.full((1, 96, 96, 3), 128, np.float32)
    lengths = []
    for clip in (True, False):
        keras.utils.set_random_seed(0)
        model = models.MobileSR(clip=clip)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(PICTURE) - target))
        gradients = tape.gradient(loss, [v.value for v in model.trainable_weights])
        lengths.append([float(tf.norm(g)) for g in gradients])
    clipped, free = np.array(lengths)
    assert (clipped > 0.5 * free).all()


def test_clips_to_pixels():
    hard = random_weights(models.MobileSR(width=8, depth=2))
    soft = models.MobileSR(width=8, depth=2, clip=False)
    soft.set_weights(hard.get_weights())
    answer = soft(PICTURE).numpy()
    assert answer.min() < -1 and answer.max() > 256
    np.testing.assert_allclose(hard(PICTURE), answer.clip(0, 255), atol=1e-3)
    units = models.MobileSR(width=8, depth=2, include_rescaling=False)
    units.set_weights(hard.get_weights())
    expected = hard(PICTURE).numpy() / 255
    np.testing.assert_allclose(units(PICTURE / 255), expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_repeated_channels_are_the_anchor(channels):
    x = np.random.default_rng(0).normal(size=(2, 4, 5, channels)).astype(np.float32)
    layer = layers.RepeatChannels(9)
    np.testing.assert_array_equal(layer(x), np.tile(x, 9))
    np.testing.assert_array_equal(layers.DepthToSpace(3)(layer(x)), nearest(x, 3))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.times == 9 and not layer.weights
    assert layer.compute_output_shape((None, None, 5, channels))[1:] == (None, 5, 9 * channels)
    with pytest.raises(ValueError, match=r"times must be 1 or more\. Received: 0$"):
        layers.RepeatChannels(0)


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize("scale", [2, 3])
def test_int8(target, scale, tmp_path):
    """Every operator in integers, the clip for nothing, the answer within a level or two."""
    model = zoo.load(f"mobile_sr_x{scale}", weights=None)
    samples = np.concatenate([PICTURE, 255 - PICTURE])
    report = export(
        model,
        tmp_path,
        target=target,
        precision="int8",
        size=(48, 48),
        calibration=samples,
        tune=False,
    )
    assert float_operators(read_artifact(report.artifact), "int8") == []
    assert "clip: left to the output's saturation" in report.rewrites
    if target == "android-cpu":
        # The convolutions of the model, and one that repeats the pixels.
        count = sum(isinstance(layer, keras.layers.Conv2D) for layer in model.layers) + 1
        expected = {"CONV_2D": count, "QUANTIZE": 2, "ADD": 1, "DEPTH_TO_SPACE": 1}
        assert report.operators == expected
        # All of it runs in XNNPACK; the samples are few.
        assert [w[:15] for w in report.warnings] == ["calibrated with"]
    (got,) = runtime.open(report.artifact).run(PICTURE)
    assert np.abs(got - model(PICTURE)).max() <= 2  # roundings of residual and sum


def test_int8_clips_like_the_network(tmp_path):
    model = random_weights(models.MobileSR((16, 16, 3), width=8, depth=1))
    convention = Convention(
        task="super-resolution",
        color="rgb",
        value_range=(0.0, 255.0),
        output="pixels",
        scale=2,
    )
    picture = np.where(np.arange(16)[:, None] < 8, 0.0, 255.0).astype(np.float32)
    picture = np.broadcast_to(picture[None, ..., None], (1, 16, 16, 3))
    report = export(
        model,
        tmp_path,
        target="android-cpu",
        precision="int8",
        calibration=picture,
        convention=convention,
        tune=False,
    )
    expected = model(picture).numpy()
    assert (expected.min(), expected.max()) == (0, 255)
    (got,) = runtime.open(report.artifact).run(picture)
    assert (got.min(), got.max()) == (0, 255)
    assert np.abs(got - expected).mean() < 2
    assert Path(report.artifact).exists()
