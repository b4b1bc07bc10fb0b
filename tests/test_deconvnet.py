"""DeconvNet's golden numbers (Noh et al. 2015) and its mirror image."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from kerasdeconv import layers, models

PARAMETERS = 251_772_245  # 21 classes, without BatchNorm, counted layer by layer
CHANNELS = 4224 + 2 * 4096 + 512 + 3776  # of all normalized layers: encoder, bottom, decoder


def weightless(*args, **kwargs) -> keras.Model:
    """A network whose variables have shapes and no values: full size costs nothing."""
    with keras.StatelessScope(initialize_variables=False):
        return models.DeconvNet(*args, **kwargs)


def of_kind(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def test_parameters():
    assert weightless(norm=None).count_params() == PARAMETERS
    # With BatchNorm each channel has a scale and an offset instead of a bias.
    trainable = weightless().trainable_weights
    assert sum(math.prod(v.shape) for v in trainable) == PARAMETERS + CHANNELS


class TestThePapersNetwork:
    def test_convolutions(self):
        convolutions = of_kind(weightless(), keras.layers.Conv2D)
        assert [x.filters for x in convolutions] == [
            64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512, 4096, 4096,
            512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 64, 21,
        ]  # fmt: skip
        assert [x.kernel_size[0] for x in convolutions] == [3] * 13 + [7, 1] + [3] * 13 + [1]
        (bottom,) = of_kind(weightless(), keras.layers.Conv2DTranspose)
        assert (bottom.filters, bottom.kernel_size, bottom.padding) == (512, (7, 7), "valid")

    def test_sizes(self):
        """Down to one pixel and up to 7, 14, 28, 56, 112 and 224."""
        model = weightless()
        assert model.input_shape == (None, 224, 224, 3)
        assert model.get_layer("fc7_act").output.shape == (None, 1, 1, 4096)
        assert model.get_layer("fc6_deconv_act").output.shape == (None, 7, 7, 512)
        sizes = [model.get_layer(f"decoder_{level}_up").output.shape[1] for level in range(5)]
        assert sizes == [224, 112, 56, 28, 14]
        assert model.output_shape == (None, 224, 224, 21)

    def test_unpooling_uses_the_mirrored_poolings_indices(self):
        model = weightless()
        assert len(of_kind(model, layers.MaxUnpooling)) == 5
        for level in range(5):
            _, indices = model.get_layer(f"encoder_{level}_pool").output
            _, used = model.get_layer(f"decoder_{level}_up").input
            assert used is indices

    def test_everything_but_the_scores_is_normalized(self):
        normed = of_kind(weightless(), keras.layers.BatchNormalization)
        assert len(normed) == 13 + 2 + 1 + 13
        assert sum(x.gamma.shape[0] for x in normed) == CHANNELS

    @pytest.mark.slow
    def test_it_runs(self):
        model = models.DeconvNet(norm=None)
        assert model.count_params() == PARAMETERS
        answer = model.predict(np.zeros((1, 224, 224, 3), np.float32), verbose=0)
        np.testing.assert_allclose(answer.sum(axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize("side", [224, 256, 480])
def test_larger_pictures(side):
    model = weightless((side, 224, 3), width=2, fc_width=2)
    assert model.output_shape == (None, side, 224, 21)
    assert model.get_layer("fc7_act").output.shape[1] == side // 32 - 6


@pytest.mark.parametrize(
    ("side", "nearest"), [(192, "224 and 256"), (32, "224 and 256"), (250, "224 and 256")]
)
def test_refused_sizes(side, nearest):
    with pytest.raises(ValueError, match=rf"nearest are {nearest}\. Received: {side}$"):
        weightless((224, side, 3))


@pytest.mark.parametrize("upsample", layers.UPSAMPLING_METHODS)
def test_the_twin_without_indices(upsample):
    model = weightless(width=2, fc_width=2, upsample=upsample)
    assert model.output_shape == (None, 224, 224, 21)
    assert not of_kind(model, layers.MaxUnpooling) + of_kind(model, layers.MaxPoolingWithIndices)


def test_names_are_stable():
    """Weights files are keyed by them."""
    names = [x.name for x in weightless(width=1, fc_width=1, norm=None).layers if x.weights]
    encoder = [f"encoder_{k}_{i}_conv" for k, n in enumerate((2, 2, 3, 3, 3)) for i in range(n)]
    decoder = [
        f"decoder_{k}_{i}_conv"
        for k, n in ((4, 3), (3, 3), (2, 3), (1, 2), (0, 2))
        for i in range(n)
    ]
    assert names == [*encoder, "fc6_conv", "fc7_conv", "fc6_deconv", *decoder, "head"]
