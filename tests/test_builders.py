"""The contract that every builder keeps: one suite over all builders and their variants.

A new builder is one entry in `VARIANTS`, and its mistakes in `MISTAKES`.
"""

from __future__ import annotations

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import kerasdeconv
from kerasdeconv import models
from kerasdeconv.layers import UPSAMPLING_METHODS

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@dataclasses.dataclass(frozen=True)
class Variant:
    """A builder with arguments, and what it must give.

    Attributes:
        builder: Name in `kerasdeconv.models`.
        arguments: Its arguments; sides of the input shape are free.
        sizes: Input sides to output sides, all of them valid.
    """

    builder: str
    arguments: dict[str, Any]
    sizes: dict[tuple[int, ...], tuple[int, ...]]

    @property
    def channels(self) -> int:
        return self.arguments["input_shape"][-1]

    @property
    def white(self) -> float:
        return 255.0 if self.arguments.get("include_rescaling", True) else 1.0

    @property
    def logits(self) -> bool:
        return self.arguments.get("head_activation", "probabilities") is None

    def build(self, **changes: Any) -> keras.Model:
        keras.utils.set_random_seed(0)
        return getattr(models, self.builder)(**(self.arguments | changes))

    def pictures(self, sides: tuple[int, ...] | None = None, count: int = 2) -> np.ndarray:
        sides = sides or next(iter(self.sizes))
        rng = np.random.default_rng(0)
        return rng.uniform(0, self.white, (count, *sides, self.channels)).astype(np.float32)


def _unet(sizes: dict, channels: int = 3, **arguments: Any) -> Variant:
    shape = (*[None] * len(next(iter(sizes))), channels)
    # Wide enough that no ReLU layer is dead as a whole.
    return Variant("UNet", {"input_shape": shape, "width": 8, "depth": 2, **arguments}, sizes)


UNPADDED = {(44, 48): (4, 8), (52, 44): (12, 4)}
PADDED = {(16, 24): (16, 24), (20, 8): (20, 8)}
VOLUMES = {(8, 12, 16): (8, 12, 16), (12, 8, 8): (12, 8, 8)}


def _espcn(scale: int, channels: int = 1, **arguments: Any) -> Variant:
    shape = (None, None, channels)
    sizes = {side: tuple(scale * n for n in side) for side in [(8, 12), (7, 5), (5, 5)]}
    return Variant("ESPCN", {"input_shape": shape, "scale": scale, **arguments}, sizes)


VARIANTS = {
    "unet": _unet(UNPADDED, channels=1),
    "unet-same": _unet(PADDED, padding="same"),
    "unet-binary": _unet(PADDED, padding="same", classes=1),
    "unet-logits": _unet(PADDED, padding="same", classes=4, head_activation=None),
    "unet-batch": _unet(PADDED, padding="same", norm="batch"),
    "unet-group": _unet(PADDED, padding="same", norm="group"),
    "unet-instance": _unet(PADDED, padding="same", norm="instance"),
    "unet-residual": _unet(PADDED, padding="same", block="residual", norm="batch"),
    "unet-attention": _unet(PADDED, padding="same", attention=True),
    "unet-attention-valid": _unet(UNPADDED, attention=True),
    "unet-no-rescaling": _unet(PADDED, padding="same", include_rescaling=False, activation="gelu"),
    **{
        f"unet-{method}": _unet(PADDED, padding="same", upsample=method)
        for method in UPSAMPLING_METHODS[1:]
    },
    "unet-3d": _unet(VOLUMES, padding="same", norm="batch", attention=True),
    "unet-3d-separable": _unet(VOLUMES, padding="same", upsample="separable_transpose"),
    "unet-3d-bilinear": _unet(VOLUMES, padding="same", upsample="resize_bilinear"),
    "unet-3d-subpixel": _unet(VOLUMES, padding="same", upsample="subpixel"),
    "espcn-x2": _espcn(2),
    "espcn-x3": _espcn(3, activation="relu"),
    "espcn-x4-rgb": _espcn(4, channels=3),
    "espcn-no-rescaling": _espcn(3, include_rescaling=False),
}

every_variant = pytest.mark.parametrize("name", VARIANTS)


@functools.cache
def built(name: str) -> keras.Model:
    return VARIANTS[name].build()


def test_every_builder_has_a_variant():
    assert {variant.builder for variant in VARIANTS.values()} == set(models.__all__)


@every_variant
def test_any_valid_size(name):
    model, variant = built(name), VARIANTS[name]
    assert type(model).__name__ == "Functional"
    rank = len(next(iter(variant.sizes)))
    assert model.output_shape[:-1] == (None, *[None] * rank)
    for sides, expected in variant.sizes.items():
        answer = model(variant.pictures(sides)).numpy()
        assert answer.shape == (2, *expected, model.output_shape[-1])
        assert np.isfinite(answer).all() and np.ptp(answer) > 0


@every_variant
def test_a_fixed_size_and_another_name_change_no_weight(name):
    """Weights are stored by their layers' names."""
    model, variant = built(name), VARIANTS[name]
    sides, expected = next(iter(variant.sizes.items()))
    fixed = variant.build(input_shape=(*sides, variant.channels), name="other")
    assert fixed.name == "other"
    assert fixed.output_shape == (None, *expected, model.output_shape[-1])
    assert [(v.path, v.shape) for v in fixed.weights] == [(v.path, v.shape) for v in model.weights]
    assert len({v.path for v in model.weights}) == len(model.weights)


