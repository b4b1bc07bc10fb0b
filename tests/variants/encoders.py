"""U-Nets on the encoders."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant


def _unet(encoder: str, sizes: dict, exported: bool = False, **arguments: Any) -> Variant:
    arguments = {
        "input_shape": (None, None, 3),
        "encoder": encoder,
        "padding": "same",
        "norm": "batch",
        "width": 4,
        **arguments,
    }
    return Variant("UNet", arguments, sizes, exported=exported)


QUARTERS: dict = {(32, 36): (32, 36), (8, 16): (8, 16)}
THIRTY_SECONDS: dict = {(64, 32): (64, 32), (32, 96): (32, 96)}

VARIANTS = {
    "unet-small": _unet("small", QUARTERS, width=8, depth=2, attention=True, block="residual"),
    "unet-mobilenet_v2": _unet("mobilenet_v2", THIRTY_SECONDS, depth=5),
    "unet-mobilenet_v3_small": _unet(
        "mobilenet_v3_small",
        THIRTY_SECONDS,
        depth=5,
        upsample="resize_bilinear",
        attention=True,
        include_rescaling=False,
        exported=True,
    ),
}

_PADDED = {"encoder": "mobilenet_v2", "padding": "same"}

MISTAKES: Mistakes = [
    ("UNet", {"encoder": "mobilenet"}, r"Did you mean 'mobilenet_v2'.*Received: 'mobilenet'"),
    ("UNet", {"encoder": "small"}, r'An encoder needs padding="same"\. Received: \'valid\''),
    ("UNet", {**_PADDED, "depth": 6}, r"1 to 5\. Received: 6"),
    ("UNet", {**_PADDED, "pooling": "conv"}, r"poolings of its own.*Received: 'conv'"),
    ("UNet", {**_PADDED, "strides": 3}, r"leave strides out\. Received: 3"),
    ("UNet", {**_PADDED, "input_shape": (32, 32, 32, 1)}, r"\(height, width, channels\); .*"),
    ("UNet", {**_PADDED, "input_shape": (48, 40, 3)}, r"nearest are 32 and 48\. Received: 40"),
    ("UNet", {"encoder_weights": "imagenet"}, r"of an encoder: name it\. Received: 'imagenet'"),
    (
        "UNet",
        {**_PADDED, "encoder_weights": "imagenet", "input_shape": (64, 64, 1)},
        r"RGB pictures.*Received: 1 channels",
    ),
]
