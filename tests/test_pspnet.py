"""PSPNet: the paper's numbers, and what the pyramid computes."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.models.pspnet import pyramid_pooling


def trainable(model: keras.Model, *starts: str) -> int:
    weights = [v for v in model.trainable_weights if v.path.startswith(starts)]
    return sum(int(np.prod(v.shape)) for v in weights)


def test_the_papers_counts():
    """On 2048 channels: four levels of 512, and a classifier for 21 classes on 4096."""
    model = models.PSPNet((96, 144, 3))
    assert trainable(model, "bins_") == 4_198_400
    assert trainable(model, "classifier", "head") == 18_886_165
    assert model.get_layer("pyramid").output.shape == (None, 12, 18, 4096)
    assert model.get_layer("dropout").rate == 0.1


@pytest.fixture
def pyramid() -> keras.Model:
    x = keras.Input((12, 6, 8))
    model = keras.Model(x, pyramid_pooling(x, (1, 3)))
    for count in (1, 3):
        model.get_layer(f"bins_{count}_conv").set_weights([np.eye(8)[None, None, :, :4]])
    return model


def test_the_levels_by_definition(pyramid):
    x = np.random.default_rng(0).uniform(0, 1, (2, 12, 6, 8)).astype(np.float32)
    got = keras.ops.convert_to_numpy(pyramid(x))
    assert got.shape == (2, 12, 6, 16)
    np.testing.assert_array_equal(got[..., :8], x)
    gain = 1 / np.sqrt(1.001)  # of a BatchNorm without statistics
    whole = x.mean(axis=(1, 2), keepdims=True)[..., :4] * gain
    np.testing.assert_allclose(got[..., 8:12], np.broadcast_to(whole, (2, 12, 6, 4)), rtol=1e-5)
    parts = x.reshape(2, 3, 4, 3, 2, 8).mean(axis=(2, 4))[..., :4] * gain
    # The corners repeat the border's parts; in the middle of a part of 4 rows there is no pixel.
    np.testing.assert_allclose(got[:, 0, 0, 12:], parts[:, 0, 0], rtol=1e-5)
    np.testing.assert_allclose(got[:, -1, -1, 12:], parts[:, -1, -1], rtol=1e-5)
    row = parts[:, 0] * 0.625 + parts[:, 1] * 0.375  # row 3 is 1.5 rows of 4 behind row 1.5
    np.testing.assert_allclose(got[:, 3, 0, 12:], row[:, 0], rtol=1e-5)


def test_every_pixel_sees_the_whole_picture(pyramid):
    x = np.zeros((1, 12, 6, 8), np.float32)
    before = pyramid(x)
    x[0, 11, 5] = 1
    changed = np.asarray(pyramid(x)) != np.asarray(before)
    assert changed[..., 8].all() and not changed[:, :4, :, 12].any()
