"""Small untrained networks for the tests of the export, with weights in which nothing is zero."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv import models
from kerasdeconv.convention import Convention
from kerasdeconv.export.function import pack_inputs

PIXELS = Convention(task="tensor", color="rgb", value_range=(0.0, 255.0))
CELLS = Convention(
    task="segmentation",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "nucleus"),
)
MANY = Convention(
    task="segmentation",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "left", "right"),
)
LUMA = Convention(
    task="super-resolution", color="y", value_range=(0.0, 255.0), output="pixels", scale=2, halo=4
)


def random_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """Draws all weights anew, biases and statistics too; maps keep their size from layer to layer.

    A fold that forgets a bias, a mean or a gain is then seen, which it is not in a fresh network.
    """
    rng = np.random.default_rng(seed)
    drawn = []
    for weight in model.weights:
        kind = weight.path.rsplit("/", 1)[-1]
        shape = tuple(weight.shape)
        if kind in ("gamma", "moving_variance"):
            drawn.append(rng.uniform(0.5, 1.5, shape))
        elif len(shape) > 1:  # a transposed kernel is ... x out x in, hence the mean of the two
            inputs = np.prod(shape[:-2]) * (shape[-1] + shape[-2]) / 2
            drawn.append(rng.normal(0, np.sqrt(2 / inputs), shape))
        else:
            drawn.append(rng.normal(0, 0.1, shape))
    model.set_weights(drawn)
    return model


def unet(classes: int = 1, norm: str | None = "batch", **arguments: Any) -> keras.Model:
    """A U-Net of two levels on 16 x 24 RGB."""
    options = {"width": 4, "depth": 2, "padding": "same", "norm": norm, **arguments}
    return random_weights(models.UNet((16, 24, 3), classes, **options))


def autoencoder() -> keras.Model:
    """What a user may have: Sequential, 16 x 16 RGB, no convention."""
    layers = keras.layers
    return random_weights(
        keras.Sequential(
            [
                keras.Input((16, 16, 3)),
                layers.Rescaling(1 / 255, name="scale"),
                layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="down"),
                layers.Conv2DTranspose(8, 4, strides=2, padding="same", use_bias=False, name="up"),
                layers.BatchNormalization(name="norm"),
                layers.ReLU(name="act"),
                layers.Conv2D(3, 3, padding="same", activation="sigmoid", name="out"),
            ],
            name="autoencoder",
        )
    )


def several_outputs() -> keras.Model:
    """Three outputs in an order that is neither that of their names nor that of computation.

    "mid" is read by what makes "late", too.
    """
    layers = keras.layers
    image = keras.Input((8, 12, 3), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(x)
    mid = layers.Conv2D(4, 3, padding="same", name="mid")(x)
    late = layers.Conv2DTranspose(2, 2, strides=2, padding="same", name="late")(mid)
    early = layers.Conv2D(5, 3, strides=2, padding="same", name="early")(x)
    return random_weights(keras.Model(image, [late, mid, early], name="several"))


def two_inputs() -> keras.Model:
    """Depth and colour, joined."""
    layers = keras.layers
    depth, image = keras.Input((8, 8, 1), name="depth"), keras.Input((8, 8, 3), name="image")
    parts = [
        layers.Conv2D(4, 3, padding="same", activation="relu", name=f"{x.name}_features")(
            layers.Rescaling(1 / 255, name=f"{x.name}_scale")(x)
        )
        for x in (depth, image)
    ]
    joined = layers.Concatenate(name="join")(parts)
    x = layers.Conv2D(2, 3, padding="same", name="out")(joined)
    return random_weights(keras.Model([depth, image], x, name="two"))


def pictures(shape: Sequence[int], count: int = 8, seed: int = 0) -> list[np.ndarray]:
    """Smooth pictures in [0, 255] with noise, as 1 x shape float32."""
    rng = np.random.default_rng(seed)
    height, width, channels = shape
    y, x = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    drawn = []
    for _ in range(count):
        angles = rng.uniform(0, 2 * np.pi, channels)
        waves = np.sin(rng.uniform(2, 9) * (x[..., None] * np.cos(angles) + y[..., None]) + angles)
        noisy = 127 + 90 * waves + rng.normal(0, 20, (height, width, channels))
        drawn.append(np.clip(noisy, 0, 255).astype(np.float32)[None])
    return drawn


def answers(model: keras.Model, *inputs: np.ndarray) -> list[np.ndarray]:
    """What a model computes in inference, as a list."""
    outputs = keras.tree.flatten(model(pack_inputs(model, inputs), training=False))
    return [keras.ops.convert_to_numpy(output) for output in outputs]
