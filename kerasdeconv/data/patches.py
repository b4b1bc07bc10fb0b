"""What the patch data sets share: seeded, reproducible, resumable random batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import keras
import numpy as np

Item = TypeVar("Item")


class RandomPatches(keras.utils.PyDataset):
    """A data set of random patches in which epoch and step alone decide what a batch holds.

    Two runs with one seed see the same batches, and so does a run that was interrupted and
    resumed at a later epoch.

    Args:
        batch_size: Samples in a batch.
        steps: Batches in an epoch.
        seed: Seed of all random choices.
        augment: Whether to vary the samples.
    """

    def __init__(self, *, batch_size: int, steps: int, seed: int, augment: bool) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.steps = steps
        self.seed = seed
        self.augment = augment
        self.epoch = 0

    def __len__(self) -> int:
        return self.steps

    def rng(self, index: int) -> np.random.Generator:
        """What draws a batch. Without augmentation (validation) every epoch is the same."""
        return np.random.default_rng([self.seed, self.epoch if self.augment else 0, index])

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        rng = self.rng(index)
        samples = [self.sample(rng) for _ in range(self.batch_size)]
        return keras.tree.map_structure(lambda *parts: np.stack(parts), *samples)

    def in_turn(self, index: int, items: Sequence[Item]) -> list[Item]:
        """The items of a batch that is not drawn: one after the other, over and over."""
        first = index * self.batch_size
        return [items[i % len(items)] for i in range(first, first + self.batch_size)]

    def sample(self, rng: np.random.Generator) -> tuple[Any, ...]:
        """Makes one sample: input, target, and pixel weights where there are any.

        For a network with several outputs, targets and weights are tuples.
        """
        raise NotImplementedError


class FollowEpoch(keras.callbacks.Callback):
    """Tells a `RandomPatches` which epoch it is, also after a resume."""

    def __init__(self, dataset: RandomPatches) -> None:
        super().__init__()
        self.dataset = dataset

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sets the data set's epoch."""
        self.dataset.epoch = epoch


def dihedral(rng: np.random.Generator, *arrays: np.ndarray) -> list[np.ndarray]:
    """Turns and mirrors square patches together: one of the eight symmetries of the square."""
    turns, mirror = int(rng.integers(4)), rng.integers(2)
    arrays = tuple(np.rot90(a, turns) for a in arrays)
    return [a[:, ::-1] if mirror else a for a in arrays]
