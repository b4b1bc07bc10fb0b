"""Super-resolution networks."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant


def _espcn(scale: int, channels: int = 1, exported: bool = False, **arguments: Any) -> Variant:
    shape = (None, None, channels)
    sizes: dict = {side: tuple(scale * n for n in side) for side in [(8, 12), (7, 5), (5, 5)]}
    arguments = {"input_shape": shape, "scale": scale, **arguments}
    return Variant("ESPCN", arguments, sizes, pixels=True, exported=exported)


VARIANTS = {
    "espcn-x2": _espcn(2),
    "espcn-x3": _espcn(3, activation="relu", exported=True),
    "espcn-x4-rgb": _espcn(4, channels=3),
    "espcn-no-rescaling": _espcn(3, include_rescaling=False),
}

MISTAKES: Mistakes = [
    ("ESPCN", {"scale": 1}, r"2 or more\. Received: 1"),
    ("ESPCN", {"scale": 2.0}, r"whole number, 2 or more\. Received: 2\.0"),
    ("ESPCN", {"input_shape": (32, 32)}, r"\(height, width, channels\).*Received: \(32, 32\)"),
]
