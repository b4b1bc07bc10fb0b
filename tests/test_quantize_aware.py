"""Training that knows of quantization: what is trained is what the file computes."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from export_models import (
    CELLS,
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

from kerasdeconv import layers, models
from kerasdeconv.convention import Convention
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.errors import DataError, ExportError, TargetError
from kerasdeconv.export import export
from kerasdeconv.export.artifact import Artifact, float_operators, read_artifact
from kerasdeconv.export.lowering import lower
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.training.aware import QuantizeAware, quantize_aware
from kerasdeconv.export.training.plan import make_plan
from kerasdeconv.export.training.prepare import prepare
from kerasdeconv.graph import read
from kerasdeconv.losses import WeightedSum

L = keras.layers
VOXELS = Convention(value_range=(0.0, 255.0))


def run(content: bytes, samples: list[Any]) -> list[np.ndarray]:
    """Every output of a file with float32 doors, over all samples, in the order of the model."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    found: list[list[np.ndarray]] = []
    for sample in samples:
        parts = sample if isinstance(sample, list) else [sample]
        for detail, part in zip(interpreter.get_input_details(), parts, strict=True):
            interpreter.set_tensor(detail["index"], part)
        interpreter.invoke()
        details = interpreter.get_output_details()
        found.append([interpreter.get_tensor(detail["index"]) for detail in details])
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def trained(aware: QuantizeAware, samples: list[Any]) -> list[np.ndarray]:
    """Every output of the network in training, which rounds."""
    found = []
    for sample in samples:
        made = aware.model(sample, training=False)
        found.append([np.asarray(y) for y in (made if isinstance(made, list | tuple) else [made])])
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def floats(model: keras.Model, samples: list[Any]) -> list[np.ndarray]:
    """Every output of a model that does not round."""
    found = [answers(model, *(s if isinstance(s, list) else [s])) for s in samples]
    return [np.stack(parts) for parts in zip(*found, strict=True)]


def psnr(want: np.ndarray, have: np.ndarray) -> float:
    return float(10 * np.log10(np.ptp(want) ** 2 / np.mean((want - have) ** 2)))


def saved(content: bytes, folder: Path) -> Artifact:
    path = folder / "file.tflite"
    path.write_bytes(content)
    return read_artifact(path)


def volume(**arguments: Any) -> keras.Model:
    options = {"width": 4, "depth": 1, "padding": "same", "norm": "batch", **arguments}
    return random_weights(models.UNet((8, 8, 8, 1), 2, **options))


def gates() -> keras.Model:
    """What no single operator computes: batch norms before a ReLU, hard gates, SiLU, a rescaling
    with an offset, and a sigmoid that is joined with what has another range."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Rescaling(1 / 127.5, -1, name="scale")(image)
    x = L.ZeroPadding2D(1)(x)  # keeps the rescaling from going into the convolution
    x = L.Conv2D(8, 3, name="stem")(x)
    y = L.ReLU(name="act")(L.BatchNormalization(name="norm")(L.MaxPooling2D(2)(x)))
    gate = L.Conv2D(8, 1, activation="hard_sigmoid", name="gate")(y)
    y = L.Multiply(name="gated")([y, gate])
    y = L.Conv2D(8, 3, padding="same", activation="silu", name="smooth")(y)
    mask = L.Conv2D(2, 1, activation="sigmoid", name="mask")(y)
    y = L.Concatenate(name="join")([y, mask])
    y = L.Add(name="sum")([L.Conv2D(4, 1, name="a")(y), L.Conv2D(4, 1, name="b")(y)])
    y = L.ReLU(max_value=1.5, name="last")(y)
    return random_weights(keras.Model(image, y, name="gates"))


def unpooling() -> keras.Model:
    """What pools with indices and goes back by them: slices, comparisons and selections."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="stem")(L.Rescaling(1 / 255)(image))
    x, indices = layers.MaxPoolingWithIndices(2, name="pool")(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="middle")(x)
    x = layers.MaxUnpooling(2, name="unpool")([x, indices])
    x = L.Conv2D(2, 3, padding="same", name="head")(x)
    return random_weights(keras.Model(image, x, name="unpooling"))


def branches() -> keras.Model:
    """A volume that is read by convolutions of two sizes as it comes in."""
    cube = keras.Input((8, 8, 8, 1), name="cube")
    x = L.Rescaling(1 / 255, name="scale")(cube)
    parts = [L.Conv3D(4, size, padding="same", name=f"by_{size}")(x) for size in (1, 3)]
    return random_weights(keras.Model(cube, L.Add(name="sum")(parts), name="branches"))


