"""Small Keras networks converted by the stock tools, shared by the tests that read files."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

OPS = tf.lite.OpsSet
INT16X8 = OPS.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A small U-Net in every precision and both formats, by file name ("int8.onnx")."""
    folder = tmp_path_factory.mktemp("net")
    model = _unet()
    with _quiet():
        for precision in ("float32", "float16", "dynamic", "int8", "int16x8"):
            to_tflite(model, folder / f"{precision}.tflite", precision, (1, 16, 16, 3))
        to_tflite(model, folder / "free.tflite", "float32", (None, None, None, 3))
        _to_onnx(model, folder)
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A 3D network in float32 and int8, and a 3D pooling that needs TensorFlow (Flex)."""
    folder = tmp_path_factory.mktemp("volume")
    image = keras.Input((4, 4, 4, 1))
    x = keras.layers.Conv3D(8, 3, padding="same", activation="relu", name="c3")(image)
    x = keras.layers.Conv3DTranspose(4, 2, 2, name="u3")(x)
    model = keras.Model(image, x, name="volume")
    pool = keras.Model(image, keras.layers.MaxPool3D(name="p3")(image), name="pooled")
    with _quiet():
        for precision in ("float32", "int8"):
            to_tflite(model, folder / f"{precision}.tflite", precision, (1, 4, 4, 4, 1))
        to_tflite(pool, folder / "flex.tflite", "flex", (1, 4, 4, 4, 1))
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="session")
def fused_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transposed convolution whose bias lets the converter fuse the activation."""
    path = tmp_path_factory.mktemp("fused") / "fused.tflite"
    image = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2DTranspose(
        8, 2, 2, activation="relu", bias_initializer="ones", name="up"
    )
    with _quiet():
        to_tflite(keras.Model(image, layer(image)), path, "float32", (1, 4, 4, 3))
    return path


@pytest.fixture(scope="session")
def dense_tflite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dynamic-range 1x1 convolutions, of 32 x 32 = 1024 and 33 x 31 = 1023 weights."""
    path = tmp_path_factory.mktemp("dense") / "dense.tflite"
    left, right = keras.Input((4, 4, 32)), keras.Input((4, 4, 33))
    outputs = [keras.layers.Conv2D(32, 1)(left), keras.layers.Conv2D(31, 1)(right)]
    model = keras.Model([left, right], outputs)
    with _quiet():
        to_tflite(model, path, "dynamic", (1, 4, 4, 32), (1, 4, 4, 33))
    return path


def _unet() -> keras.Model:
    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="image")
    x = skip = layers.Conv2D(16, 3, padding="same", activation="relu", name="stem")(image)
    x = layers.MaxPool2D(name="pool")(x)
    # Keras's own names: the scope of `conv2d` bears the name of the next layer, `conv2d_1`.
    x = layers.Conv2D(32, 3, padding="same", name="conv2d")(x)
    x = layers.BatchNormalization(name="bn")(x)
    x = layers.ReLU(name="relu")(x)
    side = layers.Conv2D(64, 1, name="conv2d_1")(x)
    side = _Shuffle(name="shuffle")(side)
    x = layers.Conv2DTranspose(16, 2, strides=2, activation="relu", name="up")(x)
    x = layers.Concatenate(name="join")([x, skip, side])
    x = layers.Conv2D(4, 3, padding="same", activation="softmax", name="head")(x)
    return keras.Model(image, x, name="net")


@keras.saving.register_keras_serializable("converted_files")
class _Shuffle(keras.layers.Layer):
    """TensorFlow's depth-to-space, which both converters know."""

    def call(self, x: Any) -> Any:
        return tf.nn.depth_to_space(x, 2)

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[0], 2 * shape[1], 2 * shape[2], shape[3] // 4)


def to_tflite(model: keras.Model, path: Path, precision: str, *shapes: tuple) -> None:
    """Converts as TensorFlow does by itself: float32, float16, dynamic, int8, int16x8, or flex."""
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]

    @tf.function(input_signature=signature)
    def serve(*inputs: Any) -> Any:
        return model(inputs if len(inputs) > 1 else inputs[0], training=False)

    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], model)
    generator = np.random.default_rng(0)
    if precision not in ("float32", "flex"):
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in ("int8", "int16x8"):
        converter.representative_dataset = lambda: (
            [generator.random(shape, dtype=np.float32) for shape in shapes] for _ in range(3)
        )
    if precision == "int8":
        converter.target_spec.supported_ops = [OPS.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    if precision == "int16x8":
        converter.target_spec.supported_ops = [INT16X8, OPS.TFLITE_BUILTINS]
    if precision == "flex":
        converter.target_spec.supported_ops = [OPS.TFLITE_BUILTINS, OPS.SELECT_TF_OPS]
    path.write_bytes(converter.convert())


def _to_onnx(model: keras.Model, folder: Path) -> None:
    """Converts with tf2onnx, and quantizes with ONNX Runtime."""
    import tf2onnx
    from onnxruntime import quantization

    signature = [tf.TensorSpec((1, 16, 16, 3), tf.float32, name="image")]
    plain = str(folder / "float32.onnx")
    tf2onnx.convert.from_keras(model, input_signature=signature, opset=17, output_path=plain)

    class Samples(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            generator = np.random.default_rng(0)
            self.samples: Iterator = iter(
                [{"image": generator.random((1, 16, 16, 3), dtype=np.float32)} for _ in range(3)]
            )

        def get_next(self) -> dict | None:
            return next(self.samples, None)

    quantization.quantize_static(
        plain,
        str(folder / "int8.onnx"),
        Samples(),
        per_channel=True,
        # With signed activations, ONNX Runtime leaves most convolutions in float on x86.
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converters' own warnings are not what is tested."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
