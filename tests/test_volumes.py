"""Volumes folded into pictures: the same function, without a tensor of five axes inside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import export, layers, models
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.lowering import lower_to_form
from kerasdeconv.layers import folded

L = keras.layers
# Sums of a few hundred float32 products in another order, on outputs of a few layers: some 1e-6 of
# the largest value.
CLOSE = 1e-5
SIDES = (6, 8, 10)


def randomized(model: keras.Model) -> keras.Model:
    """Gives every weight a value that matters; variances are positive."""
    rng = np.random.default_rng(0)
    for variable in model.weights:
        low = 0.5 if "variance" in variable.path else -1.0
        variable.assign(rng.uniform(low, 1.0, variable.shape))
    return model


def network(
    build: Callable[[Any], Any], sides: tuple[int, ...] = SIDES, channels: int = 3
) -> keras.Model:
    inputs = keras.Input((*sides, channels), name="input")
    return randomized(keras.Model(inputs, build(inputs)))


def assert_same(model: keras.Model, batch: int = 1) -> keras.Model:
    shape = (batch, *model.inputs[0].shape[1:])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    lowered, _ = lower_to_form(model, [shape], form="joint", fold_depth=True)
    expected, got = model(x).numpy(), lowered(x).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * np.abs(expected).max())
    return lowered


def assert_folded(lowered: keras.Model) -> None:
    """Five axes are at the doors alone."""
    for layer in lowered.layers:
        if isinstance(layer, (L.InputLayer, folded.FoldDepth, folded.UnfoldDepth)):
            continue
        for output in keras.tree.flatten(layer.output):
            assert len(output.shape) <= 4, layer.name


three = st.tuples(*[st.integers(1, 3)] * 3)
kernels = st.tuples(*[st.integers(1, 5)] * 3)
paddings = st.sampled_from(["same", "valid"])
batches = st.sampled_from([1, 2])
few = settings(max_examples=25, deadline=None)


@few
@given(kernels, three, paddings, batches)
def test_convolution(kernel, strides, padding, batch):
    model = network(
        lambda x: L.Conv3D(4, kernel, strides=strides, padding=padding, activation="relu")(x)
    )
    assert_folded(assert_same(model, batch))


@few
@given(kernels, three, batches)
def test_dilated_convolution(kernel, rates, batch):
    kernel = tuple(min(k, 2) for k in kernel)  # 2 * 3 rows fit
    model = network(lambda x: L.Conv3D(4, kernel, dilation_rate=rates, padding="same")(x))
    assert_folded(assert_same(model, batch))


@few
@given(kernels, three, paddings, batches)
def test_transposed_convolution(kernel, strides, padding, batch):
    model = network(
        lambda x: L.Conv3DTranspose(4, kernel, strides=strides, padding=padding)(x), (3, 4, 5)
    )
    assert_folded(assert_same(model, batch))


def test_transposed_convolution_by_its_definition():
    """Each voxel spreads its kernel, by hand."""
    model = network(lambda x: L.Conv3DTranspose(2, (3, 2, 4), strides=(2, 3, 2))(x), (2, 3, 2), 2)
    lowered, _ = lower_to_form(model, [(1, 2, 3, 2, 2)], form="joint", fold_depth=True)
    x = np.random.default_rng(0).normal(size=(1, 2, 3, 2, 2)).astype(np.float32)
    kernel, bias = model.layers[-1].get_weights()
    expected = np.zeros(model.output_shape[1:]) + bias
    for d, h, w in np.ndindex(2, 3, 2):
        spread = kernel @ x[0, d, h, w]
        expected[2 * d : 2 * d + 3, 3 * h : 3 * h + 2, 2 * w : 2 * w + 4] += spread
    np.testing.assert_allclose(lowered(x)[0], expected, atol=1e-5)  # sums of some ten products


@few
@given(three, three, paddings, batches, st.sampled_from([L.MaxPooling3D, L.AveragePooling3D]))
def test_pooling(size, strides, padding, batch, kind):
    model = network(lambda x: kind(size, strides=strides, padding=padding)(x))
    assert_folded(assert_same(model, batch))


@few
@given(three, three, batches, st.sampled_from(["transpose", "nearest", "linear", "depthwise"]))
def test_upsampling(factor, extra, batch, kind):
    kernel = tuple(f + e - 1 for f, e in zip(factor, extra, strict=True))
    built = {
        "transpose": L.Conv3DTranspose(2, kernel, strides=factor, padding="same"),
        "nearest": L.UpSampling3D(factor),
        "linear": layers.LinearUpsampling(factor),
        "depthwise": layers.DepthwiseConvTranspose(kernel, factor),
    }[kind]
    assert_folded(assert_same(network(built, (3, 4, 5)), batch))


OTHERS: dict[str, Callable[[Any], Any]] = {
    "max of all": lambda x: L.GlobalMaxPooling3D()(x),
    "mean of all": lambda x: L.GlobalAveragePooling3D()(x),
    "squeeze and excite": lambda x: L.Multiply()([x, L.GlobalAveragePooling3D(keepdims=True)(x)]),
    "group norm": lambda x: L.GroupNormalization(3)(x),
    "instance norm": lambda x: L.GroupNormalization(-1)(x),
    "batch norm": lambda x: L.BatchNormalization()(L.ReLU()(x)),
    "prelu": lambda x: L.PReLU(shared_axes=[1, 2, 3])(x),
    "prelu by place": lambda x: L.PReLU()(x),
    "softmax": lambda x: L.Softmax()(x),
    "gelu": lambda x: L.Activation("gelu")(x),
    "leaky": lambda x: L.LeakyReLU(0.3)(x),
    "rescaling": lambda x: L.Rescaling([1.0, 2.0, 3.0], 0.5)(L.ReLU()(x)),
    "dropout": lambda x: L.Dropout(0.5)(x),
    "zeros around": lambda x: L.ZeroPadding3D(((1, 2), (0, 1), (3, 0)))(x),
    "crop": lambda x: L.Cropping3D(((1, 2), (0, 1), (3, 0)))(x),
    "crop like": lambda x: layers.CropLike()([x, L.Cropping3D(1)(x)]),
    "interleave": lambda x: layers.DepthToSpace((2, 1, 2))(L.Conv3D(8, 3, padding="same")(x)),
    "concatenation": lambda x: L.Concatenate()([x, L.ReLU()(x)]),
    "concatenation of slices": lambda x: L.Concatenate(axis=1)([x, L.ReLU()(x)]),
    "sum": lambda x: L.Add()([x, L.ReLU()(x), x]),
    "operation": lambda x: keras.ops.exp(L.ReLU()(x)) + x,
    "groups": lambda x: L.Conv3D(6, 3, groups=3)(x),
    "transposed by other means": lambda x: L.Permute((2, 1, 3, 4))(L.ReLU()(x)),
}
KEPT = ("prelu by place", "concatenation of slices", "operation", "groups")
KEPT += ("transposed by other means",)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name, batch):
    lowered = assert_same(network(OTHERS[name]), batch)
    if name not in KEPT:
        assert_folded(lowered)


NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "unet": lambda: models.UNet3D((8, 16, 16, 1), width=4, depth=2, padding="same"),
    "unet, unpadded": lambda: models.UNet3D((92, 92, 92, 1), width=1),
    "unet, attention": lambda: models.UNet3D(
        (8, 16, 16, 2),
        width=4,
        depth=2,
        padding="same",
        attention=True,
        norm="group",
        upsample="resize_bilinear",
        strides=[(1, 2, 2), 2],
    ),
    "unet, separable": lambda: models.UNet3D(
        (8, 8, 8, 1), width=4, depth=1, padding="same", upsample="separable_transpose"
    ),
    "unet, subpixel": lambda: models.UNet3D(
        (8, 8, 8, 1), width=4, depth=1, padding="same", upsample="subpixel", norm="instance"
    ),
    "vnet": lambda: models.VNet((16, 16, 16, 1), width=2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name):
    lowered = assert_same(NETWORKS[name]())
    assert_folded(lowered)


def test_a_code_becomes_a_volume():
    lowered = assert_same(models.VoxelDecoder((10,), 16, width=4))
    five = [x.name for x in lowered.layers if len(keras.tree.flatten(x.output)[0].shape) == 5]
    assert five == ["start_map", "head_unfold"]


def test_lowered_models_reload(tmp_path):
    """In a process that has imported the package and lowered nothing."""
    model = models.UNet3D((8, 8, 8, 1), width=2, depth=1, padding="same")
    lowered, _ = lower_to_form(model, [(1, 8, 8, 8, 1)], form="joint", fold_depth=True)
    lowered.save(tmp_path / "lowered.keras")
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    program = f"""
import kerasdeconv, keras, numpy, pathlib
folder = pathlib.Path({str(tmp_path)!r})
model = keras.models.load_model(folder / "lowered.keras")
numpy.save(folder / "y.npy", model(numpy.load(folder / "x.npy")))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=Path(export.__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), lowered(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize("name", ["unet", "vnet"])
def test_int8(name, target, tmp_path):
    """Every operator is an integer one, max pooling included, in both formats."""
    model = {
        "unet": lambda: models.UNet3D((8, 16, 16, 1), width=4, depth=2, padding="same"),
        "vnet": lambda: models.VNet((16, 16, 16, 1), width=4, depth=2, activation="relu"),
    }[name]()
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(8, *model.inputs[0].shape[1:])).astype(np.float32)
    report = export.export(
        model, tmp_path, target=target, precision="int8", calibration=samples, tune=False
    )
    artifact = read_artifact(Path(report.artifact))
    assert float_operators(artifact, "int8") == []
    assert not {"CONV_3D", "CONV_3D_TRANSPOSE"} & set(report.operators)
    written = json.loads(Path(report.artifact).with_suffix(".report.json").read_text())
    assert written["verification"]["psnr_db"] > 24
