"""Networks from a picture to a body: its voxels, or its points."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

VIEWS: dict = {(32, 64): (16, 16, 32), (64, 32): (16, 32, 16)}


def _voxels(**arguments: Any) -> Variant:
    exported, channels = arguments.pop("exported", False), arguments.pop("channels", 3)
    small = {"depth": 16, "width": 4, "encoder_width": 4}
    arguments = {"input_shape": (None, None, channels), **small, **arguments}
    return Variant("VoxelNet", arguments, VIEWS, exported=exported)


def _points(count: int, **arguments: Any) -> Variant:
    exported = arguments.pop("exported", False)
    small = {"points": 5, "width": 4, "dense": 8, "encoder_width": 4}
    arguments = {"input_shape": (32, 64, 3), **small, **arguments}
    sizes: dict = {(32, 64): (count,)}
    return Variant("PointDecoder", arguments, sizes, pixels=True, exported=exported)


VARIANTS = {
    "voxel-net": _voxels(exported=True),
    "voxel-net-logits": _voxels(norm=None, head_activation=None, channels=1),
    "voxel-net-subpixel": _voxels(norm="group", include_rescaling=False, upsample="subpixel"),
    "point-decoder": _points(32 + 5, exported=True),
    "point-decoder-fine": _points(128 + 5, stride=4, norm="group"),
    "point-decoder-coarse": _points(8 + 5, stride=16, norm=None),
    "point-decoder-subpixel": _points(37, upsample="subpixel"),
}

MISTAKES: Mistakes = [
    ("VoxelNet", {"depth": 24}, r"the nearest are 16 and 32\. Received: 24"),
    ("VoxelNet", {"width": 0}, r"1 or more\. Received: 0"),
    ("VoxelNet", {"input_shape": (60, 64, 3)}, r"are 32 and 64\. Received: 60"),
    ("VoxelNet", {"input_shape": (200,)}, r"\(height, width, channels\).*Received: \(200,\)"),
    ("VoxelNet", {"encoder": "smal"}, r"Did you mean 'small'\? Received: 'smal'"),
    ("PointDecoder", {"input_shape": (None, 64, 3)}, r"numbers\. Received: \(None, 64, 3\)"),
    ("PointDecoder", {"input_shape": (64, 60, 3)}, r"are 32 and 64\. Received: 60"),
    ("PointDecoder", {"stride": 32}, r"one of \(2, 4, 8, 16\)\. Received: 32"),
    ("PointDecoder", {"points": 0}, r"1 or more\. Received: 0, 64, 512"),
    ("PointDecoder", {"upsample": "nearest"}, r"No such upsampling method\..*Received: 'nearest'"),
]
