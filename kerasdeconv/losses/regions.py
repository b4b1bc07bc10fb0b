"""Losses that compare whole regions: Dice, Jaccard, Tversky, Lovász."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.losses.base import named, shares
from kerasdeconv.losses.labels import ForegroundLoss


class RegionLoss(ForegroundLoss):
    """Base of the losses with a value for each sample and class; their mean is over both."""

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        labelled = self.labelled(y_true, y_pred)
        means = None
        if weights is not None:
            weights, means = shares(weights)
        values = self.by_region(labelled.wanted, labelled.answer, labelled.counting(weights))
        if labelled.class_weights is not None:
            values = values * labelled.class_weights
        return values if means is None else values * means[:, None]

    def by_region(self, wanted: Any, got: Any, counting: Any) -> Any:
        """The loss of each sample and class.

        Args:
            wanted: 1 for the class of a pixel, 0 for others, batch x sides x classes.
            got: Probabilities, batch x sides x classes.
            counting: How much each pixel counts, batch x sides x 1; None where all count alike.

        Returns:
            batch x classes.
        """
        raise NotImplementedError


class OverlapLoss(RegionLoss):
    """Base of the losses by sums over a region.

    Args:
        smooth: Added above and below the fraction: a sample without the class has a loss and a
            gradient, too. In pixels.
        **kwargs: See `ForegroundLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, smooth: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if smooth <= 0:
            raise ValueError(f"smooth must be more than 0. Received: {smooth}")
        self.smooth = smooth

    def by_region(self, wanted: Any, got: Any, counting: Any) -> Any:
        ops = keras.ops
        sides = tuple(range(1, len(got.shape) - 1))
        if counting is None:
            both, either = wanted * got, wanted + got
        else:
            both, either = wanted * got * counting, (wanted + got) * counting
            wanted = wanted * counting
        return self.of_sums(*(ops.sum(part, axis=sides) for part in (both, either, wanted)))

    def of_sums(self, both: Any, either: Any, wanted: Any) -> Any:
        """The loss of wanted x got, wanted + got, and wanted, summed, batch x classes each."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"smooth": self.smooth}


@named("sparse_dice")
class Dice(OverlapLoss):
    """One minus the Dice coefficient of probabilities: 2 both / (wanted + got).

    Milletari et al., "V-Net" (2016), https://arxiv.org/abs/1606.04797, without its squares. In
    recipes it is `sparse_dice`, as Keras' function is `dice`: that one takes pictures of one class.

    Args:
        smooth: See `OverlapLoss`.
        background: See `ForegroundLoss`.
        ignore: See `LabelLoss`.
        class_weights: See `ForegroundLoss`.
        from_logits: See `LabelLoss`.
    """

    def of_sums(self, both: Any, either: Any, wanted: Any) -> Any:
        return 1 - (2 * both + self.smooth) / (either + self.smooth)


@named("jaccard")
class Jaccard(OverlapLoss):
    """One minus the Jaccard index of probabilities: both / (wanted + got - both).

    Rahman and Wang, "Optimizing intersection-over-union in deep neural networks for image
    segmentation" (2016), equations 3 to 5.

    Args:
        smooth: See `OverlapLoss`.
        background: See `ForegroundLoss`.
        ignore: See `LabelLoss`.
        class_weights: See `ForegroundLoss`.
        from_logits: See `LabelLoss`.
    """

    def of_sums(self, both: Any, either: Any, wanted: Any) -> Any:
        return 1 - (both + self.smooth) / (either - both + self.smooth)


@named("sparse_tversky")
class Tversky(OverlapLoss):
    """One minus the Tversky index: false positives and false negatives count differently.

    Salehi et al., "Tversky loss function for image segmentation using 3D fully convolutional deep
    networks" (2017), equation 3: both / (both + alpha false positives + beta false negatives).
    With 0.5 for both it is Dice, with 1 Jaccard. In recipes it is `sparse_tversky`, as Keras'
    function is `tversky`.

    Args:
        alpha: Weight of false positives.
        beta: Weight of false negatives.
        smooth: See `OverlapLoss`.
        background: See `ForegroundLoss`.
        ignore: See `LabelLoss`.
        class_weights: See `ForegroundLoss`.
        from_logits: See `LabelLoss`.

    Raises:
        ValueError: An argument is out of range.
    """

    def __init__(self, *, alpha: float = 0.3, beta: float = 0.7, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if alpha < 0 or beta < 0:
            raise ValueError(f"alpha and beta must be 0 or more. Received: {alpha}, {beta}")
        self.alpha, self.beta = alpha, beta

    def of_sums(self, both: Any, either: Any, wanted: Any) -> Any:
        extra, missed = either - wanted - both, wanted - both
        below = both + self.alpha * extra + self.beta * missed + self.smooth
        return 1 - (both + self.smooth) / below

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"alpha": self.alpha, "beta": self.beta}


@named("lovasz")
class Lovasz(RegionLoss):
    """The Lovász extension of the Jaccard loss, which is that loss itself for hard answers.

    Berman et al., "The Lovász-softmax loss" (2018), equations 8 and 9 and algorithm 1, sample by
    sample.

    Args:
        absent: Whether classes that a sample lacks count for it, with their highest probability
            there. The paper leaves them out of its mean where there are many classes.
        background: See `ForegroundLoss`.
        ignore: See `LabelLoss`.
        class_weights: See `ForegroundLoss`.
        from_logits: See `LabelLoss`.

    Raises:
        ValueError: An argument is of another kind.
    """

    def __init__(self, *, absent: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(absent) is not bool:
            raise ValueError(f"absent must be true or false. Received: {absent!r}")
        self.absent = absent

    def by_region(self, wanted: Any, got: Any, counting: Any) -> Any:
        ops = keras.ops
        shape = (ops.shape(got)[0], -1, got.shape[-1])
        errors = ops.abs(wanted - got)
        if counting is None:
            counting = ops.ones_like(got[..., :1])
        counting = counting * ops.ones_like(got)
        errors = ops.where(counting > 0, errors, 0.0)  # last in order, and no part of the sum
        errors, wanted, counting = (ops.reshape(x, shape) for x in (errors, wanted, counting))
        order = ops.argsort(-errors, axis=1)
        errors, wanted, counting = (
            ops.take_along_axis(x, order, axis=1) for x in (errors, wanted, counting)
        )
        size = ops.sum(wanted * counting, axis=1, keepdims=True)
        both = size - ops.cumsum(wanted * counting, axis=1)
        either = size + ops.cumsum((1 - wanted) * counting, axis=1)
        jaccard = ops.where(either > 0, 1 - both / ops.where(either > 0, either, 1.0), 0.0)
        steps = ops.concatenate([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], axis=1)
        values = ops.sum(errors * steps, axis=1)
        if self.absent:
            return values
        present = ops.cast(ops.not_equal(size[:, 0], 0), values.dtype)
        share = ops.mean(present, axis=-1, keepdims=True)
        return ops.divide_no_nan(values * present, share)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"absent": self.absent}


@keras.saving.register_keras_serializable(package="kerasdeconv")
def sparse_dice(y_true: Any, y_pred: Any) -> Any:
    """`Dice()` as a function.

    Args:
        y_true: Class numbers, batch x sides x 1.
        y_pred: Probabilities, batch x sides x classes.

    Returns:
        The mean over batch and classes but the first, a scalar.
    """
    return Dice()(y_true, y_pred)
