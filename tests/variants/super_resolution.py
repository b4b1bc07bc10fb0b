"""Super-resolution networks."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Sides, Variant

from kerasdeconv.layers import UPSAMPLING_METHODS

SMALL: list[Sides] = [(8, 12), (7, 5), (5, 5)]
# Reflection takes up to 8 pixels from within.
LARGE: list[Sides] = [(10, 12), (9, 11)]


def _variant(
    builder: str, scale: int, channels: int = 1, sides: list[Sides] = SMALL, **arguments: Any
) -> Variant:
    exported, levels = arguments.pop("exported", False), arguments.pop("levels", None)
    sizes: dict = {}
    for side in sides:
        grown = [tuple(level * n for n in side) for level in levels or [scale]]
        sizes[side] = grown if levels else grown[0]
    arguments = {"input_shape": (None, None, channels), "scale": scale, **arguments}
    return Variant(builder, arguments, sizes, pixels=True, exported=exported)


def _fsrcnn(scale: int, **arguments: Any) -> Variant:
    arguments = {"sides": LARGE, "width": 8, "bottleneck": 4, "depth": 2, **arguments}
    return _variant("FSRCNN", scale, **arguments)


def _edsr(scale: int, **arguments: Any) -> Variant:
    return _variant("EDSR", scale, **{"channels": 3, "width": 8, "depth": 2, **arguments})


def _lapsrn(scale: int, **arguments: Any) -> Variant:
    return _variant("LapSRN", scale, **{"width": 8, "depth": 2, **arguments})


def _mobile_sr(scale: int, **arguments: Any) -> Variant:
    return _variant("MobileSR", scale, **{"channels": 3, "width": 8, "depth": 2, **arguments})


VARIANTS = {
    "espcn-x2": _variant("ESPCN", 2),
    "espcn-x3": _variant("ESPCN", 3, activation="relu", exported=True),
    "espcn-x4-rgb": _variant("ESPCN", 4, channels=3),
    "espcn-no-rescaling": _variant("ESPCN", 3, include_rescaling=False),
    "srcnn-955": _variant("SRCNN", 3, width=16, exported=True),
    "srcnn-915-x2-rgb": _variant("SRCNN", 2, channels=3, width=16, kernels=(9, 1, 5)),
    "srcnn-enlarged": _variant(
        "SRCNN", 3, width=16, kernels=(9, 3, 5), include_upsampling=False, levels=[1], sides=LARGE
    ),
    "srcnn-no-rescaling": _variant("SRCNN", 3, width=16, include_rescaling=False),
    "fsrcnn-x2": _fsrcnn(2),
    "fsrcnn-x3": _fsrcnn(3, exported=True),
    "fsrcnn-no-rescaling": _fsrcnn(4, include_rescaling=False, activation="relu"),
    **{f"fsrcnn-{method}": _fsrcnn(3, upsample=method) for method in UPSAMPLING_METHODS[1:]},
    "edsr-x2": _edsr(2, residual_scale=0.1, exported=True),
    "edsr-x3": _edsr(3),
    "edsr-x4": _edsr(4),
    "edsr-x8-luma": _edsr(8, channels=1),
    "edsr-no-rescaling": _edsr(2, include_rescaling=False),
    **{f"edsr-{m}": _edsr(2, upsample=m) for m in UPSAMPLING_METHODS if m != "subpixel"},
    "lapsrn-x2": _lapsrn(2),
    "lapsrn-x4": _lapsrn(4, levels=[4, 2], exported=True),
    "lapsrn-x8": _lapsrn(8, levels=[8, 4, 2]),
    "lapsrn-x4-finest": _lapsrn(4, progressive=False),
    "lapsrn-no-rescaling": _lapsrn(4, levels=[4, 2], include_rescaling=False),
    **{
        f"lapsrn-{method}": _lapsrn(4, levels=[4, 2], upsample=method)
        for method in UPSAMPLING_METHODS[1:]
    },
    "mobile-sr-x2": _mobile_sr(2, exported=True),
    "mobile-sr-x3": _mobile_sr(3),
    "mobile-sr-x4-unclipped": _mobile_sr(4, clip=False),
    "mobile-sr-no-rescaling": _mobile_sr(2, include_rescaling=False),
}

MISTAKES: Mistakes = [
    ("ESPCN", {"scale": 1}, r"2 or more\. Received: 1"),
    ("ESPCN", {"scale": 2.0}, r"whole number, 2 or more\. Received: 2\.0"),
    ("ESPCN", {"input_shape": (32, 4, 1)}, r"This ESPCN .*nearest are 5 and 6\. Received: 4"),
    ("ESPCN", {"input_shape": (32, 32)}, r"\(height, width, channels\).*Received: \(32, 32\)"),
    ("SRCNN", {"scale": 0}, r"2 or more\. Received: 0"),
    ("SRCNN", {"kernels": (9, 4, 5)}, r"three odd numbers\. Received: \(9, 4, 5\)"),
    ("SRCNN", {"kernels": (9, 5)}, r"three odd numbers\. Received: \(9, 5\)"),
    ("SRCNN", {"width": 1}, r"width must be 2 or more\. Received: 1"),
    ("SRCNN", {"input_shape": (2, 32, 1)}, r"This SRCNN .*nearest are 3 and 4\. Received: 2"),
    ("FSRCNN", {"scale": True}, r"2 or more\. Received: True"),
    ("FSRCNN", {"depth": 0}, r"1 or more\. Received: 56, 12, 0"),
    ("FSRCNN", {"upsample": "subpixels"}, r"Did you mean 'subpixel'\? Received: 'subpixels'"),
    ("FSRCNN", {"input_shape": (8, 32, 1)}, r"This FSRCNN .*nearest are 9 and 10\. Received: 8"),
    ("EDSR", {"scale": 6}, r"scale must be 2, 3, 4 or 8\. Received: 6"),
    ("EDSR", {"input_shape": (1, 32, 3)}, r"nearest are 2 and 3\. Received: 1"),
    ("EDSR", {"width": 0}, r"1 or more\. Received: 0, 16"),
    ("EDSR", {"upsample": "nearest"}, r"No such upsampling method\..*Received: 'nearest'"),
    ("LapSRN", {"scale": 3}, r"scale must be 2, 4 or 8\. Received: 3"),
    ("LapSRN", {"input_shape": (1, 32, 1)}, r"nearest are 2 and 3\. Received: 1"),
    ("LapSRN", {"depth": 0}, r"1 or more\. Received: 64, 0"),
    ("MobileSR", {"scale": "2"}, r"2 or more\. Received: '2'"),
    ("MobileSR", {"width": 0}, r"1 or more\. Received: 0, 5"),
]
