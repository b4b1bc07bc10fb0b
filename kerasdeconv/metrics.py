"""Measures of quality, from their definitions, in NumPy: the same for Keras models and files."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def psnr(expected: np.ndarray, got: np.ndarray, peak: float = 255.0) -> float:
    """Peak signal-to-noise ratio in dB; infinite where there is no difference.

    Args:
        expected: Any shape.
        got: The same shape.
        peak: The range of the values.
    """
    error = np.mean((np.asarray(expected, np.float64) - np.asarray(got, np.float64)) ** 2)
    return math.inf if error == 0 else float(10 * np.log10(peak**2 / error))


def ssim(expected: np.ndarray, got: np.ndarray, peak: float = 255.0) -> float:
    """Structural similarity of two one-channel pictures, averaged over all whole windows.

    Gaussian windows of 11 x 11 pixels with a standard deviation of 1.5, K1 = 0.01, K2 = 0.03, as
    published: Wang et al., "Image quality assessment: from error visibility to structural
    similarity" (IEEE TIP 2004).

    Args:
        expected: height x width.
        got: The same shape.
        peak: The range of the values.

    Raises:
        ValueError: The pictures differ in shape or are smaller than a window.
    """
    x, y = np.asarray(expected, np.float64), np.asarray(got, np.float64)
    if x.shape != y.shape or x.ndim != 2 or min(x.shape) < 11:
        raise ValueError(
            "SSIM takes two pictures of one shape, 11 x 11 pixels or more. "
            f"Received: {x.shape} and {y.shape}"
        )
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    var_x, var_y = _blur(x * x) - mean_x**2, _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    similar = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(similar / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))))


def _blur(image: np.ndarray) -> np.ndarray:
    """Averages over a Gaussian window, whole windows only."""
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window /= window.sum()
    for axis in (0, 1):
        image = np.apply_along_axis(np.convolve, axis, image, window, mode="valid")
    return image


def mask_iou(expected: np.ndarray, got: np.ndarray) -> float:
    """Intersection over union of two masks of one object; 1 where both are empty.

    Args:
        expected: Bool, any shape.
        got: Bool, the same shape.
    """
    union = np.count_nonzero(expected | got)
    return np.count_nonzero(expected & got) / union if union else 1.0


def known_mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN where all is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


class ConfusionMatrix:
    """Counts of pixels by true and predicted class, over a whole set of pictures.

    Args:
        classes: Number of classes.
        ignore: Label of pixels that don't count, if there is one.

    Attributes:
        counts: classes x classes; rows are true classes.
    """

    def __init__(self, classes: int, ignore: int | None = None) -> None:
        self.counts = np.zeros((classes, classes), np.int64)
        self.ignore = ignore

    @classmethod
    def sum(cls, matrices: Sequence[ConfusionMatrix]) -> ConfusionMatrix:
        """Adds the counts of several matrices of the same classes, at least one."""
        whole = cls(len(matrices[0].counts), matrices[0].ignore)
        whole.counts = np.sum([matrix.counts for matrix in matrices], axis=0)
        return whole

    def update(self, expected: np.ndarray, got: np.ndarray) -> None:
        """Adds a picture: two arrays of class numbers of one shape.

        Raises:
            ValueError: The shapes differ, or a class number is out of range.
        """
        if expected.shape != got.shape:
            raise ValueError(
                "Labels and predictions must have one shape. "
                f"Received: {expected.shape} and {got.shape}"
            )
        kept = np.ones(expected.shape, bool) if self.ignore is None else expected != self.ignore
        truth, guess = expected[kept].astype(np.int64), got[kept].astype(np.int64)
        classes = len(self.counts)
        for labels in (truth, guess):
            if labels.size and not 0 <= labels.min() <= labels.max() < classes:
                raise ValueError(
                    f"Class numbers must be in 0..{classes - 1}. "
                    f"Received: {labels.min()}..{labels.max()}"
                )
        self.counts += np.bincount(classes * truth + guess, minlength=classes**2).reshape(
            classes, classes
        )

    @property
    def iou(self) -> np.ndarray:
        """Intersection over union of each class; NaN for one that never occurs."""
        hits = np.diag(self.counts).astype(float)
        union = self.counts.sum(axis=0) + self.counts.sum(axis=1) - hits
        return np.divide(hits, union, out=np.full(len(hits), np.nan), where=union > 0)

    @property
    def mean_iou(self) -> float:
        """Mean of `iou` over the classes that occur; NaN where none does."""
        return known_mean(self.iou)

    @property
    def dice(self) -> np.ndarray:
        """Dice coefficient of each class: 2 IoU / (1 + IoU)."""
        return 2 * self.iou / (1 + self.iou)

    @property
    def pixel_accuracy(self) -> float:
        """Share of pixels whose class is right."""
        return float(np.diag(self.counts).sum() / max(self.counts.sum(), 1))
