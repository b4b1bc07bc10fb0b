"""Runs exported .tflite and .onnx files with NumPy, Pillow and the one runtime that they need.

Example:
    >>> predictor = kerasdeconv.runtime.open("build/unet/unet.int8.tflite")
    >>> probabilities = predictor.predict_tiled("cells.png")

Neither Keras nor TensorFlow is loaded.
"""

from __future__ import annotations

from pathlib import Path

from kerasdeconv.convention import Convention
from kerasdeconv.runtime.detection import Found
from kerasdeconv.runtime.generating import generate
from kerasdeconv.runtime.metadata import file_format, read_metadata
from kerasdeconv.runtime.predictor import FilePredictor, Predictor
from kerasdeconv.runtime.render import label_map, render, side_by_side
from kerasdeconv.runtime.tiling import tiled

__all__ = [
    "FilePredictor",
    "Found",
    "Predictor",
    "generate",
    "label_map",
    "open",
    "read_metadata",
    "render",
    "side_by_side",
    "tiled",
]


def open(
    path: str | Path, *, convention: Convention | None = None, threads: int = 1
) -> FilePredictor:
    """Opens an exported file.

    Args:
        path: A .tflite or .onnx file.
        convention: How to feed the network and read its answer, instead of what the file says. A
            file of another exporter says nothing: without this it runs on plain arrays only.
        threads: CPU threads to run with.

    Returns:
        A predictor.

    Raises:
        ArtifactError: The file is missing, damaged, not one that its runtime takes, or does not fit
            the convention.
        ValueError: `threads` is not positive.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1. Received: {threads}")
    if file_format(path) == "tflite":
        from kerasdeconv.runtime.litert import LiteRTPredictor

        return LiteRTPredictor(path, convention=convention, threads=threads)
    from kerasdeconv.runtime.ort import ORTPredictor

    return ORTPredictor(path, convention=convention, threads=threads)
