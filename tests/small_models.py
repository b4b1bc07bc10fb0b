"""Small exported files for tests: real Keras models, converted in a second or two."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from onnx import TensorProto, helper, numpy_helper
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from kerasdeconv.convention import Convention
from kerasdeconv.export.metadata import write_metadata

SEGMENTATION = Convention(
    task="segmentation",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "nucleus"),
    halo=2,
)
SUPER_RESOLUTION = Convention(
    task="super-resolution",
    color="y",
    value_range=(0.0, 255.0),
    output="pixels",
    scale=3,
    halo=1,
)


@functools.cache
def segmentation_model() -> keras.Model:
    """Two 3x3 convolutions on 32 x 32 RGB: receptive radius 2."""
    keras.utils.set_random_seed(0)
    image = keras.Input((32, 32, 3), batch_size=1)
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu", name="hidden")(x)
    x = keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid", name="head")(x)
    return keras.Model(image, x)


@functools.cache
def super_resolution_model() -> keras.Model:
    """A blurred x3 enlargement of 16 x 24 luma: receptive radius 1."""
    keras.utils.set_random_seed(0)
    luma = keras.Input((16, 24, 1), batch_size=1)
    kernel = np.random.default_rng(0).uniform(0.0, 1.0, (5, 5, 1, 1))
    kernel *= 9 / kernel.sum()
    enlarge = keras.layers.Conv2DTranspose(
        1, 5, strides=3, padding="same", kernel_initializer=keras.initializers.Constant(kernel)
    )
    return keras.Model(luma, enlarge(luma))


@functools.cache
def three_output_model() -> keras.Model:
    image = keras.Input((32, 32, 3), batch_size=1)
    first = keras.layers.AveragePooling2D(4, name="first")(image)
    second = keras.layers.Rescaling(2.0, name="second")(image)
    third = keras.layers.MaxPooling2D(2, name="third")(image)
    return keras.Model(image, [second, first, third])


def write_tflite(
    path: Path,
    model: keras.Model,
    convention: Convention | None,
    *,
    door: type | None = None,
    free: bool = False,
    outputs: list[tuple[int, ...]] | None = None,
) -> Path:
    """Converts a model; `door` (np.uint8, np.int8) asks for an int8 network with that door."""
    shape = (1, None, None, model.input_shape[-1]) if free else model.input_shape
    function = tf.function(
        lambda x: model(x, training=False), input_signature=[tf.TensorSpec(shape, tf.float32)]
    )
    # Frozen: variables left in the file make int8 calibration fail.
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen], tf.Module())
    if door is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        rng = np.random.default_rng(0)
        converter.representative_dataset = lambda: (
            [rng.uniform(0, 255, shape).astype(np.float32)] for _ in range(8)
        )
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(door)
    path.write_bytes(converter.convert())
    if convention is not None:
        write_metadata(path, _metadata(convention, _tflite_outputs(path, outputs)))
    return path


def _tflite_outputs(path: Path, shapes: list[tuple[int, ...]] | None) -> list[dict[str, Any]]:
    """Output tensors, in the order of the given shapes: all of them differ in our models."""
    found = Interpreter(str(path)).get_output_details()
    if shapes is not None:
        found = [next(t for t in found if tuple(t["shape"]) == shape) for shape in shapes]
    return [{"name": t["name"], "shape": [int(side) for side in t["shape"]]} for t in found]


def write_onnx(
    path: Path,
    convention: Convention | None,
    *,
    door: int = TensorProto.FLOAT,
    input_quantization: dict[str, Any] | None = None,
    output_quantization: dict[str, Any] | None = None,
    batch: int | str = 1,
    side: int | str = 32,
) -> Path:
    """Writes `segmentation_model` as ONNX, channels last at the doors.

    An integer `door` puts a DequantizeLinear behind the input and a QuantizeLinear before the
    output, with the given quantizations.
    """
    hidden = segmentation_model().get_layer("hidden").get_weights()
    head = segmentation_model().get_layer("head").get_weights()
    weights: dict[str, np.ndarray] = {"scale": np.array(1 / 255, np.float32)}
    for name, (kernel, bias) in (("hidden", hidden), ("head", head)):
        weights[f"{name}.kernel"] = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        weights[f"{name}.bias"] = bias
    conv = functools.partial(helper.make_node, "Conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    nodes = [
        helper.make_node("Mul", ["real", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["first"], perm=[0, 3, 1, 2]),
        conv(["first", "hidden.kernel", "hidden.bias"], ["conv"]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        conv(["relu", "head.kernel", "head.bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["sigmoid"]),
        helper.make_node("Transpose", ["sigmoid"], ["probabilities"], perm=[0, 2, 3, 1]),
    ]
    if door == TensorProto.FLOAT:
        nodes = [helper.make_node("Identity", ["image"], ["real"]), *nodes]
        nodes.append(helper.make_node("Identity", ["probabilities"], ["answer"]))
    else:
        integer = helper.tensor_dtype_to_np_dtype(door)
        doors = (
            ("image", "real", input_quantization),
            (
                "probabilities",
                "answer",
                output_quantization,
            ),
        )
        for (source, result, said), kind in zip(
            doors, ("DequantizeLinear", "QuantizeLinear"), strict=True
        ):
            weights[f"{kind}.scale"] = np.array(said["scale"], np.float32)
            weights[f"{kind}.zero"] = np.array(said["zero_point"], integer)
            node = helper.make_node(kind, [source, f"{kind}.scale", f"{kind}.zero"], [result])
            nodes.insert(0 if kind == "DequantizeLinear" else len(nodes), node)
    graph = helper.make_graph(
        nodes,
        "segmentation",
        [helper.make_tensor_value_info("image", door, [batch, side, side, 3])],
        [helper.make_tensor_value_info("answer", door, [batch, side, side, 1])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    if convention is not None:
        metadata = _metadata(convention, [{"name": "answer", "quantization": output_quantization}])
        metadata["inputs"] = [{"name": "image", "quantization": input_quantization}]
        write_metadata(path, metadata)
    return path


def _metadata(convention: Convention, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": 1, "name": "small", "convention": convention.to_dict(), "outputs": outputs}
