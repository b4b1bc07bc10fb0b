"""Objects that a network finds by itself: average precision of their masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.segmentation import labelled_images
from kerasdeconv.evaluation.base import Measured, Progress, kept
from kerasdeconv.evaluation.subjects import tile_of
from kerasdeconv.metrics import found_average_precision

_THRESHOLDS = [n / 20 for n in range(10, 20)]
_Picture = tuple[np.ndarray, np.ndarray]


def detection(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """Everything that is found counts by its score, however low; over all pictures together."""
    samples = kept(labelled_images, data, recipe)
    groups: dict[str, list[_Picture]] = {}
    for done, sample in enumerate(samples, start=1):
        image, numbers = sample.read_instances()
        found = predictor.find_instances(image, score=0.0, tile=tile_of(predictor, image))
        ious = mask_ious(found.masks, numbers)
        groups.setdefault(sample.group, []).append((ious, found.scores))
        progress(done, len(samples))
    figures = _figures([picture for group in groups.values() for picture in group])
    if set(groups) - {""}:
        figures["groups"] = {name: _figures(groups[name]) for name in sorted(groups)}
    return Measured(figures, len(samples))


def mask_ious(masks: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Intersection over union of masks with the instances of a picture.

    Args:
        masks: K x H x W bool.
        numbers: H x W, the number of the instance at each pixel, 0 for the background.

    Returns:
        K x L; instances in the order of their numbers.
    """
    present, labels = np.unique(numbers, return_inverse=True)
    labels = labels.reshape(numbers.shape)
    areas = np.bincount(labels.ravel(), minlength=len(present))
    both = np.array(
        [np.bincount(labels[mask], minlength=len(present)) for mask in masks], float
    ).reshape(len(masks), len(present))
    union = both.sum(axis=1, keepdims=True) + areas - both
    return (both / np.maximum(union, 1))[:, present > 0]


def _figures(pictures: list[_Picture]) -> dict[str, Any]:
    return {
        "ap": found_average_precision(pictures, _THRESHOLDS),
        "ap_50": found_average_precision(pictures, [0.5]),
        "ap_75": found_average_precision(pictures, [0.75]),
        "instances": sum(ious.shape[1] for ious, _ in pictures),
    }
