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


def chamfer_distance(expected: np.ndarray, got: np.ndarray) -> float:
    """Mean squared distance from each point of a cloud to the nearest of the other, both ways.

    Fan et al., "A point set generation network for 3D object reconstruction from a single image"
    (CVPR 2017), section 3.2, with means instead of sums.

    Args:
        expected: Points, number x coordinates.
        got: The same, of any number.
    """
    away = ((np.asarray(expected, np.float64)[:, None] - got) ** 2).sum(axis=-1)
    return float(away.min(axis=0).mean() + away.min(axis=1).mean())


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


def mask_score(probabilities: np.ndarray, threshold: float = 0.5) -> float:
    """How sure a mask is: the mean probability of its pixels; 0 where it has none.

    Args:
        probabilities: Any shape.
        threshold: Least probability of a pixel of the mask.
    """
    inside = probabilities[probabilities >= threshold]
    return float(inside.mean()) if inside.size else 0.0


def average_precision(hits: np.ndarray, scores: np.ndarray, positives: int | None = None) -> float:
    """Area under the curve of precision over recall, as COCO takes it; NaN without positives.

    Answers are taken from the highest score down, those of one score together. The precision at a
    recall is the best one at that recall or a higher one; the mean is over 101 recalls, 0 to 1. See
    Lin et al., "Microsoft COCO" (2014), and its detection evaluation.

    Args:
        hits: Whether an answer is right, bool, 1D.
        scores: How sure it is, 1D.
        positives: How many right answers there could be; by default as many as answers.

    Raises:
        ValueError: The two differ in shape, or there are more hits than positives.
    """
    hits, scores = np.asarray(hits, bool), np.asarray(scores)
    positives = len(hits) if positives is None else positives
    if hits.shape != scores.shape or hits.ndim != 1 or hits.sum() > positives:
        raise ValueError(
            "Average precision takes a score for each answer, and no more hits than positives. "
            f"Received: {hits.shape} and {scores.shape}, {hits.sum()} hits of {positives}"
        )
    if not positives:
        return math.nan
    order = np.argsort(-scores)
    lasts = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True)[: len(order)])
    right = np.cumsum(hits[order])[lasts]
    precision = right / (lasts + 1)
    # In whole numbers: 29 of 100 reach a recall of 0.29.
    reached = [precision[100 * right >= recall * positives] for recall in range(101)]
    return float(np.mean([part.max(initial=0.0) for part in reached]))


def mask_average_precision(ious: np.ndarray, scores: np.ndarray) -> float:
    """Average precision of masks in given boxes, over ten thresholds; NaN without masks.

    Each box has one mask, and is answered by one: nothing has to be matched. An answer is a hit
    where its intersection over union is at least the threshold: 0.50, 0.55, ... 0.95, as COCO has
    it.

    Args:
        ious: Intersection over union of each mask, 1D.
        scores: How sure each answer is, 1D; see `mask_score`.
    """
    thresholds = np.arange(10, 20) / 20
    return float(np.mean([average_precision(np.asarray(ious) >= t, scores) for t in thresholds]))


