"""Every loss with arguments, and its definition in NumPy, for tests on any backend.

Definitions are written for one sample, in float64, without what makes the losses fast: distances
between all pairs of pixels, windows one by one, the Lovász extension as an integral over levels.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from kerasdeconv import losses

IGNORE = 255
# Sides of a picture and of a volume, no two alike; SSIM needs a window of 11.
SIDES = {"2D": (12, 13), "3D": (11, 13, 12)}
CLASS_WEIGHTS = [0.5, 2.0, 3.0]


@dataclasses.dataclass(frozen=True)
class Case:
    """A loss and what it should give.

    Attributes:
        make: Makes the loss.
        of_sample: Its definition: target and answer of a sample, which pixels count and how much,
            to the loss of the sample, or to a value for each pixel that counts.
        kind: What it takes: "classes", "binary", "pictures", "depth", "centres" or "boxes".
        logits: Whether answers are logits.
        least: Loss of a perfect answer, None where that is not known.
    """

    make: Callable[..., keras.losses.Loss]
    of_sample: Callable[..., Any]
    kind: str = "classes"
    logits: bool = False
    least: float | None = 0.0

    @property
    def labels(self) -> bool:
        return self.kind in ("classes", "binary")

    def expected(
        self, truth: np.ndarray, guess: np.ndarray, valid: np.ndarray, weights: np.ndarray
    ) -> float:
        """The loss of a batch; all but the answer are batch x sides."""
        guess = guess.astype(np.float64)
        if self.labels:
            guess = probabilities(guess, self.logits)
        values = [
            self.of_sample(*sample) for sample in zip(truth, guess, valid, weights, strict=True)
        ]
        if np.ndim(values[0]):  # by pixel: the mean is over all that count
            return float(np.sum(np.concatenate(values)) / valid.sum())
        return float(np.mean(values))


def probabilities(answer: np.ndarray, logits: bool) -> np.ndarray:
    if answer.shape[-1] == 1:
        one = 1 / (1 + np.exp(-answer)) if logits else answer
        return np.concatenate([1 - one, one], axis=-1)
    if logits:
        answer = np.exp(answer - answer.max(axis=-1, keepdims=True))
        return answer / answer.sum(axis=-1, keepdims=True)
    return answer


def cross_entropy(class_weights: list[float] | None = None, smoothing: float = 0.0) -> Any:
    def of_sample(t, p, valid, w):
        values = []
        for place in zip(*np.nonzero(valid), strict=True):
            target = np.full(p.shape[-1], smoothing / p.shape[-1])
            target[t[place]] += 1 - smoothing
            weight = np.ones(p.shape[-1]) if class_weights is None else np.array(class_weights)
            values.append(w[place] * -np.sum(weight * target * np.log(p[place])))
        return np.array(values)

    return of_sample


def focal(gamma: float, class_weights: list[float] | None = None) -> Any:
    def of_sample(t, p, valid, w):
        values = []
        for place in zip(*np.nonzero(valid), strict=True):
            true = p[place][t[place]]
            weight = 1.0 if class_weights is None else class_weights[t[place]]
            values.append(w[place] * weight * -((1 - true) ** gamma) * math.log(true))
        return np.array(values)

    return of_sample


def boundary(reach: int, first: int = 1) -> Any:
    def of_sample(t, p, valid, w):
        places = np.argwhere(valid)
        values = np.zeros(len(places))
        classes = range(first, p.shape[-1])
        for c in classes:
            inside = t[valid] == c
            for i, place in enumerate(places):
                others = places[inside != inside[i]]
                away = np.sqrt(((others - place) ** 2).sum(axis=1)).min(initial=reach)
                wrong = abs(p[tuple(place)][c] - inside[i])
                values[i] += (away - 0.5) * wrong / len(classes)
        return values * w[valid]

    return of_sample


def region(of_class: Any, first: int = 1, class_weights: list[float] | None = None) -> Any:
    """Mean over classes, where pixels count by their weights against the sample's mean weight."""

    def of_sample(t, p, valid, w):
        counting = valid * w / w.mean()
        values = [of_class(t == c, p[..., c], counting) for c in range(first, p.shape[-1])]
        if class_weights is not None:
            values = [v * c for v, c in zip(values, class_weights[first:], strict=True)]
        return w.mean() * np.mean([value for value in values if value is not None])

    return of_sample


