"""Data sets on disk as Keras `PyDataset`s, and synthetic samples for those who have none."""

import importlib
from typing import Any

_WHERE = {
    "InstancePatches": "instances",
    "LabelledImage": "segmentation",
    "LabelledVolume": "volumes",
    "SegmentationPatches": "segmentation",
    "box_target": "instances",
    "instance_boxes": "instances",
    "labelled_images": "segmentation",
    "labelled_volumes": "volumes",
    "normalize": "volumes",
    "read_volume": "volumes",
    "SuperResolutionPatches": "super_resolution",
    "VolumePatches": "volumes",
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