def found_hits(ious: np.ndarray, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Which of the objects that were found in a picture are right, as COCO's evaluation takes it.

    From the highest score down, each takes the true object that it overlaps most of those that are
    left, if by the threshold at least: a second answer for one object is wrong.

    Args:
        ious: Intersection over union of each object found with each true one, K x L.
        scores: How sure each is, K.
        threshold: Least intersection over union.

    Returns:
        K bools.
    """
    left, hits = np.array(ious, float), np.zeros(len(scores), bool)
    for index in np.argsort(-np.asarray(scores), kind="stable"):
        best = int(left[index].argmax()) if left.shape[1] else -1
        if best >= 0 and left[index, best] >= threshold:
            hits[index] = True
            left[:, best] = -1.0
    return hits


def found_average_precision(
    pictures: Sequence[tuple[np.ndarray, np.ndarray]], thresholds: Sequence[float]
) -> float:
    """Average precision of objects that were found in pictures; NaN where there are none to find.

    See `found_hits` and `average_precision`; the mean over thresholds 0.50, 0.55, ... 0.95 is the
    field's "AP".

    Args:
        pictures: Of each, the intersections over union of what was found with what is there, K x L,
            and the scores, K.
        thresholds: Least intersections over union.
    """
    scores = np.concatenate([np.asarray(scores) for _, scores in pictures])
    positives = sum(ious.shape[1] for ious, _ in pictures)
    values = []
    for threshold in thresholds:
        hits = np.concatenate([found_hits(*picture, threshold) for picture in pictures])
        values.append(average_precision(hits, scores, positives))
    return float(np.mean(values))


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Area under the receiver operating characteristic; NaN where a class is missing.

    It is the chance that a positive has a higher score than a negative, where ties count half,
    found from ranks: Hanley and McNeil, "The meaning and use of the area under a receiver operating
    characteristic (ROC) curve" (Radiology 1982). Exact: every score is its own threshold.

    Args:
        labels: Whether it is a positive, bool or 0 and 1, any shape.
        scores: The same shape.

    Raises:
        ValueError: The shapes differ, or a label is neither 0 nor 1, or a score is NaN.
    """
    labels, scores = np.asarray(labels), np.asarray(scores)
    if labels.shape != scores.shape or not np.isin(labels, (0, 1)).all() or np.isnan(scores).any():
        raise ValueError(
            "The area under the curve takes labels of 0 and 1, and a number for each as a score. "
            f"Received: {labels.shape} {np.unique(labels)[:5]} and {scores.shape}"
        )
    positive = labels.ravel().astype(bool)
    _, level, counts = np.unique(scores.ravel(), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[level]  # from 1; ties share their mean
    many = np.count_nonzero(positive)
    pairs = many * (positive.size - many)
    return float((ranks[positive].sum() - many * (many + 1) / 2) / pairs) if pairs else math.nan


def abs_rel(expected: np.ndarray, got: np.ndarray) -> float:
    """Mean of |got - expected| / expected of depths; NaN where none is known.

    Eigen et al., "Depth map prediction from a single image using a multi-scale deep network"
    (2014), section 4.3, as `rmse` and `delta_accuracy`: over all pixels of a whole set.

    Args:
        expected: Any shape; pixels of 0 or less have no depth and don't count.
        got: The same shape.

    Raises:
        ValueError: The shapes differ.
    """
    wanted, given = _depths(expected, got)
    return known_mean(np.abs(given - wanted) / wanted)


def rmse(expected: np.ndarray, got: np.ndarray) -> float:
    """Root of the mean squared error of depths, in their unit; NaN where none is known.

    Args:
        expected: See `abs_rel`.
        got: See `abs_rel`.

    Raises:
        ValueError: The shapes differ.
    """
    wanted, given = _depths(expected, got)
    return math.sqrt(known_mean((given - wanted) ** 2))


def delta_accuracy(expected: np.ndarray, got: np.ndarray, threshold: float = 1.25) -> float:
    """Share of depths that are right up to a factor; NaN where none is known.

    Args:
        expected: See `abs_rel`.
        got: See `abs_rel`.
        threshold: The factor, more than 1: max(got / expected, expected / got) is below it.

    Raises:
        ValueError: The shapes differ.
    """
    wanted, given = _depths(expected, got)
    # Without a division by an answer of 0.
    close = (given < threshold * wanted) & (wanted < threshold * given)
    return known_mean(close.astype(float))


def _depths(expected: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Picks the pixels whose depth is known."""
    if np.shape(expected) != np.shape(got):
        raise ValueError(
            f"Depths must have one shape. Received: {np.shape(expected)} and {np.shape(got)}"
        )
    known = np.asarray(expected) > 0
    return np.asarray(expected, float)[known], np.asarray(got, float)[known]