def tversky(alpha: float, beta: float, smooth: float) -> Any:
    def of_class(wanted, got, counting):
        hit = (counting * wanted * got).sum()
        extra = (counting * ~wanted * got).sum()
        missed = (counting * wanted * (1 - got)).sum()
        return 1 - (hit + smooth) / (hit + alpha * extra + beta * missed + smooth)

    return of_class


def lovasz(absent: bool = True) -> Any:
    def of_class(wanted, got, counting):
        if not absent and not (wanted * counting).any():
            return None
        errors = np.abs(wanted - got)
        total, below = 0.0, 0.0
        for level in np.unique(errors[counting > 0]):
            wrong = errors >= level
            union = (counting * (wanted | wrong)).sum()
            total += (level - below) * (counting * wrong).sum() / union
            below = level
        return total

    return of_class


def by_pixel(of_error: Any) -> Any:
    def of_sample(t, p, valid, w):
        return (w * of_error(p - t).mean(axis=-1)).ravel()

    return of_sample


def ssim(peak: float) -> Any:
    window = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))

    def of_sample(t, p, valid, w):
        rank = t.ndim - 1
        kernel = window
        for _ in range(rank - 1):
            kernel = kernel[..., None] * window
        kernel = kernel / kernel.sum()
        c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
        values = []
        for start in itertools.product(*(range(side - 10) for side in t.shape[:-1])):
            part = tuple(slice(s, s + 11) for s in start)
            middle = tuple(s + 5 for s in start)
            for c in range(t.shape[-1]):
                x, y = t[part][..., c], p[part][..., c]
                mx, my = (kernel * x).sum(), (kernel * y).sum()
                vx, vy = (kernel * (x - mx) ** 2).sum(), (kernel * (y - my) ** 2).sum()
                cov = (kernel * (x - mx) * (y - my)).sum()
                alike = (2 * mx * my + c1) * (2 * cov + c2)
                alike /= (mx**2 + my**2 + c1) * (vx + vy + c2)
                values.append(w[middle] * (1 - alike))
        return float(np.mean(values))

    return of_sample


def scale_invariant(balance: float) -> Any:
    def of_sample(t, p, valid, w):
        known = t[..., 0] > 0
        share = w[known] / w[known].sum()
        d = np.log(p[known][:, 0]) - np.log(t[known][:, 0])
        return w.mean() * ((share * d**2).sum() - balance * (share * d).sum() ** 2)

    return of_sample


def end_point(epsilon: float) -> Any:
    def of_sample(t, p, valid, w):
        return (w * np.sqrt(np.linalg.norm(p - t, axis=-1) ** 2 + epsilon**2)).ravel()

    return of_sample


def centre_focal(alpha: float, beta: float) -> Any:
    def of_sample(t, p, valid, w):
        total, centres = 0.0, 0.0
        share = w / w.mean()
        for place in np.ndindex(w.shape):
            y, got = t[place][0], p[place][0]
            if y == 1:
                centres += share[place]
                total -= share[place] * (1 - got) ** alpha * math.log(got)
            else:
                total -= share[place] * (1 - y) ** beta * got**alpha * math.log(1 - got)
        return w.mean() * total / max(centres, 1)

    return of_sample


def cosine(t: Any, p: Any, valid: Any, w: Any) -> Any:
    lengths = np.linalg.norm(t, axis=-1) * np.linalg.norm(p, axis=-1)
    cosines = np.where(lengths > 0, (t * p).sum(axis=-1) / np.maximum(lengths, 1e-9), 0)
    return (w * (1 - cosines)).ravel()


def smoothness(sharpness: float) -> Any:
    def of_sample(t, p, valid, w):
        total = 0.0
        for axis in range(t.ndim - 1):
            edges, changes = (np.abs(np.diff(x, axis=axis)).mean(axis=-1) for x in (t, p))
            n = t.shape[axis]
            parts = (np.take(w, range(n - 1), axis), np.take(w, range(1, n), axis))
            total += (np.minimum(*parts) * changes * np.exp(-sharpness * edges)).mean()
        return total

    return of_sample


