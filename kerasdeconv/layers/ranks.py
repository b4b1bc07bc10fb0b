"""What lets one code serve 2D and 3D."""

from __future__ import annotations

import keras


def of_rank(pattern: str, rank: int) -> type[keras.layers.Layer]:
    """Finds the Keras layer of a rank: `of_rank("Conv{}DTranspose", 3)` is `Conv3DTranspose`."""
    return getattr(keras.layers, pattern.format(rank))


def per_axis(value: int | tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Spreads one number over all spatial axes, or checks that there is one for each.

    Raises:
        ValueError: There are as many numbers as no map of this rank has axes.
    """
    values = (value,) * rank if isinstance(value, int) else tuple(value)
    if len(values) != rank:
        raise ValueError(f"Give one number, or {rank}, one for each axis. Received: {value}")
    return values
