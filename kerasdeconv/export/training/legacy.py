"""The packages of Keras 2 that quantization-aware training stands on, loaded without a trace.

Importing tensorflow-model-optimization sets `TF_USE_LEGACY_KERAS`, by which `tf.keras` would become
Keras 2 for the whole process, and for every process started from it.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from kerasdeconv.errors import ExportError
from kerasdeconv.quiet import quiet

_SWITCH = "TF_USE_LEGACY_KERAS"


def load_tf_keras() -> Any:
    """Imports tf_keras.

    Raises:
        ExportError: It is not installed, or Keras runs on another backend than TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise ExportError(
            "Quantization-aware training needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow "
            f"before Python starts. Received: {keras.backend.backend()!r}"
        )
    with _undisturbed(), _explained():
        import tf_keras
    return tf_keras


def load_tfmot() -> Any:
    """Imports tensorflow-model-optimization.

    Raises:
        ExportError: It is not installed, or Keras runs on another backend than TensorFlow.
    """
    load_tf_keras()
    with _undisturbed(), _explained():
        import tensorflow_model_optimization
    return tensorflow_model_optimization


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Keeps `tf.keras`, the environment and the terminal as they are."""
    import tensorflow as tf

    _ = tf.keras.layers  # it decides for a Keras when it is first used, and keeps to that
    before = os.environ.get(_SWITCH)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # distutils
            yield
    finally:
        os.environ.pop(_SWITCH, None)
        if before is not None:
            os.environ[_SWITCH] = before


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        raise ExportError(
            "Training that knows of quantization needs more packages: "
            f"pip install 'kerasdeconv[qat]'. Received: no package {error.name!r}"
        ) from None
