"""Keras to TFLite: static shapes, frozen weights, builtin operators only."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import ExportError
from kerasdeconv.export.artifact import INTEGERS
from kerasdeconv.export.function import freeze, to_function, typed_inputs
from kerasdeconv.export.pixel_output import tflite_pixels
from kerasdeconv.export.quantization.calibrated import calibrate, quantize
from kerasdeconv.export.quantization.ranges import require_method
from kerasdeconv.export.shared_biases import own_biases
from kerasdeconv.quiet import quiet

DOORS = ("float32", "int8", "uint8")


def to_tflite(
    model: keras.Model,
    *,
    precision: str = "float32",
    samples: Iterable[Any] = (),
    door: str = "float32",
    pixel_output: bool = False,
    ranges: str = "minmax",
    float_layers: Collection[str] = (),
    layers: Collection[str] = (),
) -> bytes:
    """Converts a model with static shapes.

    Args:
        model: Every side of its inputs must be known, batch included.
        precision: "float32", "float16" (weights), "dynamic" (8-bit weights), "int8", or "int16x8"
            (16-bit activations, 8-bit weights).
        samples: What the integer precisions take their ranges from: arrays of the first input's
            shape, or lists with one array an input.
        door: Type of the inputs and outputs of an int8 file.
        pixel_output: Whether the first output is pixels in [0, 255], which an int8 file then puts
            out clipped to that range, in steps of 1.
        ranges: How int8 chooses the ranges of what is inside, see `quantization.ranges.choose`;
            others know "minmax" alone.
        float_layers: Layers of an int8 file that stay in float.
        layers: Names of all layers, by which these are found: the model's own by default. A
            lowered model has others than the one that it came from.

    Returns:
        The file's content.

    Raises:
        ExportError: An operator of the model has no TFLite builtin, or cannot be quantized. The
            message names the operator and the Keras layer.
        ValueError: No such precision or door.
    """
    import tensorflow as tf

    require_method(ranges, precision)
    function = freeze(to_function(model)[0])
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    samples = [typed_inputs(model, sample) for sample in samples]
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    elif precision in INTEGERS:
        _check_door(door)
        if not samples:
            raise ExportError(f"{precision} needs samples to take its ranges from. Received: none")
        _set_integers(converter, precision, samples)
    elif precision not in ("float32", "dynamic"):
        raise ValueError(
            "TFLite files are made in float32, float16, dynamic, int8 or int16x8. "
            f"Received: {precision!r}"
        )
    with _explained(function, model):
        content = bytes(converter.convert())
        if precision == "int8":
            content = quantize(
                calibrate(content, samples, ranges),
                input_type=door,
                output_type=_output_door(function, door),
                float_layers=float_layers,
                layers=layers or {layer.name for layer in model.layers},
            )
    if precision == "int16x8":
        content = own_biases(content)
    return tflite_pixels(content) if pixel_output and precision == "int8" else content


def to_int8(function: Any, model: keras.Model, *, door: str, pixel_output: bool) -> bytes:
    """Converts a function that rounds its values to 8 bits itself, as training has it.

    Args:
        function: With static shapes and frozen weights.
        model: The model that it computes, to name layers by.
        door: Type of the inputs and outputs.
        pixel_output: See `to_tflite`.

    Returns:
        The file's content.

    Raises:
        ExportError: An operator has no TFLite builtin, or cannot be quantized.
        ValueError: No such door.
    """
    import tensorflow as tf

    _check_door(door)
    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = getattr(tf, door)
    converter.inference_output_type = getattr(tf, _output_door(function, door))
    with _explained(function, model):
        content = bytes(converter.convert())
    return tflite_pixels(content) if pixel_output else content


def _check_door(door: str) -> None:
    if door not in DOORS:
        raise ValueError(f"The door of an int8 file is one of {DOORS}. Received: {door!r}")


def _output_door(function: Any, door: str) -> str:
    """Type of the outputs. Labels are integers already; they stay int32."""
    return door if all(output.dtype.is_floating for output in function.outputs) else "float32"


def _set_integers(converter: Any, precision: str, samples: list[Any]) -> None:
    """Asks for integers: for int8, for the float file with which `calibrate` begins."""
    import tensorflow as tf

    def representative() -> Iterator[list[np.ndarray]]:
        for sample in samples[:1] if precision == "int8" else samples:
            yield sample if isinstance(sample, list) else [sample]

    converter.representative_dataset = representative
    if precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter._experimental_calibrate_only = True
        return
    # Its doors stay float32: the converter knows no 8-bit doors for 16-bit activations.
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
    ]


@contextlib.contextmanager
def _explained(function: Any, model: keras.Model) -> Iterator[None]:
    """Keeps the converter quiet; what it fails at becomes an `ExportError`."""
    from tensorflow.lite.python.convert_phase import ConverterError

    try:
        with quiet(), warnings.catch_warnings():
            # "Statistics for quantized inputs were expected": they come from the samples.
            warnings.filterwarnings("ignore", message="Statistics for quantized inputs")
            yield
    except (ConverterError, RuntimeError, ValueError) as error:
        raise _named(error, function, model) from None


def _named(error: Exception, function: Any, model: keras.Model) -> ExportError:
    """Names the operators that TFLite lacks, and the layers that they come from."""
    text = str(error)
    found = re.search(r"(?:TF Select|Flex|Custom) ops: (.+)", text)
    if found is None:
        first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
        first = first.partition(": error: ")[2] or first  # without a place in a script
        return ExportError(f"TFLite cannot convert the model ({first}). Received: {model.name!r}")
    operators = [name.strip() for name in found[1].split(",")]
    layers = sorted(
        {
            layer.name
            for node in function.graph.as_graph_def().node
            if node.op in operators
            for layer in model.layers
            if re.search(rf"(?:^|/){re.escape(layer.name)}(?:_\d+)?/", node.name)
        }
    )
    where = f" (layer {', '.join(map(repr, layers))})" if layers else ""
    return ExportError(
        f"TFLite has no builtin operator for {', '.join(operators)}{where}. "
        f"Received: {model.name!r}"
    )
