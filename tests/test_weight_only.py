"""ONNX with weights of 8 bits: a quarter of the size, in float, near the float file."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from export_models import PIXELS, answers, pictures, random_weights

from kerasdeconv.export import export
from kerasdeconv.export.onnx import to_onnx

L = keras.layers


def network() -> keras.Model:
    """Weights in all places that outputs have: first, second, and last."""
    image = keras.Input((16, 16, 3), name="image", batch_size=1)
    x = L.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="down")(image)
    x = L.Conv2D(32, 3, padding="same", activation="relu", name="middle")(x)
    x = L.Conv2DTranspose(16, 2, 2, activation="relu", name="up")(x)
    x = L.Dense(64, activation="relu", name="dense")(x)
    x = L.Conv2D(3, 3, padding="same", name="out")(x)
    return random_weights(keras.Model(image, x, name="network"))


def run(content: bytes, sample: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: sample})[0]


def test_weights_have_a_scale_for_each_output():
    model = network()
    content = to_onnx(model, precision="dynamic")
    proto = onnx.load_from_string(content)
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    found = {}
    for node in proto.graph.node:
        if node.op_type == "DequantizeLinear":
            weights, scales, zeros = (arrays[name] for name in node.input)
            axis = node.attribute[0].i
            assert weights.dtype == np.int8 and not zeros.any()
            assert scales.shape == (weights.shape[axis],)
            others = tuple(i for i in range(weights.ndim) if i != axis)
            assert (np.abs(weights.astype(int)).max(axis=others) == 127).all()  # none is wasted
            found[weights.size] = axis
    sizes = {layer.name: layer.kernel.shape for layer in model.layers if hasattr(layer, "kernel")}
    large = {name: int(np.prod(s)) for name, s in sizes.items() if np.prod(s) >= 1024}
    assert set(large) == {"middle", "up", "dense", "out"}
    assert found == {large["middle"]: 0, large["up"]: 1, large["dense"]: 1, large["out"]: 0}


def test_it_computes_nearly_the_same():
    model = network()
    sample = pictures((16, 16, 3))[0]
    want = answers(model, sample)[0]
    have = run(to_onnx(model, precision="dynamic"), sample)
    # Evenly spread weights lose a 254th of themselves in a layer, about a hundredth in five.
    assert np.sqrt(np.mean((want - have) ** 2)) < 0.02 * want.std()
    assert not np.array_equal(have, run(to_onnx(model), sample))


def test_a_layer_that_is_used_twice(tmp_path):
    image = keras.Input((16, 16, 16), name="image")
    twice = L.Conv2D(16, 3, padding="same", name="twice")
    model = random_weights(keras.Model(image, twice(twice(image)), name="shared"))
    report = export(model, tmp_path, target="onnxruntime-cpu", precision="dynamic")
    assert report.operators["DequantizeLinear"] == 1


def test_export(tmp_path):
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(64, 3, padding="same", activation="relu")(L.Rescaling(1 / 255)(image))
    x = L.Conv2D(64, 3, padding="same", activation="relu")(x)
    model = random_weights(keras.Model(image, L.Conv2D(3, 1)(x), name="wide"))
    sizes = {}
    for precision in ("float32", "dynamic"):
        report = export(
            model, tmp_path, target="onnxruntime-cpu", precision=precision, convention=PIXELS
        )
        sizes[precision] = report.size_bytes
    assert sizes["dynamic"] < 0.35 * sizes["float32"]  # names and doors are not weights
    assert report.verification["psnr_db"] == pytest.approx(50, abs=15)
