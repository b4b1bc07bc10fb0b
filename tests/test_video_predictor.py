"""Video prediction: counts, what frames share, cells against Keras' own, int8, training."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv import data, export, models, zoo
from kerasdeconv.data.motion import moving
from kerasdeconv.data.synthetic_inputs import synthetic_inputs
from kerasdeconv.errors import ExportError
from kerasdeconv.evaluation import evaluate
from kerasdeconv.models.video_predictor import _Cell
from kerasdeconv.train import read_recipe
from kerasdeconv.train.kinds import make_datasets

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ZOO = Path(__file__).parents[1] / "zoo"
TINY = {"width": 4, "hidden": 8, "depth": 1}


def test_parameters():
    """9 weights for each pair of channels of a 3 x 3 kernel, two for each normed channel."""
    encoder = 9 * (16 + 16 * 16 + 16 * 32 + 32 * 32) + 2 * (16 + 16 + 32 + 32)
    translator = 2 * 320 * 96 + 4 * 2 * 9 * 96 * 96 + 2 * (9 * 96 + 320)
    decoder = 16 * (32 * 32 + 32 * 16) + 2 * (32 + 16)
    head = 9 * 16 + 1
    trainable = models.VideoPredictor().trainable_weights
    count = sum(int(np.prod(v.shape)) for v in trainable)
    assert count == encoder + translator + decoder + head == 768_641
    assert zoo.card("video").parameters == count


def test_frames_are_encoded_and_decoded_alone():
    """Frames that change places change the maps' places: the translator alone mixes them."""
    model = models.VideoPredictor((3, 8, 8, 1), 2, **TINY)
    seen = keras.Model(model.input, model.get_layer("frames_seen").output)
    video = np.random.default_rng(0).uniform(0, 255, (2, 3, 8, 8, 1)).astype(np.float32)
    # The same sums for every frame; threads may sum in another order.
    np.testing.assert_allclose(seen(video)[:, ::-1], seen(video[:, ::-1]), atol=1e-5)


