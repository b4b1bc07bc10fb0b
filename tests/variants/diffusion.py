"""Networks that are told a step."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant


def _unet(exported: bool = False, **arguments: Any) -> Variant:
    arguments = {
        "input_shape": (None, None, 1),
        "steps": 10,
        "width": 16,
        "multipliers": (1, 2),
        "blocks": 1,
        "attention": (),
        "dropout": 0.0,
        **arguments,
    }
    sizes: dict = {sides: sides for sides in [(8, 12), (4, 6)]}
    return Variant(
        "DiffusionUNet",
        arguments,
        sizes,
        features=True,
        steps=arguments["steps"],
        exported=exported,
    )


VARIANTS = {
    "diffusion-unet": _unet(exported=True),
    "diffusion-unet-transpose": _unet(
        norm="instance", upsample="transpose", attention=(0,), activation="relu"
    ),
}

MISTAKES: Mistakes = [
    ("DiffusionUNet", {"input_shape": (28, 28, 1)}, r"nearest are 24 and 32\. Received: 28"),
    ("DiffusionUNet", {"input_shape": (32, 3)}, r"\(height, width, channels\).*: \(32, 3\)"),
    ("DiffusionUNet", {"width": 0}, r"must be 1 or more\. Received: 0, 2, \(1, 2, 2, 2\)"),
    ("DiffusionUNet", {"multipliers": ()}, r"must be 1 or more\. Received: 128, 2, \(\)"),
    ("DiffusionUNet", {"attention": (4,)}, r"levels in 0\.\.3\. Received: 4"),
    ("DiffusionUNet", {"width": 5}, r"even and 4 or more\. Received: 1000, 5"),
    ("DiffusionUNet", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("DiffusionUNet", {"norm": "layer"}, r"'group', 'instance'\)\. Received: 'layer'"),
]
