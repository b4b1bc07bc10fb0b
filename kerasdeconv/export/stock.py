"""The stock conversion: a model as it is, converted as well as the stock converter can.

This is what the lowering is measured against, so it gets its best fair form: static batch and
size, weights frozen to constants, the converter's own default optimisations, and for integers the
same samples and the same doors. Nothing is rewritten before the converter sees it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

import keras

from kerasdeconv.errors import ExportError
from kerasdeconv.export import onnx, tflite
from kerasdeconv.export.lowering import static
from kerasdeconv.export.quantization.weights import fitted_kernels, with_kernels

_CONVERTERS = {"tflite": tflite.to_tflite, "onnx": onnx.to_onnx}


def convert_stock(
    model: keras.Model,
    input_shapes: Sequence[tuple[int, ...]],
    *,
    format: str,
    precision: str = "float32",
    samples: Iterable[Any] = (),
    door: str = "float32",
    head: str | None = None,
    pixel_output: bool = False,
    float_layers: Collection[str] = (),
    fitted: bool = False,
) -> bytes:
    """Converts a model without lowering it.

    An ONNX int8 file is a little better than stock: `to_onnx` takes out the float detours that
    quantize-dequantize pairs make around operators that only move values.

    Args:
        model: Functional or Sequential.
        input_shapes: Shape of each input, batch included.
        format: "tflite" or "onnx".
        precision: As for `to_tflite` and `to_onnx`.
        samples: What the integer precisions take their ranges from.
        door: Type of the inputs and outputs of an int8 file.
        head: As for `kerasdeconv.export.export`.
        pixel_output: As for `to_tflite` and `to_onnx`.
        float_layers: As for `to_tflite` and `to_onnx`.
        fitted: Whether the weights of an int8 file are rounded to fit the samples, as those of a
            lowered model, which no stock converter does; it takes as long to run.

    Returns:
        The file's content. Whether it is in the precision, or loads, is for the caller to see.

    Raises:
        ExportError: The stock converter cannot convert the model; the message says why.
        ValueError: No such format, precision or door, or the model cannot take the shapes.
    """
    if format not in _CONVERTERS:
        raise ValueError(f"format must be one of {tuple(_CONVERTERS)}. Received: {format!r}")
    fixed, samples = static(model, input_shapes, head), list(samples)
    try:
        kernels = fitted_kernels(fixed, samples, format=format) if fitted else {}
        with with_kernels(fixed, kernels):
            return _CONVERTERS[format](
                fixed,
                precision=precision,
                samples=samples,
                door=door,
                pixel_output=pixel_output,
                float_layers=float_layers,
            )
    except (ExportError, ValueError):
        raise
    except Exception as error:  # converters raise what their libraries raise, of any type
        first = next(iter(str(error).strip().splitlines()), "")
        raise ExportError(
            f"The stock converter fails ({type(error).__name__}: {first}). Received: {model.name!r}"
        ) from error
