"""SRCNN's golden numbers (Dong et al. 2014), and its enlargement."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import layers, models, runtime, zoo
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.imaging import resize_bicubic

# Weights alone, as the paper counts; 64 + 32 + 1 biases come on top.
WEIGHTS = {(9, 1, 5): 8_032, (9, 3, 5): 24_416, (9, 5, 5): 57_184}


@pytest.mark.parametrize("kernels", WEIGHTS)
def test_parameters(kernels):
    model = models.SRCNN(kernels=kernels)
    assert model.count_params() == WEIGHTS[kernels] + 97
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert [(c.filters, c.kernel_size[0]) for c in convolutions] == [
        (64, kernels[0]),
        (32, kernels[1]),
        (1, kernels[2]),
    ]
    assert [c.activation.__name__ for c in convolutions] == ["relu", "relu", "linear"]


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_enlargement_is_bicubic_and_all_that_depends_on_the_scale(scale):
    """Without it, the enlarged picture gives the same answer."""
    picture = np.random.default_rng(0).uniform(0, 255, (9, 11, 1)).astype(np.float32)
    whole = random_weights(models.SRCNN(scale=scale, width=8))
    part = models.SRCNN(scale=scale, width=8, include_upsampling=False)
    part.set_weights(whole.get_weights())
    enlarged = resize_bicubic(picture, scale)[None].astype(np.float32)
    assert part(enlarged).shape == (1, 9 * scale, 11 * scale, 1)
    # float32 near 255, through three layers.
    np.testing.assert_allclose(whole(picture[None]), part(enlarged), atol=5e-3)
    assert [x.name for x in whole.layers if isinstance(x, layers.CubicUpsampling)] == ["enlarge"]


def test_the_convention_without_enlargement():
    model = zoo.load("srcnn_x3", weights=None, include_upsampling=False)
    convention = zoo.convention_of(model)
    assert (convention.scale, convention.halo) == (1, 8)
    picture = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)
    assert KerasPredictor(model).predict(picture).shape == picture.shape
    assert isinstance(KerasPredictor(model), runtime.Predictor)


def test_least_sides():
    """The reflection takes 8 pixels of the enlarged picture, 4 + 2 + 2, from within."""
    assert models.SRCNN((3, 3, 1), 3, width=2).output_shape == (None, 9, 9, 1)
    assert models.SRCNN((9, 9, 1), width=2, include_upsampling=False).output_shape[1] == 9
    for sides, options in (((2, 9, 1), {}), ((8, 9, 1), {"include_upsampling": False})):
        with pytest.raises(ValueError, match=rf"This SRCNN does not .*Received: {sides[0]}$"):
            models.SRCNN(sides, 3, width=2, **options)
