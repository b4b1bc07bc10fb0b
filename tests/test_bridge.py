"""A Keras 3 model anew in tf_keras: the same outputs, the weights and the way back."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
from contract import span
from export_models import answers, random_weights, two_inputs, unet
from test_lowering_graphs import FOREIGN
from variants import VARIANTS

from kerasdeconv import models
from kerasdeconv.errors import ExportError
from kerasdeconv.export.lowering import lower
from kerasdeconv.export.training import legacy
from kerasdeconv.export.training.bridge import bridge, to_tf_keras

L = keras.layers
# Seconds, each of them, for a large encoder.
_COSTLY = (
    *("unet-mobilenet_v2", "unet-mobilenet_v3_small", "segnet-3d", "vnet-thin"),
    "deeplab-v3-plus-dilated",
)


def flat(outputs: Any) -> list[np.ndarray]:
    return [np.asarray(y) for y in (outputs if isinstance(outputs, list | tuple) else [outputs])]


def require_equal(model: keras.Model, inputs: Any, batch: int | None = None) -> None:
    expected = flat(keras.tree.flatten(model(inputs, training=False)))
    got = flat(to_tf_keras(model, batch)(inputs, training=False))
    for want, have in zip(expected, got, strict=True):
        # The same operators in the same order: 0 in nearly all; some sums run in another order,
        # each with a rounding of 1e-7 of the largest value.
        np.testing.assert_allclose(have, want, rtol=0, atol=1e-5 * span([want]))


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in _COSTLY else n for n in VARIANTS],
)
def test_every_builder(name):
    require_equal(VARIANTS[name].build(), VARIANTS[name].inputs())


@pytest.mark.parametrize("name", FOREIGN)
def test_models_that_we_did_not_write(name):
    model = FOREIGN[name]()
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(2, *x.shape[1:])).astype(np.float32) for x in model.inputs]
    require_equal(model, inputs if len(inputs) > 1 else inputs[0])


def volumes(**arguments: Any) -> keras.Model:
    options = {"width": 4, "depth": 1, "padding": "same", "norm": "batch", **arguments}
    return random_weights(models.UNet((8, 8, 8, 1), 2, **options))


@pytest.mark.parametrize("make", [unet, two_inputs, volumes], ids=lambda f: f.__name__)
def test_lowered_models(make):
    model = lower(make(), "android-cpu", precision="int8")
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(0, 255, x.shape).astype(np.float32) for x in model.inputs]
    require_equal(model, inputs if len(inputs) > 1 else inputs[0], batch=1)


def with_all_kinds() -> keras.Model:
    """A layer that is used twice, one that tf_keras lacks, one of the same class but constrained,
    and one that does not train."""
    image = keras.Input((8, 8, 4), name="image")
    twice = L.Conv2D(4, 3, padding="same", kernel_regularizer="l2", name="twice")
    x = L.GroupNormalization(2, name="group")(twice(twice(image)))
    x = L.Conv2D(4, 1, kernel_constraint="non_neg", name="constrained")(x)
    frozen = L.Conv2D(3, 1, activation="gelu", name="frozen", trainable=False)
    x = L.BatchNormalization(name="norm")(frozen(x))
    return random_weights(keras.Model(image, x, name="kinds"))


def test_weights_train_and_come_back():
    model = with_all_kinds()
    before = model.get_weights()
    made = bridge(model)
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 4)).astype(np.float32)
    require_equal(model, x)
    made.model.compile("sgd", "mse")
    made.model.fit(x, np.ones((4, 8, 8, 3), np.float32), epochs=2, batch_size=2, verbose=0)
    trained = made.to_keras()
    # Another order of sums.
    np.testing.assert_allclose(
        flat(made.model(x, training=False))[0], answers(trained, x)[0], atol=1e-5
    )
    for old, given, new, weight in zip(
        before, model.get_weights(), trained.get_weights(), trained.weights, strict=True
    ):
        np.testing.assert_array_equal(given, old)  # the model that was given is left alone
        assert np.array_equal(new, old) == ("frozen" in weight.path), weight.path


def test_every_weight_is_saved(tmp_path):
    model = with_all_kinds()
    made, other = to_tf_keras(model), to_tf_keras(random_weights(with_all_kinds(), seed=1))
    assert len(made.trainable_weights) == len(model.trainable_weights)
    assert len(made.weights) == len(model.weights)
    made.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    x = np.random.default_rng(0).normal(size=(1, 8, 8, 4)).astype(np.float32)
    np.testing.assert_array_equal(flat(other(x))[0], flat(made(x))[0])


_UNDISTURBED = """
import logging, os, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "__array__ implementation")
import keras, tensorflow as tf
from kerasdeconv.export.training import legacy
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"  # set by `quiet` in any case
before = dict(os.environ)
loggers = {n: logging.getLogger(n).level for n in (None, "absl", "tensorflow")}
handlers = list(logging.getLogger().handlers)
keras.utils.set_random_seed(0)
layer = keras.layers.Dense(2)
name = layer.name
legacy.load_tfmot()
assert dict(os.environ) == before, set(os.environ.items()) ^ set(before.items())
assert {n: logging.getLogger(n).level for n in loggers} == loggers
assert logging.getLogger().handlers == handlers
assert tf.keras.__version__.startswith("3."), tf.keras.__version__
assert tf.keras.layers.Dense is keras.layers.Dense
assert keras.layers.Dense(2).name == name + "_1"
assert keras.backend.backend() == "tensorflow" and keras.backend.floatx() == "float32"
keras.Sequential([keras.Input((3,)), layer]).predict(tf.ones((1, 3)), verbose=0)
"""


@pytest.mark.parametrize("value", [None, "0"])
def test_loading_leaves_the_process_as_it_was(value, monkeypatch):
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    if value is not None:
        monkeypatch.setenv("TF_USE_LEGACY_KERAS", value)
    done = subprocess.run(
        [sys.executable, "-c", _UNDISTURBED], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tf_keras", None)
    with pytest.raises(ExportError, match=r"'kerasdeconv\[qat\]'.*Received: .*tf_keras"):
        legacy.load_tf_keras()
