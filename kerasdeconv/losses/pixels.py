"""Losses that compare labels pixel by pixel: cross-entropy, focal, boundary."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import named, over_valid
from kerasdeconv.losses.labels import ForegroundLoss, Labelled, LabelLoss


class PixelLoss(LabelLoss):
    """Base of the losses with a value for each pixel; their mean is over the pixels that count."""

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        labelled = self.labelled(y_true, y_pred)
        values = self.by_class(labelled)
        if labelled.class_weights is not None:
            values = values * labelled.class_weights
        values = keras.ops.sum(values, axis=-1)
        if labelled.valid is not None:
            values = over_valid(values, labelled.valid)
        return values if weights is None else values * weights

    def by_class(self, labelled: Labelled) -> Any:
        """What each class adds to the loss of a pixel, batch x sides x classes."""
        raise NotImplementedError


@named("cross_entropy")
class CrossEntropy(PixelLoss):
    """Cross-entropy of class numbers, of two classes or more: -log of the true one's probability.

    Args:
        label_smoothing: Part of a label that is spread evenly over all classes; Szegedy et al.,
            "Rethinking the Inception architecture" (2016), section 7.
        ignore: See `LabelLoss`.
        class_weights: See `LabelLoss`. As Keras' `class_weight` they multiply, and the sum is not
            divided by them.
        from_logits: See `LabelLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, label_smoothing: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= label_smoothing < 1:
            raise ValueError(
                f"label_smoothing must be at least 0 and less than 1. Received: {label_smoothing}"
            )
        self.label_smoothing = label_smoothing

    def by_class(self, labelled: Labelled) -> Any:
        wanted = labelled.wanted
        if self.label_smoothing:
            even = self.label_smoothing / wanted.shape[-1]
            wanted = (1 - self.label_smoothing) * wanted + even
        return -wanted * self.log_probabilities(labelled.answer)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"label_smoothing": self.label_smoothing}


@named("focal")
class Focal(PixelLoss):
    """The focal loss, -(1 - p)^gamma log p: a cross-entropy that easy pixels hardly add to.

    Lin et al., "Focal loss for dense object detection" (2017), equation 5, for two classes or more.
    Their alpha of 0.25 for the foreground is `class_weights=[0.75, 0.25]`.

    Args:
        gamma: How much less easy pixels count; 0 for the cross-entropy.
        ignore: See `LabelLoss`.
        class_weights: See `LabelLoss`.
        from_logits: See `LabelLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, gamma: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if gamma < 0:
            raise ValueError(f"gamma must be 0 or more. Received: {gamma}")
        self.gamma = gamma

    def by_class(self, labelled: Labelled) -> Any:
        ops = keras.ops
        logs = self.log_probabilities(labelled.answer)
        # Never quite 0, where a power below 1 has no finite slope.
        missing = ops.maximum(1 - ops.exp(logs), keras.config.epsilon())
        return -labelled.wanted * missing**self.gamma * logs

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"gamma": self.gamma}


@named("boundary")
class Boundary(ForegroundLoss, PixelLoss):
    """How far wrong pixels lie from the true boundary: |p - g| times that distance.

    Kervadec et al., "Boundary loss for highly unbalanced segmentation" (2019), equation 5. Their
    second term, without a gradient, is kept, so that a perfect answer has a loss of 0. Distances
    are Euclidean, from centres of pixels to the edge between the class and what is not of it, and
    no longer than `reach`; ignored pixels are neither. The mean is over the classes, too. It is
    meant to be added to another loss: `Dice() + 0.1 * Boundary()`.

    Args:
        reach: Greatest distance in pixels that is told from longer ones.
        background: See `ForegroundLoss`.
        ignore: See `LabelLoss`.
        class_weights: See `LabelLoss`.
        from_logits: See `LabelLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, reach: int = 8, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(reach) is not int or reach < 1:
            raise ValueError(f"reach must be a whole number, 1 or more. Received: {reach!r}")
        self.reach = reach

    def by_class(self, labelled: Labelled) -> Any:
        ops = keras.ops
        wanted = labelled.wanted
        inside, outside = wanted, 1 - wanted
        if labelled.valid is not None:
            valid = ops.cast(labelled.valid[..., None], wanted.dtype)
            inside, outside = inside * valid, outside * valid
        both = nearest(ops.concatenate([inside, outside], axis=-1), self.reach)
        to_inside, to_outside = ops.split(both, 2, axis=-1)
        signed = (1 - wanted) * (to_inside - 0.5) - wanted * (to_outside - 0.5)
        return signed * (labelled.answer - wanted) / wanted.shape[-1]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"reach": self.reach}


def nearest(marked: Any, reach: int) -> Any:
    """Measures how far the nearest marked pixel is, exactly up to `reach`, which stands for more.

    Squared distances are taken axis by axis: Felzenszwalb and Huttenlocher, "Distance transforms of
    sampled functions" (2012), with all shifts up to `reach` in place of their envelope.

    Args:
        marked: 1 for marked pixels, 0 for others, batch x sides x channels.
        reach: In pixels.
    """
    ops = keras.ops
    squared = (1 - marked) * reach**2
    rank = len(marked.shape)
    for axis in range(1, rank - 1):
        margins = [(reach, reach) if i == axis else (0, 0) for i in range(rank)]
        padded = ops.pad(squared, margins, constant_values=float(reach**2))
        length = ops.shape(squared)[axis]
        for shift in range(-reach, reach + 1):
            start = reach + shift
            part = [slice(None)] * rank
            part[axis] = slice(start, start + length)
            squared = ops.minimum(squared, padded[tuple(part)] + shift**2)
    return ops.sqrt(squared)