def from_code() -> keras.Model:
    """A volume from a code: folded inside, while what goes in has no depth."""
    code = keras.Input((8,), name="code")
    x = L.Reshape((2, 2, 2, 4))(L.Dense(32, activation="relu", name="spread")(code))
    x = layers.RepeatChannels(2, name="repeat")(x)
    x = L.Conv3DTranspose(4, 2, 2, activation="relu", name="up")(x)
    return random_weights(keras.Model(code, L.Conv3D(1, 3, padding="same", name="out")(x)))


RNG = np.random.default_rng(0)
CODES = [RNG.normal(size=(1, 8)).astype(np.float32) for _ in range(8)]
CUBES = [RNG.uniform(0, 255, (1, 8, 8, 8, 1)).astype(np.float32) for _ in range(4)]
BOTH = [list(pair) for pair in zip(pictures((8, 8, 1)), pictures((8, 8, 3)), strict=True)]
CASES: dict[str, tuple[Any, list[Any], Convention]] = {
    "unet": (unet, pictures((16, 24, 3)), CELLS),
    "autoencoder": (autoencoder, pictures((16, 16, 3)), PIXELS),
    "several outputs": (several_outputs, pictures((8, 12, 3)), PIXELS),
    "two inputs": (two_inputs, BOTH, PIXELS),
    "gates": (gates, pictures((16, 16, 3)), PIXELS),
    "unpooling": (unpooling, pictures((16, 16, 3)), PIXELS),
    "volume from a code": (from_code, CODES, Convention()),
    "branches": (branches, CUBES, VOXELS),
    "volume": (volume, CUBES, VOXELS),
    "strided volume": (lambda: volume(pooling="conv"), CUBES, VOXELS),
}


@pytest.mark.parametrize("name", CASES)
def test_the_file_computes_what_is_trained(name, tmp_path):
    make, samples, convention = CASES[name]
    model = make()
    aware = quantize_aware(model, samples, convention=convention)
    content = aware.to_tflite()
    artifact = saved(content, tmp_path)
    assert float_operators(artifact, "int8") == []
    doors = [o.inputs[0] for o in artifact.operators if o.name == "DEQUANTIZE"]
    step = max(tensor.quantization.scales[0] for tensor in doors)
    for graph, file in zip(trained(aware, samples), run(content, samples), strict=True):
        # The training graph sums in float32 and the file in integers: where they come out at
        # either side of half a step, values differ by one, and what follows by some more: most
        # of all a product with a gate.
        assert np.mean(np.abs(graph - file) > 1.01 * step) < 0.05
        assert np.abs(graph - file).max() < (8.01 if name == "gates" else 3.01) * step


@pytest.mark.parametrize("name", CASES)
def test_before_training_it_is_what_calibration_gives(name):
    make, samples, convention = CASES[name]
    lowered = lower(make(), "android-cpu", precision="int8")
    reference = floats(lowered, samples)
    calibrated = run(to_tflite(lowered, precision="int8", samples=samples), samples)
    aware = quantize_aware(make(), samples, convention=convention)
    for want, other, have in zip(
        reference, calibrated, run(aware.to_tflite(), samples), strict=True
    ):
        # Joined maps share a range, and other roundings fall otherwise: half a decibel is chance.
        # Dense kernels have one scale here, and one for each output there.
        assert psnr(want, have) > psnr(want, other) - (1 if "code" in name else 0.5)


def test_joined_maps_share_a_scale(tmp_path):
    """Nothing is requantized but at the doors."""
    aware = quantize_aware(unet(), pictures((16, 24, 3)), convention=CELLS)
    artifact = saved(aware.to_tflite(), tmp_path)
    assert [o.name for o in artifact.operators].count("QUANTIZE") == 1
    for operator in artifact.operators:
        if operator.name == "CONCATENATION":
            assert len({t.quantization for t in (*operator.inputs, *operator.outputs)}) == 1


def test_camera_bytes_go_straight_in(tmp_path):
    dark = [sample / 3 for sample in pictures((16, 24, 3))]
    aware = quantize_aware(unet(), dark, convention=CELLS)
    door = saved(aware.to_tflite(door="uint8"), tmp_path).inputs[0]
    assert door.dtype == "uint8"
    assert (door.quantization.scales, door.quantization.zero_points) == ((1.0,), (0,))