@pytest.fixture(scope="session")
def fresh_answers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Saves every variant and runs them all in one new process after `import kerasdeconv`."""
    folder = tmp_path_factory.mktemp("saved")
    for name, variant in VARIANTS.items():
        built(name).save(folder / f"{name}.keras")
        np.save(folder / f"{name}.input.npy", variant.pictures())
    program = f"""
import pathlib
import kerasdeconv, keras, numpy
for path in sorted(pathlib.Path({str(folder)!r}).glob("*.keras")):
    model = keras.models.load_model(path)
    x = numpy.load(path.with_suffix(".input.npy"))
    numpy.save(path.with_suffix(".output.npy"), model(x).numpy())
"""
    root = Path(kerasdeconv.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@every_variant
def test_reloads_in_a_fresh_process(name, fresh_answers):
    expected = built(name)(VARIANTS[name].pictures()).numpy()
    got = np.load(fresh_answers / f"{name}.output.npy")
    # The same operations on the same numbers; threads may sum in another order.
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def target(variant: Variant, model: keras.Model, x: np.ndarray) -> tuple[np.ndarray, Any]:
    """Something to learn, and a loss for it."""
    shape = model.compute_output_shape(x.shape)
    rng = np.random.default_rng(1)
    if variant.builder == "ESPCN":
        return rng.uniform(0, variant.white, shape).astype(np.float32), "mean_squared_error"
    if shape[-1] == 1:
        return rng.integers(0, 2, shape).astype(np.float32), "binary_crossentropy"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=variant.logits)
    return rng.integers(0, shape[-1], shape[:-1]).astype(np.int32), loss


@every_variant
def test_a_gradient_reaches_every_weight(name):
    model, variant = built(name), VARIANTS[name]
    x = variant.pictures()
    y, loss = target(variant, model, x)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(keras.losses.get(loss)(y, model(x, training=True)))
    weights = [v.value for v in model.trainable_weights]
    for variable, gradient in zip(
        model.trainable_weights, tape.gradient(value, weights), strict=True
    ):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient.numpy()).all() and gradient.numpy().any(), variable.path


@every_variant
def test_one_step_lowers_the_loss(name):
    variant = VARIANTS[name]
    model = variant.build()
    x = variant.pictures()
    y, loss = target(variant, model, x)
    # Eager, because compiling takes a second a variant; test_train.py compiles.
    model.compile(keras.optimizers.Adam(1e-4), loss, run_eagerly=True)
    losses = model.fit(x, y, epochs=2, batch_size=len(x), verbose=0).history["loss"]
    assert losses[1] < losses[0]


@pytest.fixture
def half(name: str) -> Iterator[str]:
    """The type to compute in; TensorFlow cannot pool volumes in float16 on a CPU."""
    before = keras.config.dtype_policy()
    kind = "bfloat16" if "3d" in name else "float16"
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
    x = variant.pictures()
    answer, expected = model(x), exact(x).numpy()
    # Probabilities and pixels in [0, 255] need more bits than the inner layers.
    bare = variant.logits or (variant.builder == "ESPCN" and variant.white == 1.0)
    assert answer.dtype == (half if bare else "float32")
    # 11 bits a number (8 in bfloat16), rounded anew in each of some ten layers.
    error = {"float16": 0.02, "bfloat16": 0.1}[half] * np.abs(expected).max()
    np.testing.assert_allclose(tf.cast(answer, "float32"), expected, rtol=0, atol=error)


MISTAKES = [
    ("UNet", {"block": "residul"}, r"Did you mean 'residual'\? Received: 'residul'"),
    ("UNet", {"padding": "full"}, r"'valid' or 'same'\. Received: 'full'"),
    ("UNet", {"norm": "layer"}, r"None, 'batch', 'group', 'instance'\)\. Received: 'layer'"),
    ("UNet", {"upsample": "resize_bilinar"}, r"'resize_bilinear'.*Received: 'resize_bilinar'"),
    ("UNet", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("UNet", {"block": "residual"}, r'padding="same"\. Received: \'valid\''),
    ("UNet", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("UNet", {"width": 0}, r"1 or more\. Received: 0, 4"),
    ("UNet", {"depth": 0}, r"1 or more\. Received: 64, 0"),
    ("UNet", {"input_shape": (570, 572, 1)}, r"nearest are 556 and 572\. Received: 570"),
    ("UNet", {"input_shape": (250, 256, 3), "padding": "same"}, r"240 and 256\. Received: 250"),
    ("UNet", {"input_shape": (256, 256)}, r"\(height, width, channels\).*Received: \(256, 256\)"),
    ("UNet", {"input_shape": (256, 256, None)}, r"channels\).*Received: \(256, 256, None\)"),
    ("ESPCN", {"scale": 1}, r"2 or more\. Received: 1"),
    ("ESPCN", {"scale": 2.0}, r"whole number, 2 or more\. Received: 2\.0"),
    ("ESPCN", {"input_shape": (32, 32)}, r"\(height, width, channels\).*Received: \(32, 32\)"),
]


@pytest.mark.parametrize(("builder", "arguments", "message"), MISTAKES)
def test_mistakes_name_what_is_valid(builder, arguments, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        getattr(models, builder)(**arguments)


@pytest.mark.parametrize("builder", models.__all__)
def test_an_unknown_argument(builder):
    with pytest.raises(TypeError, match="widht"):
        getattr(models, builder)(widht=3)
