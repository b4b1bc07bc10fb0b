"""Networks that make pictures, and what they learn against."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

from kerasdeconv.layers import UPSAMPLING_METHODS


def _generator(size: int = 14, exported: bool = False, **arguments: Any) -> Variant:
    arguments = {"input_shape": (6,), "size": size, "channels": 1, "width": 4, **arguments}
    return Variant("DCGANGenerator", arguments, {(): (size, size)}, pixels=True, exported=exported)


def _discriminator(size: int = 16, exported: bool = False, **arguments: Any) -> Variant:
    shape = (size, size, 3)
    arguments = {"input_shape": shape, "width": 4, "head_activation": None, **arguments}
    return Variant("DCGANDiscriminator", arguments, {(size, size): ()}, exported=exported)


def _progressive(size: int = 8, exported: bool = False, **arguments: Any) -> Variant:
    arguments = {"input_shape": (6,), "size": size, "width": 8, "channels": 1, **arguments}
    return Variant(
        "ProgressiveGenerator", arguments, {(): (size, size)}, pixels=True, exported=exported
    )


def _judge(size: int = 8, exported: bool = False, **arguments: Any) -> Variant:
    shape = (size, size, 1)
    arguments = {"input_shape": shape, "width": 8, "head_activation": None, **arguments}
    return Variant("ProgressiveDiscriminator", arguments, {(size, size): ()}, exported=exported)


def _style(exported: bool = False, **arguments: Any) -> Variant:
    arguments = {"input_shape": (None, None, 3), "width": 4, "depth": 1, **arguments}
    sizes: dict = {(16, 20): (16, 20), (20, 12): (20, 12)}
    return Variant("StyleTransfer", arguments, sizes, pixels=True, exported=exported)


VARIANTS = {
    "dcgan": _generator(exported=True, kernel_size=4),
    "dcgan-by-channel": _generator(16, channels=3, norm_by_unit=False),
    "dcgan-no-rescaling": _generator(norm=None, include_rescaling=False),
    **{f"dcgan-{m}": _generator(16, upsample=m, norm="group") for m in UPSAMPLING_METHODS[1:]},
    "dcgan-discriminator": _discriminator(exported=True),
    "dcgan-discriminator-plain": _discriminator(14, norm=None),
    "dcgan-discriminator-probabilities": _discriminator(
        norm="instance", head_activation="probabilities", include_rescaling=False
    ),
    "progressive": _progressive(exported=True),
    "progressive-fading": _progressive(16, channels=3, fade=0.5, include_rescaling=False),
    "progressive-first": _progressive(4),
    "progressive-discriminator": _judge(exported=True),
    "progressive-discriminator-fading": _judge(16, fade=0.5, include_rescaling=False),
    "style-transfer": _style(exported=True),
    "style-transfer-transpose": _style(norm="batch", upsample="transpose"),
    "style-transfer-no-rescaling": _style(norm=None, include_rescaling=False),
}

MISTAKES: Mistakes = [
    ("DCGANGenerator", {"size": 30}, r"This DCGAN .*nearest are 28 and 32\. Received: 30"),
    ("DCGANGenerator", {"size": 4}, r"nearest are 8 and 10\. Received: 4"),
    ("DCGANGenerator", {"width": 0}, r"1 or more\. Received: 3, 0, 5"),
    ("DCGANGenerator", {"upsample": "pixel"}, r"Did you mean 'subpixel'\? Received: 'pixel'"),
    ("DCGANGenerator", {"input_shape": (8, 8, 3)}, r"length of the code.*Received: \(8, 8, 3\)"),
    ("DCGANDiscriminator", {"input_shape": (30, 30, 1)}, r"28 and 32\. Received: 30"),
    ("DCGANDiscriminator", {"input_shape": (32, 64, 1)}, r"square\. Received: 32 x 64"),
    ("DCGANDiscriminator", {"input_shape": (None, 64, 1)}, r"nearest are 8 .*Received: 0"),
    ("DCGANDiscriminator", {"width": 0}, r"1 or more\. Received: 0, 5"),
    ("ProgressiveGenerator", {"size": 12}, r"nearest are 8 and 16\. Received: 12"),
    ("ProgressiveGenerator", {"size": 4, "fade": 0.0}, r"nearest are 8 and 16\. Received: 4"),
    ("ProgressiveGenerator", {"fade": 1.5}, r"alpha must be in \[0, 1\]\. Received: 1\.5"),
    ("ProgressiveGenerator", {"capacity": 4}, r"no less than the size\. Received: 3, 512, 4"),
    ("ProgressiveDiscriminator", {"input_shape": (8, 16, 3)}, r"square\. Received: 8 x 16"),
    ("ProgressiveDiscriminator", {"input_shape": (24, 24, 3)}, r"16 and 32\. Received: 24"),
    ("StyleTransfer", {"input_shape": (30, 32, 3)}, r"nearest are 28 and 32\. Received: 30"),
    ("StyleTransfer", {"input_shape": (8, 32, 3)}, r"nearest are 12 and 16\. Received: 8"),
    ("StyleTransfer", {"depth": 0}, r"1 or more\. Received: 32, 0"),
    ("StyleTransfer", {"norm": "layer"}, r"norm must be one of .*Received: 'layer'"),
]
