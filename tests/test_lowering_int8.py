"""Integer files of lowered layers against a float reference that rounds where they round."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from export_models import random_weights

from kerasdeconv import layers
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.lowering import lower_to_form
from kerasdeconv.export.onnx import to_onnx
from kerasdeconv.export.targets import FORMS, load_target
from kerasdeconv.export.tflite import to_tflite

L = keras.layers
SHAPE = (6, 7, 8)
LAYERS = {
    "transposed, k = s": lambda: [L.Conv2DTranspose(6, 2, 2, padding="same", activation="relu")],
    "transposed, k > s": lambda: [L.Conv2DTranspose(6, 5, 2, padding="same")],
    "transposed, k < s": lambda: [L.Conv2DTranspose(6, 2, 3, padding="same")],
    "transposed, valid": lambda: [L.Conv2DTranspose(6, 4, 2, activation="relu")],
    "nearest": lambda: [L.UpSampling2D(2), L.Conv2D(6, 3, padding="same", activation="relu")],
    "separable": lambda: [layers.DepthwiseConvTranspose(4, 2), L.Conv2D(6, 1)],
}


def rounded(values: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """The integers of 8 bits nearest to real numbers, in a tensor's scale."""
    scale, zero = tensor["quantization"]
    return np.clip(np.rint(values / scale) + zero, -128, 127)


def real(integers: np.ndarray, tensor: dict[str, Any]) -> np.ndarray:
    """What integers stand for; weights have a scale a channel."""
    told = tensor["quantization_parameters"]
    shape = [1] * integers.ndim
    if len(told["scales"]) > 1:
        shape[told["quantized_dimension"]] = -1
    scale, zero = (np.reshape(told[k], shape) for k in ("scales", "zero_points"))
    return (integers.astype(np.float64) - zero) * scale


