"""What all losses are: counted by pixel weights, found by name, and added."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import keras

from kerasdeconv.errors import closest

_REDUCED = ("sum_over_batch_size", "mean", "sum")
# The losses of this package that recipes find by name, beside the functions of Keras.
_NAMED: dict[str, type[DenseLoss]] = {}
_Class = TypeVar("_Class", bound="type[DenseLoss]")


def named(name: str) -> Callable[[_Class], _Class]:
    """Registers a loss to be serialised, and to be found under a name in recipes."""

    def register(cls: _Class) -> _Class:
        _NAMED[name] = cls
        return keras.saving.register_keras_serializable(package="kerasdeconv")(cls)

    return register


class DenseLoss(keras.losses.Loss):
    """Base of the losses for dense answers, which add and take weights: `a + 0.5 * b`.

    Args:
        name: Name of the loss; that of its class by default.
        reduction: "sum_over_batch_size" or "mean" for the mean of what `call` returns, "sum", or
            None for all of it.
        dtype: What it computes in; float32 by default.

    Raises:
        ValueError: No such reduction.
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        if reduction not in (*_REDUCED, "none", None):
            raise ValueError(
                f"reduction must be one of {', '.join(_REDUCED)} and None. Received: {reduction!r}"
            )
        super().__init__(name=name, reduction=reduction, dtype=dtype)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        ops = keras.ops
        y_true = ops.convert_to_tensor(y_true, dtype=self.dtype)
        y_pred = ops.convert_to_tensor(y_pred, dtype=self.dtype)
        weights = None
        if sample_weight is not None:
            weights = spread(ops.convert_to_tensor(sample_weight, self.dtype), len(y_pred.shape))
        values = self.call(y_true, y_pred, weights)
        if self.reduction == "sum":
            return ops.sum(values)
        return ops.mean(values) if self.reduction in _REDUCED else values

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        """Computes the values whose mean is the loss.

        Args:
            y_true: What is wanted.
            y_pred: The answer, batch x sides x channels.
            weights: Weight of each pixel, batch x sides, where sides may be 1.

        Returns:
            Values by pixel, or by sample, or by sample and class.
        """
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"name": self.name, "reduction": self.reduction, "dtype": self.dtype}

    def __add__(self, other: Any) -> WeightedSum:
        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        return WeightedSum([*_parts(self), *_parts(other)])

    def __radd__(self, other: Any) -> Any:
        if isinstance(other, int) and other == 0:  # where sum([...]) starts
            return self
        if not isinstance(other, keras.losses.Loss):
            return NotImplemented
        return WeightedSum([*_parts(other), *_parts(self)])

    def __mul__(self, factor: Any) -> WeightedSum:
        if not isinstance(factor, int | float):
            return NotImplemented
        return WeightedSum([(loss, factor * weight) for loss, weight in _parts(self)])

    __rmul__ = __mul__


def spread(weights: Any, rank: int) -> Any:
    """Brings weights to batch x sides.

    Args:
        weights: One for each sample, or for each pixel, with or without a last axis of 1.
        rank: Axes of the answer, batch and channels included.

    Raises:
        ValueError: They are neither.
    """
    if len(weights.shape) == rank > 1 and weights.shape[-1] == 1:
        weights = weights[..., 0]
    if not 0 < len(weights.shape) < max(rank, 2):
        raise ValueError(
            "Weights must be one for each sample, or for each pixel, batch x sides. "
            f"Received: {tuple(weights.shape)}"
        )
    for _ in range(rank - 1 - len(weights.shape)):
        weights = weights[..., None]
    return weights


def shares(weights: Any) -> tuple[Any, Any]:
    """Splits pixel weights into how pixels count within a sample, and how the sample counts.

    Args:
        weights: batch x sides.

    Returns:
        Weights with a mean of 1 in each sample, batch x sides, and the means, batch.
    """
    ops = keras.ops
    sides = tuple(range(1, len(weights.shape)))
    means = ops.mean(weights, axis=sides, keepdims=True)
    return ops.divide_no_nan(weights, means), ops.reshape(means, (-1,))


def over_valid(values: Any, valid: Any) -> Any:
    """Scales values so that their mean is that of the valid ones; others become 0.

    Args:
        values: Any shape.
        valid: Bool, the same shape.
    """
    ops = keras.ops
    share = ops.mean(ops.cast(valid, values.dtype))
    # Where nothing is valid all values are 0, and stay so.
    return ops.where(valid, values, 0.0) / ops.maximum(share, 1e-12)


@keras.saving.register_keras_serializable(package="kerasdeconv")
class NamedLoss(DenseLoss):
    """A loss function of Keras, by its name.

    Args:
        function: Name of the function: "mean_squared_error".
        options: Its arguments beside target and answer.

    Raises:
        ValueError: No such loss, or it has no such option.
    """

    def __init__(self, function: str, options: dict[str, Any] | None = None, **kwargs: Any) -> None:
        kwargs["name"] = kwargs.get("name") or function
        super().__init__(**kwargs)
        self.function, self.options = function, dict(options or {})
        self._function = _keras_function(function)
        _check_options(function, self.options, list(inspect.signature(self._function).parameters))

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        values = self._function(y_true, y_pred, **self.options)
        return values if weights is None else values * weights

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"function": self.function, "options": self.options}


