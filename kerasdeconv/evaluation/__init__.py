"""Evaluation: one code for Keras models and exported files, on labelled data.

A measure of a task is a function in a module of its own, named in `MEASURES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import runtime
from kerasdeconv.convention import Convention
from kerasdeconv.evaluation.base import Measure, Progress
from kerasdeconv.evaluation.detection import detection
from kerasdeconv.evaluation.instances import instances
from kerasdeconv.evaluation.segmentation import segmentation
from kerasdeconv.evaluation.subjects import KerasPredictor, as_predictor, read_model
from kerasdeconv.evaluation.super_resolution import super_resolution

__all__ = ["MEASURES", "KerasPredictor", "as_predictor", "evaluate", "read_model"]

MEASURES: dict[str, Measure] = {
    "segmentation": segmentation,
    "instance-segmentation": instances,
    "instance-detection": detection,
    "super-resolution": super_resolution,
}


def evaluate(
    subject: keras.Model | str | Path | runtime.Predictor,
    data: str | Path,
    *,
    recipe: str | Path | None = None,
    convention: Convention | None = None,
    progress: Progress = lambda done, total: None,
) -> dict[str, Any]:
    """Measures a model or an exported file on labelled data.

    A Keras model sees each picture whole; a file sees it in tiles of its size.

    Args:
        subject: A Keras model, the name of a zoo entry, a .tflite or .onnx file, or a predictor.
        data: A folder: `images/` with `masks/`, `labels/` or `instances/` for segmentation, with
            `labels/` for volumes; `images/` with `instances/` for instance segmentation;
            high-resolution pictures, or a subfolder `HR/` of them, for super-resolution.
        recipe: A recipe whose validation part of the data is to be used alone.
        convention: For a subject that does not know its own.
        progress: Called with how many pictures are done, and how many there are.

    Returns:
        `task`, `data`, `images` (how many) and `metrics`. Segmentation: `mean_iou`, `iou` by
        class, `dice` by class, `pixel_accuracy`, for networks with one channel `auc`, the area
        under the ROC curve over all pixels, and `groups` with the same but that by kind of picture
        where the data knows kinds; for volumes `dice` is the mean over the volumes, and `mean_dice`
        its mean over all classes but the first, the background. Instance segmentation: `mean_iou`
        over all instances, where the network is given the box around each, `instances` (how many),
        and `groups` as before. Instance detection: `ap`, the average precision of masks, mean over
        the thresholds of intersection over union 0.50, 0.55, ... 0.95, `ap_50` and `ap_75` at one,
        `instances`, and `groups`.
        Super-resolution: `psnr_y` in dB and `ssim_y`, means over the pictures, and `pictures` with
        the same of each.

    Raises:
        ArtifactError: The file cannot be read.
        DataError: The data cannot be used.
        UnknownModel: The zoo has no such entry.
        ValueError: Nothing says what the subject takes, or its task has no measure.
    """
    predictor = as_predictor(subject, convention)
    task = predictor.convention.task
    if task not in MEASURES:
        raise ValueError(
            f"Only {', '.join(MEASURES)} have measures: give a convention with such a task. "
            f"Received: task={task!r}"
        )
    measured = MEASURES[task](predictor, data, recipe, progress)
    return {
        "task": task,
        "data": str(data),
        "images": measured.pictures,
        "metrics": measured.figures,
    }