def convolved(operator: Any, x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    padding = operator.attributes["padding"].lower()
    if operator.name == "CONV_2D":  # out x h x w x in
        return np.asarray(keras.ops.conv(x, kernel.transpose(1, 2, 3, 0), padding=padding))
    return np.asarray(keras.ops.depthwise_conv(x, kernel.transpose(1, 2, 3, 0), padding=padding))


def reference(path: Path, x: np.ndarray) -> np.ndarray:
    """Computes a file's output in float64, rounding each operator's output to its own integers."""
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    tensors = {t["name"]: t for t in interpreter.get_tensor_details()}
    artifact = read_artifact(path)
    values = {artifact.inputs[0].name: x.astype(np.float64)}

    def constant(tensor: Any) -> np.ndarray:
        return interpreter.get_tensor(tensors[tensor.name]["index"])

    for operator in artifact.operators:
        given = [values[t.name] for t in operator.inputs if not t.constant]
        output = tensors[operator.outputs[0].name]
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernel, bias = (real(constant(t), tensors[t.name]) for t in operator.inputs[1:3])
            source = real(given[0], tensors[operator.inputs[0].name])
            made = convolved(operator, source, kernel) + bias
            if operator.fused_activation == "RELU":
                made = np.maximum(made, 0)
            made = rounded(made, output)
        elif operator.name == "PAD":
            zero = tensors[operator.inputs[0].name]["quantization"][1]
            made = np.pad(given[0], constant(operator.inputs[1]), constant_values=zero)
        elif operator.name == "CONCATENATION":
            made = np.concatenate(given, axis=operator.attributes["axis"])
        elif operator.name == "RESHAPE":
            made = given[0].reshape(output["shape"])
        elif operator.name == "DEPTH_TO_SPACE":
            made = np.asarray(keras.ops.depth_to_space(given[0], operator.attributes["block_size"]))
        elif operator.name == "STRIDED_SLICE":
            cut = zip(*(constant(t) for t in operator.inputs[1:3]), strict=True)
            made = given[0][tuple(slice(a, b or None) for a, b in cut)]
        else:
            assert operator.name == "QUANTIZE"
            made = rounded(real(given[0], tensors[operator.inputs[0].name]), output)
        values[operator.outputs[0].name] = made
    return values[artifact.outputs[0].name]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        (name, form)
        for name in LAYERS
        for form in ("joint", "split", "rows")
        if (name, form) != ("separable", "joint")  # there is no such form
    ],
)
def test_agrees_with_the_reference_to_one_step(name, form, tmp_path):
    image = keras.Input(SHAPE)
    x = image
    for layer in LAYERS[name]():
        x = layer(x)
    model = random_weights(keras.Model(image, x))
    samples = [np.random.default_rng(i).normal(size=(1, *SHAPE)).astype("f4") for i in range(8)]
    lowered, _ = lower_to_form(model, [(1, *SHAPE)], form=form)
    path = tmp_path / "file.tflite"
    path.write_bytes(to_tflite(lowered, precision="int8", samples=samples, door="int8"))
    artifact = read_artifact(path)
    assert float_operators(artifact, "int8") == []
    assert "TRANSPOSE_CONV" not in {operator.name for operator in artifact.operators}
    interpreter = Interpreter(str(path))  # XNNPACK's kernels
    interpreter.allocate_tensors()
    (door,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    stored = rounded(samples[0], door).astype(np.int8)
    interpreter.set_tensor(door["index"], stored)
    interpreter.invoke()
    got = interpreter.get_tensor(out["index"]).astype(int)
    error = np.abs(got - reference(path, stored))
    assert error.max() <= 1
    assert error.mean() < 0.1  # a half is rounded up or to even: seldom
    assert np.ptp(got) > 100


SITES = {
    "transposed_convolution": lambda: L.Conv2DTranspose(8, 4, 2, padding="same"),
    "nearest_convolution": lambda: keras.Sequential(
        [L.UpSampling2D(2), L.Conv2D(8, 3, padding="same")]
    ),
    "depthwise_transposed": lambda: layers.DepthwiseConvTranspose(4, 2),
    "depth_to_space": lambda: layers.DepthToSpace(2),
    "nearest": lambda: L.UpSampling2D(2),
    "bilinear": lambda: L.UpSampling2D(2, interpolation="bilinear"),
    "global_average": lambda: L.GlobalAveragePooling2D(keepdims=True),
    "average_pooling": lambda: L.AveragePooling2D(2),
    "group_normalization": lambda: L.GroupNormalization(4),
    "prelu": lambda: L.PReLU(shared_axes=(1, 2)),
    "relu": lambda: L.ReLU(6.0),
    "hard_swish": lambda: L.Activation("hard_swish"),
    "tanh": lambda: L.Activation("tanh"),
}
# Kernels that interpolate, slopes that are all the same: not those of `random_weights`.
OF_SOME_WEIGHTS = {
    ("transposed_convolution", "diagonal"),
    ("transposed_convolution", "resize"),
    ("prelu", "leaky"),
}


def test_every_family_on_four_axes_is_a_site():
    assert set(FORMS) - set(SITES) == {"depth_convolution"}


@pytest.mark.parametrize(
    ("target", "family", "form"),
    [
        (target, family, form)
        for target in ("android-cpu", "onnxruntime-cpu")
        for family in SITES
        for form in load_target(target).forms(family, "int8")
        if (family, form) not in OF_SOME_WEIGHTS
    ],
)
def test_every_form_that_int8_may_take_has_integers_alone(target, family, form, tmp_path):
    """Which of them is taken, timing decides, and a float island would be refused."""
    image = keras.Input(SHAPE)
    x = L.Conv2D(8, 1)(SITES[family]()(L.Conv2D(8, 1)(image)))
    model = random_weights(keras.Model(image, x))
    samples = [np.random.default_rng(i).normal(size=(1, *SHAPE)).astype("f4") for i in range(4)]
    lowered, rewrites = lower_to_form(model, [(1, *SHAPE)], form=form)
    assert form == "keep" or rewrites
    kind = load_target(target).format
    convert = {"tflite": to_tflite, "onnx": to_onnx}[kind]
    path = tmp_path / f"file.{kind}"
    path.write_bytes(convert(lowered, precision="int8", samples=samples))
    assert float_operators(read_artifact(path), "int8") == []