def test_pixels_come_out_in_steps_of_one(tmp_path):
    model = random_weights(models.ESPCN((12, 12, 1), scale=2))
    samples = pictures((12, 12, 1))
    aware = quantize_aware(model, samples, convention=LUMA)
    artifact = saved(aware.to_tflite(door="uint8"), tmp_path)
    assert artifact.outputs[0].quantization.scales == (1.0,)
    made = trained(aware, samples)[0]
    np.testing.assert_array_equal(made, np.rint(made))
    assert made.min() >= 0 and made.max() <= 255
    clipped = np.clip(answers(aware.source, samples[0])[0], 0, 255)
    # Float rounding of 1e-7 in a few layers, on 255.
    np.testing.assert_allclose(answers(aware.to_keras(), samples[0])[0], clipped, atol=1e-2)


def test_kernels_have_a_scale_for_each_channel(tmp_path):
    aware = quantize_aware(gates(), pictures((16, 16, 3)), convention=PIXELS)
    artifact = saved(aware.to_tflite(), tmp_path)
    seen = set()
    for operator in artifact.operators:
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            seen.add(operator.name)
            kernel = operator.inputs[1]
            assert len(kernel.quantization.scales) == operator.outputs[0].shape[-1]
            assert set(kernel.quantization.zero_points) == {0}
    assert len(seen) == 2


def test_equal_biases_stay_equal():
    """The converter, left alone, gives all channels the integer of the first."""
    image = keras.Input((8, 8, 3), name="image")
    head = L.Conv2D(4, 3, padding="same", name="head")
    model = random_weights(keras.Model(image, head(L.Rescaling(1 / 255)(image)), name="equal"))
    kernel, _ = head.get_weights()
    head.set_weights([kernel * np.geomspace(1, 30, 4), np.full(4, 0.7)])
    samples = pictures((8, 8, 3))
    aware = quantize_aware(model, samples, convention=PIXELS)
    graph, file = trained(aware, samples)[0], run(aware.to_tflite(), samples)[0]
    # Means over all pixels, in which roundings cancel; the bias itself is 0.7.
    error = np.abs((graph - file).mean(axis=(0, 1, 2, 3)))
    assert error.max() < 0.02 * 0.7
    assert set(np.ravel(aware.to_keras().get_layer("head").bias)) == {np.float32(0.7)}


