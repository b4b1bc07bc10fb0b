"""DeepLabV3+: the paper's numbers, what its parts see, and that it is truly int8."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import export, models, zoo
from kerasdeconv.models.deeplab_v3_plus import atrous_pyramid, decoder

SMALL = {"encoder": "small", "encoder_width": 2, "width": 8, "low_width": 4}


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(v.shape)) for v in model.trainable_weights)


def test_the_papers_aspp():
    x = keras.Input((24, 32, 2048))
    model = keras.Model(x, atrous_pyramid(x))
    assert trainable(model) == 15_535_104
    assert model.output_shape == (None, 24, 32, 256)


def test_the_papers_decoder():
    x, low = keras.Input((6, 8, 256)), keras.Input((24, 32, 256))
    y = keras.layers.Conv2D(21, 1)(decoder(x, low, 4))
    model = keras.Model([x, low], y)
    assert trainable(model) == 1_309_045
    assert model.get_layer("decoder_concat").output.shape == (None, 24, 32, 304)


@pytest.mark.parametrize(
    ("encoder", "output_stride", "rates"),
    [("mobilenet_v2", 8, [12, 24, 36]), ("small", 16, [6, 12, 18]), ("small", 32, [3, 6, 9])],
)
def test_rates_keep_their_distance_in_the_picture(encoder, output_stride, rates):
    model = models.DeepLabV3Plus(
        (64, 96, 3), encoder=encoder, output_stride=output_stride, width=8, low_width=4
    )
    layers = [model.get_layer(f"aspp_{k}_conv") for k in (1, 2, 3)]
    assert [layer.dilation_rate for layer in layers] == [(rate, rate) for rate in rates]
    assert layers[0].input.shape[1:3] == (64 // output_stride, 96 // output_stride)
    assert model.get_layer("decoder_concat").output.shape[1:3] == (16, 24)
    assert model.output_shape == (None, 64, 96, 21)


def test_an_encoder_that_ends_at_the_stride():
    model = models.DeepLabV3Plus(
        (64, 96, 3), encoder="mobilenet_v2", dilate=False, width=8, low_width=4
    )
    assert model.get_layer("aspp_pool").input.shape[1:] == (4, 6, 576)
    assert "encoder_block_13_depthwise" not in {x.name for x in model.layers}


def test_separable_convolutions():
    model = models.DeepLabV3Plus(separable=True, **SMALL)
    deep = [x for x in model.layers if isinstance(x, keras.layers.DepthwiseConv2D)]
    assert [x.name for x in deep] == [
        *(f"aspp_{k}_depthwise" for k in (1, 2, 3)),
        *(f"decoder_{k}_depthwise" for k in (0, 1)),
    ]
    assert all(x.kernel_size == (1, 1) for x in model.layers if x.name.startswith("aspp_1_conv"))


def test_what_the_branches_see():
    """One pixel is seen at the dilated taps, and everywhere by way of the average."""
    x = keras.Input((13, 13, 2))
    model = keras.Model(x, atrous_pyramid(x, (4,), width=4))
    branches = keras.Model(
        x, [model.get_layer(n).output for n in ("aspp_1_conv", "aspp_pooled_up")]
    )
    impulse = np.zeros((1, 13, 13, 2), np.float32)
    impulse[0, 6, 6] = 1, -2
    model.get_layer("aspp_pooled_conv").set_weights([np.ones((1, 1, 2, 4)) * [[[[-1], [-1]]]]])
    dilated, pooled = (np.asarray(y) for y in branches(impulse))
    assert set(zip(*np.nonzero(dilated.any(axis=-1)[0]), strict=True)) == {
        (6 + 4 * i, 6 + 4 * j) for i in (-1, 0, 1) for j in (-1, 0, 1)
    }
    np.testing.assert_allclose(pooled, 1 / 169 / np.sqrt(1.001), rtol=1e-4)


def test_the_mobile_entry():
    assert zoo.card("deeplab_v3_plus.camvid").parameters < 1_500_000


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
def test_is_int8(target, tmp_path):
    """Image pooling and both enlargements too, as the report says."""
    model = models.DeepLabV3Plus((32, 64, 3), 4, output_stride=16, separable=True, **SMALL)
    random_weights(model)
    rng = np.random.default_rng(0)
    samples = [rng.uniform(0, 255, (1, 32, 64, 3)).astype(np.float32) for _ in range(4)]
    report = export.export(
        model, tmp_path, target=target, precision="int8", calibration=samples, tune=False
    )
    assert report.float_operators == []
    assert report.verification["psnr_db"] > 24
