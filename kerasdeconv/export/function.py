"""What both converters start from: the model as one TensorFlow function."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import ExportError
from kerasdeconv.graph import free_name
from kerasdeconv.quiet import quiet


def to_function(model: keras.Model) -> tuple[Any, list[Any]]:
    """Wraps a model's inference as a TensorFlow function with static shapes.

    Returns:
        The function, and the signature of its inputs.

    Raises:
        ExportError: Keras runs on another backend, or a side of an input is not known.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            "Exporting needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before Python "
            f"starts. Received: {keras.backend.backend()!r}"
        )
    import tensorflow as tf

    for tensor in model.inputs:
        if None in tensor.shape:
            raise ExportError(
                f"Every side of the input {tensor.name!r} must be known. Received: {tensor.shape}"
            )
    signature = [tf.TensorSpec(t.shape, t.dtype, name=t.name) for t in model.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def infer(*inputs: Any) -> list[Any]:
        # Named outputs keep their names in the files.
        answers = keras.tree.flatten(model(pack_inputs(model, inputs), training=False))
        return [
            tf.identity(answer, name=name)
            for answer, name in zip(answers, output_names(model), strict=True)
        ]

    return infer, signature


def pack_inputs(model: keras.Model, tensors: Sequence[Any]) -> Any:
    """Arranges inputs as a model takes them: one alone, in a list, or by name."""
    if isinstance(model, keras.Sequential):
        (tensor,) = tensors
        return tensor
    return keras.tree.pack_sequence_as(model.input, tensors)


def typed_inputs(model: keras.Model, sample: Any) -> list[np.ndarray]:
    """The parts of a sample in the types of a model's inputs.

    For integers they are rounded, as the runtime does; Keras would cut off.
    """
    parts = list(sample) if isinstance(sample, list | tuple) else [sample]
    return [
        np.asarray(part)
        if keras.backend.is_float_dtype(tensor.dtype)
        else np.rint(part).astype(tensor.dtype)
        for part, tensor in zip(parts, model.inputs, strict=True)
    ]


def output_names(model: keras.Model) -> list[str]:
    """Names the outputs by their layers, numbered where a layer makes several."""
    taken: set[str] = set()
    return [free_name(output._keras_history.operation.name, taken) for output in model.outputs]


def freeze(function: Any) -> Any:
    """Turns a TensorFlow function into a concrete one in which the weights are constants."""
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    with quiet():
        return convert_variables_to_constants_v2(function.get_concrete_function())