def box_giou(t, p, valid, w):
    values = []
    for place in np.ndindex(w.shape):
        boxes = [np.array([-d[0], -d[1], d[2], d[3]]) for d in (t[place], p[place])]
        low = [np.maximum(*boxes)[:2], np.minimum(*boxes)[:2]]
        high = [np.minimum(*boxes)[2:], np.maximum(*boxes)[2:]]
        both, hull = (np.prod(end - start) for start, end in zip(low, high, strict=True))
        union = sum(np.prod(box[2:] - box[:2]) for box in boxes) - both
        values.append(w[place] * (1 - (both / union - (hull - union) / hull)))
    return np.array(values)


_L = losses
CASES = {
    "cross_entropy": Case(_L.CrossEntropy, cross_entropy()),
    "cross_entropy weighted": Case(
        lambda **o: _L.CrossEntropy(class_weights=CLASS_WEIGHTS, **o), cross_entropy(CLASS_WEIGHTS)
    ),
    "cross_entropy smoothed": Case(
        lambda **o: _L.CrossEntropy(label_smoothing=0.1, **o),
        cross_entropy(smoothing=0.1),
        least=None,
    ),
    "cross_entropy logits": Case(
        lambda **o: _L.CrossEntropy(from_logits=True, **o), cross_entropy(), logits=True
    ),
    "cross_entropy binary": Case(_L.CrossEntropy, cross_entropy(), "binary"),
    "cross_entropy binary logits": Case(
        lambda **o: _L.CrossEntropy(from_logits=True, class_weights=[1, 4], **o),
        cross_entropy([1, 4]),
        "binary",
        logits=True,
    ),
    "focal": Case(_L.Focal, focal(2.0)),
    "focal logits": Case(
        lambda **o: _L.Focal(gamma=0.5, from_logits=True, **o), focal(0.5), logits=True
    ),
    "focal binary": Case(
        lambda **o: _L.Focal(class_weights=[0.75, 0.25], **o), focal(2.0, [0.75, 0.25]), "binary"
    ),
    "boundary": Case(_L.Boundary, boundary(8)),
    "boundary near": Case(
        lambda **o: _L.Boundary(reach=2, background=True, from_logits=True, **o),
        boundary(2, first=0),
        logits=True,
    ),
    "boundary binary": Case(_L.Boundary, boundary(8), "binary"),
    "dice": Case(_L.Dice, region(tversky(0.5, 0.5, 0.5))),
    "dice weighted": Case(
        lambda **o: _L.Dice(background=True, class_weights=CLASS_WEIGHTS, smooth=0.1, **o),
        region(tversky(0.5, 0.5, 0.05), 0, CLASS_WEIGHTS),
    ),
    "dice binary": Case(_L.Dice, region(tversky(0.5, 0.5, 0.5)), "binary"),
    "dice logits": Case(
        lambda **o: _L.Dice(from_logits=True, **o), region(tversky(0.5, 0.5, 0.5)), logits=True
    ),
    "jaccard": Case(_L.Jaccard, region(tversky(1, 1, 1))),
    "jaccard binary": Case(
        lambda **o: _L.Jaccard(background=True, **o), region(tversky(1, 1, 1), 0), "binary"
    ),
    "tversky": Case(_L.Tversky, region(tversky(0.3, 0.7, 1))),
    "tversky other": Case(
        lambda **o: _L.Tversky(alpha=0.8, beta=0.1, smooth=2.0, **o), region(tversky(0.8, 0.1, 2))
    ),
    "lovasz": Case(_L.Lovasz, region(lovasz())),
    "lovasz all": Case(
        lambda **o: _L.Lovasz(background=True, class_weights=CLASS_WEIGHTS, **o),
        region(lovasz(), 0, CLASS_WEIGHTS),
    ),
    "lovasz present": Case(lambda **o: _L.Lovasz(absent=False, **o), region(lovasz(False))),
    "lovasz binary": Case(_L.Lovasz, region(lovasz()), "binary"),
    "charbonnier": Case(
        _L.Charbonnier, by_pixel(lambda d: np.sqrt(d**2 + 0.255**2)), "pictures", least=0.255
    ),
    "l1": Case(_L.L1, by_pixel(np.abs), "pictures"),
    "ssim": Case(_L.SSIM, ssim(255), "pictures"),
    "ssim of ones": Case(lambda: _L.SSIM(peak=400.0), ssim(400), "pictures"),
    "end_point_error": Case(_L.EndPointError, end_point(1e-3), "pictures", least=1e-3),
    "end_point_error smooth": Case(
        lambda: _L.EndPointError(epsilon=30.0), end_point(30.0), "pictures", least=30.0
    ),
    "cosine_distance": Case(_L.CosineDistance, cosine, "pictures"),
    "edge_aware_smoothness": Case(
        lambda: _L.EdgeAwareSmoothness(sharpness=0.02), smoothness(0.02), "pictures", least=None
    ),
    "depth": Case(_L.ScaleInvariantDepth, scale_invariant(0.5), "depth"),
    "depth, any scale": Case(
        lambda: _L.ScaleInvariantDepth(balance=1.0), scale_invariant(1.0), "depth"
    ),
    "centre_focal": Case(_L.CentreFocal, centre_focal(2, 4), "centres"),
    "centre_focal other": Case(
        lambda: _L.CentreFocal(alpha=1.5, beta=0.5), centre_focal(1.5, 0.5), "centres"
    ),
    "box_giou": Case(_L.BoxGIoU, box_giou, "boxes"),
}
LABELS = [name for name, case in CASES.items() if case.labels]


