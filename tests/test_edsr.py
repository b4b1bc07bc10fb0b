"""EDSR's golden numbers (Lim et al. 2017), and its mean colour."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import models
from kerasdeconv.layers import DepthToSpace
from kerasdeconv.models.edsr import DIV2K_MEAN

BASELINE = {2: 1_369_859, 3: 1_554_499, 4: 1_517_571}
FULL = {2: 40_729_603, 3: 43_680_003, 4: 43_089_923}
PICTURE = np.random.default_rng(0).uniform(0, 255, (1, 12, 10, 3)).astype(np.float32)


@pytest.mark.parametrize("scale", BASELINE)
def test_parameters_of_the_baseline(scale):
    assert models.EDSR(scale=scale).count_params() == BASELINE[scale]


@pytest.mark.slow  # 160 MB of weights
@pytest.mark.parametrize("scale", FULL)
def test_parameters_of_the_full_network(scale):
    model = models.EDSR(scale=scale, width=256, depth=32, residual_scale=0.1)
    assert model.count_params() == FULL[scale]


@pytest.mark.parametrize("scale", FULL)
def test_parameters_by_formula(scale):
    """Counted by hand; what holds at width 8 and 16 in the code gives the full network's too."""

    def counted(width: int, depth: int) -> int:
        conv = lambda inputs, outputs: 9 * inputs * outputs + outputs  # noqa: E731
        steps = {2: [4], 3: [9], 4: [4, 4]}[scale]
        inner = (2 * depth + 1) * conv(width, width)
        return conv(3, width) + inner + sum(conv(width, n * width) for n in steps) + conv(width, 3)

    assert counted(256, 32) == FULL[scale]
    for width, depth in ((8, 3), (16, 1)):
        assert models.EDSR(scale=scale, width=width, depth=depth).count_params() == counted(
            width, depth
        )


def test_the_papers_layers():
    model = models.EDSR(scale=4, depth=2, residual_scale=0.1)
    convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
    assert {c.kernel_size for c in convolutions} == {(3, 3)}
    assert [c.filters for c in convolutions] == [64] * 6 + [256, 256, 3]
    activated = {c.name for c in convolutions if c.activation.__name__ == "relu"}
    assert activated == {"block_0_0", "block_1_0"}
    scales = [model.get_layer(f"block_{i}_scale").scale for i in range(2)]
    assert scales == [0.1, 0.1]
    assert sum(isinstance(x, DepthToSpace) for x in model.layers) == 2
    assert not any("scale" in x.name for x in models.EDSR(depth=1).layers if "block" in x.name)


@pytest.mark.parametrize(("scale", "shuffles"), [(2, [2]), (3, [3]), (4, [2, 2]), (8, [2, 2, 2])])
def test_the_steps_of_each_scale(scale, shuffles):
    model = models.EDSR((5, 6, 3), scale, width=4, depth=1)
    blocks = [x.block_size for x in model.layers if isinstance(x, DepthToSpace)]
    assert [b if isinstance(b, int) else b[0] for b in blocks] == shuffles
    assert model.output_shape == (None, 5 * scale, 6 * scale, 3)


def test_a_blank_picture_of_the_mean_colour_is_nothing_to_the_network():
    """Zero padding then continues it as it is: the answer is the mean colour up to the borders."""
    model = models.EDSR(width=8, depth=2)  # biases start at 0
    picture = np.full((1, 6, 7, 3), 255 * np.array(DIV2K_MEAN), np.float32)
    expected = np.full((1, 12, 14, 3), 255 * np.array(DIV2K_MEAN))
    np.testing.assert_allclose(model(picture), expected, atol=1e-3)


def test_other_channels_have_the_mean_of_the_mean():
    model = models.EDSR((4, 4, 1), width=4, depth=1)
    assert model.get_layer("rescale").offset == pytest.approx(-np.mean(DIV2K_MEAN))


def test_a_residual_scale_of_0_leaves_the_blocks_out():
    model = models.EDSR(width=8, depth=2, residual_scale=0.0)
    random_weights(model)
    expected = model(PICTURE).numpy()
    for name in ("block_0_1", "block_1_0"):
        layer = model.get_layer(name)
        layer.set_weights([3 * w for w in layer.get_weights()])
    np.testing.assert_array_equal(model(PICTURE), expected)
    layer = model.get_layer("body")
    layer.set_weights([3 * w for w in layer.get_weights()])
    assert np.abs(model(PICTURE) - expected).max() > 1


def test_residuals_start_small():
    """Thirty-two blocks on one another leave the features at the size that they came in with."""
    model = models.EDSR((12, 10, 3), width=16, depth=32)
    ends = keras.Model(model.input, [model.get_layer(n).output for n in ("head", "block_31_add")])
    first, last = (np.std(part) for part in ends(PICTURE))
    assert last < 8 * first
