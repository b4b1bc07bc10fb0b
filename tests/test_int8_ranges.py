"""Ranges of int8 files: of every tensor its own, chosen as asked, one for maps that are joined."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import pictures, random_weights

from kerasdeconv import runtime, zoo
from kerasdeconv.export import export
from kerasdeconv.export.artifact import read_artifact
from kerasdeconv.export.onnx import door_quantization, to_onnx
from kerasdeconv.export.quantization.ranges import METHODS, Histogram, choose
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.verification import compare

L = keras.layers
SAMPLES = [sample / 255 for sample in pictures((8, 8, 3), 16)]


def scales(path: Path, content: bytes, kinds: tuple[str, ...]) -> list[list[float]]:
    """Scales of what operators of some kinds read and make."""
    path.write_bytes(content)
    return [
        [t.quantization.scales[0] for t in operator.data if t.quantization is not None]
        for operator in read_artifact(path).operators
        if operator.name in kinds
    ]


def test_an_addition_does_not_hide_what_it_reads(tmp_path):
    """TFLite's own calibration lets it overwrite an operand, which then gets the sum's range."""
    image = keras.Input(batch_shape=(1, 8, 8, 3))
    small = L.Conv2D(4, 3, padding="same", activation="relu", name="small")(image)
    large = L.Conv2D(4, 3, padding="same", activation="relu", name="large")(image)
    added = x = L.Add(name="sum")([small, large])
    for i in range(3):  # that need the memory again
        x = L.Conv2D(4, 3, padding="same", activation="relu", name=f"after_{i}")(x)
    model = random_weights(keras.Model(image, x))
    kernel, bias = model.get_layer("large").get_weights()
    model.get_layer("large").set_weights([20 * kernel, 20 * bias])
    probe = keras.Model(image, [small, large, added])
    expected = [max(float(probe(s)[i].numpy().max()) for s in SAMPLES) / 255 for i in range(3)]
    content = to_tflite(model, precision="int8", samples=SAMPLES)
    ((one, other, made),) = scales(tmp_path / "sum.tflite", content, ("ADD",))
    # Sums in another order than Keras'.
    np.testing.assert_allclose(sorted([one, other]), expected[:2], rtol=1e-4)
    assert made == pytest.approx(expected[2], rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("convert", "suffix"), [(to_tflite, "tflite"), (to_onnx, "onnx")])
def test_ranges_are_those_of_the_method_but_at_the_door(convert, suffix, method, tmp_path):
    image = keras.Input(batch_shape=(1, 8, 8, 3), name="image")
    x = L.Conv2D(4, 3, activation="relu", name="first")(image)
    model = random_weights(keras.Model(image, L.Conv2D(2, 3, name="last")(x)))
    samples = [sample**4 for sample in SAMPLES]  # a long tail
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(convert(model, precision="int8", samples=samples, ranges=method, door="uint8"))
    values = [np.asarray(keras.Model(image, x)(sample)) for sample in samples]
    histogram = Histogram()
    for value in values:
        histogram.widen(value)
    for value in values:
        histogram.count(value)
    low, high = choose(histogram, method)
    if suffix == "tflite":
        operators = {o.name: o for o in read_artifact(path).operators}
        inside = operators["CONV_2D"].inputs[0].quantization.scales[0]
        door = read_artifact(path).inputs[0].quantization.scales[0]
    else:
        import onnx
        from onnx import numpy_helper

        graph = onnx.load(path).graph
        constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        (node,) = [n for n in graph.node if n.op_type == "QuantizeLinear" and "first" in n.name]
        inside = float(constants[node.input[1]])
        door = door_quantization(path)["image"]["scale"]
    # Sums in another order than Keras' may fall into the next of 2048 bins.
    assert inside == pytest.approx((high - low) / 255, rel=2e-3)
    lows, highs = zip(*((s.min(), s.max()) for s in samples), strict=True)
    assert door == pytest.approx((max(highs) - min(0, *lows)) / 255, rel=1e-5)


def joined(activation: str | None) -> keras.Model:
    image = keras.Input(batch_shape=(1, 8, 8, 3))
    a = L.Conv2D(4, 3, padding="same", activation="relu", name="a")(image)
    b = L.Conv2D(4, 3, padding="same", activation=activation, name="b")(image)
    x = L.Concatenate(name="join")([a, b])
    return random_weights(keras.Model(image, L.Conv2D(2, 3, name="last")(x)))


@pytest.mark.parametrize("activation", ["relu", None])
def test_maps_that_are_joined_cost_no_requantization(activation, tmp_path):
    model = joined(activation)
    content = to_tflite(model, precision="int8", samples=SAMPLES)
    (found,) = scales(tmp_path / "join.tflite", content, ("CONCATENATION",))
    assert len(set(found)) == 1
    path = tmp_path / "join.onnx"
    path.write_bytes(to_onnx(model, precision="int8", samples=SAMPLES))
    # With one scale integers are joined as they are; a ReLU needs a range that begins at zero.
    import onnx

    (node,) = [n for n in onnx.load(path).graph.node if n.op_type == "Concat"]
    integer = all(name.endswith("_QuantizeLinear_Output") for name in node.input)
    assert integer == (activation == "relu")
    assert compare(model, runtime.open(path), SAMPLES[:8]).psnr_db > 35


def test_parts_of_a_map_keep_its_scale(tmp_path):
    """Biases too follow from it, without which ONNX Runtime leaves a convolution in float."""
    image = keras.Input(batch_shape=(1, 8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", activation="relu", name="whole")(image)
    parts = [L.Cropping2D(((4, 3), (i, 7 - i)), name=f"part_{i}")(x) for i in range(2)]
    parts = L.Concatenate(axis=2, name="join")(parts)
    model = random_weights(keras.Model(image, L.Conv2D(2, (1, 2), name="last")(parts)))
    samples = [sample.copy() for sample in SAMPLES]
    for sample in samples:
        sample[:, 2:] /= 8  # what is left out is brighter
    path = tmp_path / "part.onnx"
    path.write_bytes(to_onnx(model, precision="int8", samples=samples))
    operators = read_artifact(path).operators
    (last,) = [o for o in operators if o.name == "Conv" and o.outputs[0].shape[-1] == 1]
    made = {tensor.name: operator for operator in operators for tensor in operator.outputs}
    data, kernel, bias = (
        np.asarray(made[tensor.name].inputs[0].quantization.scales) for tensor in last.inputs
    )
    np.testing.assert_allclose(bias, data * kernel, rtol=1e-6)


MOVED = {
    "reshape": L.Reshape((4, 16, 4)),
    "permute": L.Permute((2, 1, 3)),
    "crop": L.Cropping2D(1),
    "zeros": L.ZeroPadding2D(1),
    "maximum": L.MaxPooling2D(),
    "nearest": L.Resizing(16, 16, interpolation="nearest"),
}


@pytest.mark.parametrize("activation", [L.ReLU(), L.ReLU(6.0)], ids=["relu", "relu6"])
@pytest.mark.parametrize("move", MOVED)
@pytest.mark.parametrize(("convert", "suffix"), [(to_tflite, "tflite"), (to_onnx, "onnx")])
def test_an_activation_after_what_moves_values_is_kept(convert, suffix, move, activation, tmp_path):
    """ONNX Runtime's quantizer drops it: what moves values has the range of what it moves."""
    image = keras.Input(batch_shape=(1, 8, 8, 3), name="image")
    x = L.Conv2D(4, 3, padding="same", name="first")(image)
    x = activation(MOVED[move](x))
    model = random_weights(keras.Model(image, L.Conv2D(4, 3, name="last")(x)))
    path = tmp_path / f"file.{suffix}"
    path.write_bytes(convert(model, precision="int8", samples=SAMPLES))
    predictor = runtime.open(path)
    for sample in SAMPLES[:4]:
        wanted = np.asarray(model(sample))
        # Roundings come to 0.013 of the greatest value, a lost activation to 0.34 and more.
        error = np.abs(predictor.run(sample)[0] - wanted).max()
        assert error < 0.03 * np.abs(wanted).max()


