"""Networks for segmentation that gather context: SemanticFPN, PSPNet, DeepLabV3+."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Sides, Variant


def _same(builder: str, *sizes: Sides, exported: bool = False, **arguments: Any) -> Variant:
    # Wide enough that no ReLU layer is dead as a whole; dropout could drop all of a narrow one.
    small = {"input_shape": (None, None, 3), "encoder": "small", "encoder_width": 4}
    arguments = {**small, "classes": 3, "width": 8, "dropout": 0.0, **arguments}
    return Variant(builder, arguments, {side: side for side in sizes}, exported=exported)


SIDES = [(32, 64), (64, 48)]
WHOLE = [(64, 96), (32, 64)]
# Without the width that "small" has.
MOBILE: dict[str, Any] = {"encoder": "mobilenet_v2", "encoder_width": None}

VARIANTS = {
    "semantic-fpn": _same("SemanticFPN", *WHOLE, channels=8, exported=True),
    "semantic-fpn-dilated": _same(
        "SemanticFPN", *SIDES, channels=8, output_stride=16, norm="batch", head_activation=None
    ),
    "pspnet": _same("PSPNet", (96, 192), (96, 96), output_stride=16, exported=True),
    "pspnet-bins": _same(
        "PSPNet", (64, 32), output_stride=16, bins=(1, 2), classes=1, include_rescaling=False
    ),
    "deeplab-v3-plus": _same(
        "DeepLabV3Plus", *SIDES, output_stride=16, low_width=8, rates=(1, 2), exported=True
    ),
    "deeplab-v3-plus-separable": _same(
        "DeepLabV3Plus",
        *SIDES,
        separable=True,
        dilate=False,
        low_width=8,
        head_activation=None,
    ),
    "deeplab-v3-plus-dilated": _same(
        "DeepLabV3Plus", (32, 64), (40, 32), output_stride=8, low_width=8, **MOBILE
    ),
}

_SMALL: dict[str, Any] = {"encoder": "small", "encoder_width": 2}

MISTAKES: Mistakes = [
    ("SemanticFPN", {"encoder": "smal"}, r"Did you mean 'small'\? Received: 'smal'"),
    ("SemanticFPN", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("SemanticFPN", {"width": 0}, r"width must be 1 or more\. Received: 0"),
    ("SemanticFPN", {**_SMALL, "norm": "layer"}, r"'instance'\)\. Received: 'layer'"),
    ("SemanticFPN", {**_SMALL, "input_shape": (100, 64, 3)}, r"are 96 and 128\. Received: 100"),
    ("PSPNet", {"encoder": "small"}, r"must be 16 or 32\. Received: 8"),
    ("PSPNet", {"width": 0}, r"width must be 1 or more\. Received: 0"),
    ("PSPNet", {**_SMALL, "output_stride": 16, "bins": ()}, r"different numbers.*: \(\)"),
    ("PSPNet", {**_SMALL, "output_stride": 16, "bins": (0, 1)}, r"from 1, .*: \(0, 1\)"),
    ("PSPNet", {**_SMALL, "output_stride": 16, "bins": (2, 2)}, r"different.*: \(2, 2\)"),
    (
        "PSPNet",
        {**_SMALL, "output_stride": 16, "input_shape": (96, 200, 3)},
        r"nearest are 192 and 288\. Received: 200",
    ),
    ("DeepLabV3Plus", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("DeepLabV3Plus", {"low_width": 0}, r"low_width must be 1 or more\. Received: 256, 0"),
    ("DeepLabV3Plus", {"output_stride": 4}, r"8, 16 or 32\. Received: 4"),
    ("DeepLabV3Plus", {**_SMALL, "rates": (0, 6)}, r"rates must be 1 or more.*: \(0, 6\)"),
    ("DeepLabV3Plus", {**_SMALL, "input_shape": (72, 64, 3)}, r"are 64 and 80\. Received: 72"),
]
