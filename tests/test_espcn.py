"""ESPCN's golden numbers (Shi et al. 2016), and what its parts do."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.layers import DepthToSpace

# (channels, scale): parameters, counted layer by layer.
PARAMETERS = {
    (1, 2): 21_284,
    (1, 3): 22_729,
    (1, 4): 24_752,
    (3, 2): 26_796,
    (3, 3): 31_131,
    (3, 4): 37_200,
}


def picture(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (2, 12, 15, channels)).astype(np.float32)


@pytest.mark.parametrize(("channels", "scale"), PARAMETERS)
def test_parameters_and_size(channels, scale):
    model = models.ESPCN((12, 15, channels), scale)
    assert model.count_params() == PARAMETERS[channels, scale]
    assert model.output_shape == (None, 12 * scale, 15 * scale, channels)


def test_the_papers_layers():
    model = models.ESPCN()
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert [(c.filters, c.kernel_size) for c in convolutions] == [
        (64, (5, 5)),
        (32, (3, 3)),
        (9, (3, 3)),
    ]
    assert [c.activation.__name__ for c in convolutions] == ["tanh", "tanh", "linear"]
    assert model.get_layer("subpixel_shuffle").block_size in (3, (3, 3))
    assert isinstance(model.get_layer("subpixel_shuffle"), DepthToSpace)
    assert models.ESPCN(activation="relu").get_layer("feature_1").activation.__name__ == "relu"


def test_starts_without_a_checkerboard():
    y = models.ESPCN(scale=2)(picture()).numpy()
    corner = y[:, ::2, ::2]
    assert np.ptp(corner) > 1
    # ICNR: all four pixels of a block are one number, up to float rounding near 255.
    np.testing.assert_allclose(y, corner.repeat(2, 1).repeat(2, 2), atol=1e-3)


def test_pixels_at_both_ends():
    """The rescaling at the two ends is the affine map and its inverse."""
    pixels, units = models.ESPCN(scale=2), models.ESPCN(scale=2, include_rescaling=False)
    units.set_weights(pixels.get_weights())
    rescale, to_pixels = pixels.get_layer("rescale"), pixels.get_layer("to_pixels")
    x = picture()
    inner = units(x * rescale.scale + rescale.offset).numpy()
    expected = inner * to_pixels.scale + to_pixels.offset
    np.testing.assert_allclose(pixels(x), expected, atol=1e-3)
    np.testing.assert_allclose(to_pixels(rescale(x)), x, atol=1e-3)


def test_the_receptive_radius_is_4():
    """The halo of the cards: 2 + 1 + 1 pixels."""
    model = models.ESPCN((21, 21, 1), 2)
    x = np.full((1, 21, 21, 1), 100.0, np.float32)
    changed = x.copy()
    changed[0, 10, 10, 0] = 0
    rows = np.abs(model(x).numpy() - model(changed).numpy()).max(axis=(0, 2, 3)) > 0
    assert np.flatnonzero(rows).tolist() == list(range(2 * 6, 2 * 15))


@pytest.mark.parametrize("scale", [1, 0, -2, 2.5, "2"])
def test_wrong_scale(scale):
    with pytest.raises(ValueError, match=rf"scale must be .*2 or more\. Received: {scale!r}$"):
        models.ESPCN(scale=scale)
