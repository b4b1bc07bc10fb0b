"""The ends that all networks share: pixels in, answers out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv.layers import of_rank

_SEARCH = 1024  # pixels up in which the nearest side that fits is looked for


def check_input_shape(input_shape: tuple[int | None, ...], ranks: tuple[int, ...]) -> None:
    """Refuses an input shape without channels, or of another rank.

    Raises:
        ValueError: It is none of sides (any of which may be None) and channels.
    """
    sides = {
        0: "(length of the code,)",
        2: "(height, width, channels)",
        3: "(depth, height, width, channels)",
    }
    if len(input_shape) - 1 not in ranks or not isinstance(input_shape[-1], int):
        expected = " or ".join(sides[rank] for rank in ranks)
        raise ValueError(
            f"input_shape must be {expected}; sides may be None. Received: {input_shape}"
        )


def check_sides(
    network: str, sides: Sequence[int | None], fits: Callable[[int, int], bool]
) -> None:
    """Refuses sides that a network cannot take, and names the nearest that it can.

    Args:
        network: What the message calls the network: "U-Net".
        sides: Spatial sides, any of which may be None.
        fits: Says of a side and its axis whether the network takes it.

    Raises:
        ValueError: A side does not fit.
    """
    for axis, side in enumerate(sides):
        if side is None or fits(side, axis):
            continue
        below = (n for n in range(side - 1, 0, -1) if fits(n, axis))
        above = (n for n in range(max(side, 0) + 1, max(side, 0) + _SEARCH) if fits(n, axis))
        nearest = [*itertools.islice(below, 1), *itertools.islice(above, 2)][:2]
        raise ValueError(
            f"This {network} does not take this side; the nearest are "
            f"{' and '.join(map(str, nearest))}. "
            f"Received: {side}"
        )


def multiple_of(step: int) -> Callable[[int, int], bool]:
    """Makes the test whether a side is a multiple of a step, for `check_sides`."""
    return lambda side, axis: side > 0 and side % step == 0


def rescale_pixels(x: Any, include_rescaling: bool, name: str = "rescale") -> Any:
    """Scales pixels from [0, 255] to [0, 1].

    There is no offset, so that the factor folds into the first convolution exactly, zero padding
    included.
    """
    return keras.layers.Rescaling(1 / 255, name=name)(x) if include_rescaling else x


def check_classes(classes: int) -> None:
    """Refuses less than one class.

    Raises:
        ValueError: There is not at least one class.
    """
    if classes < 1:
        raise ValueError(f"classes must be 1 (binary) or more. Received: {classes}")


def classify(
    x: Any,
    classes: int,
    head_activation: str | None,
    name: str = "head",
    *,
    kernel_size: int = 1,
) -> Any:
    """Turns a map into one score a class and pixel with a convolution, 1 x 1 by default.

    Args:
        x: A 2D or 3D map.
        classes: Number of classes; 1 for a binary network.
        head_activation: "probabilities" (sigmoid for one class, softmax for more), None for
            logits, or any Keras activation.
        name: Name of the convolution; the activation's name has "_activation" appended.
        kernel_size: Kernel size; the map is padded.

    Raises:
        ValueError: There is not at least one class.
    """
    check_classes(classes)
    conv = of_rank("Conv{}D", len(x.shape) - 2)
    x = conv(classes, kernel_size, padding="same", name=name)(x)
    return activate_scores(x, head_activation, name)


def activate_scores(x: Any, head_activation: str | None, name: str = "head") -> Any:
    """Turns scores into probabilities, or what is asked for; see `classify`."""
    classes = x.shape[-1]
    if head_activation == "probabilities":
        head_activation = "sigmoid" if classes == 1 else "softmax"
    if head_activation is None:
        return x
    # Probabilities stay float32 under mixed precision: float16 ends at 65504 and has 11 bits.
    return keras.layers.Activation(head_activation, dtype="float32", name=f"{name}_activation")(x)


def squash_to_pixels(x: Any, include_rescaling: bool, name: str = "head") -> Any:
    """Squeezes a map into [-1, 1] by tanh, and makes pixels in [0, 255] of that.

    They are float32 also under mixed precision.
    """
    x = keras.layers.Activation("tanh", name=f"{name}_activation")(x)
    if not include_rescaling:
        return x
    return keras.layers.Rescaling(127.5, offset=127.5, dtype="float32", name="to_pixels")(x)
