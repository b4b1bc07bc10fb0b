"""What the losses for class numbers share: which class is wanted, what is answered, what counts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kerasdeconv.losses.base import DenseLoss


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Labels and answers, class by class.

    Attributes:
        wanted: 1 for the class of a pixel, 0 for others, batch x sides x classes.
        answer: Probabilities, or logits, batch x sides x classes.
        valid: Whether a pixel counts, bool, batch x sides; None where all do.
        class_weights: One for each class, or None.
    """

    wanted: Any
    answer: Any
    valid: Any
    class_weights: Any

    def counting(self, weights: Any) -> Any:
        """How much each pixel counts, batch x sides x 1; None where all count alike.

        Args:
            weights: Pixel weights, batch x sides, or None.
        """
        ops = keras.ops
        if self.valid is None:
            return None if weights is None else weights[..., None]
        counting = ops.cast(self.valid, self.wanted.dtype)
        return (counting if weights is None else counting * weights)[..., None]


class LabelLoss(DenseLoss):
    """Base of the losses that take class numbers, batch x sides (x 1), and probabilities.

    Probabilities are batch x sides x classes. One channel is the probability of class 1 of two.
    A label that is neither a class nor `ignore` makes the loss NaN, which cannot be overlooked.

    Args:
        ignore: Label of pixels that don't count, if there is one.
        class_weights: Weight of each class, by which its part of the loss is multiplied.
        from_logits: Whether answers are logits.
        **kwargs: See `DenseLoss`.

    Raises:
        ValueError: An argument is of another kind, or a weight is negative.
    """

    def __init__(
        self,
        *,
        ignore: int | None = None,
        class_weights: Sequence[float] | None = None,
        from_logits: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if ignore is not None and type(ignore) is not int:
            raise ValueError(f"ignore must be a label, a whole number. Received: {ignore!r}")
        if type(from_logits) is not bool:
            raise ValueError(f"from_logits must be true or false. Received: {from_logits!r}")
        self.ignore, self.from_logits = ignore, from_logits
        self.class_weights = None if class_weights is None else list(class_weights)
        if any(not isinstance(w, int | float) or w < 0 for w in self.class_weights or []):
            raise ValueError(
                "class_weights must be numbers, 0 or more, one for each class. "
                f"Received: {class_weights!r}"
            )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "ignore": self.ignore,
            "class_weights": self.class_weights,
            "from_logits": self.from_logits,
        }

    def labelled(self, y_true: Any, y_pred: Any) -> Labelled:
        """Brings labels and answers into one form, of at least two classes.

        Args:
            y_true: Class numbers, batch x sides, with or without a last axis of 1.
            y_pred: Probabilities or logits, batch x sides x classes.

        Raises:
            ValueError: The shapes do not belong together, or there are not as many class weights
                as classes.
        """
        ops = keras.ops
        y_pred = ops.convert_to_tensor(y_pred)
        labels = class_numbers(y_true, y_pred)
        if y_pred.shape[-1] == 1:
            other = ops.zeros_like(y_pred) if self.from_logits else 1 - y_pred
            y_pred = ops.concatenate([other, y_pred], axis=-1)
        classes = y_pred.shape[-1]
        known = ops.logical_and(labels >= 0, labels < classes)
        valid = None
        if self.ignore is not None:
            valid = ops.not_equal(labels, self.ignore)
            known = ops.logical_or(known, ops.logical_not(valid))
        wanted = ops.one_hot(labels, classes, dtype=y_pred.dtype)
        wanted = ops.where(known[..., None], wanted, float("nan"))
        weights = self.class_weights
        if weights is not None:
            if len(weights) != classes:
                raise ValueError(
                    f"There must be one class weight for each of {classes} classes. "
                    f"Received: {weights}"
                )
            weights = ops.convert_to_tensor(weights, dtype=y_pred.dtype)
        return Labelled(wanted, y_pred, valid, weights)

    def log_probabilities(self, answer: Any) -> Any:
        """Makes logarithms of probabilities of what `labelled` found."""
        ops = keras.ops
        if self.from_logits:
            return ops.log_softmax(answer, axis=-1)
        tiny = keras.config.epsilon()
        return ops.log(ops.clip(answer, tiny, 1 - tiny))


class ForegroundLoss(LabelLoss):
    """Base of the losses that may leave class 0, the background, out.

    Args:
        background: Whether class 0 counts, too. Where nearly everything is background it would
            hide the others.
        **kwargs: See `LabelLoss`. A class weight of class 0 must be there in any case.

    Raises:
        ValueError: An argument is of another kind.
    """

    def __init__(self, *, background: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if type(background) is not bool:
            raise ValueError(f"background must be true or false. Received: {background!r}")
        self.background = background

    def labelled(self, y_true: Any, y_pred: Any) -> Labelled:
        """As `LabelLoss.labelled`, with probabilities, of the classes that count."""
        found = super().labelled(y_true, y_pred)
        answer = keras.ops.softmax(found.answer, axis=-1) if self.from_logits else found.answer
        wanted, weights = found.wanted, found.class_weights
        if not self.background:
            wanted, answer = wanted[..., 1:], answer[..., 1:]
            weights = None if weights is None else weights[1:]
        return Labelled(wanted, answer, found.valid, weights)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"background": self.background}


def class_numbers(y_true: Any, y_pred: Any) -> Any:
    """Brings class numbers to batch x sides, whole numbers.

    Raises:
        ValueError: The shapes do not belong together.
    """
    ops = keras.ops
    y_true = ops.convert_to_tensor(y_true)
    if len(y_true.shape) == len(y_pred.shape) and y_true.shape[-1] == 1:
        y_true = y_true[..., 0]
    if len(y_true.shape) != len(y_pred.shape) - 1:
        raise ValueError(
            "Labels must be class numbers, batch x sides, with or without a last axis of 1. "
            f"Received: {tuple(y_true.shape)} for answers of {tuple(y_pred.shape)}"
        )
    return ops.cast(y_true, "int32")
