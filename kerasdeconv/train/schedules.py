"""Learning rates: a linear rise at the start, then a fall along a curve."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.errors import closest
from kerasdeconv.train.recipe import FitRecipe

SCHEDULES = ("cosine", "polynomial", "constant")


@keras.saving.register_keras_serializable(package="kerasdeconv")
class PolynomialDecay(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from a hundredth of the peak, then `peak * (1 - share of the fall)**power`.

    With a power of 0.9 it is the "poly" schedule of DeepLab (Chen et al. 2017,
    https://arxiv.org/abs/1606.00915).

    Args:
        peak: Greatest learning rate.
        warmup_steps: Steps of the rise.
        decay_steps: Steps of the fall.
        power: Shape of the fall: 1 for a line, 0 for none.
    """

    def __init__(self, peak: float, warmup_steps: int, decay_steps: int, power: float) -> None:
        super().__init__()
        self.peak, self.power = peak, power
        self.warmup_steps, self.decay_steps = warmup_steps, decay_steps

    def __call__(self, step: Any) -> Any:
        ops = keras.ops
        step = ops.cast(step, "float32")
        risen = ops.minimum(step / self.warmup_steps, 1.0) if self.warmup_steps else 1.0
        fallen = ops.clip((step - self.warmup_steps) / max(self.decay_steps, 1), 0.0, 1.0)
        return self.peak * (0.01 + 0.99 * risen) * (1.0 - fallen) ** self.power

    def get_config(self) -> dict[str, Any]:
        return {
            "peak": self.peak,
            "warmup_steps": self.warmup_steps,
            "decay_steps": self.decay_steps,
            "power": self.power,
        }


def make_schedule(fit: FitRecipe, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Builds the learning rate of a recipe.

    Args:
        fit: How to train.
        steps: Batches of the whole training.

    Raises:
        ValueError: No such schedule.
    """
    warmup_steps = round(steps * fit.warmup)
    decay_steps = max(1, round(steps * (1 - fit.warmup)))
    if fit.schedule == "cosine":
        return keras.optimizers.schedules.CosineDecay(
            fit.learning_rate / 100,
            decay_steps=decay_steps,
            alpha=1e-3,
            warmup_target=fit.learning_rate,
            warmup_steps=warmup_steps,
        )
    if fit.schedule not in SCHEDULES:
        raise ValueError(
            f"No such schedule. {closest(fit.schedule, SCHEDULES)} Received: {fit.schedule!r}"
        )
    power = 0.9 if fit.schedule == "polynomial" else 0.0
    return PolynomialDecay(fit.learning_rate, warmup_steps, decay_steps, power)
