"""Networks that predict frames."""

from __future__ import annotations

from typing import Any

from contract import Mistakes, Variant

FRAMES: dict = {(3, 8, 12): (2, 8, 12), (3, 4, 8): (2, 4, 8)}


def _video(**arguments: Any) -> Variant:
    exported, sizes = arguments.pop("exported", False), arguments.pop("sizes", FRAMES)
    channels = arguments.pop("channels", 1)
    frames = next(iter(sizes))[0]
    small = {"horizon": 2, "width": 4, "hidden": 8, "depth": 1}
    arguments = {"input_shape": (frames, None, None, channels), **small, **arguments}
    return Variant("VideoPredictor", arguments, sizes, pixels=True, exported=exported)


VARIANTS = {
    "video": _video(exported=True),
    "video-rgb": _video(channels=3, norm="group", depth=2),
    "video-no-rescaling": _video(norm=None, include_rescaling=False, levels=1),
    "video-subpixel": _video(upsample="subpixel"),
    "video-recurrent": _video(recurrent=True, depth=2, exported=True),
    "video-recurrent-one": _video(recurrent=True, horizon=1, sizes={(2, 8, 4): (1, 8, 4)}),
}

MISTAKES: Mistakes = [
    ("VideoPredictor", {"horizon": 0}, r"1 or more\. Received: 10, 0"),
    ("VideoPredictor", {"input_shape": (None, 64, 64, 1)}, r"1 or more\. Received: None, 10"),
    ("VideoPredictor", {"levels": 0}, r"1 or more\. Received: 16, 0, 96, 4"),
    ("VideoPredictor", {"input_shape": (10, 64, 62, 1)}, r"nearest are 60 and 64\. Received: 62"),
    ("VideoPredictor", {"input_shape": (64, 64, 1)}, r"\(depth, .*Received: \(64, 64, 1\)"),
    ("VideoPredictor", {"upsample": "pixels"}, r"Did you mean 'subpixel'\? Received: 'pixels'"),
]
