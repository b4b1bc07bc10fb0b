"""Verification: real files against the model that they were, or were not, made from."""

from __future__ import annotations

import math
from pathlib import Path

import keras
import numpy as np
import pytest
from export_models import (
    CELLS,
    MANY,
    answers,
    autoencoder,
    pictures,
    random_weights,
    several_outputs,
    two_inputs,
    unet,
)

from kerasdeconv import runtime
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError, VerificationError
from kerasdeconv.export.lowering import lower_to_form, with_head
from kerasdeconv.export.metadata import write_metadata
from kerasdeconv.export.onnx import to_onnx
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.verification import compare, verify

L = keras.layers
PLAIN = Convention()
PIXELS_OUT = Convention(output="pixels")


def write(
    path: Path, model: keras.Model, convention: Convention = PLAIN, precision: str = "float32"
) -> Path:
    low, _ = lower_to_form(model, [(1, *tensor.shape[1:]) for tensor in model.inputs])
    to = to_tflite if path.suffix == ".tflite" else to_onnx
    path.write_bytes(to(low, precision=precision))
    write_metadata(path, {"schema": 1, "convention": convention.to_dict()})
    return path


def linear(bias: float = 0.0, channels: int = 2, activation: str | None = None) -> keras.Model:
    """A 1 x 1 convolution whose answers differ by exactly the bias."""
    model = keras.Sequential(
        [keras.Input((6, 5, 3)), L.Conv2D(channels, 1, activation=activation, name="only")],
        name="linear",
    )
    random_weights(model)
    kernel, _ = model.get_weights()
    model.set_weights([kernel, np.full(channels, bias, np.float32)])
    return model


def uniform(count: int = 3, shape: tuple[int, ...] = (1, 6, 5, 3)) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(count)]


@pytest.fixture(params=["tflite", "onnx"])
def path(request, tmp_path) -> Path:
    return tmp_path / f"file.{request.param}"


class TestMeasures:
    @pytest.mark.parametrize(
        ("convention", "peak"),
        [(PLAIN, None), (Convention(output="probabilities"), 1.0), (PIXELS_OUT, 255.0)],
    )
    def test_errors_and_psnr(self, path, convention, peak):
        predictor = runtime.open(write(path, linear(0.25), convention))
        samples = uniform()
        result = compare(linear(), predictor, samples, "somewhere")
        expected = np.stack([answers(linear(), sample)[0] for sample in samples])
        peak = peak or np.ptp(expected)
        assert result.max_abs_error == pytest.approx(0.25, abs=1e-6)
        assert result.mean_abs_error == pytest.approx(0.25, abs=1e-6)
        assert result.psnr_db == pytest.approx(20 * math.log10(peak / 0.25), abs=1e-3)
        assert result.samples == 3
        assert result.source == "somewhere"

    def test_no_difference_at_all(self, path):
        model = keras.Sequential([keras.Input((6, 4, 1)), L.MaxPooling2D(2)])
        result = verify(model, write(path, model), uniform(shape=(1, 6, 4, 1)))
        assert (result.max_abs_error, result.psnr_db) == (0, None)

    @pytest.mark.parametrize(
        ("output", "activation", "channels", "threshold"),
        [
            ("probabilities", "sigmoid", 1, 0.5),
            ("logits", None, 1, 0.0),
            ("probabilities", "softmax", 3, None),
            ("logits", None, 3, None),
        ],
    )
    def test_agreement_is_that_of_the_classes(self, path, output, activation, channels, threshold):
        model, other = (linear(bias, channels, activation) for bias in (0.0, 0.3))
        kernel, bias = other.get_weights()
        bias[1:] = 0  # or softmax would not notice
        other.set_weights([kernel, bias])
        predictor = runtime.open(write(path, other, Convention(output=output)))
        samples = uniform(5)
        pairs = [(answers(model, s)[0], answers(other, s)[0]) for s in samples]
        if threshold is None:
            same = [np.argmax(a, -1) == np.argmax(b, -1) for a, b in pairs]
        else:
            same = [(a > threshold) == (b > threshold) for a, b in pairs]
        assert 0.3 < np.mean(same) < 0.99
        assert compare(model, predictor, samples).agreement == pytest.approx(np.mean(same))

    def test_labels(self, path):
        model, other = (linear(bias, 3, "softmax") for bias in (0.0, 0.3))
        kernel, bias = other.get_weights()
        bias[1:] = 0
        other.set_weights([kernel, bias])
        labels = Convention(output="labels")
        predictor = runtime.open(write(path, with_head(other, "labels"), labels))
        samples = uniform(5)
        same = [
            np.argmax(answers(model, s)[0], -1) == np.argmax(answers(other, s)[0], -1)
            for s in samples
        ]
        result = compare(with_head(model, "labels"), predictor, samples)
        assert result.agreement == pytest.approx(np.mean(same))
        with pytest.raises(VerificationError, match=r"class labels must agree .* on 99.90% of"):
            verify(with_head(model, "labels"), predictor, samples)

    def test_what_does_not_classify_has_no_agreement(self, path):
        model = linear()
        result = verify(model, write(path, model), uniform())
        assert result.agreement is None
        assert "agreement" not in result.to_dict()
        assert result.to_dict()["samples"] == 3

    def test_the_worst_output_counts(self, path):
        model, other = several_outputs(), several_outputs()
        other.get_layer("early").bias.assign_add(np.full(5, 0.5))
        samples = pictures((8, 12, 3), 2)
        result = compare(model, runtime.open(write(path, other)), samples)
        assert result.max_abs_error == pytest.approx(0.5, abs=1e-5)
        assert result.mean_abs_error == pytest.approx(0.5, abs=1e-5)
        span = np.ptp(np.stack([answers(model, sample)[2] for sample in samples]))
        assert result.psnr_db == pytest.approx(20 * math.log10(span / 0.5), abs=0.01)
        with pytest.raises(VerificationError, match="a PSNR of 90 dB is needed"):
            verify(model, path, samples)