class TestSources:
    def ask(self, folder: Path, calibration, **options):
        return export(
            zoo.load("espcn_x2"), folder, target="android-cpu", precision="int8", size=(16, 16),
            tune=False, calibration=calibration, **options,
        )  # fmt: skip

    def test_noise_is_taken_by_name_and_named(self, tmp_path):
        report = export(
            joined("relu"), tmp_path, target="android-cpu", precision="int8", tune=False,
            calibration="noise", count=40,
        )  # fmt: skip
        assert report.calibration["source"] == "seeded noise"
        assert report.calibration["samples"] == 40
        assert any("calibrated with noise" in warning for warning in report.warnings)

    def test_data_sets_and_generators(self, tmp_path):
        images = np.concatenate(pictures((16, 16, 1), 12))

        class Pairs(keras.utils.PyDataset):
            def __len__(self) -> int:
                return 3

            def __getitem__(self, index: int):
                return images[4 * index : 4 * index + 4], np.zeros(4)

        sources = {
            "array": images,
            "generator": (image for image in images),
            "tf.data": tf.data.Dataset.from_tensor_slices(images).batch(4),
            "PyDataset": Pairs(),
        }
        made = {}
        for name, source in sources.items():
            report = self.ask(tmp_path / name, source)
            assert report.calibration["samples"] == 12
            made[name] = report.verification
        assert all(found == made["array"] for found in made.values())

    def test_no_samples_at_all(self, tmp_path):
        with pytest.raises(ValueError, match=r"count must be 1 or more. Received: 0"):
            self.ask(tmp_path / "new", None, count=0)
        assert not (tmp_path / "new").exists()

    def test_count_and_seed(self, tmp_path):
        report = self.ask(tmp_path, np.concatenate(pictures((16, 16, 1), 12)), count=5, seed=3)
        assert (report.calibration["samples"], report.calibration["seed"]) == (5, 3)
