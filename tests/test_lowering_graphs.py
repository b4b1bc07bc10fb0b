"""Lowering of whole graphs: random ones, and models that we did not write."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from export_models import answers, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import layers, runtime
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.lowering import lower, lower_to_form, static
from kerasdeconv.export.verification import compare

L = keras.layers
FORMS = ("keep", "joint", "split", "rows", "concat")
# Layers that keep a map's sides, those that halve them, and those that double them.
SAME = {
    "conv": lambda c: L.Conv2D(c, 3, padding="same"),
    "bare conv": lambda c: L.Conv2D(c, 3, padding="same", use_bias=False),
    "relu conv": lambda c: L.Conv2D(c, 1, activation="relu"),
    "depthwise": lambda c: L.DepthwiseConv2D(3, padding="same"),
    "separable": lambda c: L.SeparableConv2D(c, 3, padding="same"),
    "norm": lambda c: L.BatchNormalization(),
    "relu": lambda c: L.ReLU(),
    "relu6": lambda c: L.ReLU(max_value=6.0),
    "tanh": lambda c: L.Activation("tanh"),
    "prelu": lambda c: L.PReLU(shared_axes=[1, 2]),
    "rescale": lambda c: L.Rescaling(0.5, 0.25),
    "pad and crop": lambda c: keras.Sequential([L.ZeroPadding2D(1), L.Cropping2D(1)]),
    "pad and conv": lambda c: keras.Sequential([L.ZeroPadding2D(1), L.Conv2D(c, 3)]),
    "reflect and conv": lambda c: keras.Sequential([layers.ReflectPadding(1), L.Conv2D(c, 3)]),
    "drop": lambda c: L.Dropout(0.5),
}
HALVE = {
    "stride": lambda c: L.Conv2D(c, 3, strides=2, padding="same"),
    "max": lambda c: L.MaxPooling2D(2),
    "mean": lambda c: L.AveragePooling2D(2),
}
DOUBLE = {
    "transpose": lambda c: L.Conv2DTranspose(c, 4, 2, padding="same"),
    "transpose 3": lambda c: L.Conv2DTranspose(c, 3, 2, padding="same", activation="relu"),
    "nearest": lambda c: L.UpSampling2D(2),
    "bilinear": lambda c: L.UpSampling2D(2, interpolation="bilinear"),
    "subpixel": lambda c: keras.Sequential(
        [L.Conv2D(4 * c, 3, padding="same"), layers.DepthToSpace(2)]
    ),
    "separable": lambda c: layers.DepthwiseConvTranspose(4, 2),
}
MERGE = {"add": L.Add, "join": L.Concatenate, "max": L.Maximum, "times": L.Multiply}


steps = st.tuples(
    st.sampled_from(["same", "same", "size", "merge", "shared"]),
    st.integers(0, 99),  # which layer
    st.integers(0, 2),  # on which of the latest maps
    st.integers(1, 5),  # channels
)


def network(plan: list[tuple[str, int, int, int]], outputs: int, seed: int) -> keras.Model:
    """Some ten layers on maps of 8 x 8 and 4 x 4, with branches, shared layers and outputs."""
    image = keras.Input((8, 8, 3))
    maps = [image]
    shared = L.Conv2D(4, 3, padding="same", activation="relu")
    for kind, which, back, channels in plan:
        x = maps[max(len(maps) - 1 - back, 0)]
        alike = [y for y in maps if y.shape == x.shape and y is not x]
        if kind == "merge" and alike:
            merge = list(MERGE.values())[which % len(MERGE)]()
            x = merge([x, alike[which % len(alike)]])
        elif kind == "shared" and x.shape[-1] == 3:
            x = shared(x)
        elif kind in ("same", "size"):
            table = SAME if kind == "same" else DOUBLE if x.shape[1] == 4 else HALVE
            x = list(table.values())[which % len(table)](channels)(x)
        if not any(x is y for y in maps):
            maps.append(x)
    made = maps[1:][-outputs:] or [L.ReLU()(image)]
    return random_weights(keras.Model(image, made), seed)


@settings(deadline=None, max_examples=60)
@given(
    plan=st.lists(steps, min_size=3, max_size=10),
    outputs=st.integers(1, 2),
    seed=st.integers(0, 9),
    form=st.sampled_from(FORMS),
)
def test_random_graphs(plan, outputs, seed, form):
    model = network(plan, outputs, seed)
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 3)).astype(np.float32)
    lowered, _ = lower_to_form(model, [x.shape], form=form)
    for expected, got in zip(answers(model, x), answers(lowered, x), strict=True):
        # Ten layers, each with some rounding of 1e-6 of its largest value.
        close = 2e-5 * max(np.abs(expected).max(), 1)
        np.testing.assert_allclose(got, expected, rtol=0, atol=close)


def with_decoder(backbone: keras.Model, skips: list[str]) -> keras.Model:
    """A decoder as users write it, on a backbone of keras.applications."""
    x = backbone.output
    for i, name in enumerate(skips):
        x = L.Conv2DTranspose(16, 3, 2, padding="same", use_bias=False, name=f"up_{i}")(x)
        x = L.BatchNormalization(name=f"norm_{i}")(x)
        x = L.Activation("relu", name=f"act_{i}")(x)
        x = L.Concatenate(name=f"join_{i}")([x, backbone.get_layer(name).output])
    x = L.UpSampling2D(2, name="grow")(x)
    x = L.Conv2D(3, 3, padding="same", activation="softmax", name="classes")(x)
    return random_weights(keras.Model(backbone.input, x, name=f"{backbone.name}_decoder"))


def mobilenet_v2() -> keras.Model:
    backbone = keras.applications.MobileNetV2(
        input_shape=(64, 64, 3), alpha=0.35, include_top=False, weights=None
    )
    names = ["block_13_expand_relu", "block_6_expand_relu", "block_3_expand_relu"]
    return with_decoder(backbone, [*names, "block_1_expand_relu"])


def mobilenet_v3() -> keras.Model:
    backbone = keras.applications.MobileNetV3Small(
        input_shape=(64, 64, 3), include_top=False, weights=None, include_preprocessing=False
    )
    return with_decoder(backbone, [])


def resnet50() -> keras.Model:
    backbone = keras.applications.ResNet50(input_shape=(64, 64, 3), include_top=False, weights=None)
    names = ["conv4_block6_out", "conv3_block4_out", "conv2_block3_out", "conv1_relu"]
    return with_decoder(backbone, names)


def densenet() -> keras.Model:
    """BatchNorm before every convolution."""
    backbone = keras.applications.DenseNet121(
        input_shape=(64, 64, 3), include_top=False, weights=None
    )
    return with_decoder(backbone, ["pool4_conv", "pool3_conv"])


def sequential() -> keras.Model:
    return random_weights(
        keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                L.Conv2D(8, 3, strides=2, padding="same"),
                L.BatchNormalization(),
                L.LeakyReLU(),
                L.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
                L.Flatten(),
                L.Dense(10),
                L.Dense(4 * 4 * 16, use_bias=False),
                L.BatchNormalization(),
                L.ReLU(),
                L.Reshape((4, 4, 16)),
                L.Conv2DTranspose(8, 5, 2, padding="same", use_bias=False),
                L.BatchNormalization(),
                L.ReLU(),
                L.UpSampling2D(2),
                L.Conv2D(3, 5, padding="same", activation="tanh"),
            ],
            name="sequential",
        )
    )


def siamese() -> keras.Model:
    """One encoder for two pictures, as a nested model, and one upsampling layer used twice."""
    image = keras.Input((16, 16, 3))
    x = L.Conv2D(8, 3, strides=2, padding="same")(image)
    encoder = keras.Model(image, L.ReLU()(L.BatchNormalization()(x)), name="encoder")
    up = L.Conv2DTranspose(4, 4, 2, padding="same", activation="relu", name="up")
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((16, 16, 3), name="right")
    outputs = [up(encoder(left)), up(encoder(right))]
    return random_weights(keras.Model([left, right], [L.Subtract()(outputs), outputs[0]]))


FOREIGN = {
    f.__name__: f for f in (mobilenet_v2, mobilenet_v3, resnet50, densenet, sequential, siamese)
}


@pytest.mark.parametrize("name", FOREIGN)
def test_models_that_we_did_not_write(name):
    model = FOREIGN[name]()
    lowered = lower(model, "android-cpu")
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(1, *x.shape[1:])).astype(np.float32) for x in model.inputs]
    for expected, got in zip(answers(model, *inputs), answers(lowered, *inputs), strict=True):
        # A hundred layers, each with some rounding of 1e-7 of its largest value.
        np.testing.assert_allclose(got, expected, rtol=0, atol=5e-5 * np.abs(expected).max())
    kinds = {type(layer).__name__ for layer in lowered.layers}
    assert not kinds & {"Conv2DTranspose", "UpSampling2D", "SeparableConv2D"}
    assert "BatchNormalization" not in kinds or name == "densenet"


@pytest.mark.parametrize("name", ["sequential", "siamese", "mobilenet_v2"])
def test_they_export(name, tmp_path):
    model = FOREIGN[name]()
    report = export(model, tmp_path, target="android-cpu", tune=False)
    assert "TRANSPOSE_CONV" not in report.operators


def small_unet() -> keras.Model:
    image = keras.Input((16, 16, 3), name="image")
    skip = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = L.Conv2D(16, 3, strides=2, padding="same", use_bias=False, name="down")(skip)
    x = L.ReLU(name="act")(L.BatchNormalization(name="norm")(x))
    x = L.Conv2DTranspose(8, 4, 2, padding="same", activation="relu", name="up")(x)
    x = L.Concatenate(name="join")([x, skip])
    return random_weights(keras.Model(image, L.Conv2D(4, 3, padding="same", name="head")(x)))


SAMPLES = [
    np.random.default_rng(i).normal(size=(1, 16, 16, 3)).astype(np.float32) for i in range(16)
]


class TestInt8:
    def psnr(self, model: keras.Model, path: Any) -> float:
        return compare(model, runtime.open(path), SAMPLES[:8]).psnr_db or 1e9

    @pytest.mark.parametrize("form", ["joint", "split", "rows"])
    def test_no_worse_than_the_stock_file(self, form, tmp_path):
        from kerasdeconv.export.tflite import to_tflite

        model = small_unet()
        paths = {}
        lowered, _ = lower_to_form(model, [(1, 16, 16, 3)], form=form)
        for name, source in (("stock", static(model, [(1, 16, 16, 3)])), ("own", lowered)):
            paths[name] = tmp_path / f"{name}.tflite"
            content = to_tflite(source, precision="int8", samples=SAMPLES, door="int8")
            paths[name].write_bytes(content)
            assert float_operators(read_artifact(paths[name]), "int8") == []
        # Other scales round otherwise: half a decibel either way is chance.
        assert self.psnr(model, paths["own"]) > self.psnr(model, paths["stock"]) - 0.5
