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
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from kerasdeconv import export, layers, models
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.lowering import fix_shapes, lower_to_form
from kerasdeconv.export.lowering.rewrites import choose, least_work
from kerasdeconv.export.lowering.volumes import fold_volumes
from kerasdeconv.export.lowering.volumes.sums import DEPTH_CONVOLUTION
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.graph import Graph, build, read
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


def assert_same(
    model: keras.Model, batch: int = 1, oracle: Callable[[np.ndarray], np.ndarray] | None = None
) -> keras.Model:
    shape = (batch, *model.inputs[0].shape[1:])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    lowered, _ = lower_to_form(model, [shape], form="joint", fold_depth=True)
    expected, got = (oracle or model)(x), lowered(x).numpy()
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * np.abs(expected).max())
    return lowered


def convolved(x: np.ndarray, layer: L.Conv3D) -> np.ndarray:
    """A convolution by its definition: a sum over the kernel's taps, with TensorFlow's padding."""
    groups, (kernel, bias) = layer.groups, layer.get_weights()
    answer = 0.0
    for tap, seen in by_tap(x, layer.kernel_size, layer, layer.dilation_rate).items():
        inputs = np.split(seen, groups, axis=-1)
        outputs = np.split(kernel[tap], groups, axis=-1)
        answer += np.concatenate([i @ o for i, o in zip(inputs, outputs, strict=True)], axis=-1)
    return answer + bias


