"""Data sets on disk as Keras `PyDataset`s, and synthetic samples for those who have none."""

import importlib
from typing import Any

_WHERE = {
    "InstancePatches": "instances",
    "LabelledImage": "segmentation",
    "SegmentationPatches": "segmentation",
    "box_target": "instances",
    "instance_boxes": "instances",
    "labelled_images": "segmentation",
    "SuperResolutionPatches": "super_resolution",
    "degrade": "super_resolution",
    "high_resolution_images": "super_resolution",
    "split": "splits",
    "synthetic_samples": "synthetic",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
