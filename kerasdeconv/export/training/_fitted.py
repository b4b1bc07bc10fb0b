"""What tf_keras trains with, around what Keras 3 knows. Import it after `legacy.load_tf_keras`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras


class Fitted(tf_keras.Model):
    """A functional model that can train with losses of Keras 3.

    Attributes:
        keras_losses: One for each output; empty for a model that was compiled with losses of
            tf_keras, which then count.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.keras_losses: list[Any] = []
        self._sizes: dict[int, Any] = {}
        total = tf_keras.metrics.Mean(name="loss")
        self._total = lambda: total  # not as an attribute: its counters are no weights to save

    @property
    def sizes(self) -> dict[int, Any]:
        """How large the values of a variable are, by its id."""
        return self._sizes

    @sizes.setter
    def sizes(self, sizes: dict[int, Any]) -> None:
        self._sizes = sizes

    @property
    def metrics(self) -> list[Any]:
        return [self._total(), *super().metrics] if self.keras_losses else super().metrics

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None
    ) -> Any:
        if not self.keras_losses:
            return super().compute_loss(x, y, y_pred, sample_weight)
        answers = tf.nest.flatten(y_pred)
        targets = tf.nest.flatten(y)
        weights = tf.nest.flatten(sample_weight)
        if len(weights) != len(answers):
            weights = weights * len(answers)
        value = tf.add_n(
            [
                _value(loss, target, answer, weight)
                for loss, target, answer, weight in zip(
                    self.keras_losses, targets, answers, weights, strict=True
                )
            ]
            + list(self.losses)
        )
        self._total().update_state(value)
        return value


def _value(loss: Any, target: Any, answer: Any, weight: Any) -> Any:
    """The mean over all pixels, as Keras 3 takes it."""
    if isinstance(loss, keras.losses.Loss):
        return loss(target, answer, sample_weight=weight)
    values = loss(target, answer)
    if weight is not None:
        values = values * keras.ops.cast(weight, values.dtype)
    return tf.reduce_mean(values)


class RelativeAdam(tf_keras.optimizers.Adam):
    """Adam with steps in proportion to what a variable holds, channel by channel.

    The lowering folds gains into kernels: that of `Rescaling(1 / 255)` makes values of thousandths,
    which steps of one size for all variables would overrun.

    Args:
        learning_rate: Part of a typical value by which it changes in a step, at most.
        sizes: Typical values by the id of the variable; 1 for others.
        average: Momentum of the running average that the weights become at the end; 0 for none.
    """

    def __init__(self, learning_rate: Any, sizes: dict[int, Any], average: float = 0.0) -> None:
        super().__init__(
            learning_rate, jit_compile=False, use_ema=average > 0, ema_momentum=average or 0.99
        )
        self._sizes = sizes

    def update_step(self, gradient: Any, variable: Any) -> None:
        before = tf.identity(variable)
        super().update_step(gradient, variable)
        size = self._sizes.get(id(variable))
        if size is not None:
            step = (variable - before) * tf.cast(size, variable.dtype)
            variable.assign(before + step)


def dataset_of(data: keras.utils.PyDataset, batch: int | None) -> tf.data.Dataset:
    """A `PyDataset` of Keras 3, batch by batch in its own order.

    A batch is not made before it is asked for: a data set may first have to be told of the epoch.

    Args:
        data: The data set.
        batch: Batch size of the model, None for any.
    """
    count = data.num_batches or len(data)

    def batches() -> Iterator[Any]:
        for index in range(count):
            yield data[index]
        data.on_epoch_end()

    def spec(part: Any) -> tf.TensorSpec:
        array = np.asarray(part)
        return tf.TensorSpec((batch, *array.shape[1:]), array.dtype)

    signature = tf.nest.map_structure(spec, data[0])
    made = tf.data.Dataset.from_generator(batches, output_signature=signature)
    return made.apply(tf.data.experimental.assert_cardinality(count))


class Rate(tf_keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate schedule of Keras 3.

    Args:
        schedule: The schedule.
    """

    def __init__(self, schedule: Any) -> None:
        self.schedule = schedule

    def __call__(self, step: Any) -> Any:
        return self.schedule(step)

    def get_config(self) -> dict[str, Any]:
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule)}


class Following(tf_keras.callbacks.Callback):
    """Hands all events on to a callback of Keras 3.

    Args:
        callback: It finds the tf_keras model in `model`.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        super().__init__()
        self.callback = callback

    def set_params(self, params: dict[str, Any]) -> None:
        self.callback.set_params(params)

    def set_model(self, model: Any) -> None:
        self.callback.set_model(model)


def _handed_on(event: str) -> Any:
    def hand_on(self: Following, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.callback, event)(*args, **kwargs)

    return hand_on


for _phase in ("train", "test", "predict"):
    for _when in ("begin", "end"):
        for _event in (f"on_{_phase}_{_when}", f"on_{_phase}_batch_{_when}"):
            setattr(Following, _event, _handed_on(_event))
for _event in ("on_epoch_begin", "on_epoch_end", "on_batch_begin", "on_batch_end"):
    setattr(Following, _event, _handed_on(_event))
