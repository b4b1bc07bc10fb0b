"""What super-resolution networks share, and what their cards say of all of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import skimage.data
import tensorflow as tf

from kerasdeconv import imaging, models, zoo
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.models.super_resolution import check_scale, from_pixels, to_pixels

PICTURE = np.random.default_rng(0).uniform(0, 255, (1, 3, 4, 3)).astype(np.float32)


def open_weights(model: keras.Model) -> keras.Model:
    """Weights that let every pixel through: with bright pixels no ReLU is shut, nothing cancels."""
    rng = np.random.default_rng(0)
    model.set_weights(
        [rng.uniform(0.5, 1.5, w.shape) / max(np.prod(w.shape[:-1]), 1) for w in model.weights]
    )
    return model


def reach(model: keras.Model, scale: int, side: int) -> int:
    """How far the input pixels lie that change the output pixels of the one in the middle."""
    middle = side // 2
    x = tf.constant(np.random.default_rng(1).uniform(200, 250, (1, side, side, 1)), tf.float32)
    x = tf.repeat(x, model.input_shape[-1], axis=-1)
    block = slice(middle * scale, (middle + 1) * scale)
    with tf.GradientTape() as tape:
        tape.watch(x)
        answer = keras.tree.flatten(model(x))[0][:, block, block]
        value = tf.reduce_sum(answer)
    found = np.argwhere(tape.gradient(value, x).numpy().any(axis=-1)[0])
    return int(np.abs(found - middle).max())


@pytest.mark.parametrize("name", zoo.list_models(task="super-resolution"))
def test_the_halo_of_the_card(name):
    """It depends on kernels, depth and scale, not on the width."""
    card = zoo.card(name)
    narrow = {} if card.builder == "ESPCN" else {"width": 8}
    if card.builder == "MobileSR":
        narrow["clip"] = False  # a clipped pixel has no gradient
    if card.builder == "EDSR":
        narrow["residual_scale"] = 1.0  # 0.1^32 is less than float32 holds beside 1
    model = getattr(models, card.builder)(**(card.arguments | narrow))
    side = 2 * card.convention.halo + 5
    assert reach(open_weights(model), card.convention.scale, side) == card.convention.halo


@pytest.mark.parametrize("name", zoo.list_models(task="super-resolution", pretrained=True))
def test_no_frame_around_the_picture(name):
    """The outermost pixels, which figures leave out, are not much worse than bicubic ones."""
    scale = zoo.card(name).convention.scale
    photograph = skimage.data.astronaut()[:192, 132:324]
    low = imaging.to_uint8(imaging.resize_bicubic(photograph, 1 / scale))
    answer = KerasPredictor(zoo.load(name)).predict(low)
    bicubic = imaging.to_uint8(imaging.resize_bicubic(low, scale))
    found, usual = (_frame(picture - photograph.astype(float)) for picture in (answer, bicubic))
    # Where the photograph is flat bicubic's errors are next to nothing: 6 levels are not seen.
    assert (found < np.maximum(2 * usual, 6)).all()


def _frame(error: np.ndarray) -> np.ndarray:
    """Root mean square of the error on each side of the six outermost rings, 6 x 4."""
    rings = [[error[n], error[-1 - n], error[:, n], error[:, -1 - n]] for n in range(6)]
    return np.sqrt([[np.square(side).mean() for side in ring] for ring in rings])


@pytest.mark.parametrize("center", [0.5, [0.1, 0.5, 0.9]])
def test_pixels_come_back(center):
    inputs = keras.Input((3, 4, 3))
    inner = from_pixels(inputs, True, center)
    model = keras.Model(inputs, [inner, to_pixels(inner, True, center)])
    middle, end = model(PICTURE)
    np.testing.assert_allclose(middle, PICTURE / 255 - np.array(center), atol=1e-6)
    np.testing.assert_allclose(end, PICTURE, atol=1e-4)  # two roundings near 255
    assert from_pixels(inputs, False, center) is inputs
    assert to_pixels(inputs, False, center) is inputs


def test_whole_numbers_alone():
    for scale in (2, 3, 7):
        check_scale(scale)
    check_scale(8, (2, 8))
    for scale in (1, True, 2.0, None):
        with pytest.raises(ValueError, match=rf"2 or more\. Received: {scale!r}$"):
            check_scale(scale)
    for scale in (4, 2.0, True):
        with pytest.raises(ValueError, match=rf"must be 2, 3 or 8\. Received: {scale!r}$"):
            check_scale(scale, (2, 3, 8))