def by_tap(
    x: np.ndarray, size: tuple[int, ...], layer: Any, rates: tuple[int, ...], zero: float = 0.0
) -> dict[tuple[int, ...], np.ndarray]:
    """The voxels that each tap of a window sees, with TensorFlow's padding as it is documented."""
    strides, reaches = layer.strides, [(k - 1) * r + 1 for k, r in zip(size, rates, strict=True)]
    margins = [(0, 0)] * 3
    if layer.padding == "same":
        sides = zip(x.shape[1:4], strides, reaches, strict=True)
        totals = [max((-(-n // s) - 1) * s + reach - n, 0) for n, s, reach in sides]
        margins = [(total // 2, total - total // 2) for total in totals]
    x = np.pad(x.astype(np.float64), [(0, 0), *margins, (0, 0)], constant_values=zero)
    seen = {}
    for tap in np.ndindex(*size):
        each = zip(tap, rates, x.shape[1:4], reaches, strides, strict=True)
        cut = [slice(t * r, n - reach + t * r + 1, s) for t, r, n, reach, s in each]
        seen[tap] = x[(slice(None), *cut)]
    return seen


def is_right_in_tensorflow(layer: Any, size: tuple[int, ...]) -> bool:
    """Whether TensorFlow keeps to its documentation.

    It shifts a volume, and volumes alone, where "same" has less than no padding to do.
    """
    return layer.padding == "valid" or all(k >= s for k, s in zip(size, layer.strides, strict=True))


def spread(x: np.ndarray, layer: L.Conv3DTranspose, sides: tuple[int, ...]) -> np.ndarray:
    """A transposed convolution by its definition: each voxel adds its kernel to the output.

    The output begins where the convolution whose gradient it is would begin to pad.
    """
    (kernel, bias), strides, sizes = layer.get_weights(), layer.strides, layer.kernel_size
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[1:4], strides, sizes, strict=True)]
    room = [max(f, n) + f for f, n in zip(full, sides, strict=True)]
    answer = np.zeros((len(x), *room, layer.filters))
    for place in np.ndindex(*x.shape[1:4]):
        at = [slice(p * s, p * s + k) for p, s, k in zip(place, strides, sizes, strict=True)]
        answer[(slice(None), *at)] += np.einsum("dhwoi,ni->ndhwo", kernel, x[(slice(None), *place)])
    same = layer.padding == "same"
    crops = [max(f - n, 0) // 2 if same else 0 for f, n in zip(full, sides, strict=True)]
    cut = [slice(c, c + n) for c, n in zip(crops, sides, strict=True)]
    return answer[(slice(None), *cut)] + bias


def assert_folded(lowered: keras.Model) -> None:
    """Five axes are at the doors alone."""
    for layer in lowered.layers:
        if isinstance(layer, (L.InputLayer, folded.FoldDepth, folded.UnfoldDepth)):
            continue
        for output in keras.tree.flatten(layer.output):
            assert len(output.shape) <= 4, layer.name


def folded_graph(model: keras.Model, shape: tuple[int, ...]) -> Graph:
    graph = read(model)
    fix_shapes(graph, [shape])
    fold_volumes(graph)
    return graph


three = st.tuples(*[st.integers(1, 3)] * 3)
kernels = st.tuples(*[st.integers(1, 5)] * 3)
paddings = st.sampled_from(["same", "valid"])
batches = st.sampled_from([1, 2])
few = settings(max_examples=15, deadline=None)


@few
@example((3, 3, 3), (2, 1, 2), "same", 2, 3)
@given(kernels, three, paddings, batches, st.sampled_from([1, 3]))
def test_convolution(kernel, strides, padding, batch, groups):
    layer = L.Conv3D(6, kernel, strides=strides, padding=padding, groups=groups)
    model = network(layer)
    assert_folded(assert_same(model, batch, lambda x: convolved(x, layer)))
    if is_right_in_tensorflow(layer, kernel):
        assert_same(model, batch)


@few
@given(kernels, three, paddings, batches)
def test_dilated_convolution(kernel, rates, padding, batch):
    kernel = tuple(min(k, 2) for k in kernel)  # 2 * 3 rows fit
    layer = L.Conv3D(4, kernel, dilation_rate=rates, padding=padding)
    model = network(layer)
    assert_folded(assert_same(model, batch, lambda x: convolved(x, layer)))
    assert_same(model, batch)


@few
@example((3, 3, 3), (2, 2, 2), "same", 1, (1, 0, 1), True)
@example((1, 2, 1), (3, 2, 2), "valid", 2, (2, 1, 0), True)
@example((1, 1, 2), (2, 3, 3), "valid", 1, (0, 0, 0), False)  # taps for some phases alone
@given(kernels, three, paddings, batches, st.tuples(*[st.integers(0, 2)] * 3), st.booleans())
def test_transposed_convolution(kernel, strides, padding, batch, extra, is_extra):
    # Keras takes less than the stride.
    extra = tuple(min(e, s - 1) for e, s in zip(extra, strides, strict=True)) if is_extra else None
    layer = L.Conv3DTranspose(4, kernel, strides=strides, padding=padding, output_padding=extra)
    model = network(layer, (3, 4, 5))
    sides = model.output_shape[1:4]
    # TensorFlow refuses to be the gradient of no convolution, as with an even kernel and no extra.
    assume(min(sides) > 0)
    if padding == "same":
        assume(all(-(-n // s) == m for n, s, m in zip(sides, strides, (3, 4, 5), strict=True)))
    assert_folded(assert_same(model, batch, lambda x: spread(x, layer, sides)))


@few
@example((2, 2, 2), (3, 3, 3), (1, 1, 1), "same", 2)
@example((3, 1, 2), (3, 2, 3), (1, 2, 1), "valid", 1)
@given(three, three, three, paddings, batches)
def test_nearest_before_a_convolution(factor, kernel, rates, padding, batch):
    """The large volume is never there, where the depth grows: taps on one slice are one."""
    sides = (4, 5, 6)
    if any(n <= r * (k - 1) for n, k, r in zip(sides, kernel, rates, strict=True)):
        padding = "same"
    layer = L.Conv3D(2, kernel, dilation_rate=rates, padding=padding)
    model = network(lambda x: layer(L.UpSampling3D(factor)(x)), sides)

    def oracle(x):
        for axis, size in enumerate(factor, start=1):
            x = x.repeat(size, axis=axis)
        return convolved(x, layer)

    lowered = assert_same(model, batch, oracle)
    assert_folded(lowered)
    seen = [x for x in lowered.layers if isinstance(x, folded.DepthWindow) and x.size > 1]
    # Of k taps, at most 1 + ceil((k - 1) * rate / factor) slices are different ones.
    most = 1 + -(-(kernel[0] - 1) * rates[0] // factor[0])
    assert all(x.size <= most for x in seen)
    assert all(x.depth == sides[0] for x in seen)


@few
@given(three, three, paddings, batches, st.sampled_from([L.MaxPooling3D, L.AveragePooling3D]))
def test_pooling(size, strides, padding, batch, kind):
    layer = kind(size, strides=strides, padding=padding)
    model = network(layer)
    pool = np.nanmax if kind is L.MaxPooling3D else np.nanmean  # the border has no part in it

    def oracle(x):
        return pool(np.stack(list(by_tap(x, size, layer, (1, 1, 1), np.nan).values())), axis=0)

    assert_folded(assert_same(model, batch, oracle))
    if is_right_in_tensorflow(layer, size):
        assert_same(model, batch)


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


def wide(x: Any) -> Any:
    return L.Conv3D(16, 3, padding="same")(x)


OTHERS: dict[str, Callable[[Any], Any]] = {
    "max of all": lambda x: L.GlobalMaxPooling3D()(x),
    "mean of all": lambda x: L.GlobalAveragePooling3D()(x),
    "squeeze and excite": lambda x: L.Multiply()([x, L.GlobalAveragePooling3D(keepdims=True)(x)]),
    "group norm": lambda x: L.GroupNormalization(4)(wide(x)),
    "group norm, plain": lambda x: L.GroupNormalization(2, center=False, scale=False)(wide(x)),
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
    "squeeze and excite by operators": lambda x: (
        x * keras.ops.sigmoid(L.GlobalAveragePooling3D(keepdims=True)(x))
    ),
    "a single slice": lambda x: L.Add()([x, L.AveragePooling3D((6, 1, 1))(x)]),
    "identity": lambda x: L.Identity()(x),
    "dense": lambda x: L.Dense(5)(x),
    "blocks in a row": lambda x: layers.DepthToSpace((2, 1, 2))(wide(x)),
    "blocks in a column": lambda x: layers.DepthToSpace((1, 2, 1))(wide(x)),
    "blocks, uneven": lambda x: layers.DepthToSpace((1, 2, 4))(wide(x)),
    "blocks of pictures": lambda x: layers.DepthToSpace((1, 2, 2))(wide(x)),
    "blocks": lambda x: layers.DepthToSpace(2)(wide(x)),
    "blocks of one": lambda x: layers.DepthToSpace(1)(wide(x)),
    "concatenation": lambda x: L.Concatenate()([x, L.ReLU()(x)]),
    "concatenation of slices": lambda x: L.Concatenate(axis=1)([x, L.ReLU()(x)]),
    "sum": lambda x: L.Add()([x, L.ReLU()(x), x]),
    "operations": lambda x: 1.5 - keras.ops.maximum(keras.ops.exp(-x), 0.5) / (x * x + 1.0),
    "operation by channel": lambda x: x + np.array([1.0, 2.0, 3.0], np.float32),
    "operation by place": lambda x: x * np.arange(10.0, dtype=np.float32)[:, None],
    "operation by slice": lambda x: x * np.arange(6.0, dtype=np.float32)[:, None, None, None],
    "operation on channels": lambda x: keras.ops.softmax(keras.ops.concatenate([x, -x], axis=4)),
    "operation on slices": lambda x: keras.ops.concatenate([x, x], axis=1),
    "no operation by position": lambda x: keras.ops.flip(x, axis=1),
    "transposed by other means": lambda x: L.Permute((2, 1, 3, 4))(L.ReLU()(x)),
}
KEPT = ("prelu by place", "concatenation of slices", "operation by slice", "operation on slices")
KEPT += ("no operation by position", "transposed by other means")


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", OTHERS)
def test_other_layers(name, batch):
    lowered = assert_same(network(OTHERS[name]), batch)
    if name not in KEPT:
        assert_folded(lowered)


def test_what_stays_on_five_axes_is_said():
    layer = L.PReLU(name="slopes")
    model = network(lambda x: L.ReLU()(layer(x)))
    _, rewrites = lower_to_form(model, [(1, *model.inputs[0].shape[1:])], fold_depth=True)
    assert [line for line in rewrites if "kept" in line] == ["slopes: kept, on five axes"]


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
    assert len(five) == 2 and five[0] == "start_map" and five[1].endswith("_unfold")


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


@pytest.mark.parametrize("batch", [1, 2])
def test_folded_doors(batch):
    """The model's own volumes are pictures too, and what has other axes stays as it is."""
    inputs = [keras.Input((4, 6, 6, 1), name="scan"), keras.Input((3,), name="code")]
    first = L.Conv3D(3, 3, padding="same", name="first")(inputs[0])
    outputs = [L.Conv3D(2, 3, strides=2, name="second")(first), L.Dense(2, name="third")(inputs[1])]
    outputs += [L.GlobalMaxPooling3D(name="fourth")(first), first, L.Permute((2, 1, 3, 4))(first)]
    model = randomized(keras.Model(inputs, outputs))
    shapes = [(batch, 4, 6, 6, 1), (batch, 3)]
    graph = read(model)
    fix_shapes(graph, shapes)
    fold_volumes(graph, doors=True)
    flat = build(graph, [value.shape for value in graph.inputs], "flat")
    assert [x.name for x in flat.inputs] == ["scan", "code"]
    assert flat.inputs[0].shape == (4 * batch, 6, 6, 1)
    assert [len(x.shape) for x in flat.outputs] == [4, 2, 2, 4, 4]
    scan, code = (np.random.default_rng(1).normal(size=s).astype(np.float32) for s in shapes)
    got = flat([scan.reshape(flat.inputs[0].shape), code])
    for expected, answer in zip(model([scan, code]), got, strict=True):
        same = np.asarray(answer).reshape(expected.shape)
        np.testing.assert_allclose(same, expected, rtol=0, atol=1e-5)  # sums of 27 products


@few
@example((3, 3, 3), 2, "same", 2, "relu")
@given(kernels, st.integers(1, 2), paddings, batches, st.sampled_from([None, "relu"]))
def test_sum_over_slices(kernel, rate, padding, batch, activation):
    """Where fewer channels go out than come in; the window is what there was before."""
    kernel = tuple(min(k, 3) for k in kernel)
    layer = L.Conv3D(
        2, kernel, dilation_rate=(rate, 1, 1), padding=padding, activation=activation, name="conv"
    )
    shape = (batch, *SIDES, 3)
    graph = folded_graph(network(layer), shape)
    choose(graph, [DEPTH_CONVOLUTION], lambda family, node: ("sum", "keep"), least_work(None))
    lowered = build(graph, [shape], "sum")
    assert_folded(lowered)
    # One tap has to see a slice for every slice that goes out: it brings the bias.
    whole = padding == "valid" or (kernel[0] - 1) * rate // 2 % rate == 0
    windows = [x for x in lowered.layers if isinstance(x, folded.DepthWindow) and x.size > 1]
    assert len(windows) == (kernel[0] > 1 and not whole)
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected = convolved(x, layer)
    if activation:
        expected = np.maximum(expected, 0)
    np.testing.assert_allclose(lowered(x), expected, rtol=0, atol=CLOSE * np.abs(expected).max())


@pytest.mark.parametrize(("filters", "depth", "kept"), [(3, 6, True), (2, 6, False), (2, 1, True)])
def test_no_sum_where_nothing_is_saved(filters, depth, kept):
    """As many channels go out as come in; or there is a single slice to see."""
    model = network(L.Conv3D(filters, 3, padding="same"), (depth, 4, 4))
    graph = folded_graph(model, (1, depth, 4, 4, 3))
    choose(graph, [DEPTH_CONVOLUTION], lambda family, node: ("sum", "keep"), least_work(None))
    assert kept == any(getattr(node.layer, "size", 1) == 3 for node in graph.nodes)


def test_what_an_upsampling_made_is_dropped():
    model = network(lambda x: L.Conv3D(2, 3)(L.UpSampling3D(2, name="large")(x)), (4, 4, 4))
    graph = folded_graph(model, (1, 4, 4, 4, 3))
    assert not [node for node in graph.nodes if node.layer.name.startswith("large")]
    assert all(graph.producer(value) for value in graph.outputs)


def test_one_voxel_is_not_repeated():
    """What is the same for all voxels meets all slices at once."""
    graph = folded_graph(network(OTHERS["squeeze and excite"]), (1, *SIDES, 3))
    assert not [node for node in graph.nodes if isinstance(node.layer, folded.DepthInterleave)]


def test_an_upsampling_that_others_read_stays():
    def build_model(x):
        large = L.UpSampling3D(2)(x)
        return L.Concatenate()([L.Conv3D(2, 3, padding="same")(large), large])

    assert_folded(assert_same(network(build_model, (4, 4, 4))))


FILES: dict[str, Callable[[], keras.Model]] = {
    "batch norm": lambda: models.UNet3D((8, 8, 8, 1), width=4, depth=1, padding="same"),
    "group norm": lambda: models.UNet3D(
        (8, 8, 8, 1), width=4, depth=1, padding="same", norm="group", upsample="resize_nearest"
    ),
    "instance norm": lambda: models.UNet3D(
        (8, 8, 8, 1), width=4, depth=1, padding="same", norm="instance", upsample="subpixel"
    ),
}


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", FILES)
def test_four_axes_in_the_file(name, precision, tmp_path):
    """The converter puts in no fifth axis either, and the doors' own are reshaped away at once."""
    lowered, _ = lower_to_form(FILES[name](), [(1, 8, 8, 8, 1)], form="joint", fold_depth=True)
    samples = [np.random.default_rng(0).normal(size=(1, 8, 8, 8, 1)).astype(np.float32)]
    path = tmp_path / "unet.tflite"
    path.write_bytes(to_tflite(lowered, precision=precision, samples=samples, door=precision))
    artifact = read_artifact(path)
    doors = (*artifact.inputs, *artifact.outputs)
    assert [len(tensor.shape) for tensor in doors] == [5, 5]
    names = {tensor.name for tensor in doors}
    for operator in artifact.operators:
        deep = [tensor.name for tensor in operator.data if len(tensor.shape) > 4]
        assert not deep or (operator.name == "RESHAPE" and names.issuperset(deep)), operator
    if precision == "int8":
        assert float_operators(artifact, "int8") == []


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