def uneven(spread: float) -> keras.Model:
    """Channels whose scales differ by a factor, which the next layer undoes."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Rescaling(1 / 255, name="scale")(image)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="first")(x)
    x = L.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    model = keras.Model(image, L.Conv2D(1, 3, padding="same", name="last")(x), name="uneven")
    random_weights(model)
    gains = np.geomspace(1, spread, 8).astype(np.float32)
    for before, after in (("first", "second"), ("second", "last")):
        kernel, bias = model.get_layer(before).get_weights()
        model.get_layer(before).set_weights([kernel * gains, bias * gains])
        kernel, bias = model.get_layer(after).get_weights()
        model.get_layer(after).set_weights([kernel / gains[:, None], bias])
    return model


def test_training_repairs_what_rounding_breaks(tmp_path):
    """Large outliers: one channel holds 100 times what another does, in one range."""
    import tensorflow as tf

    model = uneven(100)
    inputs = np.concatenate(pictures((16, 16, 3), 32))
    data = tf.data.Dataset.from_tensor_slices((inputs, np.asarray(model(inputs)))).batch(4)
    unseen = pictures((16, 16, 3), 32, seed=9)
    want = np.stack([answers(model, sample)[0] for sample in unseen])

    def quality(content: bytes) -> float:
        return psnr(want, run(content, unseen)[0])

    chosen = {"target": "android-cpu", "precision": "int8", "calibration": inputs, "tune": False}
    plain = export(model, tmp_path, convention=PIXELS, ranges="mse", door="float32", **chosen)
    calibrated = quality(Path(plain.artifact).read_bytes())
    aware = quantize_aware(model, inputs, convention=PIXELS, method="mse")
    assert quality(aware.to_tflite()) == pytest.approx(calibrated, abs=0.01)  # where it begins
    keras.utils.set_random_seed(0)
    rate = keras.optimizers.schedules.CosineDecay(3e-3, 80 * 8)
    aware.fit(data, loss="mse", epochs=80, learning_rate=rate)
    after = quality(aware.to_tflite())
    assert after > calibrated + 1  # measured: 26.8 dB and 28.6 dB
    # The weights are back in Keras, and without rounding they do no worse.
    found = np.stack([answers(aware.to_keras(), sample)[0] for sample in unseen])
    assert psnr(want, found) > after
    assert not np.allclose(found, want, atol=1e-6)
    # A file is compared with what was trained, roundings and all: with the float weights it would
    # agree to about `after`.
    report = export(aware, tmp_path, target="android-cpu", precision="int8", tune=False)
    assert report.verification["psnr_db"] > after + 10


class Lessons(RandomPatches):
    """Pictures, what a network makes of them, and pixel weights."""

    def __init__(self, model: keras.Model, **arguments: Any) -> None:
        super().__init__(batch_size=2, seed=0, augment=True, **arguments)
        self.model = model
        self.epochs: list[int] = []

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        picture = pictures((16, 24, 3), 1, int(rng.integers(100)))[0]
        target = answers(self.model, picture)[0][0]
        return picture[0], target, np.zeros(target.shape[:2], np.float32)

    def on_epoch_end(self) -> None:
        self.epochs.append(self.epoch)


def test_what_keras_3_trains_with_trains_here(tmp_path):
    model = unet()
    aware = quantize_aware(model, pictures((16, 24, 3)), convention=CELLS)
    lessons = Lessons(model, steps=2)
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=1, min_delta=1)
    history = aware.fit(
        lessons,
        loss=WeightedSum({"mse": 1, "binary_crossentropy": 1}),
        epochs=9,
        validation_data=Lessons(model, steps=1),
        callbacks=[FollowEpoch(lessons), keras.callbacks.CSVLogger(tmp_path / "log.csv"), stop],
    )
    # Weights of zero leave nothing to learn, so that it stops, with every epoch told.
    assert history["loss"] == [0.0, 0.0] and history["val_loss"] == [0.0, 0.0]
    assert lessons.epochs == [0, 1]
    with (tmp_path / "log.csv").open(encoding="utf-8") as lines:
        assert len(list(csv.DictReader(lines))) == 2


def test_its_own_compile_and_fit():
    model = autoencoder()
    aware = quantize_aware(model, pictures((16, 16, 3)), convention=PIXELS, ranges="fixed")
    assert len(aware.model.trainable_weights) == len(aware.source.trainable_weights)
    inputs = np.concatenate(pictures((16, 16, 3)))
    aware.model.compile("sgd", "mse", metrics=["mae"])
    history = aware.model.fit(inputs, np.asarray(model(inputs)), batch_size=4, verbose=0).history
    assert set(history) == {"loss", "mae"}


def test_learned_ranges_train():
    aware = quantize_aware(autoencoder(), pictures((16, 16, 3)), convention=PIXELS)
    ranges = [w for w in aware.model.trainable_weights if "log_" in w.name]
    assert len(ranges) == len(aware.model.trainable_weights) - len(aware.source.trainable_weights)
    inputs = np.concatenate(pictures((16, 16, 3)))
    aware.fit((inputs, np.zeros((8, 16, 16, 3))), loss="mse", epochs=2)
    assert any(abs(float(w)) > 0 for w in ranges)


def test_ranges_that_clip():
    make, samples, convention = CASES["autoencoder"]
    widest = quantize_aware(make(), samples, convention=convention)
    chosen = quantize_aware(make(), samples, convention=convention, method="mse")
    want = trained(widest, samples)[0]
    have = trained(chosen, samples)[0]
    assert psnr(want, have) > 25  # the same network, with other steps
    assert not np.array_equal(want, have)


def test_what_is_joined_with_a_sigmoid_is_rounded_once_more():
    graph = read(prepare(gates()))
    plan = make_plan(graph)
    (join,) = (node for node in graph.nodes if node.layer.name == "join")
    free, mask = join.inputs
    assert plan.scales[free] is plan.scales[join.output] and not plan.scales[free].fixed
    assert plan.scales[mask].fixed
    assert plan.again == {(join, 1): plan.scales[join.output]}


def test_mistakes_are_named():
    model, samples = autoencoder(), pictures((16, 16, 3))
    with pytest.raises(ValueError, match=r"ranges must be one of .*Received: 'wide'"):
        quantize_aware(model, samples, ranges="wide")
    with pytest.raises(DataError, match=r"no sample"):
        quantize_aware(model, [])
    with pytest.raises(ExportError, match=r"needs calibration data"):
        quantize_aware(model, None)
    with pytest.raises(TargetError, match=r"int8 TFLite.*Received: 'onnxruntime-cpu'"):
        quantize_aware(model, samples, target="onnxruntime-cpu")
    aware = quantize_aware(model, samples)
    with pytest.raises(ValueError, match=r"The door .*Received: 'int4'"):
        aware.to_tflite(door="int4")
    with pytest.raises(TypeError, match=r"one of tf_keras.*Received: .*Adam"):
        aware.fit((samples[0], samples[0]), loss="mse", epochs=1, optimizer=keras.optimizers.Adam())
