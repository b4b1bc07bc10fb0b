"""Networks that give a number or a vector for each pixel: depth, normals, flow, disparity."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Sides, Variant

WHOLE: dict[Sides, Sides] = {(32, 64): (32, 64), (64, 32): (64, 32)}


def _picture(builder: str, exported: bool = False, **arguments: Any) -> Variant:
    small = {"input_shape": (None, None, 3), "encoder": "small", "encoder_width": 4, "width": 4}
    sizes: dict = dict(WHOLE)
    return Variant(builder, small | arguments, sizes, pixels=True, exported=exported)


def _pair(builder: str, levels: list[int], exported: bool = False, **arguments: Any) -> Variant:
    arguments = {"input_shape": (None, None, 6), "width": 4, **arguments}
    sizes: dict = {}
    for sides in [(64, 128), (128, 64)]:
        answers = [tuple(side >> level for side in sides) for level in levels]
        sizes[sides] = answers if len(levels) > 1 else answers[0]
    return Variant(builder, arguments, sizes, pixels=True, exported=exported)


VARIANTS = {
    "depthnet": _picture("DepthNet", exported=True),
    "depthnet-dense": _picture("DepthNet", separable=False, norm=None, encoder_width=2),
    "depthnet-bilinear": _picture("DepthNet", upsample="resize_bilinear", head_activation=None),
    "depthnet-transpose": _picture("DepthNet", upsample="transpose", norm="group"),
    "depthnet-subpixel": _picture("DepthNet", upsample="subpixel", separable=False),
    "depthnet-projection": _picture("DepthNet", upsample="projection"),
    "surface-normals": _picture("SurfaceNormals", exported=True),
    "surface-normals-any-length": _picture("SurfaceNormals", head_activation=None),
    "flownet-s": _pair("FlowNetS", [2], exported=True),
    "flownet-s-levels": _pair("FlowNetS", [2, 3, 4, 5, 6], multiscale=True),
    "flownet-s-subpixel": _pair("FlowNetS", [2], upsample="subpixel"),
    "dispnet": _pair("DispNet", [1], exported=True),
    "dispnet-levels": _pair("DispNet", [1, 2, 3, 4, 5, 6], multiscale=True),
}

MISTAKES: Mistakes = [
    ("DepthNet", {"upsample": "projecton"}, r"Did you mean 'projection'\? Received: 'projecton'"),
    ("DepthNet", {"width": 0}, r"kernel_size 2 or more\. Received: 0, 5"),
    ("DepthNet", {"kernel_size": 1}, r"kernel_size 2 or more\. Received: 32, 1"),
    ("DepthNet", {"norm": "layer"}, r"'group', 'instance'\)\. Received: 'layer'"),
    ("DepthNet", {"input_shape": (240, 320, 3)}, r"nearest are 224 and 256\. Received: 240"),
    ("SurfaceNormals", {"head_activation": "units"}, r"Did you mean 'unit'\? Received: 'units'"),
    ("SurfaceNormals", {"input_shape": (32, 40, 3)}, r"nearest are 32 and 64\. Received: 40"),
    ("FlowNetS", {"width": 0}, r"width must be 1 or more.*Received: 0, 20\.0"),
    ("FlowNetS", {"unit": 0}, r"unit more than 0\. Received: 64, 0"),
    ("FlowNetS", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("FlowNetS", {"input_shape": (384, 500, 6)}, r"nearest are 448 and 512\. Received: 500"),
    ("DispNet", {"width": 1}, r"width must be 2 or more.*Received: 1, 20\.0"),
    ("DispNet", {"input_shape": (384, 6)}, r"\(height, width, channels\).*Received: \(384, 6\)"),
]
