"""Makes a picture of a network's answer. NumPy and Pillow only."""

from __future__ import annotations

import math

import numpy as np
import PIL.Image

from kerasdeconv import imaging
from kerasdeconv.convention import Convention
from kerasdeconv.runtime import pictures
from kerasdeconv.runtime.pictures import Picture

# Bright and saturated: they stand out from dark fluorescence and from the pinks, violets and browns
# of stained tissue, and from one another. Label 1 takes the first.
_PALETTE = np.array(
    [
        (0, 255, 110),
        (255, 230, 0),
        (0, 190, 255),
        (255, 110, 0),
        (180, 130, 255),
        (255, 0, 130),
        (160, 255, 0),
        (0, 90, 255),
        (255, 160, 160),
        (0, 150, 120),
        (200, 160, 60),
        (255, 255, 255),
    ],
    dtype=np.float32,
)
_FILL = 0.25
_OUTLINE_SHADOW = 0.45


def label_map(convention: Convention, answer: np.ndarray) -> np.ndarray:
    """Turns the answer of a segmentation network into labels.

    One channel with at most two labels is binary: label 1 from probability 0.5 (logit 0) on.
    Otherwise the greatest channel wins.

    Args:
        convention: Of the network.
        answer: As `Predictor.predict` gives it, (..., height, width, classes) or labels.

    Returns:
        int32 labels, (..., height, width).
    """
    if convention.output == "labels":
        return answer.astype(np.int32)
    if answer.shape[-1] > 1:
        return answer.argmax(axis=-1).astype(np.int32)
    threshold = 0.0 if convention.output == "logits" else 0.5
    return (answer[..., 0] >= threshold).astype(np.int32)


def render(convention: Convention, image: Picture, answer: np.ndarray) -> np.ndarray:
    """Makes a picture of an answer.

    Args:
        convention: Of the network.
        image: The picture that was asked about: a path, a Pillow image, or an array (H, W) or
            (H, W, 3) in [0, 255]. Only segmentation is drawn over it.
        answer: What `Predictor.predict`, `predict_tiled` or `predict_instances` gave for it, or the
            masks of `find_instances`.

    Returns:
        A uint8 RGB picture.

        - Segmentation: the picture with each class, or each instance, tinted and outlined.
        - Super-resolution and style: the answer itself.
        - Depth and disparity: gray, the nearest white and the farthest black.
        - Normals: red where a surface faces right, green down, blue away, each from 0 to 255.
        - Flow: the direction as a hue, from red (right) by green (down) and cyan (left) to violet
          (up), on white, the longest shift in full color.

    Raises:
        ValueError: The task has no picture, or the sizes differ.
    """
    if convention.task in _DRAWN_ALONE:
        return _DRAWN_ALONE[convention.task](answer)
    instances = convention.task in ("instance-segmentation", "instance-detection")
    if convention.task not in DRAWN_TASKS:
        raise ValueError(
            f"An answer to one of {DRAWN_TASKS} makes a picture. Received: task {convention.task!r}"
        )
    picture = _rgb(pictures.load(image, "RGB"))
    labels = _instance_map(answer) if instances else label_map(convention, answer)
    if labels.shape != picture.shape[:2]:
        raise ValueError(
            f"The answer must be as large as the picture, {picture.shape[:2]}. "
            f"Received: {labels.shape}"
        )
    background = instances or _has_background(convention, answer)
    return _overlay(picture, labels, background=background)


def _instance_map(masks: np.ndarray) -> np.ndarray:
    """Numbers masks (K, H, W) from 1 to K; of those that overlap, the last is seen."""
    numbers = np.zeros(masks.shape[1:], np.int32)
    for number, mask in enumerate(masks, start=1):
        numbers[mask >= 0.5] = number
    return numbers


def _rgb(picture: np.ndarray) -> np.ndarray:
    if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = picture[..., 0]
    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=-1)
    if picture.ndim != 3 or picture.shape[-1] != 3:
        raise ValueError(f"A picture must be (H, W) or (H, W, 3). Received: {picture.shape}")
    return imaging.to_uint8(picture)


