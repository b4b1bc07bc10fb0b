"""Losses beyond Keras' own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras

from kerasdeconv.errors import closest


@keras.saving.register_keras_serializable(package="kerasdeconv")
def charbonnier(y_true: Any, y_pred: Any, epsilon: float = 0.255) -> Any:
    """The Charbonnier loss, sqrt(d^2 + epsilon^2): an absolute error that is smooth at zero.

    Lai et al., "Deep Laplacian pyramid networks" (2017), equation 2, after Charbonnier et al.
    (1994). Their epsilon is 1e-3 for pixels in [0, 1], which is 0.255 for pixels in [0, 255].

    Args:
        y_true: Any shape.
        y_pred: The same shape.
        epsilon: Error below which the loss is about quadratic, in units of the pixels.

    Returns:
        The mean over the last axis, as Keras' loss functions give it.
    """
    y_pred = keras.ops.convert_to_tensor(y_pred)
    error = y_pred - keras.ops.cast(y_true, y_pred.dtype)
    return keras.ops.mean(keras.ops.sqrt(error * error + epsilon**2), axis=-1)


@keras.saving.register_keras_serializable(package="kerasdeconv")
def sparse_dice(y_true: Any, y_pred: Any) -> Any:
    """One minus the Dice coefficient of probabilities, for class numbers.

    Milletari et al., "V-Net" (2016), https://arxiv.org/abs/1606.04797, without its squares. The
    background, class 0, does not count: nearly everything is background.

    Args:
        y_true: Class numbers, batch x sides x 1.
        y_pred: Probabilities, batch x sides x classes, two classes or more.

    Returns:
        The mean over batch and classes, a scalar.
    """
    ops = keras.ops
    y_pred = ops.convert_to_tensor(y_pred)
    wanted = ops.one_hot(ops.cast(y_true[..., 0], "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
    wanted, got = wanted[..., 1:], y_pred[..., 1:]
    sides = tuple(range(1, len(y_pred.shape) - 1))
    both = ops.sum(wanted * got, axis=sides)
    # One voxel more on both sides: a patch without the class has a loss and a gradient, too.
    return ops.mean(1 - (2 * both + 1) / (ops.sum(wanted + got, axis=sides) + 1))


# Found by name in recipes, beside those of Keras.
_FUNCTIONS: dict[str, Callable[..., Any]] = {"charbonnier": charbonnier, "sparse_dice": sparse_dice}


@keras.saving.register_keras_serializable(package="kerasdeconv")
class WeightedSum(keras.losses.Loss):
    """A weighted sum of losses on the same output: `WeightedSum({"dice": 1, "mse": 0.5})`.

    Args:
        terms: Weight of each loss, by the name of Keras' loss function ("mean_squared_error") or of
            one of this module's ("charbonnier").

    Where pixel weights are given, each loss is multiplied by them before the mean over all pixels.

    Raises:
        ValueError: There is no term, or no such loss.
    """

    def __init__(self, terms: dict[str, float], name: str = "weighted_sum", **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        if not terms:
            raise ValueError(f"Give at least one loss and its weight. Received: {terms}")
        self.terms = dict(terms)
        self._functions = [(_function(loss), weight) for loss, weight in terms.items()]

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        total = 0.0
        for function, weight in self._functions:
            values = function(y_true, y_pred)
            if sample_weight is not None:
                values = values * keras.ops.cast(sample_weight, values.dtype)
            total = total + weight * keras.ops.mean(values)
        return total

    def get_config(self) -> dict[str, Any]:
        return {"terms": self.terms, "name": self.name}


def _function(name: str) -> Callable[..., Any]:
    """Finds a loss function of ours or Keras; classes take the mean before weights could count."""
    if name in _FUNCTIONS:
        return _FUNCTIONS[name]
    try:
        function = keras.losses.get(name)
    except ValueError:
        function = None
    if inspect.isfunction(function):
        return function
    known = [n for n, f in vars(keras.losses).items() if inspect.isfunction(f)]
    functions = sorted({*_FUNCTIONS, *known} - {"deserialize", "get", "serialize"})
    raise ValueError(f"No such loss function. {closest(name, functions)} Received: {name!r}")
