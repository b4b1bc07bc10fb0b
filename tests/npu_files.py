"""Small files of 8 bits for the tests of targets that are processors of their own."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from kerasdeconv.export.lowering import lower
from kerasdeconv.export.tflite import to_tflite


@pytest.fixture(scope="session")
def on_npu(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A decoder, lowered for the Ethos-U55, with integers at the doors: all of it fits an NPU."""
    path = tmp_path_factory.mktemp("npu") / "decoder.int8.tflite"
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = skip = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.MaxPool2D(name="pool")(x)
    x = layers.Conv2DTranspose(8, 3, 2, padding="same", activation="relu", name="up")(x)
    x = layers.Concatenate(name="join")([x, skip])
    x = layers.Conv2D(4, 3, padding="same", activation="sigmoid", name="head")(x)
    lowered = lower(keras.Model(image, x, name="decoder"), "ethos-u55", precision="int8")
    samples = list(np.random.default_rng(0).random((4, 1, 16, 16, 3), dtype=np.float32))
    path.write_bytes(to_tflite(lowered, precision="int8", samples=samples, door="int8"))
    return path
