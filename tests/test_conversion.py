"""`to_tflite` and `to_onnx`: what is in the files, and what they compute in their runtimes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from export_models import (
    LUMA,
    PIXELS,
    answers,
    autoencoder,
    pictures,
    random_weights,
    several_outputs,
    two_inputs,
    unet,
)

from kerasdeconv import models, runtime
from kerasdeconv.errors import ExportError
from kerasdeconv.export.artifact import (
    float_operators,
    is_unpacker,
    operator_counts,
    read_artifact,
)
from kerasdeconv.export.calibration import span_range
from kerasdeconv.export.lowering import lower_to_form
from kerasdeconv.export.onnx import door_quantization, to_onnx
from kerasdeconv.export.tflite import to_tflite

PRECISIONS = {
    "tflite": ("float32", "float16", "dynamic", "int8", "int16x8"),
    "onnx": ("float32", "float16", "dynamic", "int8"),
}
NETWORKS: dict[str, Callable[[], keras.Model]] = {
    "unet": unet,
    "unet with resize": lambda: unet(3, norm=None, upsample="resize_bilinear"),
    "espcn_x2": lambda: random_weights(models.ESPCN((12, 16, 1), 2, activation="relu")),
    "espcn_x3": lambda: random_weights(models.ESPCN((12, 16, 1), 3)),
    "autoencoder": autoencoder,
}
# Share of the output's span by which the precisions may be off on average: half a step of 8 bits in
# a handful of layers, and 11 bits of float16.
MEAN_ERROR = {"float32": 1e-6, "float16": 1e-3, "dynamic": 0.01, "int8": 0.02, "int16x8": 0.005}
# What ONNX Runtime has no integer operator for: the export refuses these.
ISLANDS = {"unet with resize": {"Resize"}, "espcn_x3": {"Tanh"}}


def convert(
    model: keras.Model, path: Path, precision: str, *, form: str = "joint", **options
) -> Path:
    """Lowers and converts to the format that the path says."""
    shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
    low, _ = lower_to_form(model, shapes, form=form, head=options.pop("head", None))
    to = to_tflite if path.suffix == ".tflite" else to_onnx
    path.write_bytes(to(low, precision=precision, samples=samples(model), **options))
    return path


def samples(model: keras.Model) -> list:
    drawn = [pictures(tensor.shape[1:], seed=i) for i, tensor in enumerate(model.inputs)]
    spanned = [span_range(part, PIXELS) for part in drawn]
    if len(drawn) == 1:
        return spanned[0]
    return [list(parts) for parts in zip(*spanned, strict=True)]


def mean_errors(path: Path, model: keras.Model) -> list[float]:
    """Mean error of each output on unseen pictures, as a share of its span."""
    predictor = runtime.open(path)
    inputs = [pictures(tensor.shape[1:], 1, seed=9 + i)[0] for i, tensor in enumerate(model.inputs)]
    expected, got = answers(model, *inputs), predictor.run(*inputs)
    assert [x.shape for x in got] == [x.shape for x in expected]
    return [float(np.abs(e - g).mean() / np.ptp(e)) for e, g in zip(expected, got, strict=True)]


@pytest.fixture(scope="module", params=NETWORKS)
def network(request, tmp_path_factory) -> tuple[keras.Model, dict[tuple[str, str], Path]]:
    """A network and its files by format and precision. int16x8 has no depth to space."""
    model, folder = NETWORKS[request.param](), tmp_path_factory.mktemp("network")
    files = {}
    for suffix, precisions in PRECISIONS.items():
        for precision in precisions:
            if precision == "int16x8" and "espcn" in request.param:
                continue
            form = "keep" if precision == "int16x8" else "joint"
            path = folder / f"{precision}.{suffix}"
            files[suffix, precision] = convert(model, path, precision, form=form)
    return model, files


class TestFiles:
    def test_compute_what_keras_computes(self, network):
        model, files = network
        for (_, precision), path in files.items():
            assert max(mean_errors(path, model)) < MEAN_ERROR[precision], path.name

    def test_are_frozen_static_and_builtin_alone(self, network):
        model, files = network
        for path in files.values():
            artifact = read_artifact(path)
            assert not [o.name for o in artifact.operators if o.custom]
            assert not {"VAR_HANDLE", "READ_VARIABLE", "SHAPE", "Shape"} & set(
                operator_counts(artifact)
            )
            tensors = [t for o in artifact.operators for t in o.data]
            # ONNX files tell the shapes at the doors, the rest is up to inference.
            known = [t.shape for t in tensors if t.shape is not None]
            assert all(None not in shape for shape in known), path.name
            assert [t.shape for t in artifact.inputs] == [(1, *model.input_shape[1:])]
            assert [t.shape for t in artifact.outputs] == [(1, *model.output_shape[1:])]

    def test_keep_the_promise_of_their_precision(self, network, request):
        _, files = network
        name = request.node.callspec.params["network"]
        for (_, precision), path in files.items():
            islands = {o.name for o in float_operators(read_artifact(path), precision)}
            assert islands - {"QuantizeLinear", "DequantizeLinear"} == (
                ISLANDS.get(name, set()) if path.name == "int8.onnx" else set()
            ), path.name

    def test_smaller_precisions_are_smaller_files(self, network):
        _, files = network
        for suffix in PRECISIONS:
            stored = [
                sum(
                    tensor.elements * np.dtype(tensor.stored).itemsize
                    for operator in read_artifact(files[suffix, precision]).operators
                    for tensor in operator.weights
                    if not is_unpacker(operator.name)
                )
                for precision in ("float32", "float16", "int8")
            ]
            assert stored[0] == pytest.approx(2 * stored[1], rel=0.02)
            assert stored[0] == pytest.approx(4 * stored[2], rel=0.02)


def test_activations_are_fused(tmp_path):
    artifact = read_artifact(convert(autoencoder(), tmp_path / "a.tflite", "int8"))
    assert "RELU" not in operator_counts(artifact)
    assert operator_counts(artifact)["CONV_2D"] == 3


class TestDoors:
    @pytest.mark.parametrize("suffix", PRECISIONS)
    @pytest.mark.parametrize("door", ["uint8", "int8", "float32"])
    def test_type_and_quantization(self, tmp_path, suffix, door):
        model = unet(3)
        path = convert(model, tmp_path / f"a.{suffix}", "int8", door=door)
        artifact = read_artifact(path)
        assert {t.dtype for t in (*artifact.inputs, *artifact.outputs)} == {door}
        (image,) = artifact.inputs
        if suffix == "tflite":
            said = image.quantization and (
                image.quantization.scales[0],
                image.quantization.zero_points[0],
            )
        else:
            found = door_quantization(path).get(image.name)
            said = found and (found["scale"], found["zero_point"])
        if door == "float32":
            assert said is None
        else:
            # A byte at the door is the pixel: `span_range` stretched the samples to 0..255.
            scale, zero_point = said
            assert scale == pytest.approx(1.0, abs=1e-6)
            assert zero_point == {"uint8": 0, "int8": -128}[door]
        if suffix == "tflite":
            assert max(mean_errors(path, model)) < MEAN_ERROR["int8"]

    @pytest.mark.parametrize("door", ["uint8", "int8"])
    def test_bytes_through_an_onnx_door(self, tmp_path, door):
        model = autoencoder()
        path = convert(model, tmp_path / "a.onnx", "int8", door=door)
        session = runtime.open(path)._session
        (image,) = pictures((16, 16, 3), 1, seed=9)
        pixels = np.rint(image)
        stored = (pixels - (128 if door == "int8" else 0)).astype(door)
        (got,) = session.run(None, {session.get_inputs()[0].name: stored})
        assert got.dtype == np.dtype(door)
        quantization = door_quantization(path)[session.get_outputs()[0].name]
        real = quantization["scale"] * (got.astype(float) - quantization["zero_point"])
        assert np.abs(real - answers(model, pixels)[0]).mean() < MEAN_ERROR["int8"]

    @pytest.mark.parametrize("to", [to_tflite, to_onnx])
    def test_no_such_door(self, to):
        model = autoencoder()
        low, _ = lower_to_form(model, [(1, 16, 16, 3)])
        with pytest.raises(ValueError, match="Received: 'uint16'"):
            to(low, precision="int8", samples=samples(model), door="uint16")


class TestOutputs:
    @pytest.mark.parametrize("precision", ["float32", "int8"])
    @pytest.mark.parametrize("suffix", PRECISIONS)
    @pytest.mark.parametrize("door", ["float32", "uint8"])
    def test_several_come_in_the_models_order(self, tmp_path, suffix, precision, door):
        model = several_outputs()
        options = {"door": door} if precision == "int8" else {}
        path = convert(model, tmp_path / f"a.{suffix}", precision, **options)
        predictor = runtime.open(path)
        (image,) = pictures((8, 12, 3), 1, seed=9)
        expected, got = answers(model, image), predictor.run(image)
        assert [x.shape for x in got] == [(1, 16, 24, 2), (1, 8, 12, 4), (1, 4, 6, 5)]
        for want, have in zip(expected, got, strict=True):
            if door == "float32" or suffix == "tflite":  # bare ONNX does not say its scale
                assert np.abs(want - have).mean() < MEAN_ERROR[precision] * np.ptp(want)

    @pytest.mark.parametrize("suffix", PRECISIONS)
    def test_a_shared_last_layer(self, tmp_path, suffix):
        image = keras.Input((8, 8, 3))
        shared = keras.layers.Conv2D(2, 1, name="head")
        coarse = keras.layers.AveragePooling2D(2)(image)
        model = random_weights(keras.Model(image, [shared(image), shared(coarse)]))
        path = convert(model, tmp_path / f"a.{suffix}", "float32")
        names = [tensor.name for tensor in read_artifact(path).outputs]
        assert len(set(names)) == 2
        assert max(mean_errors(path, model)) < MEAN_ERROR["float32"]

    @pytest.mark.parametrize("suffix", PRECISIONS)
    def test_onnx_names_are_the_layers(self, tmp_path, suffix):
        path = convert(several_outputs(), tmp_path / f"a.{suffix}", "float32", form="keep")
        names = [tensor.name for tensor in read_artifact(path).outputs]
        if suffix == "onnx":
            assert names == ["late", "mid", "early"]
        assert len(names) == 3

    @pytest.mark.parametrize("classes", [1, 3])
    @pytest.mark.parametrize("suffix", PRECISIONS)
    @pytest.mark.parametrize("precision", ["float32", "int8"])
    def test_labels_are_integers(self, tmp_path, suffix, precision, classes):
        model = unet(classes)
        door = {"door": "uint8"} if precision == "int8" else {}
        path = convert(model, tmp_path / f"a.{suffix}", precision, head="labels", **door)
        (door,) = read_artifact(path).outputs
        assert door.dtype == "int32"
        assert door.shape == (1, 16, 24)
        if precision == "float32":
            (image,) = pictures((16, 24, 3), 1, seed=9)
            scores = answers(model, image)[0]
            expected = scores.argmax(-1) if classes > 1 else scores[..., 0] > 0.5
            assert 0 < expected.mean() < classes - 0.5
            np.testing.assert_array_equal(runtime.open(path).run(image)[0], expected)


@pytest.mark.parametrize("suffix", PRECISIONS)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_several_inputs(tmp_path, suffix, precision):
    model = two_inputs()
    path = convert(model, tmp_path / f"a.{suffix}", precision)
    assert [t.shape[-1] for t in read_artifact(path).inputs] == [1, 3]
    assert max(mean_errors(path, model)) < MEAN_ERROR[precision]


@pytest.mark.parametrize("suffix", PRECISIONS)
def test_a_larger_batch(tmp_path, suffix):
    model = autoencoder()
    low, _ = lower_to_form(model, [(3, 16, 16, 3)], form="joint")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes((to_tflite if suffix == "tflite" else to_onnx)(low))
    batch = np.concatenate(pictures((16, 16, 3), 3))
    (got,) = runtime.open(path).run(batch)
    np.testing.assert_allclose(got, answers(model, batch)[0], rtol=0, atol=1e-5)


class TestRefusals:
    def test_an_operator_without_a_builtin_names_itself_and_its_layer(self):
        volume = keras.Input((4, 4, 4, 2))
        x = keras.layers.Conv3D(2, 3, padding="same", name="before")(volume)
        model = keras.Model(volume, keras.layers.MaxPooling3D(name="halve")(x), name="net")
        low, _ = lower_to_form(model, [(1, 4, 4, 4, 2)])
        with pytest.raises(ExportError, match=r"MaxPool3D \(layer 'halve'\). Received: 'net'"):
            to_tflite(low)

    @pytest.mark.parametrize("to", [to_tflite, to_onnx])
    def test_open_sizes(self, to):
        with pytest.raises(ExportError, match=r"Every side .* Received: \(None, None, None, 1\)"):
            to(models.ESPCN())

    @pytest.mark.parametrize(("to", "precision"), [(to_tflite, "int4"), (to_onnx, "int16x8")])
    def test_no_such_precision(self, to, precision):
        low, _ = lower_to_form(autoencoder(), [(1, 16, 16, 3)])
        with pytest.raises(ValueError, match=f"Received: '{precision}'"):
            to(low, precision=precision)

    @pytest.mark.parametrize("to", [to_tflite, to_onnx])
    def test_no_samples(self, to):
        low, _ = lower_to_form(autoencoder(), [(1, 16, 16, 3)])
        with pytest.raises(ExportError, match="int8 needs samples"):
            to(low, precision="int8")


def test_luma_goes_in_as_bytes(tmp_path):
    model = random_weights(models.ESPCN((12, 16, 1), 2, activation="relu"))
    low, _ = lower_to_form(model, [(1, 12, 16, 1)], form="joint")
    stretched = span_range(pictures((12, 16, 1)), LUMA)
    path = tmp_path / "a.tflite"
    path.write_bytes(to_tflite(low, precision="int8", samples=stretched, door="uint8"))
    quantization = read_artifact(path).inputs[0].quantization
    assert quantization.scales[0] == pytest.approx(1.0, abs=1e-6)
    assert quantization.zero_points == (0,)


@pytest.mark.parametrize(
    ("precision", "form"), [("int8", "split"), ("int8", "rows"), ("int16x8", "rows")]
)
def test_each_convolution_has_a_bias_in_its_own_scale(precision, form, tmp_path):
    """Phases of one transposed convolution have the same bias, which the converter keeps once."""
    low, _ = lower_to_form(autoencoder(), [(1, 16, 16, 3)], form=form)
    path = tmp_path / "file.tflite"
    path.write_bytes(to_tflite(low, precision=precision, samples=pictures((16, 16, 3))))
    found = [o.inputs[:3] for o in read_artifact(path).operators if o.name == "CONV_2D"]
    assert len(found) >= 4
    for data, weights, bias in found:
        scales = np.multiply(weights.quantization.scales, data.quantization.scales[0])
        # Scales are float32 numbers: their product is rounded once.
        np.testing.assert_allclose(bias.quantization.scales, scales, rtol=1e-6)
