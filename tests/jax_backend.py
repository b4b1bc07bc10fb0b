"""Every variant of every builder on Keras' JAX backend, where TensorFlow is not even installed.

Run by `make test-jax` in an environment of its own; the default suite does not collect it.
"""

from __future__ import annotations

import importlib.util

import keras
import numpy as np
import pytest
from contract import span
from variants import VARIANTS

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
    history = model.fit(inputs, targets, epochs=2, batch_size=2, verbose=0).history
    assert history["loss"][1] < history["loss"][0]
