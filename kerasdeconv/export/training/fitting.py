"""Training a tf_keras model with what was written for Keras 3: losses, callbacks and data sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from kerasdeconv.export.training.legacy import load_tf_keras


def fit(
    model: Any,
    data: Any,
    *,
    loss: Any,
    epochs: int,
    batch_size: int | None = None,
    learning_rate: Any = 1e-3,
    average: float = 0.0,
    optimizer: Any = None,
    validation_data: Any = None,
    callbacks: Iterable[Any] = (),
    verbose: int = 0,
) -> dict[str, list[float]]:
    """Compiles and fits a model.

    Args:
        model: One that `bridge.cross` has built.
        data: Batches of input, target, and pixel weights where there are any: a `PyDataset` of
            Keras 3, a `tf.data.Dataset`, or a tuple of arrays.
        loss: A loss of Keras 3, its name, or any function of target and answer; one in a list for
            each output if they differ.
        epochs: How often the data is gone through.
        batch_size: Samples in a batch of arrays, 32 by default; data sets have their own.
        learning_rate: A number, or a schedule of Keras 3: the part of its typical value by which
            Adam changes a weight in a step, at most.
        average: Momentum of the running average of the weights that is kept; 0 for none.
        optimizer: One of tf_keras instead.
        validation_data: As `data`.
        callbacks: Of Keras 3 or of tf_keras. Those of Keras 3 find the tf_keras model in `model`.
        verbose: As for Keras.

    Returns:
        The losses of each epoch, by name.

    Raises:
        TypeError: The optimizer is none of tf_keras.
    """
    from kerasdeconv.export.training._fitted import Following, Rate, RelativeAdam, dataset_of

    tf_keras = load_tf_keras()
    if optimizer is None:
        scheduled = isinstance(learning_rate, keras.optimizers.schedules.LearningRateSchedule)
        rate = Rate(learning_rate) if scheduled else learning_rate
        optimizer = RelativeAdam(rate, model.sizes, average)
    elif not isinstance(optimizer, tf_keras.optimizers.Optimizer):
        raise TypeError(
            "The optimizer must be one of tf_keras; or give learning_rate instead. "
            f"Received: {type(optimizer).__module__}.{type(optimizer).__name__}"
        )
    model.keras_losses = losses_for(loss, len(model.outputs))
    model.compile(optimizer, weighted_metrics=[])

    def batches(source: Any) -> Any:
        known = isinstance(source, keras.utils.PyDataset)
        return dataset_of(source, model.inputs[0].shape[0]) if known else source

    arrays: dict[str, Any] = {}
    given = batches(data)
    if isinstance(given, tuple):
        arrays = dict(zip(("y", "sample_weight"), given[1:], strict=False))
        given = given[0]
    history = model.fit(
        given,
        **arrays,
        epochs=epochs,
        batch_size=batch_size,
        validation_data=batches(validation_data),
        callbacks=[
            Following(callback) if isinstance(callback, keras.callbacks.Callback) else callback
            for callback in callbacks
        ],
        shuffle=bool(arrays),  # batches that come in an order keep it
        verbose=verbose,
    )
    return history.history


def losses_for(loss: Any, outputs: int) -> list[Any]:
    """Finds a loss for each output."""
    losses = list(loss) if isinstance(loss, list | tuple) else [loss] * outputs
    return [keras.losses.get(each) if isinstance(each, str) else each for each in losses]
