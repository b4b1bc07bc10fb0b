"""Pruning and clustering, alone and with training for 8 bits, measured in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from export_models import PIXELS, answers, pictures, random_weights

from kerasdeconv.errors import ArtifactError
from kerasdeconv.export.artifact import float_operators, read_artifact
from kerasdeconv.export.lowering import lower
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.training.aware import quantize_aware
from kerasdeconv.export.training.compress import (
    cluster,
    compressed_size,
    prune,
    sparsity,
    unique_weights,
)

L = keras.layers
SAMPLES = pictures((16, 16, 3))
INPUTS = np.concatenate(SAMPLES)


def network() -> keras.Model:
    """Some thousand weights, lowered: what is trained is what goes into the file."""
    image = keras.Input((16, 16, 3), name="image")
    x = L.Rescaling(1 / 255)(image)
    x = L.Conv2D(16, 3, strides=2, padding="same", activation="relu", name="down")(x)
    x = L.Conv2D(16, 3, padding="same", activation="relu", name="middle")(x)
    x = L.Conv2DTranspose(8, 4, 2, padding="same", activation="relu", name="up")(x)
    model = keras.Model(image, L.Conv2D(3, 3, padding="same", name="out")(x), name="network")
    return lower(random_weights(model), "android-cpu", precision="int8")


def lesson(model: keras.Model) -> Any:
    import tensorflow as tf

    targets = np.concatenate([answers(model, sample)[0] for sample in SAMPLES])
    return tf.data.Dataset.from_tensor_slices((INPUTS, targets)).batch(4)


def written(content: bytes, folder: Path, name: str) -> Path:
    path = folder / f"{name}.tflite"
    path.write_bytes(content)
    return path


def int8(model: keras.Model, folder: Path, name: str) -> Path:
    return written(to_tflite(model, precision="int8", samples=SAMPLES), folder, name)


def kernels(model: keras.Model) -> list[np.ndarray]:
    return [np.asarray(w) for w in model.weights if w.path.endswith("kernel")]


@pytest.mark.parametrize("schedule", ["constant", "polynomial"])
def test_pruned_weights_are_zeros_in_the_file(schedule, tmp_path):
    model = network()
    pruning = prune(model, 0.75, schedule=schedule, steps=6, frequency=1)
    pruning.fit(lesson(model), loss="mse", epochs=4, learning_rate=1e-3)
    pruned = pruning.to_keras()
    for kernel in kernels(pruned):
        assert np.mean(kernel == 0) == pytest.approx(0.75, abs=0.01)  # of some hundred weights
    before, after = int8(model, tmp_path, "before"), int8(pruned, tmp_path, "after")
    assert sparsity(before) < 0.2  # the joint form of a transposed convolution has zeros
    # Small weights are rounded to zero, too.
    assert 0.74 < sparsity(after) < 0.85
    assert compressed_size(after) < 0.9 * compressed_size(before)
    assert after.stat().st_size == pytest.approx(before.stat().st_size, rel=0.05)
    assert all(np.mean(kernel == 0) < 0.5 for kernel in kernels(model))  # the given one is kept


def test_two_of_four():
    model = network()
    pruning = prune(model, 0.5, schedule="constant", two_of_four=True)
    pruning.fit(lesson(model), loss="mse", epochs=2, learning_rate=1e-3)
    for kernel in kernels(pruning.to_keras()):
        if kernel.shape[2] % 4 == 0:  # neighbours along the input channels
            groups = np.moveaxis(kernel, 2, -1).reshape(-1, 4)
            assert ((groups == 0).sum(axis=1) >= 2).all()


def test_clustered_weights_are_few_in_the_file(tmp_path):
    model = network()
    clustering = cluster(model, 8)
    clustering.fit(lesson(model), loss="mse", epochs=2, learning_rate=1e-3)
    clustered = clustering.to_keras()
    assert max(len(np.unique(kernel)) for kernel in kernels(clustered)) <= 8
    path = written(to_tflite(clustered), tmp_path, "clustered")
    assert unique_weights(path) <= 8 < unique_weights(written(to_tflite(model), tmp_path, "all"))
    assert compressed_size(path) < 0.6 * compressed_size(tmp_path / "all.tflite")


@pytest.mark.parametrize("keep", ["zeros", "clusters"])
def test_training_for_8_bits_keeps_them(keep, tmp_path):
    model = network()
    made = prune(model, 0.75, schedule="constant") if keep == "zeros" else cluster(model, 8)
    made.fit(lesson(model), loss="mse", epochs=2, learning_rate=1e-3)
    compressed = made.to_keras()
    aware = quantize_aware(compressed, SAMPLES, convention=PIXELS, keep=keep)
    start = kernels(compressed)
    aware.fit(lesson(model), loss="mse", epochs=3)
    path = written(aware.to_tflite(), tmp_path, keep)
    assert float_operators(read_artifact(path), "int8") == []
    if keep == "zeros":
        assert sparsity(path) > 0.74
    else:
        assert unique_weights(path) <= 8
    for old, new in zip(start, kernels(aware.to_keras()), strict=True):
        assert not np.array_equal(old, new)
        if keep == "zeros":
            assert not new[old == 0].any()
        else:
            assert len(np.unique(new)) <= 8


def test_zeros_and_clusters():
    model = network()
    pruning = prune(model, 0.5, schedule="constant")
    pruning.fit(lesson(model), loss="mse", epochs=2, learning_rate=1e-3)
    clustering = cluster(pruning.to_keras(), 8, keep_zeros=True)
    clustering.fit(lesson(model), loss="mse", epochs=1, learning_rate=1e-3)
    for kernel in kernels(clustering.to_keras()):
        assert len(np.unique(kernel)) <= 8
        assert np.mean(kernel == 0) > 0.45


def test_mistakes_are_named(tmp_path):
    model = network()
    with pytest.raises(ValueError, match=r"sparsity must be .*Received: 1"):
        prune(model, 1)
    with pytest.raises(ValueError, match=r"Did you mean 'constant'\? Received: 'constnt'"):
        prune(model, 0.5, schedule="constnt")
    with pytest.raises(ValueError, match=r"clusters must be 3 or more\. Received: 2"):
        cluster(model, 2, keep_zeros=True)
    with pytest.raises(ValueError, match=r"keep must be .*Received: 'ones'"):
        quantize_aware(model, SAMPLES, keep="ones")
    with pytest.raises(ArtifactError, match=r"No such model file"):
        sparsity(tmp_path / "none.tflite")