def samples(
    case: Case, sides: tuple[int, ...], seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A target, an answer, and pixel weights; a label in six is `IGNORE`.

    The first of two samples lacks class 2, or centres, or any depth in a corner.
    """
    rng = np.random.default_rng(seed)
    shape = (2, *sides)
    weights = rng.uniform(0, 2, shape)
    weights[:, 2:4] = 0
    if case.kind == "pictures":
        truth = rng.uniform(0, 255, (*shape, 2))
        guess = np.clip(truth + rng.normal(0, 40, truth.shape), 0, 255)
    elif case.kind == "depth":
        truth = rng.uniform(0.5, 9, (*shape, 1))
        guess = truth * rng.uniform(0.7, 1.5, truth.shape)
        truth[:, :3] = 0
    elif case.kind == "centres":
        truth = rng.uniform(0, 0.9, (*shape, 1))
        truth[1][rng.random(sides) < 1 / 20] = 1
        guess = rng.uniform(0.02, 0.98, truth.shape)
    elif case.kind == "boxes":
        truth = rng.uniform(3, 9, (*shape, 4))
        guess = truth * rng.uniform(0.5, 2, truth.shape)
    else:
        classes = 3 if case.kind == "classes" else 2
        truth = rng.integers(0, classes, shape)
        truth[0][truth[0] == 2] = 1
        truth[rng.random(shape) < 1 / 6] = IGNORE
        guess = rng.dirichlet(np.ones(classes), shape)
        if classes == 2:
            guess = np.clip(guess[..., 1:], 0.02, 0.98)
        guess = rng.normal(0, 2, guess.shape) if case.logits else np.clip(guess, 1e-3, 1)
    return truth, guess.astype(np.float32), weights.astype(np.float32)


def clean(truth: np.ndarray) -> np.ndarray:
    """Makes the ignored pixels background."""
    return np.where(truth == IGNORE, 0, truth)


def perfect(case: Case, truth: np.ndarray) -> np.ndarray:
    """The answer without an error, float32."""
    if case.kind == "centres":
        return (truth >= 1).astype(np.float32)
    if not case.labels:
        return np.where(truth > 0, truth, 1.0).astype(np.float32)
    sure = np.eye(3 if case.kind == "classes" else 2)[truth]
    sure = sure if case.kind == "classes" else sure[..., 1:]
    return (sure * 100 - 50 if case.logits else sure).astype(np.float32)


def gradient(loss: Any, truth: Any, guess: np.ndarray, weights: Any = None) -> np.ndarray:
    """The gradient of a loss by its answer."""
    if keras.backend.backend() == "jax":
        import jax

        return np.asarray(jax.grad(lambda x: loss(truth, x, weights))(jax.numpy.asarray(guess)))
    import tensorflow as tf

    x = tf.constant(guess)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = loss(truth, x, weights)
    return tape.gradient(value, x).numpy()
