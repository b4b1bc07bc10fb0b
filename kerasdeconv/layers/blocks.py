"""Convolution blocks that 2D and 3D networks share."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers.linear_upsampling import linear_upsample
from kerasdeconv.layers.ranks import of_rank

NORMS = (None, "batch", "group", "instance")


def normalize(x: Any, norm: str | None, name: str) -> Any:
    """Normalizes a map: "batch", "group" (8 channels or more a group), "instance", or not at all.

    Raises:
        ValueError: No such normalization.
    """
    if norm is None:
        return x
    if norm == "batch":
        return keras.layers.BatchNormalization(name=name)(x)
    if norm == "group":
        channels = x.shape[-1]
        groups = max(
            g for g in range(1, 33) if channels % g == 0 and (g == 1 or channels // g >= 8)
        )
        return keras.layers.GroupNormalization(groups, name=name)(x)
    if norm == "instance":
        return keras.layers.GroupNormalization(groups=-1, name=name)(x)
    raise ValueError(f"norm must be one of {NORMS}. Received: {norm!r}")


def conv_norm_activation(
    x: Any,
    filters: int,
    *,
    kernel_size: int | tuple[int, ...] = 3,
    strides: int | tuple[int, ...] = 1,
    padding: str = "same",
    norm: str | None = None,
    activation: str | None = "relu",
    name: str,
) -> Any:
    """Convolution, normalization, activation. The convolution has a bias unless a norm follows."""
    x = of_rank("Conv{}D", len(x.shape) - 2)(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=norm is None,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = normalize(x, norm, f"{name}_norm")
    return keras.layers.Activation(activation, name=f"{name}_act")(x) if activation else x


def plain_block(
    x: Any,
    filters: int | tuple[int, ...],
    *,
    padding: str,
    norm: str | None,
    activation: str,
    name: str,
) -> Any:
    """3 x 3 convolutions, each normalized and activated: two, as in U-Net, or as many as given.

    Args:
        x: A map.
        filters: Channels of both convolutions, or of each of any number.
        padding: "valid" or "same".
        norm: See `normalize`.
        activation: Keras activation.
        name: Prefix of the layers' names.
    """
    for i, channels in enumerate(_pair(filters)):
        x = conv_norm_activation(
            x, channels, padding=padding, norm=norm, activation=activation, name=f"{name}_{i}"
        )
    return x


def residual_block(
    x: Any,
    filters: int | tuple[int, ...],
    *,
    padding: str,
    norm: str | None,
    activation: str,
    name: str,
) -> Any:
    """Two 3 x 3 convolutions and a shortcut, added before the last activation (He et al. 2016).

    Arguments are those of `plain_block`.

    Raises:
        ValueError: The padding is not "same": the shortcut would not fit.
    """
    if padding != "same":
        raise ValueError(f'Residual blocks need padding="same". Received: {padding!r}')
    first, last = _pair(filters)
    shortcut = x
    if x.shape[-1] != last:
        shortcut = conv_norm_activation(
            x, last, kernel_size=1, norm=norm, activation=None, name=f"{name}_shortcut"
        )
    x = conv_norm_activation(x, first, norm=norm, activation=activation, name=f"{name}_0")
    x = conv_norm_activation(x, last, norm=norm, activation=None, name=f"{name}_1")
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.Activation(activation, name=f"{name}_act")(x)


def _pair(filters: int | tuple[int, ...]) -> tuple[int, ...]:
    return (filters, filters) if isinstance(filters, int) else filters


def attention_gate(skip: Any, gate: Any, *, strides: int | tuple[int, ...] = 2, name: str) -> Any:
    """Weighs a skip connection by what the coarser map has seen (Oktay et al. 2018).

    Additive attention: both maps go to half the skip's channels on the coarse grid, are added,
    and become one weight a position, which is upsampled and multiplied onto the skip.

    Args:
        skip: Fine map, `strides` times the size of the gate.
        gate: Coarse map.
        strides: How much coarser the gate is, or how much along each axis.
        name: Prefix of the layers' names.

    Returns:
        A map of the skip's shape.
    """
    rank, channels = len(skip.shape) - 2, max(skip.shape[-1] // 2, 1)
    conv = of_rank("Conv{}D", rank)
    theta = conv(channels, strides, strides=strides, use_bias=False, name=f"{name}_theta")(skip)
    phi = conv(channels, 1, name=f"{name}_phi")(gate)
    joined = keras.layers.Add(name=f"{name}_add")([theta, phi])
    joined = keras.layers.Activation("relu", name=f"{name}_act")(joined)
    weight = conv(1, 1, activation="sigmoid", name=f"{name}_psi")(joined)
    weight = linear_upsample(weight, strides, name=f"{name}_up")
    return keras.layers.Multiply(name=f"{name}_weigh")([skip, weight])
