"""Data sets on disk as Keras `PyDataset`s, and synthetic samples for those who have none."""

import importlib
from typing import Any

_WHERE = {
    "Augmentation": "augmentation",
    "ClassifiedPictures": "pictures",
    "CocoImage": "coco",
    "CodedPictures": "pictures",
    "DepthPair": "depth",
    "DepthPatches": "depth",
    "DisparityPatches": "stereo",
    "FlowPatches": "flow",
    "InstancePatches": "instances",
    "LabelledImage": "segmentation",
    "LabelledVolume": "volumes",
    "NoisedPictures": "noised",
    "MovingPictures": "video",
    "PictureBatches": "pictures",
    "Pictures": "pictures",
    "PosteriorBatches": "pictures",
    "NormalPatches": "normals",
    "SegmentationPatches": "segmentation",
    "SolidBatches": "solid_views",
    "SolidViews": "solid_views",
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
    "moving": "motion",
    "normalize": "volumes",
    "read_pictures": "pictures",
    "read_solids": "solid_views",
    "normals_from_depth": "normals",
    "read_spacing": "nifti",
    "read_volume": "volumes",
    "resample": "volumes",
    "rle_decode": "outlines",
    "rle_encode": "outlines",
    "split": "splits",
    "synthetic_inputs": "synthetic_inputs",
    "synthetic_pairs": "synthetic",
    "synthetic_samples": "synthetic",
    "write_synthetic": "synthetic_folders",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
