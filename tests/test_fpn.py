"""The feature pyramid: the paper's numbers, and what flows where."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import models
from kerasdeconv.models.fpn import TOP_DOWN, feature_pyramid

RESNET = {4: 256, 8: 512, 16: 1024, 32: 2048}  # channels of C2 to C5


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def pyramid(sources: dict[int, int], side: int = 64, **options) -> keras.Model:
    maps = {s: keras.Input((side // s, side // s, c), name=f"c{s}") for s, c in sources.items()}
    outputs = feature_pyramid(maps, list(sources), **options)
    return keras.Model(list(maps.values()), outputs)


def convolved(x: np.ndarray, layer: keras.layers.Layer) -> np.ndarray:
    """A convolution with padding, by its definition."""
    kernel, bias = (np.asarray(w) for w in layer.get_weights())
    size = len(kernel)
    padded = np.pad(x, [(0, 0), *[(size // 2, size // 2)] * 2, (0, 0)])
    height, width = x.shape[1:3]
    taps = (
        padded[:, i : i + height, j : j + width] @ kernel[i, j] for i, j in np.ndindex(size, size)
    )
    return sum(taps) + bias


def test_the_papers_parameters():
    """On ResNet: 256 * (256 + 512 + 1024 + 2048) + 4 * 256, and 4 * (9 * 256 * 256 + 256)."""
    model = pyramid(RESNET)
    assert model.count_params() == 984_064 + 2_360_320 == 3_344_384
    assert [output.shape[1:] for output in model.outputs] == [
        (16, 16, 256),
        (8, 8, 256),
        (4, 4, 256),
        (2, 2, 256),
    ]
    assert not any(isinstance(layer, keras.layers.Activation) for layer in model.layers)
    names = [layer.name for layer in model.layers if layer.weights]
    assert sorted(names) == sorted(f"p{k}{end}" for k in (2, 3, 4, 5) for end in ("", "_lateral"))


def test_by_definition():
    sources = {2: 3, 4: 5, 16: 4}  # neighbours may be more than a factor of 2 apart
    model = pyramid(sources, channels=6)
    for weight in model.weights:
        weight.assign(normal(*weight.shape, seed=len(weight.shape)) / 4)
    maps = {s: normal(2, 64 // s, 64 // s, c, seed=s) for s, c in sources.items()}
    above, expected = None, []
    for stride, level, factor in ((16, "p4", 1), (4, "p2", 4), (2, "p1", 2)):
        x = convolved(maps[stride], model.get_layer(f"{level}_lateral"))
        if above is not None:
            x = x + above.repeat(factor, axis=1).repeat(factor, axis=2)
        above = x
        expected.insert(0, convolved(x, model.get_layer(level)))
    for got, wanted in zip(model(list(maps.values())), expected, strict=True):
        # Sums of some fifty products of numbers around 1 in float32.
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_context_flows_from_coarse_to_fine_alone():
    model = pyramid({4: 2, 8: 2}, channels=3)
    maps = [normal(1, 16, 16, 2), normal(1, 8, 8, 2)]
    before = model(maps)
    fine, coarse = model([maps[0] + 1, maps[1]]), model([maps[0], maps[1] + 1])
    np.testing.assert_array_equal(fine[1], before[1])
    assert (np.asarray(fine[0]) != np.asarray(before[0])).any()
    assert (np.asarray(coarse[0]) != np.asarray(before[0])).any()


@pytest.mark.parametrize("method", TOP_DOWN)
def test_ways_to_upsample(method):
    model = pyramid({4: 2, 8: 2, 32: 2}, channels=4, upsample=method)
    assert [output.shape[1] for output in model.outputs] == [16, 8, 2]
    learned = [layer.name for layer in model.layers if "_up" in layer.name and layer.weights]
    assert bool(learned) == (method not in ("nearest", "bilinear"))


def test_on_an_encoder():
    model = models.FPN((64, 96, 3), width=4, channels=8)
    assert [output.shape[1:] for output in model.outputs] == [
        (16, 24, 8),
        (8, 12, 8),
        (4, 6, 8),
        (2, 3, 8),
    ]
    # What is coarser than the coarsest map that is asked for is not built.
    names = {layer.name for layer in models.FPN(strides=(4,), width=4).layers}
    assert not any(name.startswith(("encoder_4", "encoder_3", "bottom")) for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"upsample": "nearst"}, r"Did you mean 'nearest'.*Received: 'nearst'"),
        ({"channels": 0}, r"channels must be 1 or more\. Received: 0"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        pyramid({4: 2, 8: 2}, **options)
