"""The mask head's golden numbers (He et al. 2017), and its structure."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.layers import UPSAMPLING_METHODS

PARAMETERS = {80: 2_643_280, 81: 2_643_537}


@pytest.mark.parametrize("classes", PARAMETERS)
def test_parameters_and_size(classes):
    model = models.MaskHead(classes=classes)
    assert model.count_params() == PARAMETERS[classes]
    assert model.input_shape == (None, 14, 14, 256)
    assert model.output_shape == (None, 28, 28, classes)


def test_normalization():
    """Gain and shift of 256 channels, four times: 2,048; biases, if kept, are 4 * 256 more."""

    def trainable(model: keras.Model) -> int:
        return sum(int(np.prod(v.shape)) for v in model.trainable_weights)

    assert trainable(models.MaskHead(norm="batch", use_bias=True)) == PARAMETERS[80] + 2_048
    assert trainable(models.MaskHead(norm="batch")) == PARAMETERS[80] + 2_048 - 1_024


def test_the_papers_layers():
    model = models.MaskHead()
    kinds = [
        (type(layer).__name__, layer.filters, layer.kernel_size, layer.strides)
        for layer in model.layers
        if layer.weights
    ]
    assert kinds == [
        *[("Conv2D", 256, (3, 3), (1, 1))] * 4,
        ("Conv2DTranspose", 256, (2, 2), (2, 2)),
        ("Conv2D", 80, (1, 1), (1, 1)),
    ]
    assert model.get_layer("mask_up").activation is keras.activations.relu
    assert model.layers[-1].activation is keras.activations.sigmoid


@pytest.mark.parametrize("method", UPSAMPLING_METHODS)
def test_every_upsampling_doubles(method):
    model = models.MaskHead((7, 7, 4), 2, width=4, depth=1, upsample=method)
    assert model.output_shape == (None, 14, 14, 2)


def test_classes_do_not_compete():
    """A class's mask does not change with the scores of another, as it would under a softmax."""
    model = models.MaskHead((5, 5, 4), 3, width=4, depth=1)
    x = np.random.default_rng(0).normal(size=(2, 5, 5, 4)).astype(np.float32)
    before = model(x).numpy()
    kernel, bias = model.get_layer("head").get_weights()
    model.get_layer("head").set_weights([kernel, bias + np.float32([0, 5, 0])])
    after = model(x).numpy()
    np.testing.assert_array_equal(after[..., [0, 2]], before[..., [0, 2]])
    assert (after[..., 1] > before[..., 1]).all()
    logits = models.MaskHead((5, 5, 4), 3, width=4, depth=1, head_activation=None)
    logits.set_weights(model.get_weights())
    # Two ways to compute a sigmoid in float32.
    np.testing.assert_allclose(1 / (1 + np.exp(-logits(x).numpy())), after, atol=1e-6)
