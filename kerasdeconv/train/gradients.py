"""Gradients and compiled steps for training loops that Keras has none for, on TensorFlow and JAX.

Such a loop is written as Keras code that assigns to variables. TensorFlow runs that as it is; for
JAX the variables' values go in and come out, by Keras' `StatelessScope`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

Variables = Sequence[keras.Variable]


def check_backend(what: str) -> None:
    """Refuses a backend other than TensorFlow and JAX.

    Raises:
        ValueError: It is another one.
    """
    if keras.backend.backend() not in ("tensorflow", "jax"):
        raise ValueError(
            f"{what} works on TensorFlow and JAX. Received: KERAS_BACKEND={keras.backend.backend()}"
        )


def value_and_gradients(
    function: Callable[[], Any], variables: Variables, state: Variables
) -> tuple[Any, list[Any]]:
    """Computes a value and its gradients by variables.

    Args:
        function: Gives a scalar. It may assign to variables of the state.
        variables: Those to differentiate by.
        state: All variables that the function reads, `variables` among them.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = function()
        return value, tape.gradient(value, [variable.value for variable in variables])
    import jax

    before = [(variable, variable.value) for variable in state]

    def pure(values: list[Any]) -> tuple[Any, list[Any]]:
        mapping = [*before, *zip(variables, values, strict=True)]
        with keras.StatelessScope(state_mapping=mapping) as scope:
            value = function()
        return value, [scope.get_current_value(variable) for variable in state]

    values = [variable.value for variable in variables]
    (value, after), gradients = jax.value_and_grad(pure, has_aux=True)(values)
    for variable, assigned in zip(state, after, strict=True):
        variable.assign(assigned)
    return value, gradients


def input_gradients(function: Callable[[Any], Any], inputs: Any, state: Variables) -> Any:
    """Computes the gradient of the sum of what a function gives, by its input.

    It can be differentiated again. On JAX, what the function assigns to variables is lost.

    Args:
        function: From a tensor to a tensor.
        inputs: Where to differentiate.
        state: All variables that the function reads.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(inputs)
        return tape.gradient(value, inputs)
    import jax

    before = [(variable, variable.value) for variable in state]

    def pure(x: Any) -> Any:
        with keras.StatelessScope(state_mapping=before):
            return keras.ops.sum(function(x))

    return jax.grad(pure)(inputs)


def stateless(
    step: Callable[[], Any], variables: Sequence[Variables], values: Sequence[Sequence[Any]]
) -> tuple[Any, tuple[list[Any], ...]]:
    """Runs a step that assigns to variables as a function of their values, for JAX.

    Args:
        step: What to run.
        variables: Groups of variables.
        values: Values of each group.

    Returns:
        What the step gives, and the values of each group afterwards.
    """
    mapping = [
        pair
        for group, given in zip(variables, values, strict=True)
        for pair in zip(group, given, strict=True)
    ]
    with keras.StatelessScope(state_mapping=mapping) as scope:
        answer = step()
    return answer, tuple(
        [scope.get_current_value(variable) for variable in group] for group in variables
    )
