"""U-Nets."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

from kerasdeconv.layers import UPSAMPLING_METHODS


def _unet(sizes: dict, channels: int = 3, **arguments: Any) -> Variant:
    exported = arguments.pop("exported", False)
    refused = arguments.pop("refused", {})
    shape = (*[None] * len(next(iter(sizes))), channels)
    # Wide enough that no ReLU layer is dead as a whole.
    arguments = {"input_shape": shape, "width": 8, "depth": 2, **arguments}
    return Variant("UNet", arguments, sizes, exported=exported, refused=refused)


UNPADDED: dict = {(44, 48): (4, 8), (52, 44): (12, 4)}
PADDED: dict = {(16, 24): (16, 24), (20, 8): (20, 8)}
VOLUMES: dict = {(8, 12, 16): (8, 12, 16), (12, 8, 8): (12, 8, 8)}
THIN: dict = {(6, 12, 16): (6, 12, 16), (10, 8, 8): (10, 8, 8)}

VARIANTS = {
    "unet": _unet(UNPADDED, channels=1, exported=True),
    "unet-same": _unet(PADDED, padding="same"),
    "unet-binary": _unet(PADDED, padding="same", classes=1),
    "unet-logits": _unet(PADDED, padding="same", classes=4, head_activation=None),
    "unet-batch": _unet(PADDED, padding="same", norm="batch"),
    "unet-group": _unet(PADDED, padding="same", norm="group"),
    "unet-instance": _unet(PADDED, padding="same", norm="instance"),
    "unet-residual": _unet(PADDED, padding="same", block="residual", norm="batch", exported=True),
    "unet-attention": _unet(PADDED, padding="same", attention=True, exported=True),
    "unet-attention-valid": _unet(UNPADDED, attention=True),
    "unet-strided": _unet(PADDED, padding="same", pooling="conv"),
    "unet-no-rescaling": _unet(PADDED, padding="same", include_rescaling=False, activation="gelu"),
    **{
        f"unet-{method}": _unet(PADDED, padding="same", upsample=method, exported=True)
        for method in UPSAMPLING_METHODS[1:]
    },
    "unet-3d": _unet(
        VOLUMES,
        padding="same",
        norm="batch",
        attention=True,
        exported=True,
    ),
    "unet-3d-strided": _unet(VOLUMES, padding="same", pooling="conv", exported=True),
    "unet-3d-anisotropic": _unet(
        THIN, padding="same", attention=True, strides=[(1, 2, 2), (2, 2, 2)]
    ),
    "unet-3d-separable": _unet(VOLUMES, padding="same", upsample="separable_transpose"),
    "unet-3d-bilinear": _unet(VOLUMES, padding="same", upsample="resize_bilinear"),
    "unet-3d-subpixel": _unet(VOLUMES, padding="same", upsample="subpixel"),
}

MISTAKES: Mistakes = [
    ("UNet", {"block": "residul"}, r"Did you mean 'residual'\? Received: 'residul'"),
    ("UNet", {"padding": "full"}, r"'valid' or 'same'\. Received: 'full'"),
    ("UNet", {"pooling": "maxx"}, r"Did you mean 'max'\? Received: 'maxx'"),
    ("UNet", {"norm": "layer"}, r"None, 'batch', 'group', 'instance'\)\. Received: 'layer'"),
    ("UNet", {"upsample": "resize_bilinar"}, r"'resize_bilinear'.*Received: 'resize_bilinar'"),
    ("UNet", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("UNet", {"block": "residual"}, r'padding="same"\. Received: \'valid\''),
    ("UNet", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("UNet", {"width": 0}, r"1 or more\. Received: 0, 4"),
    ("UNet", {"depth": 0}, r"1 or more\. Received: 64, 0"),
    ("UNet", {"strides": [2, 2]}, r"one number, or 4, one for each level\. Received: \[2, 2\]"),
    ("UNet", {"strides": 0}, r"strides must be 1 or more\. Received: 0"),
    ("UNet", {"input_shape": (570, 572, 1)}, r"nearest are 556 and 572\. Received: 570"),
    ("UNet", {"input_shape": (250, 256, 3), "padding": "same"}, r"240 and 256\. Received: 250"),
    ("UNet", {"input_shape": (256, 256)}, r"\(height, width, channels\).*Received: \(256, 256\)"),
    ("UNet", {"input_shape": (256, 256, None)}, r"channels\).*Received: \(256, 256, None\)"),
]
