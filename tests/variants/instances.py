"""Networks that work on instances, and the pyramid that they stand on."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

from kerasdeconv.layers import UPSAMPLING_METHODS

# Wide enough that no ReLU layer is dead as a whole.
SMALL: dict[str, Any] = {"input_shape": (None, None, 3), "channels": 8}


def _fpn(exported: bool = False, **arguments: Any) -> Variant:
    arguments = SMALL | {"width": 4} | arguments
    strides = arguments.get("strides", (4, 8, 16, 32))
    sizes: dict = {
        sides: [tuple(side // s for side in sides) for s in strides]
        for sides in [(64, 96), (32, 64)]
    }
    return Variant("FPN", arguments, sizes, features=True, exported=exported)


def _head(exported: bool = False, **arguments: Any) -> Variant:
    shape = (None, None, 8)
    arguments = {"input_shape": shape, "classes": 3, "width": 8, "depth": 2} | arguments
    return Variant("MaskHead", arguments, {(14, 14): (28, 28), (5, 7): (10, 14)}, exported=exported)


def _segmenter(count: int = 6, exported: bool = False, **arguments: Any) -> Variant:
    # A box of 16 pixels is at home at stride 16, so that small pictures have boxes at every level.
    arguments = (
        SMALL
        | {"boxes": count, "encoder_width": 4, "width": 8, "depth": 1, "size": 5}
        | {"canonical_size": 16.0}
        | arguments
    )
    sizes: dict = dict.fromkeys([(64, 64), (32, 96)], (count, 10, 10))
    return Variant("MaskSegmenter", arguments, sizes, boxes=count, exported=exported)


def _finder(exported: bool = False, form: str = "inference", **arguments: Any) -> Variant:
    # As many objects as a map of 16 x 16 has room for: peaks are two cells apart.
    count = 6 if form == "training" else 64
    arguments = (
        SMALL
        | {"boxes": count, "encoder_width": 4, "width": 8, "depth": 1, "size": 5}
        | {"canonical_size": 16.0, "form": form}
        | arguments
    )
    sizes: dict = {}
    for sides in [(64, 64), (32, 96)]:
        masks = (count, 10, 10)
        cells = tuple(side // arguments.get("centre_stride", 4) for side in sides)
        sizes[sides] = [cells, cells, masks] if form == "training" else [masks, (count,), ()]
    found = form == "inference"
    return Variant(
        "InstanceSegmenter",
        arguments,
        sizes,
        pixels=True,
        boxes=0 if found else count,
        ranked=found,
        exported=exported,
    )


VARIANTS = {
    "fpn": _fpn(exported=True),
    "fpn-bilinear": _fpn(upsample="bilinear", strides=(2, 4, 16)),
    "fpn-transpose": _fpn(upsample="transpose", include_rescaling=False),
    "fpn-vgg16": _fpn(encoder="vgg16", width=8, strides=(8, 16)),
    "mask-head": _head(exported=True),
    "mask-head-batch": _head(norm="batch", classes=1),
    "mask-head-logits": _head(head_activation=None, activation="gelu"),
    **{
        f"mask-head-{method}": _head(upsample=method, exported=True)
        for method in UPSAMPLING_METHODS[1:]
    },
    "mask-segmenter": _segmenter(exported=True),
    "mask-segmenter-any-boxes": _segmenter(boxes=None, classes=3, norm="group"),
    "mask-segmenter-one-level": _segmenter(strides=(4,), head_activation=None),
    "mask-segmenter-no-rescaling": _segmenter(
        include_rescaling=False, upsample="resize_bilinear", top_down="subpixel"
    ),
    "instance-segmenter": _finder(exported=True, strides=(4, 8)),
    "instance-segmenter-in-training": _finder(
        form="training", norm="batch", detector_depth=2, strides=(2, 4, 8), centre_stride=2
    ),
}

MISTAKES: Mistakes = [
    ("FPN", {"encoder": "smal"}, r"Did you mean 'small'\? Received: 'smal'"),
    ("FPN", {"upsample": "nearst"}, r"'nearest'.*Received: 'nearst'"),
    ("FPN", {"channels": 0}, r"channels must be 1 or more\. Received: 0"),
    ("FPN", {"strides": (8, 4)}, r"rise and be some of \(1, 2, 4, .*Received: \(8, 4\)"),
    ("FPN", {"strides": (4, 12)}, r"16, 32\)\. Received: \(4, 12\)"),
    ("FPN", {"input_shape": (100, 96, 3)}, r"nearest are 96 and 128\. Received: 100"),
    ("FPN", {"input_shape": (96, 3)}, r"\(height, width, channels\).*Received: \(96, 3\)"),
    ("MaskHead", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("MaskHead", {"width": 0}, r"width must be 1 or more.*Received: 0, 4"),
    ("MaskHead", {"depth": -1}, r"depth 0 or more\. Received: 256, -1"),
    ("MaskHead", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("MaskHead", {"norm": "layer"}, r"'group', 'instance'\)\. Received: 'layer'"),
    ("MaskHead", {"input_shape": (14, 256)}, r"\(height, width, channels\).*Received: \(14, 256\)"),
    ("MaskSegmenter", {"boxes": 0}, r"1 or more, or None for any\. Received: 0"),
    ("MaskSegmenter", {"size": 0}, r"size and sampling_ratio must be 1 or more.*: 0, 2, 224"),
    ("MaskSegmenter", {"canonical_size": 0}, r"canonical_size positive\. Received: 14, 2, 0"),
    ("MaskSegmenter", {"input_shape": (250, 256, 3)}, r"224 and 256\. Received: 250"),
    ("InstanceSegmenter", {"form": "train"}, r"Did you mean 'training'\? Received: 'train'"),
    ("InstanceSegmenter", {"boxes": 0}, r"boxes must be 1 or more; .*Received: 0"),
    ("InstanceSegmenter", {"boxes": None}, r"None in training alone\. Received: None"),
    ("InstanceSegmenter", {"detector_depth": -1}, r"detector_depth must be 0 or more.*: -1"),
    ("InstanceSegmenter", {"centre_stride": 2}, r"one of the strides \(4, .*Received: 2"),
    ("InstanceSegmenter", {"threshold": 0}, r"threshold between 0 and 1\. Received: 100, 4, 0"),
    ("InstanceSegmenter", {"input_shape": (250, 256, 3)}, r"224 and 256\. Received: 250"),
    (
        "InstanceSegmenter",
        {"input_shape": (32, 32, 3)},
        r"8 x 8 cells.*be more\. Received: 100",
    ),
    ("MaskSegmenter", {"top_down": "nearst"}, r"'nearest'.*Received: 'nearst'"),
]