def test_a_cell_is_keras_own():
    """ConvLSTM2D with sigmoids; its gates come in another order, and its kernel in two parts."""
    rng = np.random.default_rng(0)
    video = rng.normal(size=(2, 3, 5, 6, 2)).astype(np.float32)
    inputs, cell, state = keras.Input((3, 5, 6, 2)), _Cell(4, "cell"), None
    for t in range(3):
        state = cell(inputs[:, t], state)
    ours = keras.Model(inputs, state[0])
    theirs = keras.layers.ConvLSTM2D(
        4, 3, padding="same", recurrent_activation="sigmoid", bias_initializer="normal"
    )
    theirs.build(video.shape)
    kernel, recurrent, bias = (
        # Theirs are input, forget, news, output.
        np.concatenate([np.split(w, 4, axis=-1)[i] for i in (0, 1, 3, 2)], axis=-1)
        for w in theirs.get_weights()
    )
    cell.of_input.set_weights([kernel, bias])
    cell.of_state.set_weights([recurrent])
    np.testing.assert_allclose(ours(video), theirs(video), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def samples() -> list[np.ndarray]:
    drawn = synthetic_inputs("moving_digits", 8, [(3, 16, 16, 1)])
    return [sample[0][None] for sample in drawn]


class TestExports:
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    def test_convolutions_are_truly_int8(self, target, samples, tmp_path):
        model = models.VideoPredictor((3, 16, 16, 1), 2, **TINY)
        options = {"precision": "int8", "calibration": samples, "tune": False}
        assert not export.export(model, tmp_path, target=target, **options).float_operators

    def test_cells_in_onnx_are_refused_by_name(self, samples, tmp_path):
        """ONNX Runtime has no tanh on integers."""
        model = models.VideoPredictor((3, 16, 16, 1), 1, recurrent=True, **TINY)
        with pytest.raises(ExportError, match=r"Tanh of layer .*int8"):
            export.export(
                model,
                tmp_path,
                target="onnxruntime-cpu",
                precision="int8",
                calibration=samples,
                tune=False,
            )


class TestMotion:
    def test_straight_on_and_back_from_the_borders(self):
        dot = np.full((1, 1, 1, 1), 200, np.uint8)
        video = moving(np.random.default_rng(3), dot, 60, (21, 31))
        places = np.argwhere(video[..., 0])
        assert (places[:, 0] == np.arange(60)).all() and set(video.ravel()) == {0, 200}
        ways = places[:, 1:]
        assert ways.min() >= 0 and (ways.max(axis=0) <= [20, 30]).all()
        steps = np.diff(ways, axis=0)
        # As far in every frame, but for rounding and where it bounces.
        assert (np.abs(steps) <= [3, 4]).all()
        assert {1, -1} <= set(np.sign(steps[:, 0])) or {1, -1} <= set(np.sign(steps[:, 1]))

    def test_the_brighter_pixel_counts(self):
        pictures = np.array([100, 50], np.uint8)[:, None, None, None] + np.zeros(
            (2, 8, 8, 1), np.uint8
        )
        video = moving(np.random.default_rng(0), pictures, 4, (8, 8))
        assert (video == 100).all()

    def test_pictures_larger_than_a_frame(self):
        with pytest.raises(ValueError, match=r"fit into \(8, 8\)\. Received: \(9, 8\)$"):
            moving(np.random.default_rng(0), np.zeros((1, 9, 8, 1)), 2, (8, 8))

    def test_frames_follow_those_seen(self):
        digits = np.stack(data.synthetic_samples("digits", 4, (10, 10)))[..., :1]
        options = {"frames": 3, "horizon": 2, "sides": (20, 24), "batch_size": 2, "seed": 5}
        batches, same = (data.MovingPictures(digits, **options) for _ in range(2))
        seen, following = batches[1]
        assert seen.shape == (2, 3, 20, 24, 1) and following.shape == (2, 2, 20, 24, 1)
        assert seen.dtype == np.float32 and seen.max() > 200
        np.testing.assert_array_equal(same[1][0], seen)
        step = np.abs(following[:, 0] - seen[:, -1]).mean()
        assert 0 < step < np.abs(following[:, 0] - seen[::-1, -1]).mean()


def test_a_recipes_batches(tmp_path):
    """The committed recipe; other digits move in the videos that it is validated on."""
    recipe = read_recipe(ZOO / "video.moving_mnist" / "recipe.toml")
    digits = data.read_pictures(data.write_synthetic("digits", tmp_path / "mnist", 12)).pixels
    small = dataclasses.replace(recipe.data, last=4, batch=2)
    training, held = make_datasets(dataclasses.replace(recipe, data=small), tmp_path)
    np.testing.assert_array_equal(training.pictures, digits[:8])
    np.testing.assert_array_equal(held.pictures, digits[8:])
    assert (len(training), len(held)) == (recipe.data.steps, 64)
    assert [part.shape for part in training[0]] == [(2, 10, 64, 64, 1)] * 2


@pytest.mark.parametrize("recurrent", [False, True])
def test_a_short_training_lowers_the_loss(recurrent):
    keras.utils.set_random_seed(0)
    digits = np.stack(data.synthetic_samples("digits", 16, (8, 8)))[..., :1]
    batches = data.MovingPictures(
        digits, frames=3, horizon=2, sides=(16, 16), batch_size=8, steps=20
    )
    model = models.VideoPredictor((3, 16, 16, 1), 2, recurrent=recurrent, **TINY)
    model.compile(keras.optimizers.Adam(1e-2), "mean_squared_error")
    losses = model.fit(batches, epochs=2, verbose=0).history["loss"]
    assert losses[1] < 0.8 * losses[0]


def test_measured_beside_the_last_frame(tmp_path):
    """A network that repeats the last frame is as good as that."""
    data.write_synthetic("digits", tmp_path, 12, (12, 12))
    inputs = keras.Input((3, 32, 32, 1))
    model = keras.Model(inputs, keras.ops.repeat(inputs[:, -1:], 2, axis=1), name="copy")
    convention = zoo.card("video").convention
    measured = evaluate(model, tmp_path, convention=convention)
    figures = measured["metrics"]
    assert measured["images"] == 256
    assert figures["psnr"] == pytest.approx(figures["psnr_last_frame"])
    assert figures["psnr_gain"] == pytest.approx(0)
    # Digits that have moved on twice as far overlap less.
    first, second = figures["psnr_by_frame"]
    assert first > second
    assert np.mean([first, second]) == pytest.approx(figures["psnr"])