def _nearness(disparity: np.ndarray) -> np.ndarray:
    """Shades what is the greater the nearer it is."""
    low, high = disparity.min(), disparity.max()
    return _rgb(255 * (disparity - low) / max(high - low, np.finfo(np.float32).tiny))


def _depth(metres: np.ndarray) -> np.ndarray:
    """Shades distances: a millimetre, or less than nothing, is as near as can be."""
    return _nearness(1 / np.maximum(metres, 1e-3))


def _normals(vectors: np.ndarray) -> np.ndarray:
    return imaging.to_uint8(127.5 * (vectors + 1))


def _flow(shifts: np.ndarray) -> np.ndarray:
    """Paints shifts (dx, dy) as hues on white."""
    length = np.hypot(shifts[..., 0], shifts[..., 1])
    turn = np.arctan2(shifts[..., 1], shifts[..., 0]) / (2 * np.pi) % 1
    full = length / max(length.max(), np.finfo(np.float32).tiny)
    hsv = imaging.to_uint8(255 * np.stack([turn, full, np.ones_like(full)], axis=-1))
    height, width = length.shape
    return np.asarray(PIL.Image.frombytes("HSV", (width, height), hsv.tobytes()).convert("RGB"))


# How an answer is drawn that is a picture by itself.
_DRAWN_ALONE = {
    "super-resolution": _rgb,
    "style": _rgb,
    "depth": _depth,
    "disparity": _nearness,
    "normals": _normals,
    "flow": _flow,
}
DRAWN_TASKS = ("segmentation", "instance-segmentation", "instance-detection", *_DRAWN_ALONE)


def _has_background(convention: Convention, answer: np.ndarray) -> bool:
    """Label 0 stays untinted in a binary network, unless it has a name that is no background."""
    binary = convention.output != "labels" and answer.shape[-1] == 1
    first = convention.labels[0].lower() if convention.labels else "background"
    return binary or len(convention.labels) == 2 or first in ("background", "none", "void")


def _overlay(picture: np.ndarray, labels: np.ndarray, background: bool) -> np.ndarray:
    """Tints each region, and draws a coloured line inside its border and a dark one outside."""
    tinted = (labels != 0) if background else np.ones(labels.shape, bool)
    colors = _PALETTE[(labels - 1 if background else labels) % len(_PALETTE)]
    result = picture.astype(np.float32)
    result = np.where(tinted[..., None], (1 - _FILL) * result + _FILL * colors, result)
    thickness = max(1, round(min(labels.shape) / 512))
    border = _border(labels, thickness)
    result = np.where((border & tinted)[..., None], colors, result)
    # The dark line keeps a bright outline legible on bright ground; on dark ground it is unseen.
    result = np.where((border & ~tinted)[..., None], _OUTLINE_SHADOW * result, result)
    return imaging.to_uint8(result)


def _border(labels: np.ndarray, thickness: int) -> np.ndarray:
    """Pixels within `thickness` steps (along rows and columns) of another label."""
    border = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        ahead = [slice(None), slice(None)]
        behind = [slice(None), slice(None)]
        ahead[axis], behind[axis] = slice(1, None), slice(None, -1)
        differs = labels[tuple(ahead)] != labels[tuple(behind)]
        border[tuple(ahead)] |= differs
        border[tuple(behind)] |= differs
    for _ in range(thickness - 1):
        grown = border.copy()
        grown[1:] |= border[:-1]
        grown[:-1] |= border[1:]
        grown[:, 1:] |= border[:, :-1]
        grown[:, :-1] |= border[:, 1:]
        border = grown
    return border


def side_by_side(pictures: np.ndarray, gap: int = 2) -> np.ndarray:
    """Lays pictures of one size out in a square, or nearly, row by row, on white.

    Args:
        pictures: uint8, N x height x width x channels, gray or RGB.
        gap: Pixels between them and around all.

    Returns:
        uint8, height x width x 3.
    """
    count, height, width, _ = pictures.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, 3), 255, np.uint8)
    for number, picture in enumerate(pictures):
        row, column = divmod(number, columns)
        top, left = row * (height + gap) + gap, column * (width + gap) + gap
        sheet[top : top + height, left : left + width] = picture
    return sheet
