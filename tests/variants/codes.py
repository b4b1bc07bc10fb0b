"""Networks of whole pictures: to a code and back, and to a class."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

# Wide enough that no ReLU layer is dead as a whole.
SMALL: dict[str, Any] = {"input_shape": (8, 12, 1), "width": 8, "hidden": 16}


def _autoencoder(exported: bool = False, **arguments: Any) -> Variant:
    arguments = SMALL | {"code": 6} | arguments
    return Variant("Autoencoder", arguments, {(8, 12): (8, 12)}, pixels=True, exported=exported)


def _vae(exported: bool = False, **arguments: Any) -> Variant:
    arguments = SMALL | {"latents": 3, "seed": 0} | arguments
    return Variant("ConvVAE", arguments, {(8, 12): [(8, 12), ()]}, pixels=True, exported=exported)


def _classifier(exported: bool = False, **arguments: Any) -> Variant:
    arguments = {"input_shape": (8, 12, 1), "width": 8, "features": 16, "dropout": 0.0} | arguments
    return Variant("Classifier", arguments, {(8, 12): ()}, exported=exported)


VARIANTS = {
    "autoencoder": _autoencoder(exported=True),
    "autoencoder-subpixel": _autoencoder(upsample="subpixel", norm="batch", hidden=0),
    "conv-vae": _vae(exported=True),
    "conv-vae-rgb": _vae(input_shape=(8, 12, 3), depth=1, norm="group", activation="gelu"),
    "classifier": _classifier(exported=True),
    "classifier-binary": _classifier(classes=1, depth=1, norm="batch"),
    "classifier-logits": _classifier(head_activation=None, input_shape=(8, 12, 3)),
}

MISTAKES: Mistakes = [
    ("Autoencoder", {"code": 0}, r"hidden 0 or more\. Received: 0, 32, 2, 256"),
    ("Autoencoder", {"input_shape": (28, 30, 1)}, r"nearest are 28 and 32\. Received: 30"),
    ("Autoencoder", {"input_shape": (None, 28, 1)}, r"Received: \(None, 28, 1\)"),
    ("Autoencoder", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
    ("ConvVAE", {"latents": 0}, r"hidden 0 or more\. Received: 0, 32, 2, 256"),
    ("ConvVAE", {"input_shape": (28, 1)}, r"\(height, width, channels\).*Received: \(28, 1\)"),
    ("Classifier", {"classes": 0}, r"1 \(binary\) or more\. Received: 0"),
    ("Classifier", {"features": 0}, r"1 or more\. Received: 32, 2, 0"),
    ("Classifier", {"input_shape": (28, None, 1)}, r"sides of its pictures\. .*\(28, None, 1\)"),
    ("Classifier", {"input_shape": (30, 28, 1)}, r"nearest are 28 and 32\. Received: 30"),
]
