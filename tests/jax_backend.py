"""Builders, losses and metrics on Keras' JAX backend, where TensorFlow is not even installed.

Run by `make test-jax` in an environment of its own; the default suite does not collect it.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import keras
import loss_cases
import metric_cases
import numpy as np
import pytest
from contract import SameDraws, span
from test_adversarial import TestSteps  # noqa: F401  the formulas hold on every backend
from test_progressive import test_it_is_faded_in_while_it_learns  # noqa: F401
from variants import VARIANTS

from kerasdeconv import losses
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.imaging import write_image

every_variant = pytest.mark.parametrize("name", VARIANTS)


def test_there_is_no_tensorflow():
    assert keras.backend.backend() == "jax"
    assert importlib.util.find_spec("tensorflow") is None


@every_variant
def test_any_valid_size(name):
    variant = VARIANTS[name]
    model = variant.build()
    for sides in variant.sizes:
        answers = keras.tree.flatten(model(variant.inputs(sides)))
        for answer, output, expected in zip(
            answers, model.outputs, variant.outputs(sides), strict=True
        ):
            assert answer.shape == (2, *expected, output.shape[-1])
            assert np.isfinite(np.asarray(answer)).all()


@every_variant
def test_a_compiled_step_lowers_the_loss(name):
    """`fit` compiles the step; what it computes is what the model computes uncompiled."""
    variant = VARIANTS[name]
    sides = next(iter(variant.sizes))
    model = variant.build(input_shape=(*sides, variant.channels))
    inputs = variant.inputs()
    targets, losses = variant.lesson(model)
    model.compile(keras.optimizers.Adam(1e-4), losses)
    plain = [np.asarray(answer) for answer in keras.tree.flatten(model(inputs))]
    compiled = keras.tree.flatten(model.predict(inputs, verbose=0))
    for answer, expected in zip(compiled, plain, strict=True):
        # The compiler may sum in another order: float32 rounding over some ten layers.
        np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-4 * span(plain))
    options = {"epochs": 2, "batch_size": 2, "verbose": 0, "callbacks": [SameDraws(model)]}
    history = model.fit(inputs, targets, **options).history
    assert history["loss"][1] < history["loss"][0]


@pytest.mark.parametrize("rank", loss_cases.SIDES)
@pytest.mark.parametrize("name", loss_cases.CASES)
def test_losses(name, rank):
    case = loss_cases.CASES[name]
    truth, guess, weights = loss_cases.samples(case, loss_cases.SIDES[rank])
    valid = np.ones(weights.shape, bool)
    loss = case.make()
    if case.labels:
        valid = truth != loss_cases.IGNORE
        loss = case.make(ignore=loss_cases.IGNORE)
    known = np.where(valid, truth, 0) if case.labels else truth
    expected = case.expected(known, guess, valid, weights)
    # Sums of some thousand float32 numbers, as on TensorFlow.
    np.testing.assert_allclose(loss(truth, guess, weights), expected, rtol=2e-5, atol=2e-6)
    slope = loss_cases.gradient(loss, truth, guess, weights)
    assert np.isfinite(slope).all() and slope.any()
    assert not slope[~valid].any()


@pytest.mark.parametrize("name", metric_cases.CASES)
def test_metrics(name):
    case = metric_cases.CASES[name]
    expected = case.expected(case.batches())
    assert case.streamed() == pytest.approx(expected, rel=1e-5)


def test_losses_and_metrics_in_a_compiled_step():
    case = metric_cases.CASES["mean_iou"]
    truth, guess, _ = case.batches()[0]
    ignore = metric_cases.IGNORE
    inputs = keras.Input(guess.shape[1:])
    outputs = keras.layers.Conv2D(4, 1, activation="softmax")(inputs)
    model = keras.Model(inputs, outputs)
    loss = losses.Dice(ignore=ignore) + losses.Lovasz(ignore=ignore)
    loss = loss + 0.1 * losses.Boundary(ignore=ignore) + 2 * losses.CrossEntropy(ignore=ignore)
    model.compile(keras.optimizers.Adam(1e-2), loss, weighted_metrics=[case.make()])
    history = model.fit(guess, truth, epochs=3, verbose=0).history
    assert history["loss"][2] < history["loss"][0]
    assert 0 < history["mean_iou"][0] < 1


_RECIPE = """
entry = "espcn_x2"

[data]
kind = "super-resolution"
folders = ["textures"]
validation = 0.25
patch = 12
batch = 4
steps = 3
border = 3

[fit]
epochs = 2
loss = { mean_squared_error = 1.0 }
"""
_SHARED_TRAINING = """
import json, sys
import keras
import numpy as np
from pathlib import Path
from kerasdeconv import train

folder = Path(sys.argv[1])
recipe = train.read_recipe(folder / "recipe.toml")
weights = {}
for devices in (1, 4):
    out = folder / str(devices)
    model = train.run(recipe, data=folder, out=out, devices=devices)
    kernel = model.get_layer("feature_0").kernel
    print(json.dumps(len(kernel.value.sharding.device_set)))
    weights[devices] = model.get_weights()
for one, four in zip(weights[1], weights[4], strict=True):
    # The same batches, summed in another order: float32 rounding, enlarged by Adam's division.
    np.testing.assert_allclose(four, one, atol=1e-3)
"""


def test_several_devices_share_a_batch(tmp_path):
    """Four CPU devices in one process train what one trains."""
    for i, picture in enumerate(synthetic_samples("textures", 4, (48, 56))):
        write_image(tmp_path / "textures" / f"{i}.png", picture)
    (tmp_path / "recipe.toml").write_text(_RECIPE)
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", _SHARED_TRAINING, str(tmp_path)],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "4"]
