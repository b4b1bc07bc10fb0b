"""What the contract suite asks of a builder: a variant, its inputs, and something to learn.

Needs Keras and NumPy alone, so that the same variants run on every backend.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from typing import Any

import keras
import numpy as np

from kerasdeconv import models

Sides = tuple[int, ...]
Mistakes = list[tuple[str, dict[str, Any], str]]


@dataclasses.dataclass(frozen=True)
class Variant:
    """A builder with arguments, and what it must give.

    Attributes:
        builder: Name in `kerasdeconv.models`.
        arguments: Its arguments; sides of the input shape are free where they may be.
        sizes: Input sides to output sides, all of them valid; a list of sides where there are
            several outputs. A latent code has no sides.
        pixels: Whether it learns pixels (by mean squared error) instead of classes.
        features: Whether it gives features, which are in half precision under mixed precision, and
            learned like pixels.
        boxes: How many boxes it takes as its second input.
        ranked: Whether it sorts its answers: in half precision, or a step later, others may come
            first. It learns in another form.
        steps: How many steps its second input counts: N x 1 whole numbers.
        refused: Formats that it cannot be exported to in float32, and what the error says.
        exported: Whether the suite exports it: one variant of each builder and each part that
            converts in its own way.
    """

    builder: str
    arguments: dict[str, Any]
    sizes: dict[Sides, Sides | list[Sides]]
    pixels: bool = False
    features: bool = False
    boxes: int = 0
    ranked: bool = False
    steps: int = 0
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    exported: bool = False

    @property
    def channels(self) -> int:
        return self.arguments["input_shape"][-1]

    @property
    def rank(self) -> int:
        return len(next(iter(self.sizes)))

    @property
    def white(self) -> float:
        known = inspect.signature(getattr(models, self.builder)).parameters
        rescales = "include_rescaling" in known and self.arguments.get("include_rescaling", True)
        return 255.0 if rescales else 1.0

    @property
    def logits(self) -> bool:
        return self.arguments.get("head_activation", "probabilities") is None

    def build(self, **changes: Any) -> keras.Model:
        keras.utils.set_random_seed(0)
        return getattr(models, self.builder)(**(self.arguments | changes))

    def inputs(self, sides: Sides | None = None, count: int = 2) -> Any:
        """Random pictures, volumes or codes; a list with boxes or steps where it takes those."""
        sides = next(iter(self.sizes)) if sides is None else sides
        rng = np.random.default_rng(0)
        pictures = rng.uniform(0, self.white, (count, *sides, self.channels)).astype(np.float32)
        if self.steps:
            return [pictures, rng.integers(self.steps, size=(count, 1)).astype(np.int32)]
        if not self.boxes:
            return pictures
        # From small to nearly the whole picture, so that every level of a pyramid has its boxes.
        extents = np.geomspace(0.05, 0.95, self.boxes)[:, None]
        corners = rng.uniform(0, 1 - extents, (count, self.boxes, 2))
        boxes = np.concatenate([corners, corners + extents], axis=-1)
        return [pictures, (boxes * [*sides, *sides]).astype(np.float32)]

    def outputs(self, sides: Sides) -> list[Sides]:
        """Sides of each output."""
        expected = self.sizes[sides]
        return expected if isinstance(expected, list) else [expected]

    def lesson(self, model: keras.Model, count: int = 2) -> tuple[Any, Any]:
        """Something to learn for each output, and a loss for it."""
        rng = np.random.default_rng(1)
        targets, losses = [], []
        for sides, output in zip(self.outputs(next(iter(self.sizes))), model.outputs, strict=True):
            shape = (count, *sides, output.shape[-1])
            if self.pixels or self.features:
                targets.append(rng.uniform(0, self.white, shape).astype(np.float32))
                losses.append(keras.losses.MeanSquaredError())
            elif shape[-1] == 1 or self.boxes:
                targets.append(rng.integers(0, 2, shape).astype(np.float32))
                losses.append(keras.losses.BinaryCrossentropy(from_logits=self.logits))
            else:
                targets.append(rng.integers(0, shape[-1], shape[:-1]).astype(np.int32))
                losses.append(keras.losses.SparseCategoricalCrossentropy(from_logits=self.logits))
        return (targets[0], losses[0]) if len(targets) == 1 else (targets, losses)


class SameDraws(keras.callbacks.Callback):
    """Lets the layers of a model draw the same noise in each epoch, so that losses compare."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        weights = {id(weight) for weight in model.weights}
        states = [v for v in model.variables if id(v) not in weights]
        self.states = [(state, np.array(state)) for state in states]

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        for state, value in self.states:
            state.assign(value)


def span(answers: list[np.ndarray]) -> float:
    """The largest magnitude of any answer, against which errors are judged."""
    return max(float(np.abs(answer).max()) for answer in answers) or math.ulp(1.0)
