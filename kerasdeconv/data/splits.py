"""Splitting a data set into training and validation parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def split(
    items: Sequence[T], fraction: float, *, groups: Sequence[str] | None = None, seed: int = 0
) -> tuple[list[T], list[T]]:
    """Splits items at random, each group by itself (stratified).

    Args:
        items: What to split; its order decides, so sort it first.
        fraction: Share of each group that goes to validation, in [0, 1).
        groups: Group of each item; None for one group.
        seed: Seed of the shuffle.

    Returns:
        The training items and the validation items, each in the order of `items`.

    Raises:
        ValueError: The fraction is out of range, or groups and items differ in number.
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"fraction must be in [0, 1). Received: {fraction}")
    groups = list(groups) if groups is not None else [""] * len(items)
    if len(groups) != len(items):
        raise ValueError(f"Give a group for each item. Received: {len(groups)} for {len(items)}")
    rng = np.random.default_rng(seed)
    held: set[int] = set()
    for group in sorted(set(groups)):
        members = [i for i, g in enumerate(groups) if g == group]
        held.update(rng.permutation(members)[: round(fraction * len(members))].tolist())
    kept = [item for i, item in enumerate(items) if i not in held]
    return kept, [item for i, item in enumerate(items) if i in held]
