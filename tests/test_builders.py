"""The contract that every builder keeps: one suite over all builders and their variants.

The variants are in `variants/`, a module a family.
"""

from __future__ import annotations

import functools
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from contract import SameDraws, span
from variants import MISTAKES, VARIANTS

import kerasdeconv
from kerasdeconv import export, layers, models

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

every_variant = pytest.mark.parametrize("name", VARIANTS)


@functools.cache
def built(name: str) -> keras.Model:
    return VARIANTS[name].build()


def answers_of(model: keras.Model, inputs: Any) -> list[np.ndarray]:
    return [np.asarray(tf.cast(y, "float32")) for y in keras.tree.flatten(model(inputs))]


def test_every_builder_has_a_variant():
    assert {variant.builder for variant in VARIANTS.values()} == set(models.__all__)


def test_every_builder_is_exported():
    exported = {variant.builder for variant in VARIANTS.values() if variant.exported}
    assert exported == set(models.__all__)


@every_variant
def test_any_valid_size(name):
    model, variant = built(name), VARIANTS[name]
    assert type(model).__name__ == "Functional"
    for sides in variant.sizes:
        answers = answers_of(model, variant.inputs(sides))
        for answer, output, expected in zip(
            answers, model.outputs, variant.outputs(sides), strict=True
        ):
            assert answer.shape == (2, *expected, output.shape[-1])
            assert np.isfinite(answer).all() and np.ptp(answer) > 0


@every_variant
def test_a_fixed_size_and_another_name_change_no_weight(name):
    """Weights are stored by their layers' names."""
    model, variant = built(name), VARIANTS[name]
    sides = next(iter(variant.sizes))
    count = {"boxes": variant.boxes} if variant.boxes else {}
    fixed = variant.build(input_shape=(*sides, variant.channels), name="other", **count)
    assert fixed.name == "other"
    for output, expected in zip(fixed.outputs, variant.outputs(sides), strict=True):
        assert output.shape[1:-1] == expected
    assert [(v.path, v.shape) for v in fixed.weights] == [(v.path, v.shape) for v in model.weights]
    assert len({v.path for v in model.weights}) == len(model.weights)


@pytest.fixture(scope="session")
def fresh_answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saves every variant and runs them all in one new process after `import kerasdeconv`."""
    folder = tmp_path_factory.mktemp("saved")
    for name, variant in VARIANTS.items():
        built(name).save(folder / f"{name}.keras")
        inputs = keras.tree.flatten(variant.inputs())
        np.savez(folder / f"{name}.inputs.npz", *inputs)
    program = f"""
import pathlib
import kerasdeconv, keras, numpy
for path in sorted(pathlib.Path({str(folder)!r}).glob("*.keras")):
    model = keras.models.load_model(path)
    inputs = list(numpy.load(path.with_suffix(".inputs.npz")).values())
    answers = keras.tree.flatten(model(inputs if len(inputs) > 1 else inputs[0]))
    numpy.savez(path.with_suffix(".outputs.npz"), *[answer.numpy() for answer in answers])
