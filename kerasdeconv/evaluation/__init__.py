"""Evaluation: one code for Keras models and exported files, on labelled data.

A measure of a task is a function in a module of its own, named in `MEASURES`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras

from kerasdeconv import runtime
from kerasdeconv.convention import Convention
from kerasdeconv.evaluation.autoencoding import autoencoding
from kerasdeconv.evaluation.base import Measure, Progress
from kerasdeconv.evaluation.classification import classification
from kerasdeconv.evaluation.depth import depth, normals
from kerasdeconv.evaluation.detection import detection
from kerasdeconv.evaluation.generators import generators
from kerasdeconv.evaluation.instances import instances
from kerasdeconv.evaluation.pairs import disparity, flow
from kerasdeconv.evaluation.segmentation import segmentation
from kerasdeconv.evaluation.solids import points, voxels
from kerasdeconv.evaluation.subjects import KerasPredictor, as_predictor, read_model
from kerasdeconv.evaluation.super_resolution import super_resolution
from kerasdeconv.evaluation.video import video

__all__ = ["MEASURES", "KerasPredictor", "as_predictor", "evaluate", "read_model"]

MEASURES: dict[str, Measure] = {
    "segmentation": segmentation,
    "instance-segmentation": instances,
    "instance-detection": detection,
    "super-resolution": super_resolution,
    "classification": classification,
    "autoencoding": autoencoding,
    "generation": generators,
    "video": video,
    "voxels": voxels,
    "points": points,
    "depth": depth,
    "normals": normals,
    "flow": flow,
    "disparity": disparity,
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
            high-resolution pictures, or a subfolder `HR/` of them, for super-resolution;
            pictures of one size, see `kerasdeconv.data.read_pictures`, for classification,
            autoencoding and generation, and for video, in which they move;
            what `write_synthetic("solids", ...)` writes for voxels and points;
            `color/` with `depth/` for depth and normals; pictures, alone or in `HR/`, for flow and
            disparity, which are made of them.
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
        the same of each. Classification: `accuracy`. Autoencoding: `mse` of pixels in [0, 1]; for
        networks with a posterior, in nats a picture, `nats_of_means` (of the picture, where latents
        are the posterior's means) and `kl`, `active_latents`, and for Keras models `negative_elbo`
        and its part `nats_of_draws`, over latents drawn from the posterior. Generation: see
        `kerasdeconv.evaluation.generation.generation`. Video: over 256 videos of pictures that
        move, `psnr` in dB, its mean over all frames, `psnr_last_frame`, that of the last frame that
        is seen, `psnr_gain`, how much that is surpassed by, and `psnr_by_frame`. Voxels:
        `voxel_iou`, points: `chamfer_distance`, means over the bodies.
        Depth: `abs_rel`, `rmse` in metres, and `delta1`, the share within a
        factor of 1.25, over all pixels. Normals: `mean_angle` and `median_angle` in degrees, and
        `within_11`, `within_22` and `within_30`, the shares within 11.25, 22.5 and 30 degrees. Flow
        and disparity: `end_point_error` in pixels, and `zero`, that of answering no motion.

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
