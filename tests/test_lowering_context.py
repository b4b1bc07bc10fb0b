"""Averages and bilinear enlargement as integers have them: exact, and where they are taken."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from export_models import answers, random_weights

from kerasdeconv.export.lowering import lower, lower_to_form
from kerasdeconv.layers import BinPooling, ResizeLike

L = keras.layers
CLOSE = 1e-5  # a few products of numbers around 1 in float32, summed in another order


def single(layer: Any, shape: tuple[int, ...] = (6, 12, 3)) -> keras.Model:
    image = keras.Input(shape)
    return keras.Model(image, layer(image))


def check(model: keras.Model, form: str, **options: Any) -> list[str]:
    """Lowers a model to a form, compares, and names the classes of its layers."""
    shape = (2, *model.input_shape[1:])
    lowered = lower_to_form(model, [shape], form=form, **options)[0]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    (wanted,), (got,) = answers(model, x), answers(lowered, x)
    assert np.ptp(wanted) > 0.01
    np.testing.assert_allclose(got, wanted, rtol=0, atol=CLOSE)
    for layer in lowered.layers:
        if isinstance(layer, L.DepthwiseConv2D):
            assert len(set(layer.strides)) == 1  # TensorFlow has no other without oneDNN
    return [type(layer).__name__ for layer in lowered.layers[1:]]


@pytest.mark.parametrize("factors", [(2, 2), (1, 3), (5, 1), (4, 3)])
@pytest.mark.parametrize("shape", [(4, 5, 3), (1, 2, 1)])
def test_bilinear_along_one_axis_after_the_other(factors, shape):
    kinds = check(single(L.UpSampling2D(factors, interpolation="bilinear"), shape), "axes")
    assert "UpSampling2D" not in kinds
    assert kinds.count("DepthwiseConv2D") == sum(f for f in factors if f > 1)


def test_nearest_is_not_bilinear():
    assert check(single(L.UpSampling2D(2)), "axes") == ["UpSampling2D"]


@pytest.mark.parametrize("keepdims", [True, False])
def test_a_global_average_is_a_window(keepdims):
    kinds = check(single(L.GlobalAveragePooling2D(keepdims=keepdims)), "window")
    assert kinds == ["AveragePooling2D"] + ["Reshape"] * (not keepdims)


@pytest.mark.parametrize(
    ("layer", "kinds"),
    [
        (L.AveragePooling2D(2), ["DepthwiseConv2D"]),
        (L.AveragePooling2D((2, 4)), ["DepthwiseConv2D", "MaxPooling2D"]),
        (L.AveragePooling2D((3, 6)), ["DepthwiseConv2D", "MaxPooling2D"] * 2),
        (
            L.AveragePooling2D((5, 4), strides=(1, 2)),
            ["DepthwiseConv2D", "DepthwiseConv2D", "MaxPooling2D"],
        ),
    ],
)
def test_an_average_is_a_depthwise_convolution(layer, kinds):
    assert check(single(layer), "depthwise") == kinds


def test_an_average_with_padding_stays():
    """At the border it divides by fewer pixels."""
    layer = L.AveragePooling2D(3, strides=2, padding="same")
    assert check(single(layer), "depthwise") == ["AveragePooling2D"]


@pytest.mark.parametrize(("bins", "kind"), [(1, "GlobalAveragePooling2D"), (3, "AveragePooling2D")])
def test_bins_are_windows(bins, kind):
    assert check(single(BinPooling(bins)), "keep") == [kind]


@pytest.mark.parametrize(("bins", "interpolation"), [(1, "nearest"), (2, "bilinear")])
def test_a_resize_to_another_map_is_an_upsampling(bins, interpolation):
    image = keras.Input((6, 12, 3))
    x = ResizeLike(name="up")([L.AveragePooling2D((6 // bins, 12 // bins))(image), image])
    model = keras.Model(image, x)
    assert check(model, "keep") == ["AveragePooling2D", "UpSampling2D"]
    lowered = lower_to_form(model, [(1, 6, 12, 3)])[0]
    assert lowered.get_layer("up").interpolation == interpolation
    assert lowered.get_layer("up").size == (6 // bins, 12 // bins)


def test_a_resize_by_no_whole_factor_stays():
    image = keras.Input((6, 12, 3))
    x = L.AveragePooling2D((2, 2), strides=(1, 2))(image)
    model = keras.Model(image, ResizeLike(name="up")([x, image]))
    assert check(model, "axes") == ["AveragePooling2D", "ResizeLike"]


def test_who_takes_what():
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", name="conv")(image)
    up = L.UpSampling2D(2, interpolation="bilinear", name="up")(
        L.AveragePooling2D(2, name="pool")(x)
    )
    x = L.Add()([up, x, L.GlobalAveragePooling2D(keepdims=True, name="global")(x)])
    model = random_weights(keras.Model(image, x))

    def kinds(target: str, precision: str) -> set[str]:
        layers = lower(model, target, precision=precision).layers
        names = {type(layer).__name__ for layer in layers}
        return names & {"UpSampling2D", "AveragePooling2D", "GlobalAveragePooling2D"}

    every = {"UpSampling2D", "AveragePooling2D", "GlobalAveragePooling2D"}
    assert kinds("android-cpu", "float32") == kinds("onnxruntime-cpu", "float32") == every
    assert kinds("android-cpu", "int8") == {"UpSampling2D", "GlobalAveragePooling2D"}
    assert kinds("onnxruntime-cpu", "int8") == {"AveragePooling2D"}
