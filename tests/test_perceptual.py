"""Style transfer's losses, against NumPy, on VGG16 with random weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import imaging, losses, models
from kerasdeconv.losses.perceptual import vgg_features

RNG = np.random.default_rng(0)
TRUTH, GUESS = (RNG.uniform(0, 255, (2, 16, 12, 3)).astype(np.float32) for _ in range(2))
STYLE = RNG.integers(0, 256, (12, 20, 3), np.uint8)
LAYERS = {"content_layers": ("block1_conv2",), "style_layers": ("block1_conv1", "block1_conv2")}


@pytest.fixture(scope="module")
def loss() -> losses.Perceptual:
    keras.utils.set_random_seed(0)
    return losses.Perceptual(STYLE, content_weight=0.5, style_weight=2.0, weights=None, **LAYERS)


def gram(features: np.ndarray) -> np.ndarray:
    flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
    return flat.T @ flat / features.size


def test_gram_matrix():
    features = RNG.normal(size=(2, 3, 5, 4)).astype(np.float32)
    got = keras.ops.convert_to_numpy(losses.gram_matrix(features))
    np.testing.assert_allclose(got, [gram(sample) for sample in features], rtol=1e-5)


def test_features_are_those_of_keras():
    """Pixels are prepared as `keras.applications.vgg16.preprocess_input` prepares them."""
    model = vgg_features(["block1_conv1"], None)
    conv = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    prepared = keras.applications.vgg16.preprocess_input(TRUTH.copy())
    expected = conv(prepared)["block1_conv1"]
    np.testing.assert_allclose(model(TRUTH)["block1_conv1"], expected, atol=1e-3)
    assert not model.trainable_weights


def test_perceptual(loss):
    made, true, style = (
        {name: np.asarray(part) for name, part in loss.features(x).items()}
        for x in (GUESS, TRUTH, STYLE[None].astype(np.float32))
    )
    expected = []
    for i in range(2):
        content = np.mean((made["block1_conv2"][i] - true["block1_conv2"][i]) ** 2)
        styles = sum(
            np.mean((gram(made[layer][i]) - gram(style[layer][0])) ** 2)
            for layer in LAYERS["style_layers"]
        )
        expected.append(0.5 * content + 2.0 * styles)
    assert float(loss(TRUTH, GUESS)) == pytest.approx(np.mean(expected), rel=1e-4)
    weighted = loss(TRUTH, GUESS, np.array([0.0, 3.0]))
    assert float(weighted) == pytest.approx(3 * expected[1] / 2, rel=1e-4)


def test_contents_alone_are_nothing_to_a_picture_itself():
    assert float(losses.Perceptual(weights=None, **LAYERS)(TRUTH, TRUTH)) == 0


def test_total_variation():
    x = GUESS.astype(np.float64)
    steps = (
        (np.diff(x, axis=1) ** 2).mean(axis=(1, 2, 3)),
        (np.diff(x, axis=2) ** 2).mean((1, 2, 3)),
    )
    expected = np.add(*steps)
    loss = losses.TotalVariation()
    assert float(loss(TRUTH, GUESS)) == pytest.approx(expected.mean(), rel=1e-5)
    weighted = loss(TRUTH, GUESS, np.array([0.0, 1.0]))
    assert float(weighted) == pytest.approx(expected[1] / 2, rel=1e-5)


def test_a_style_in_a_file_and_a_copy(loss, tmp_path):
    imaging.write_image(tmp_path / "style.png", STYLE)
    table = {"style": str(tmp_path / "style.png"), "weight": 1.0, "weights": None} | LAYERS
    named = losses.WeightedSum({"perceptual": table, "total_variation": 0.5})
    for original in (loss, named):
        copy = keras.losses.deserialize(keras.losses.serialize(original))
        assert copy.get_config() == original.get_config()


def test_a_network_learns_a_style(loss):
    keras.utils.set_random_seed(0)
    model = models.StyleTransfer((16, 12, 3), width=4, depth=1)
    model.compile(keras.optimizers.Adam(1e-3), loss + 1e-3 * losses.TotalVariation())
    history = model.fit(TRUTH, TRUTH, epochs=4, verbose=0).history["loss"]
    assert history[-1] < history[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"style": np.zeros((4, 4))}, r"H x W x 3\. Received: \(4, 4\)"),
        ({"style_weight": -1.0}, r"0 or more\. Received: content_weight=1\.0, style_weight=-1\.0"),
        ({"content_layers": ("block3_con3",)}, r"Did you mean 'block3_conv3'.*: 'block3_con3'"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        losses.Perceptual(**{"weights": None} | options)
