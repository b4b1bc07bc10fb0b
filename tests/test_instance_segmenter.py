"""InstanceSegmenter: a detector and the mask head in one network, in use and in training."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.layers import TopCentres

SMALL = {"encoder_width": 4, "channels": 6, "width": 8, "depth": 2, "canonical_size": 16}


@pytest.fixture(scope="module")
def forms() -> tuple[keras.Model, keras.Model]:
    """Both forms of a network with the same weights, handed over by name."""
    keras.utils.set_random_seed(0)
    training = models.InstanceSegmenter((64, 96, 3), None, form="training", **SMALL)
    inference = models.InstanceSegmenter((64, 96, 3), 40, name="other", **SMALL)
    weights = {variable.path: variable for variable in training.weights}
    assert weights.keys() == {v.path for v in inference.weights}
    for variable in inference.weights:
        variable.assign(weights[variable.path])
    return training, inference


def test_inputs_and_outputs(forms):
    training, inference = forms
    assert [tensor.name for tensor in training.inputs] == ["input", "boxes"]
    assert training.output_names == ["centres", "distances", "masks"]
    assert training.output_shape == [(None, 16, 24, 1), (None, 16, 24, 4), (None, None, 28, 28, 1)]
    assert [tensor.name for tensor in inference.inputs] == ["input"]
    assert inference.output_names == ["masks", "boxes", "scores"]
    assert inference.output_shape == [(None, 40, 28, 28, 1), (None, 40, 4), (None, 40)]


def test_both_forms_are_one_network(forms):
    """What is found is on the maps that are learned, and has the masks that are learned."""
    training, inference = forms
    picture = np.random.default_rng(0).uniform(0, 255, (2, 64, 96, 3)).astype(np.float32)
    masks, boxes, scores = (np.asarray(part) for part in inference(picture))
    centres, distances, again = (np.asarray(part) for part in training([picture, boxes]))
    np.testing.assert_allclose(masks, again, atol=1e-6)
    found = expected(centres, distances, 40, 4, 0.05)
    np.testing.assert_allclose(boxes, found[0], atol=1e-4)
    np.testing.assert_allclose(scores, found[1], atol=1e-6)
    assert np.count_nonzero(scores) > 0 and np.ptp(masks) > 1e-3


def test_an_untrained_detector_calls_a_tenth_of_the_cells_centres(forms):
    centres = forms[0]([np.full((1, 64, 96, 3), 100.0), np.float32([[[0, 0, 9, 9]]])])[0]
    np.testing.assert_allclose(centres, 0.1, atol=0.02)


def test_a_map_of_another_stride():
    model = models.InstanceSegmenter(
        (64, 64, 3), 40, strides=(2, 4), centre_stride=2, form="training", **SMALL
    )
    assert model.output_shape[0] == (None, 32, 32, 1)


def expected(
    centres: np.ndarray, distances: np.ndarray, count: int, stride: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of the surest peaks, cell by cell."""
    height, width = centres.shape[1:3]
    boxes = np.zeros((len(centres), count, 4))
    scores = np.zeros((len(centres), count))
    for n, heat in enumerate(centres[..., 0]):
        peaks = []
        for y, x in np.ndindex(heat.shape):
            around = heat[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            if heat[y, x] == around.max() and heat[y, x] >= threshold:
                peaks.append((-heat[y, x], y, x))
        for k, (score, y, x) in enumerate(sorted(peaks)[:count]):
            top, left, bottom, right = distances[n, y, x]
            box = [y + 0.5 - top, x + 0.5 - left, y + 0.5 + bottom, x + 0.5 + right]
            boxes[n, k] = np.clip(np.array(box) * stride, 0, np.array([height, width] * 2) * stride)
            scores[n, k] = -score
    return boxes, scores


class TestTopCentres:
    def maps(self, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        heat = rng.uniform(0, 1, (2, 9, 7, 1)).round(1)  # so that there are ties
        return [heat.astype(np.float32), rng.uniform(0.1, 4, (2, 9, 7, 4)).astype(np.float32)]

    @pytest.mark.parametrize(("count", "threshold"), [(3, 0.05), (20, 0.05), (20, 0.9)])
    def test_by_definition(self, count, threshold):
        maps = self.maps()
        boxes, scores = TopCentres(count, stride=8, threshold=threshold)(maps)
        wanted = expected(*maps, count, 8, threshold)
        np.testing.assert_allclose(boxes, wanted[0], atol=1e-5)
        np.testing.assert_array_equal(scores, np.float32(wanted[1]))

    def test_nothing_is_there(self):
        maps = self.maps()
        boxes, scores = TopCentres(5)([0.04 * maps[0], maps[1]])
        assert not np.asarray(boxes).any() and not np.asarray(scores).any()

    def test_any_size(self):
        inputs = [keras.Input((None, None, 1)), keras.Input((None, None, 4))]
        layer = TopCentres(4, stride=2)
        model = keras.Model(inputs, layer(inputs))
        assert model.output_shape == [(None, 4, 4), (None, 4)]
        again = TopCentres.from_config(layer.get_config())
        for got, wanted in zip(model(self.maps()), again(self.maps()), strict=True):
            np.testing.assert_array_equal(got, wanted)

    @pytest.mark.parametrize(
        ("shapes", "message"),
        [
            ([(1, 9, 7, 2), (1, 9, 7, 4)], r"centres \(N, H, W, 1\).*Received: \(1, 9, 7, 2\) and"),
            ([(1, 9, 7, 1), (1, 9, 8, 4)], r"Received: \(1, 9, 7, 1\) and \(1, 9, 8, 4\)$"),
            ([(1, 2, 2, 1), (1, 2, 2, 4)], r"no 5 centres\. Received: \(1, 2, 2, 1\)$"),
        ],
    )
    def test_mistakes(self, shapes, message):
        with pytest.raises(ValueError, match=message):
            TopCentres(5).compute_output_shape(shapes)
