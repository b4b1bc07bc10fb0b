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
]
