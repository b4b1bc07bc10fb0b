"""What super-resolution networks share: the scale, and pixels at both ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

Offset = float | list[float]


def check_scale(scale: int, allowed: Sequence[int] = ()) -> None:
    """Refuses a scale that is no upsampling factor, or none of a network's.

    Args:
        scale: Output pixels per input pixel.
        allowed: What the network can do, if not everything from 2 upwards.

    Raises:
        ValueError: It is not.
    """
    whole = isinstance(scale, int) and not isinstance(scale, bool)
    if allowed:
        if not whole or scale not in allowed:
            *first, last = allowed
            known = f"{', '.join(map(str, first))} or {last}"
            raise ValueError(f"scale must be {known}. Received: {scale!r}")
    elif not whole or scale < 2:
        raise ValueError(f"scale must be a whole number, 2 or more. Received: {scale!r}")


def at_least(side: int) -> Callable[[int, int], bool]:
    """Makes the test whether a side is long enough to be reflected, for `check_sides`."""
    return lambda length, axis: length >= side


def from_pixels(x: Any, include_rescaling: bool, center: Offset) -> Any:
    """Scales pixels from [0, 255] to a range of 1 around 0; see `rescale_pixels` for [0, 1].

    Args:
        x: A picture.
        include_rescaling: Whether to do it at all.
        center: What becomes 0, in [0, 1]: one number, or one a channel. It folds into convolutions
            without zero padding only.
    """
    if not include_rescaling:
        return x
    return keras.layers.Rescaling(1 / 255, offset=_times(center, -1.0), name="rescale")(x)


def to_pixels(
    x: Any, include_rescaling: bool, center: Offset = 0.0, name: str = "to_pixels"
) -> Any:
    """Undoes `from_pixels`, in float32 also under mixed precision; nothing is clipped."""
    if not include_rescaling:
        return x
    offset = _times(center, 255.0)
    return keras.layers.Rescaling(255.0, offset=offset, dtype="float32", name=name)(x)


def _times(center: Offset, factor: float) -> Offset:
    return [factor * c for c in center] if isinstance(center, list) else factor * center