class TestPasses:
    @pytest.mark.parametrize("make", [unet, autoencoder, several_outputs])
    @pytest.mark.parametrize("precision", ["float32", "float16"])
    def test_the_file_of_a_model(self, path, make, precision):
        model = make()
        samples = pictures(model.inputs[0].shape[1:], 3)
        result = verify(model, write(path, model, PLAIN, precision), samples, precision=precision)
        assert result.psnr_db > {"float32": 100, "float16": 50}[precision]

    def test_several_inputs(self, path):
        model = two_inputs()
        drawn = [pictures(tensor.shape[1:], 3) for tensor in model.inputs]
        samples = [list(parts) for parts in zip(*drawn, strict=True)]
        assert verify(model, write(path, model), samples).max_abs_error < 1e-4

    def test_inputs_and_outputs_by_name(self, path):
        left, right = keras.Input((4, 4, 1), name="left"), keras.Input((4, 4, 2), name="right")
        outputs = {"b": L.Conv2D(3, 1, name="of_left")(left), "a": L.Conv2D(3, 1)(right)}
        model = random_weights(keras.Model({"right": right, "left": left}, outputs))
        shapes = [(1, *tensor.shape[1:]) for tensor in model.inputs]
        samples = [[uniform(1, shape)[0] for shape in shapes]]
        assert verify(model, write(path, model), samples).max_abs_error < 1e-5

    def test_a_larger_batch(self, path):
        model = linear()
        low, _ = lower_to_form(model, [(2, 6, 5, 3)])
        path.write_bytes((to_tflite if path.suffix == ".tflite" else to_onnx)(low))
        assert verify(model, path, uniform(2, (2, 6, 5, 3))).max_abs_error < 1e-5


class TestRefuses:
    """What a graph that is wrong in some way would do."""

    @pytest.mark.parametrize(
        ("convention", "allowed", "off"),
        [(CELLS, "0.0001", 0.01), (PIXELS_OUT, "0.01", 0.1)],
    )
    def test_float32_beyond_rounding(self, path, convention, allowed, off):
        convention = Convention(output=convention.output)
        write(path, linear(off), convention)
        with pytest.raises(VerificationError, match=f"an error of {allowed} is allowed"):
            verify(linear(), path, uniform())
        assert verify(linear(off), path, uniform()).max_abs_error < 1e-5

    @pytest.mark.parametrize("precision", ["float16", "dynamic", "int8", "int16x8"])
    def test_other_weights_in_any_precision(self, path, precision):
        model, other = unet(3), random_weights(unet(3), seed=1)
        write(path, other, MANY)
        with pytest.raises(VerificationError, match=f"The {precision} file"):
            verify(model, path, pictures((16, 24, 3), 3), precision=precision)

    def test_swapped_channels(self, path):
        model, other = autoencoder(), autoencoder()
        kernel = other.get_layer("down").kernel
        kernel.assign(keras.ops.flip(kernel, axis=2))
        write(path, other)
        with pytest.raises(VerificationError, match="a PSNR of 24 dB is needed"):
            verify(model, path, pictures((16, 16, 3), 3), precision="int8")

    def test_a_lost_scale(self, path):
        model, other = autoencoder(), autoencoder()
        kernel = other.get_layer("down").kernel
        kernel.assign(kernel * 255)  # as if nobody had divided by it
        write(path, other)
        with pytest.raises(VerificationError, match="a PSNR of 24 dB is needed"):
            verify(model, path, pictures((16, 16, 3), 3), precision="int8")

    def test_too_few_labels_that_agree(self, path):
        model, other = (linear(bias, 1, "sigmoid") for bias in (0.0, 0.1))
        write(path, other, Convention(output="probabilities"))
        result = compare(model, runtime.open(path), uniform(9))
        assert 0.9 < result.agreement < 0.97
        assert result.psnr_db > 24
        with pytest.raises(VerificationError, match=r"labels must agree .* on 97.00%"):
            verify(model, path, uniform(9), precision="int8")

    def test_float16_that_overflows(self, tmp_path):
        enlarge = L.Conv2D(1, 1, kernel_initializer=keras.initializers.Constant(1e3))
        model = keras.Sequential([keras.Input((4, 4, 1)), enlarge])
        path = write(tmp_path / "file.onnx", model, PLAIN, "float16")
        assert verify(model, path, [np.ones((1, 4, 4, 1), np.float32)], precision="float16")
        with pytest.raises(VerificationError, match=r"NaN or infinity .* an error of inf"):
            verify(model, path, [np.full((1, 4, 4, 1), 99, np.float32)], precision="float16")

    def test_not_a_number(self, path):
        image = keras.Input((6, 5, 3))
        model = keras.Model(image, keras.ops.log(image))
        write(path, model)
        with pytest.raises(VerificationError, match=r"NaN or infinity .* an error of nan"):
            verify(model, path, uniform(1))

    def test_a_damaged_file(self, path):
        write(path, linear())
        path.write_bytes(path.read_bytes()[:300])
        with pytest.raises(ArtifactError, match="Received: "):
            verify(linear(), path, uniform())
