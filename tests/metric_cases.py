"""Every streaming metric with batches, and the figure that the definition gives for them all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv import metrics
from kerasdeconv.imaging import luma, to_uint8

IGNORE = 255
# (target, answer, weights or None), as `update_state` takes them.
Batch = tuple[np.ndarray, np.ndarray, np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Case:
    """A metric, its batches, and the definition over all of them."""

    make: Callable[[], keras.metrics.Metric]
    batches: Callable[[], list[Batch]]
    expected: Callable[[list[Batch]], float]

    def streamed(self) -> float:
        metric = self.make()
        for truth, guess, weights in self.batches():
            metric.update_state(truth, guess, sample_weight=weights)
        return float(metric.result())


def labels(classes: int, sides: tuple[int, ...], *, binary: bool = False) -> Any:
    """Three batches, with a class that never occurs, and pixels to ignore."""

    def batches() -> list[Batch]:
        rng = np.random.default_rng(1)
        made = []
        for size in (2, 3, 1):
            truth = rng.integers(0, classes - 1 + binary, (size, *sides, 1))
            guess = rng.dirichlet(np.ones(classes), (size, *sides))
            guess[..., -1] *= binary  # neither wanted nor answered
            truth[rng.random(truth.shape) < 0.2] = IGNORE
            made.append((truth, (guess[..., 1:] if binary else guess).astype(np.float32), None))
        return made

    return batches


def matrix_of(batches: list[Batch], classes: int) -> metrics.ConfusionMatrix:
    matrix = metrics.ConfusionMatrix(classes, IGNORE)
    for truth, guess, _ in batches:
        found = guess[..., 0] >= 0.5 if guess.shape[-1] == 1 else guess.argmax(axis=-1)
        matrix.update(truth[..., 0], found)
    return matrix


def pictures(channels: int, sides: tuple[int, ...] = (24, 21)) -> Any:
    def batches() -> list[Batch]:
        rng = np.random.default_rng(2)
        made = []
        for size in (2, 1):
            truth = rng.integers(0, 256, (size, *sides, channels)).astype(np.float32)
            guess = truth + rng.normal(0, 25, truth.shape).astype(np.float32)
            made.append((truth, guess, None))
        return made

    return batches


def over_pictures(measure: Any, shave: int) -> Any:
    """As `kerasdeconv evaluate` measures: bytes, luma of RGB in bytes, without the border."""

    def expected(batches: list[Batch]) -> float:
        values = []
        for truth, guess, _ in batches:
            for pair in zip(truth, guess, strict=True):
                parts = [to_uint8(part) for part in pair]
                if parts[0].shape[-1] == 3:
                    parts = [to_uint8(luma(part)) for part in parts]
                inner = slice(shave, -shave or None)
                values.append(measure(*(np.squeeze(part)[inner, inner] for part in parts)))
        return float(np.mean(values))

    return expected


def depths() -> list[Batch]:
    rng = np.random.default_rng(3)
    made: list[Batch] = []
    for size in (1, 3):
        truth = rng.uniform(1, 9, (size, 5, 4, 1)).astype(np.float32)
        guess = truth * rng.uniform(0.6, 1.6, truth.shape).astype(np.float32)
        truth[rng.random(truth.shape) < 0.3] = 0
        made.append((truth, guess, None))
    return made


def over_depths(measure: Any) -> Any:
    def expected(batches: list[Batch]) -> float:
        parts = zip(*((t.ravel(), g.ravel()) for t, g, _ in batches), strict=True)
        return measure(*(np.concatenate(part) for part in parts))

    return expected


def vectors(channels: int) -> Any:
    """Vectors, of which a third are unknown: of length 0."""

    def batches() -> list[Batch]:
        rng = np.random.default_rng(5)
        made: list[Batch] = []
        for size in (2, 1):
            truth = rng.normal(size=(size, 6, 5, channels)).astype(np.float32)
            guess = truth + rng.normal(size=truth.shape).astype(np.float32)
            truth[rng.random(truth.shape[:-1]) < 1 / 3] = 0
            made.append((truth, guess, None))
        return made

    return batches


def over_vectors(measure: Any) -> Any:
    def expected(batches: list[Batch]) -> float:
        return measure(*(np.concatenate([batch[i] for batch in batches]) for i in (0, 1)))

    return expected


def masks() -> list[Batch]:
    """Boxes with masks that are about right, some of them only there to fill a patch."""
    rng = np.random.default_rng(4)
    made: list[Batch] = []
    for size in (3, 2):
        truth = np.zeros((size, 6, 8, 8, 1), np.float32)
        truth[:, :, 1:7, 2:7] = 1
        noise = rng.uniform(0, 0.6, (size, 6, 1, 1, 1))
        wrong = rng.random(truth.shape) < noise
        sure = rng.uniform(0.55, 0.95, (size, 6, 1, 1, 1))
        guess = np.where(wrong, 1 - truth, truth) * sure
        weights = np.ones(truth.shape[:-1], np.float32)
        weights[:, 4:] = 0
        made.append((truth, guess.astype(np.float32), weights))
    return made


def over_masks(bins: int) -> Any:
    def expected(batches: list[Batch]) -> float:
        ious, scores = [], []
        for truth, guess, weights in batches:
            for place in zip(*np.nonzero(weights[..., 0, 0]), strict=True):
                ious.append(metrics.mask_iou(truth[place] > 0, guess[place] >= 0.5))
                scores.append(np.floor(metrics.mask_score(guess[place]) * bins))
        return metrics.mask_average_precision(np.array(ious), np.array(scores))

    return expected


_M = metrics
CASES = {
    "mean_iou": Case(
        lambda: _M.MeanIoU(4, IGNORE), labels(4, (7, 6)), lambda b: matrix_of(b, 4).mean_iou
    ),
    "mean_iou volumes": Case(
        lambda: _M.MeanIoU(3, IGNORE), labels(3, (4, 5, 3)), lambda b: matrix_of(b, 3).mean_iou
    ),
    "mean_iou binary": Case(
        lambda: _M.MeanIoU(2, IGNORE),
        labels(2, (7, 6), binary=True),
        lambda b: matrix_of(b, 2).mean_iou,
    ),
    "dice": Case(
        lambda: _M.DiceCoefficient(4, IGNORE),
        labels(4, (7, 6)),
        lambda b: metrics.known_mean(matrix_of(b, 4).dice[1:]),
    ),
    "dice all": Case(
        lambda: _M.DiceCoefficient(3, IGNORE, background=True),
        labels(3, (4, 5, 3)),
        lambda b: metrics.known_mean(matrix_of(b, 3).dice),
    ),
    "pixel_accuracy": Case(
        lambda: _M.PixelAccuracy(4, IGNORE),
        labels(4, (7, 6)),
        lambda b: matrix_of(b, 4).pixel_accuracy,
    ),
    "psnr": Case(_M.PSNR, pictures(1), over_pictures(metrics.psnr, 0)),
    "psnr on y": Case(lambda: _M.PSNR(shave=3), pictures(3), over_pictures(metrics.psnr, 3)),
    "ssim": Case(_M.SSIM, pictures(1), over_pictures(metrics.ssim, 0)),
    "ssim on y": Case(lambda: _M.SSIM(shave=2), pictures(3), over_pictures(metrics.ssim, 2)),
    "abs_rel": Case(_M.AbsRel, depths, over_depths(metrics.abs_rel)),
    "rmse": Case(_M.RMSE, depths, over_depths(metrics.rmse)),
    "delta_accuracy": Case(_M.DeltaAccuracy, depths, over_depths(metrics.delta_accuracy)),
    "delta_accuracy 1.1": Case(
        lambda: _M.DeltaAccuracy(1.1),
        depths,
        over_depths(lambda t, g: metrics.delta_accuracy(t, g, 1.1)),
    ),
    "end_point_error": Case(_M.EndPointError, vectors(2), over_vectors(metrics.end_point_error)),
    "end_point_error of disparity": Case(
        _M.EndPointError, vectors(1), over_vectors(metrics.end_point_error)
    ),
    "angular_error": Case(
        _M.AngularError,
        vectors(3),
        over_vectors(lambda t, g: float(metrics.angular_errors(t, g).mean())),
    ),
    "mask_ap": Case(_M.MaskAveragePrecision, masks, over_masks(1000)),
    "mask_ap few": Case(lambda: _M.MaskAveragePrecision(bins=7), masks, over_masks(7)),
}
