"""Fully convolutional classifiers and their mirror images: FCN, SegNet, DeconvNet."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant


def _same(builder: str, *sizes: tuple[int, ...], **arguments: Any) -> Variant:
    """A network whose output is as large as its input."""
    exported = arguments.pop("exported", False)
    shape = (*[None] * len(sizes[0]), 3)
    # Wide enough that no ReLU layer is dead as a whole.
    arguments = {"input_shape": shape, "classes": 3, "width": 8, **arguments}
    return Variant(builder, arguments, {side: side for side in sizes}, exported=exported)


def _fcn(builder: str, *sizes: tuple[int, ...], **arguments: Any) -> Variant:
    # Dropout could drop all of a layer this narrow.
    return _same(builder, *sizes, **{"fc_width": 16, "dropout": 0.0, **arguments})


ANY = [(20, 33), (1, 64)]
PADDED = [(32, 64), (64, 32)]

VARIANTS = {
    "fcn32s": _fcn("FCN32s", *ANY, exported=True),
    "fcn16s": _fcn("FCN16s", *ANY, exported=True),
    "fcn8s": _fcn("FCN8s", *ANY, exported=True),
    "fcn8s-bilinear": _fcn("FCN8s", *ANY, upsample="resize_bilinear", head_activation=None),
    "fcn16s-no-rescaling": _fcn("FCN16s", *ANY, include_rescaling=False, train_upsampling=True),
    "fcn8s-small": _fcn("FCN8s", *PADDED, encoder="small", train_upsampling=True, exported=True),
    "fcn32s-small-subpixel": _fcn("FCN32s", *PADDED, encoder="small", upsample="subpixel"),
    "segnet": _same("SegNet", *PADDED, exported=True),
    "segnet-transpose": _same("SegNet", *PADDED, upsample="transpose", exported=True),
    "segnet-binary": _same("SegNet", *PADDED, classes=1, norm=None),
    "segnet-3d": _same("SegNet", (32, 32, 32), (32, 64, 32), width=2, exported=True),
    "deconvnet": _same("DeconvNet", (256, 288), (224, 224), fc_width=16, exported=True),
    "deconvnet-bare": _same(
        "DeconvNet", (224, 224), fc_width=16, norm=None, upsample="resize_nearest"
    ),
}

MISTAKES: Mistakes = [
    ("FCN32s", {"encoder": "smal"}, r"Did you mean 'small'\? Received: 'smal'"),
    ("FCN16s", {"input_shape": (100, 64, 3), "encoder": "small"}, r"96 and 128\. Received: 100"),
    ("FCN8s", {"upsample": "bilinear", "width": 2, "fc_width": 2}, r"Received: 'bilinear'"),
    ("FCN8s", {"fc_width": 0}, r"1 or more\. Received: None, 0"),
    ("FCN8s", {"width": 0}, r"1 or more\. Received: 0, 4096"),
    ("FCN8s", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("FCN8s", {"train_upsampling": "last"}, r"'intermediate'\. Received: 'last'"),
    (
        "FCN8s",
        {"train_upsampling": False, "upsample": "subpixel"},
        r"upsample='subpixel', train_upsampling=False",
    ),
    ("FCN8s", {"input_shape": (64, 64)}, r"\(height, width, channels\).*Received: \(64, 64\)"),
    ("SegNet", {"input_shape": (360, 480, 3)}, r"nearest are 352 and 384\. Received: 360"),
    ("SegNet", {"upsample": "unpooling", "width": 2}, r"'max_unpooling'\? Received: 'unpooling'"),
    ("SegNet", {"width": 0}, r"width must be 1 or more\. Received: 0"),
    ("DeconvNet", {"input_shape": (192, 224, 3)}, r"nearest are 224 and 256\. Received: 192"),
    ("DeconvNet", {"fc_width": 0}, r"1 or more\. Received: 64, 0"),
]
