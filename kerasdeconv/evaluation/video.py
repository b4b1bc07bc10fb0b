"""Frames that follow: PSNR of what a network predicts, beside that of the last frame it saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv import runtime
from kerasdeconv.data.motion import moving
from kerasdeconv.evaluation.base import Measured, Pair, Progress, comparing, kept_pictures
from kerasdeconv.imaging import to_uint8
from kerasdeconv.metrics import psnr

_VIDEOS = 256
_MOVING = 2  # pictures in each


def video(
    predictor: runtime.Predictor, data: str | Path, recipe: str | Path | None, progress: Progress
) -> Measured:
    """The mean over all frames of 256 videos of pictures that move, the same ones each time."""

    def read(data: str | Path, recipe: str | Path | None) -> Sequence[Pair]:
        color = "rgb" if predictor.input_shape[-1] == 3 else "gray"
        return _videos(kept_pictures(data, recipe, color).pixels, predictor)

    return comparing(read, _figures)(predictor, data, recipe, progress)


def _videos(pictures: np.ndarray, predictor: runtime.Predictor) -> list[Pair]:
    """Frames that a network sees, and those with the last of them before that follow."""
    frames, height, width, channels = (side or 64 for side in predictor.input_shape[1:])
    black = np.zeros((1, frames, height, width, channels), np.float32)
    horizon = predictor.run(black)[0].shape[1]
    made: list[Pair] = []
    for number in range(_VIDEOS):
        rng = np.random.default_rng([0, number])
        chosen = pictures[rng.integers(len(pictures), size=_MOVING)]
        whole = moving(rng, chosen, frames + horizon, (height, width))
        made.append(([whole[:frames]], whole[frames - 1 :]))
    return made


def _figures(wanted: Sequence[Any], answers: Sequence[list[np.ndarray]]) -> dict[str, Any]:
    predicted, copied = [], []
    for (last, *following), (answer,) in zip(wanted, answers, strict=True):
        predicted.append([psnr(f, g) for f, g in zip(following, to_uint8(answer), strict=True)])
        copied.append([psnr(f, last) for f in following])
    mean, copy = float(np.mean(predicted)), float(np.mean(copied))
    return {
        "psnr": mean,
        "psnr_last_frame": copy,
        "psnr_gain": mean - copy,
        "psnr_by_frame": np.mean(predicted, axis=0).tolist(),
    }
