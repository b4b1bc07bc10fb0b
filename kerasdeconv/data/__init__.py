"""Data sets on disk as Keras `PyDataset`s, and synthetic samples for those who have none."""

import importlib
from typing import Any

_WHERE = {
    "Augmentation": "augmentation",
    "CocoImage": "coco",
    "DepthPair": "depth",
    "DepthPatches": "depth",
    "DisparityPatches": "stereo",
    "FlowPatches": "motion",
    "InstancePatches": "instances",
    "LabelledImage": "segmentation",
    "LabelledVolume": "volumes",
    "NormalPatches": "normals",
    "SegmentationPatches": "segmentation",
    "SuperResolutionPatches": "super_resolution",
    "VolumePatches": "volumes",
    "box_target": "instances",
    "coco_classes": "coco",
    "coco_images": "coco",
    "degrade": "super_resolution",
    "depth_pairs": "depth",
    "high_resolution_images": "super_resolution",
    "instance_boxes": "instances",
    "labelled_images": "segmentation",
    "labelled_volumes": "volumes",
    "normalize": "volumes",
    "normals_from_depth": "normals",
    "read_spacing": "nifti",
    "read_volume": "volumes",
    "resample": "volumes",
    "rle_decode": "outlines",
    "rle_encode": "outlines",
    "split": "splits",
    "synthetic_pairs": "synthetic",
    "synthetic_samples": "synthetic",
    "write_synthetic": "synthetic_folders",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