@keras.saving.register_keras_serializable(package="kerasdeconv")
class WeightedSum(DenseLoss):
    """A weighted sum of losses on the same output: `WeightedSum({"dice": 1, "mse": 0.5})`.

    Args:
        terms: Losses and their weights: pairs, or weights by the name of Keras' loss function
            ("mean_squared_error") or of one of this package's ("charbonnier"). A table instead of a
            weight may give options, too: `{"cross_entropy": {"weight": 1.0, "ignore": 255}}`.
        name: Name of the loss.

    Where pixel weights are given, each loss is multiplied by them before the mean over all pixels.

    Raises:
        TypeError: A term is no loss.
        ValueError: There is no term, or no such loss, or it has no such option, a weight is no
            finite number, or a loss is not reduced to one number.
    """

    def __init__(
        self,
        terms: dict[str, float | dict[str, Any]] | Sequence[tuple[keras.losses.Loss, float]],
        name: str = "weighted_sum",
    ) -> None:
        super().__init__(name=name)
        if not terms:
            raise ValueError(f"Give at least one loss and its weight. Received: {terms}")
        if isinstance(terms, dict):
            self.terms: Any = dict(terms)
            self.parts = [_by_name(loss, value) for loss, value in terms.items()]
        else:
            self.terms = self.parts = [(loss, weight) for loss, weight in terms]
        for loss, weight in self.parts:
            _check_part(loss, weight)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        total = 0.0
        for loss, weight in self.parts:
            total = total + weight * loss(y_true, y_pred, sample_weight=sample_weight)
        return total

    def get_config(self) -> dict[str, Any]:
        terms = self.terms
        if not isinstance(terms, dict):
            terms = [[keras.losses.serialize(loss), weight] for loss, weight in terms]
        return {"terms": terms, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> WeightedSum:
        terms = config["terms"]
        if not isinstance(terms, dict):
            terms = [(keras.losses.deserialize(loss), weight) for loss, weight in terms]
        return cls(**config | {"terms": terms})


def _parts(loss: keras.losses.Loss) -> list[tuple[keras.losses.Loss, float]]:
    return loss.parts if isinstance(loss, WeightedSum) else [(loss, 1.0)]


def _check_part(loss: Any, weight: Any) -> None:
    """Refuses what cannot be a term of a sum."""
    if not isinstance(loss, keras.losses.Loss):
        raise TypeError(f"A sum is of losses and their weights. Received: {loss!r}")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
        raise ValueError(
            f"The weight of {loss.name!r} must be a finite number. Received: {weight!r}"
        )
    if loss.reduction in (None, "none"):
        raise ValueError(
            f"Losses that add must be reduced to one number. Received: {loss.name!r} with "
            f"reduction={loss.reduction!r}"
        )


def _by_name(name: str, value: Any) -> tuple[keras.losses.Loss, float]:
    """Makes a term of a loss' name, and its weight or a table with that and with options."""
    options = dict(value) if isinstance(value, dict) else {"weight": value}
    weight = options.pop("weight", 1.0)
    if name not in _NAMED:
        return NamedLoss(name, options), weight
    _check_options(name, options, _options_of(_NAMED[name]))
    try:
        return _NAMED[name](**options), weight
    except TypeError as error:
        raise ValueError(
            f"The loss {name!r} cannot have these options ({error}). Received: {options}"
        ) from None


def _options_of(cls: type) -> list[str]:
    """Lists the arguments that a loss and its bases name, but for those of all losses."""
    names = []
    for base in cls.__mro__[: cls.__mro__.index(DenseLoss)]:
        if "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            names += [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
    return [name for name in dict.fromkeys(names) if name not in ("self", "name")]


def _check_options(loss: str, options: dict[str, Any], known: list[str]) -> None:
    known = [name for name in known if name not in ("y_true", "y_pred")]
    for name in options:
        if name not in known:
            hint = closest(name, ["weight", *known])
            raise ValueError(f"The loss {loss!r} has no such option. {hint} Received: {name!r}")


def _keras_function(name: str) -> Callable[..., Any]:
    """Finds a loss function of Keras; its classes take the mean before weights could count."""
    try:
        function = keras.losses.get(name)
    except ValueError:
        function = None
    if inspect.isfunction(function):
        return function
    known = [n for n, f in vars(keras.losses).items() if inspect.isfunction(f)]
    functions = sorted({*_NAMED, *known} - {"deserialize", "get", "serialize"})
    raise ValueError(f"No such loss function. {closest(name, functions)} Received: {name!r}")
