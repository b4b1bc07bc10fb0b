"""LapSRN's golden numbers (Lai et al. 2017), and its pyramid."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import models

# (depth, scale): parameters; there is no bias.
PARAMETERS = {
    (10, 2): 435_344,
    (10, 4): 870_112,
    (10, 8): 1_304_880,
    (5, 2): 251_024,
    (5, 4): 501_472,
    (5, 8): 751_920,
}
PICTURE = np.random.default_rng(0).uniform(0, 255, (2, 9, 8, 1)).astype(np.float32)


@pytest.mark.parametrize(("depth", "scale"), PARAMETERS)
def test_parameters(depth, scale):
    assert models.LapSRN(scale=scale, depth=depth).count_params() == PARAMETERS[depth, scale]


def test_the_papers_layers():
    model = models.LapSRN(scale=4)
    levels = [[x for x in model.layers if x.name.startswith(f"level_{i}")] for i in range(2)]
    for level in levels:
        convolutions = [x for x in level if isinstance(x, keras.layers.Conv2D)]
        assert [c.filters for c in convolutions] == [64] * 10 + [1]
        assert {c.kernel_size for c in convolutions} == {(3, 3)}
        ups = {x.name[8:]: x for x in level if isinstance(x, keras.layers.Conv2DTranspose)}
        assert {(n, u.filters, u.kernel_size, u.strides) for n, u in ups.items()} == {
            ("up", 64, (4, 4), (2, 2)),
            ("image_up", 1, (4, 4), (2, 2)),
        }
    assert not any(getattr(x, "use_bias", False) for x in model.layers)
    activation = model.get_layer("level_1_9").activation
    np.testing.assert_allclose(activation(np.array([-1.0, 1.0], np.float32)), [-0.2, 1.0])


def test_outputs_finest_first():
    model = models.LapSRN((9, 8, 1), 8, width=4, depth=1)
    assert [tuple(x.shape[1:3]) for x in model.outputs] == [(72, 64), (36, 32), (18, 16)]
    alone = models.LapSRN((9, 8, 1), 8, width=4, depth=1, progressive=False)
    random_weights(model)
    alone.set_weights(model.get_weights())
    assert [v.path for v in alone.weights] == [v.path for v in model.weights]
    assert alone.output_shape == (None, 72, 64, 1)
    np.testing.assert_allclose(alone(PICTURE), model(PICTURE)[0], rtol=1e-5)


def test_each_level_adds_to_the_enlarged_picture_of_the_one_before():
    """Without residuals it is bilinear resize, level by level."""
    model = models.LapSRN(scale=4, width=4, depth=1)
    for i in range(2):
        layer = model.get_layer(f"level_{i}_residual")
        layer.set_weights([0 * layer.kernel.numpy()])
    finest, coarse = model(PICTURE)
    twice = keras.layers.UpSampling2D(2, interpolation="bilinear")
    inner = (slice(None), slice(1, -1), slice(1, -1))  # bilinear resize repeats the border pixel
    np.testing.assert_allclose(coarse[inner], twice(PICTURE)[inner], rtol=1e-5)
    np.testing.assert_allclose(finest[inner], twice(coarse)[inner], rtol=1e-5)
    # Reflection continues the picture: its borders are not dark.
    assert coarse.numpy().min() >= PICTURE.min() - 1e-3


def test_residuals_are_pixels():
    """A residual of 1 / 255 in the network's units is one gray level, at each level."""
    model = models.LapSRN(scale=2, width=4, depth=1)
    layer = model.get_layer("level_0_residual")
    parts = keras.Model(
        model.input, [model.output, layer.output, model.get_layer("level_0_image_crop").output]
    )
    random_weights(model)
    answer, residual, image = parts(PICTURE)
    np.testing.assert_allclose(answer, image + 255 * residual, rtol=1e-4, atol=1e-2)


def test_starts_near_bilinear_resize():
    model = models.LapSRN(scale=2)
    twice = keras.layers.UpSampling2D(2, interpolation="bilinear")(PICTURE)
    difference = (model(PICTURE) - twice)[:, 1:-1, 1:-1]
    assert 0 < np.std(difference) < 30
