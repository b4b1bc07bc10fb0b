"""Networks that give volumes."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

from kerasdeconv.layers import UPSAMPLING_METHODS


def _volumes(builder: str, sizes: dict, channels: int = 1, **arguments: Any) -> Variant:
    settings = {key: arguments.pop(key) for key in ("exported", "refused") if key in arguments}
    shape = (None, None, None, channels)
    return Variant(builder, {"input_shape": shape, **arguments}, sizes, **settings)


def _unet3d(sizes: dict, **arguments: Any) -> Variant:
    return _volumes("UNet3D", sizes, **{"width": 4, "depth": 1, **arguments})


def _vnet(sizes: dict, **arguments: Any) -> Variant:
    return _volumes("VNet", sizes, **{"width": 4, "depth": 2, **arguments})


def _from_code(**arguments: Any) -> Variant:
    """A code is taken as it is; here its numbers are in [0, 1]."""
    arguments = {"side": 16, "width": 4, "include_rescaling": False, **arguments}
    sizes: dict = {(): (arguments["side"],) * 3}
    return Variant("VoxelDecoder", {"input_shape": (12,), **arguments}, sizes, exported=True)


UNPADDED: dict = {(18, 20, 22): (2, 4, 6), (20, 18, 18): (4, 2, 2)}
PADDED: dict = {(8, 12, 16): (8, 12, 16), (12, 8, 8): (12, 8, 8)}
THIN: dict = {(6, 12, 16): (6, 12, 16), (10, 8, 8): (10, 8, 8)}
PICTURES: dict = {(32, 64): (16, 16, 16), (64, 32): (16, 16, 16)}

VARIANTS = {
    "unet3d": _unet3d(
        UNPADDED,
        channels=3,
        exported=True,
    ),
    "unet3d-strided": _unet3d(
        THIN,
        depth=2,
        padding="same",
        norm="group",
        pooling="conv",
        strides=[(1, 2, 2), 2],
        exported=True,
    ),
    "unet3d-residual": _unet3d(
        PADDED,
        depth=2,
        classes=1,
        padding="same",
        block="residual",
        attention=True,
        pooling="conv",
        upsample="resize_bilinear",
        activation="prelu",
        exported=True,
    ),
    "unet3d-logits": _unet3d(PADDED, padding="same", norm="instance", head_activation=None),
    "vnet": _vnet(PADDED, exported=True),
    "vnet-thin": _vnet(
        THIN, channels=3, classes=1, kernel_size=3, norm="batch", strides=[(1, 2, 2), 2]
    ),
    "vnet-subpixel": _vnet(PADDED, kernel_size=3, upsample="subpixel", activation="elu"),
    "voxel-decoder": _from_code(),
    "voxel-decoder-logits": _from_code(side=8, norm=None, head_activation=None),
    **{
        f"voxel-decoder-{method}": _from_code(upsample=method, norm="group")
        for method in UPSAMPLING_METHODS[1:]
    },
    "voxel-decoder-picture": Variant(
        "VoxelDecoder",
        {
            "input_shape": (None, None, 3),
            "side": 16,
            "width": 4,
            "encoder_width": 4,
            "code": 12,
        },
        PICTURES,
        exported=True,
    ),
}

MISTAKES: Mistakes = [
    ("UNet3D", {"block": "residul"}, r"Did you mean 'residual'\? Received: 'residul'"),
    ("UNet3D", {"block": "residual"}, r'padding="same"\. Received: \'valid\''),
    ("UNet3D", {"depth": 0}, r"1 or more\. Received: 32, 0"),
    ("UNet3D", {"strides": [2, 2]}, r"one number, or 3, one for each level\. Received: \[2, 2\]"),
    ("UNet3D", {"strides": [2, (2, 2), 2]}, r"or 3, one for each axis\. Received: \(2, 2\)"),
    ("UNet3D", {"input_shape": (116, 130, 132, 1)}, r"nearest are 124 and 132\. Received: 130"),
    ("UNet3D", {"input_shape": (88, None, None, 1)}, r"nearest are 92 and 100\. Received: 88"),
    ("UNet3D", {"input_shape": (572, 572, 1)}, r"\(depth, .*Received: \(572, 572, 1\)"),
    ("VNet", {"input_shape": (64, 120, 128, 1)}, r"nearest are 112 and 128\. Received: 120"),
    ("VNet", {"kernel_size": 0}, r"kernel_size must be 1 or more\. Received: 16, 4, 0"),
    ("VNet", {"norm": "layer"}, r"None, 'batch', 'group', 'instance'\)\. Received: 'layer'"),
    ("VNet", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("VNet", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("VoxelDecoder", {"side": 48}, r"the nearest are 32 and 64\. Received: 48"),
    ("VoxelDecoder", {"side": 4}, r"the nearest are 8 and 16\. Received: 4"),
    ("VoxelDecoder", {"width": 0}, r"1 or more\. Received: 0, 200"),
    ("VoxelDecoder", {"input_shape": (120, 128, 3)}, r"are 96 and 128\. Received: 120"),
    ("VoxelDecoder", {"input_shape": (128, 3)}, r"length of the code.*Received: \(128, 3\)"),
    (
        "VoxelDecoder",
        {"input_shape": (64, 64, 3), "encoder": "smal"},
        r"Did you mean 'small'\? Received: 'smal'",
    ),
]