"""
    root = Path(kerasdeconv.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@every_variant
def test_reloads_in_a_fresh_process(name, fresh_answers):
    expected = answers_of(built(name), VARIANTS[name].inputs())
    got = np.load(fresh_answers / f"{name}.outputs.npz").values()
    for answer, reloaded in zip(expected, got, strict=True):
        # The same operations on the same numbers; threads may sum in another order.
        np.testing.assert_allclose(reloaded, answer, rtol=1e-5, atol=1e-5 * span(expected))


# Networks that pick the surest of what they find learn in a form that does not.
every_learner = pytest.mark.parametrize(
    "name", [name for name, variant in VARIANTS.items() if not variant.ranked]
)


@every_learner
def test_a_gradient_reaches_every_weight(name):
    model, variant = built(name), VARIANTS[name]
    targets, losses = variant.lesson(model)
    with tf.GradientTape() as tape:
        answers = keras.tree.flatten(model(variant.inputs(), training=True))
        pairs = zip(keras.tree.flatten(losses), keras.tree.flatten(targets), answers, strict=True)
        value = sum(loss(target, answer) for loss, target, answer in pairs)
    weights = [v.value for v in model.trainable_weights]
    for variable, gradient in zip(
        model.trainable_weights, tape.gradient(value, weights), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all() and gradient.numpy().any(), variable.path


@every_learner
def test_one_step_lowers_the_loss(name):
    variant = VARIANTS[name]
    model = variant.build()
    targets, losses = variant.lesson(model)
    # Eager, because compiling takes a second a variant; test_train.py compiles.
    options = {"epochs": 2, "batch_size": 2, "verbose": 0, "callbacks": [SameDraws(model)]}
    model.compile(keras.optimizers.Adam(1e-4), losses, run_eagerly=True)
    history = model.fit(variant.inputs(), targets, **options).history
    assert history["loss"][1] < history["loss"][0]


@pytest.fixture
def half(name: str) -> Iterator[str]:
    """The type to compute in; TensorFlow cannot pool volumes in float16 on a CPU."""
    before = keras.config.dtype_policy()
    variant = VARIANTS[name]
    ranks = {variant.rank, *map(len, variant.outputs(next(iter(variant.sizes))))}
    kind = "bfloat16" if 3 in ranks else "float16"
    keras.config.set_dtype_policy(f"mixed_{kind}")
    yield kind
    keras.config.set_dtype_policy(before)


@every_variant
def test_mixed_precision(name, half):
    variant, exact = VARIANTS[name], built(name)
    model = variant.build()
    assert {v.dtype for v in model.weights} == {"float32"}
    assert half in {layer.compute_dtype for layer in model.layers}
    model.set_weights(exact.get_weights())
    inputs = variant.inputs()
    expected = answers_of(exact, inputs)
    # Probabilities and pixels in [0, 255] need more bits than the inner layers.
    bare = variant.logits or variant.features or (variant.pixels and variant.white == 1.0)
    for answer in keras.tree.flatten(model(inputs)):
        assert answer.dtype == (half if bare else "float32")
    if variant.ranked:
        return
    # 11 bits a number (8 in bfloat16), rounded anew in each of some ten layers.
    error = {"float16": 0.02, "bfloat16": 0.1}[half] * span(expected)
    # Rounding makes ties, and unpooling by indices puts a maximum that another pixel has become
    # elsewhere: a few answers differ by more.
    unpools = any(isinstance(layer, layers.MaxUnpooling) for layer in model.layers)
    for answer, wanted in zip(answers_of(model, inputs), expected, strict=True):
        if unpools:
            assert np.abs(answer - wanted).mean() <= error
        elif half == "bfloat16":
            # Where an untrained network hangs in the balance, 8 bits decide: single voxels of a
            # residual one differ by 0.32 on a processor without bfloat16, 0.017 on average.
            assert np.abs(answer - wanted).mean() <= error / 4
        else:
            np.testing.assert_allclose(answer, wanted, rtol=0, atol=error)


EXPORTS = [
    (name, file_format)
    for name, variant in VARIANTS.items()
    for file_format in ("tflite", "onnx")
    if variant.exported
]


@pytest.mark.parametrize(("name", "file_format"), EXPORTS)
def test_exports_in_float32(name, file_format, tmp_path):
    """The file is verified against the model in its own runtime, or the export is refused."""
    variant = VARIANTS[name]
    target = {"tflite": "android-cpu", "onnx": "onnxruntime-cpu"}[file_format]
    sides = next(iter(variant.sizes))
    fixed = variant.build(input_shape=(*sides, variant.channels))
    samples = [[part[:1] for part in keras.tree.flatten(variant.inputs(count=1))]]
    options = {
        "target": target,
        "calibration": samples if len(samples[0]) > 1 else samples[0],
        "tune": False,
    }
    if file_format in variant.refused:
        with pytest.raises(kerasdeconv.errors.KerasDeconvError, match=variant.refused[file_format]):
            export.export(fixed, tmp_path, **options)
        assert not list(tmp_path.iterdir())
        return
    report = export.export(fixed, tmp_path, **options)
    assert Path(report.artifact).suffix == f".{file_format}"
    written = json.loads(Path(report.artifact).with_suffix(".report.json").read_text())
    shapes = [tuple(output["shape"]) for output in written["outputs"]]
    assert shapes == [
        (1, *expected, output.shape[-1])
        for expected, output in zip(variant.outputs(sides), fixed.outputs, strict=True)
    ]
    # Float32 files differ by the order of sums alone: 14 bits at least of 24 are the same.
    assert written["verification"]["max_abs_error"] <= 2**-14 * span(
        answers_of(fixed, variant.inputs(count=1))
    )


@pytest.mark.parametrize(("builder", "arguments", "message"), MISTAKES)
def test_mistakes_name_what_is_valid(builder, arguments, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        getattr(models, builder)(**arguments)


@pytest.mark.parametrize("builder", models.__all__)
def test_an_unknown_argument(builder):
    with pytest.raises(TypeError, match="widht"):
        getattr(models, builder)(widht=3)


def test_every_builder_refuses_something():
    refused = itertools.groupby(sorted(builder for builder, _, _ in MISTAKES))
    assert [builder for builder, _ in refused] == sorted(models.__all__)
