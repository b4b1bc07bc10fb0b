"""MaskSegmenter: encoder, pyramid, ROIAlign and mask head put together."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.layers import ROIAlign

SMALL = {"encoder_width": 4, "channels": 6, "width": 8, "depth": 2, "canonical_size": 16}


@pytest.fixture(scope="module")
def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.MaskSegmenter((64, 96, 3), None, classes=2, **SMALL)


@pytest.fixture(scope="module")
def inputs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    starts, extents = rng.uniform(0, 30, (2, 5, 2)), np.geomspace(3, 33, 5)[:, None]
    boxes = np.concatenate([starts, starts + extents], axis=-1)
    return [rng.uniform(0, 255, (2, 64, 96, 3)).astype(np.float32), boxes.astype(np.float32)]


def test_inputs_and_outputs():
    model = models.MaskSegmenter((256, 256, 3), boxes=8, encoder_width=4, channels=8, width=8)
    assert [tensor.name for tensor in model.inputs] == ["input", "boxes"]
    assert [tensor.shape for tensor in model.inputs] == [(None, 256, 256, 3), (None, 8, 4)]
    assert model.output_shape == (None, 8, 28, 28, 1)
    assert models.MaskSegmenter(boxes=None, size=7, **SMALL).output_shape == (None, None, 14, 14, 1)


def test_the_papers_head():
    """Pyramid and head are those of Mask R-CNN on a feature pyramid."""
    model = models.MaskSegmenter(classes=80, encoder_width=4)
    counts = {layer.name: layer.count_params() for layer in model.layers if layer.weights}
    head = sum(n for name, n in counts.items() if name.startswith(("mask_", "head")))
    assert head == 2_643_280
    assert sum(counts[f"p{k}"] for k in (2, 3, 4, 5)) == 2_360_320
    align = model.get_layer("roi_align")
    assert isinstance(align, ROIAlign)
    assert (align.size, align.stride, align.sampling_ratio) == (14, (4, 8, 16, 32), 2)
    assert (align.canonical_size, align.aligned) == (224, True)


def test_each_box_is_on_its_own(model, inputs):
    picture, boxes = inputs
    together = model(inputs).numpy()
    assert together.shape == (2, 5, 28, 28, 2)
    order = [3, 1, 4, 0, 2]
    # Masks are float32 in [0, 1]; products of other shapes may sum in another order.
    close = {"rtol": 0, "atol": 1e-6}
    np.testing.assert_allclose(model([picture, boxes[:, order]]), together[:, order], **close)
    for k in range(5):
        alone = model([picture, boxes[:, k : k + 1]])
        np.testing.assert_allclose(alone[:, 0], together[:, k], **close)
    for n in range(2):  # the boxes of a picture are cut from that picture
        one = model([picture[n : n + 1], boxes[n : n + 1]])
        np.testing.assert_allclose(one[0], together[n], **close)
    assert np.ptp(together, axis=(0, 1)).max() > 1e-3  # or all that would hold for nothing


def test_the_head_is_the_mask_head(model, inputs):
    head = models.MaskHead((14, 14, 6), 2, width=8, depth=2)
    for layer in head.layers:
        if layer.weights:
            layer.set_weights(model.get_layer(layer.name).get_weights())
    features = keras.Model(model.inputs, model.get_layer("roi_align").output)(inputs)
    expected = head(np.asarray(features).reshape(10, 14, 14, 6)).numpy()
    np.testing.assert_allclose(model(inputs), expected.reshape(2, 5, 28, 28, 2), atol=1e-6)


def test_a_fixed_number_of_boxes_has_the_same_weights(model, inputs):
    fixed = models.MaskSegmenter((64, 96, 3), 5, classes=2, **SMALL)
    fixed.set_weights(model.get_weights())
    np.testing.assert_allclose(fixed(inputs), model(inputs), atol=1e-6)


def test_logits(model, inputs):
    logits = models.MaskSegmenter((64, 96, 3), None, classes=2, head_activation=None, **SMALL)
    logits.set_weights(model.get_weights())
    expected = 1 / (1 + np.exp(-np.asarray(logits(inputs))))
    np.testing.assert_allclose(model(inputs), expected, atol=1e-6)
