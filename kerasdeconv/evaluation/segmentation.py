"""Segmentation of pictures and volumes: IoU, Dice, pixel accuracy, the area under the ROC curve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.segmentation import IGNORE, LabelledImage, labelled_samples
from kerasdeconv.data.volumes import LabelledVolume
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import Measured, Progress, kept
from kerasdeconv.evaluation.subjects import tile_of
from kerasdeconv.metrics import ConfusionMatrix, known_mean, roc_auc


def segmentation(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Intersection over union from one confusion matrix over the whole set, and what goes with it.

    For volumes also the mean of each one's Dice coefficients, as medical challenges have it.
    """
    samples = kept(labelled_samples, data, recipe)
    _check_rank(predictor, samples[0])
    labels = predictor.convention.labels
    groups: dict[str, list[ConfusionMatrix]] = {}
    scores: list[tuple[np.ndarray, np.ndarray]] = []
    binary = len(labels) == 2 and predictor.convention.output != "labels"
    for done, sample in enumerate(samples, start=1):
        image, expected = sample.read()
        answer = predictor.predict_tiled(image, tile=tile_of(predictor, image))
        if binary and answer.shape[-1] == 1:
            scores.append((expected[expected != IGNORE], answer[expected != IGNORE, 0]))
        matrix = ConfusionMatrix(len(labels), ignore=IGNORE)
        matrix.update(expected, runtime.label_map(predictor.convention, answer))
        groups.setdefault(sample.group, []).append(matrix)
        progress(done, len(samples))
    matrices = [matrix for group in groups.values() for matrix in group]
    figures = _figures(ConfusionMatrix.sum(matrices), labels)
    if scores:
        figures["auc"] = roc_auc(*map(np.concatenate, zip(*scores, strict=True)))
    if isinstance(samples[0], LabelledVolume):
        dice = np.stack([matrix.dice for matrix in matrices])
        figures["dice"] = dict(zip(labels, map(known_mean, dice.T), strict=True))
        figures["mean_dice"] = known_mean(dice[:, 1:])
    if set(groups) - {""}:
        figures["groups"] = {
            name: _figures(ConfusionMatrix.sum(groups[name]), labels) for name in sorted(groups)
        }
    return Measured(figures, len(samples))


def _check_rank(predictor: runtime.Predictor, sample: LabelledImage | LabelledVolume) -> None:
    """Refuses pictures for a network of volumes, and the other way around.

    Raises:
        DataError: They do not belong together.
    """
    volumes = len(predictor.input_shape) == 5
    if volumes != isinstance(sample, LabelledVolume):
        raise DataError(
            f"The network takes {'volumes' if volumes else 'pictures'}. Received: {sample.image}"
        )


def _figures(matrix: ConfusionMatrix, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "mean_iou": matrix.mean_iou,
        "iou": dict(zip(labels, matrix.iou.tolist(), strict=True)),
        "dice": dict(zip(labels, matrix.dice.tolist(), strict=True)),
        "pixel_accuracy": matrix.pixel_accuracy,
    }
