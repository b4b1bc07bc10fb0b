"""Masks of instances whose boxes are given."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.instances import instance_boxes
from kerasdeconv.data.segmentation import labelled_images
from kerasdeconv.evaluation.base import Measured, Progress, kept
from kerasdeconv.evaluation.subjects import tile_of
from kerasdeconv.metrics import mask_iou


def instances(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """The mean over all instances; every true box is asked for, so that masks are measured."""
    samples = kept(labelled_images, data, recipe)
    groups: dict[str, list[float]] = {}
    for done, sample in enumerate(samples, start=1):
        image, numbers = sample.read_instances()
        present, boxes = instance_boxes(numbers)
        masks = predictor.predict_instances(image, boxes, tile=tile_of(predictor, image))
        groups.setdefault(sample.group, []).extend(
            mask_iou(numbers == number, mask) for number, mask in zip(present, masks, strict=True)
        )
        progress(done, len(samples))
    figures = _figures([iou for group in groups.values() for iou in group])
    if set(groups) - {""}:
        figures["groups"] = {name: _figures(groups[name]) for name in sorted(groups)}
    return Measured(figures, len(samples))


def _figures(ious: list[float]) -> dict[str, Any]:
    return {"mean_iou": float(np.mean(ious)) if ious else math.nan, "instances": len(ious)}
