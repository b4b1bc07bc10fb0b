"""Statistics of BatchNormalization, estimated for the weights that are kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras


def estimate_statistics(model: keras.Model, batches: Iterable[Any]) -> None:
    """Replaces the moving statistics of BatchNormalization by their means over batches.

    The moving ones belong to weights of the past. That matters where they move slowly (those of
    MobileNetV3 have a momentum of 0.999), or where the weights that are kept are an average.
    Izmailov et al., "Averaging weights leads to wider optima and better generalization" (2018),
    section 3.2; Wu and Johnson, "Rethinking 'Batch' in BatchNorm" (2021), section 3.

    Args:
        model: Layers that are frozen keep theirs.
        batches: What the model takes, a batch at a time, drawn as for training.

    Example:
        >>> estimate_statistics(model, (patches[i][0] for i in range(60)))
    """
    norms = [n for n in model.layers if isinstance(n, keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    try:
        for count, inputs in enumerate(batches):
            for norm in norms:
                norm.momentum = count / (count + 1)
            model(inputs, training=True)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
