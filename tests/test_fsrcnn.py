"""FSRCNN's golden numbers (Dong et al. 2016)."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import layers, models

# (d, s, m): weights as the paper counts, then with biases, then with the slopes of PReLU.
COUNTS = {(56, 12, 4): (12_464, 12_637, 12_809), (32, 5, 1): (3_937, 4_012, 4_086)}


@pytest.mark.parametrize("sizes", COUNTS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_parameters(sizes, scale):
    """They do not depend on the scale."""
    width, bottleneck, depth = sizes
    model = models.FSRCNN(scale=scale, width=width, bottleneck=bottleneck, depth=depth)
    kinds = ("kernel", "bias", "alpha")
    counts = [
        sum(v.value.shape.num_elements() for v in model.weights if v.name == k) for k in kinds
    ]
    assert tuple(np.cumsum(counts)) == COUNTS[sizes]
    assert model.count_params() == COUNTS[sizes][-1]


def test_the_papers_layers():
    model = models.FSRCNN()
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert [(c.filters, c.kernel_size[0]) for c in convolutions] == [
        (56, 5),
        (12, 1),
        *[(12, 3)] * 4,
        (56, 1),
    ]
    (last,) = (x for x in model.layers if isinstance(x, keras.layers.Conv2DTranspose))
    assert (last.filters, last.kernel_size, last.strides) == (1, (9, 9), (3, 3))
    slopes = [x for x in model.layers if isinstance(x, keras.layers.PReLU)]
    assert [tuple(x.alpha.shape) for x in slopes] == [(1, 1, c.filters) for c in convolutions]


@pytest.mark.parametrize("method", layers.UPSAMPLING_METHODS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_borders_are_reflected_everywhere(method, scale):
    """A picture that was continued by hand gives the same answer within."""
    options = {"width": 4, "bottleneck": 3, "depth": 1, "upsample": method}
    model = random_weights(models.FSRCNN(scale=scale, **options))
    picture = np.random.default_rng(0).uniform(0, 255, (1, 9, 8, 1)).astype(np.float32)
    wide = np.pad(picture, [(0, 0), (6, 6), (6, 6), (0, 0)], mode="reflect")
    inner = slice(6 * scale, -6 * scale)
    expected = model(wide).numpy()[:, inner, inner]
    np.testing.assert_allclose(model(picture), expected, rtol=1e-4, atol=1e-2)  # of some 500


def test_any_activation():
    model = models.FSRCNN(activation="relu")
    assert model.count_params() == 12_637
