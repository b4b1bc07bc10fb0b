"""Convolution blocks that 2D and 3D networks share."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers.linear_upsampling import linear_upsample
from kerasdeconv.layers.ranks import of_rank

NORMS = (None, "batch", "group", "instance")


def normalize(x: Any, norm: str | None, name: str, groups: int | None = None) -> Any:
    """Normalizes a map: "batch", "group", "instance", or not at all.

    Args:
        x: A map.
        norm: One of `NORMS`.
        name: Name of the layer.
        groups: Groups of "group"; by default as many as have 8 channels or more, 32 at most.

    Raises:
        ValueError: No such normalization.
    """
    if norm is None:
        return x
    if norm == "batch":
        return keras.layers.BatchNormalization(name=name)(x)
    if norm == "group":
        channels = x.shape[-1]
        groups = groups or max(
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
    use_bias: bool | None = None,
    dilation_rate: int = 1,
    groups: int | None = None,
    name: str,
) -> Any:
    """Convolution, normalization (see `normalize` for `groups`), activation.

    The convolution has a bias, by default unless a norm follows.
    """
    x = of_rank("Conv{}D", len(x.shape) - 2)(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        dilation_rate=dilation_rate,
        use_bias=norm is None if use_bias is None else use_bias,
        kernel_initializer="he_normal",
        name=f"{name}_conv",
    )(x)
    x = normalize(x, norm, f"{name}_norm", groups)
    return activate(x, activation, f"{name}_act") if activation else x


def activate(x: Any, activation: str, name: str) -> Any:
    """Activates a map: any Keras activation, or "prelu" with one learned slope a channel.

    The slopes start at 0.25 (He et al., "Delving deep into rectifiers", 2015, section 2.1).
    """
    if activation != "prelu":
        return keras.layers.Activation(activation, name=name)(x)
    return keras.layers.PReLU(
        alpha_initializer=keras.initializers.Constant(0.25),
        shared_axes=list(range(1, len(x.shape) - 1)),
        name=name,
    )(x)


def plain_block(
    x: Any,
    filters: int | tuple[int, ...],
    *,
    padding: str,
    norm: str | None,
    activation: str,
    use_bias: bool | None = None,
    dilation_rate: int = 1,
    name: str,
) -> Any:
    """3 x 3 convolutions, each normalized and activated: two, as in U-Net, or as many as given.

    Args:
        x: A map.
        filters: Channels of both convolutions, or of each of any number.
        padding: "valid" or "same".
        norm: See `normalize`.
        activation: Keras activation.
        use_bias: Whether the convolutions have biases; by default unless a norm follows.
        dilation_rate: Distance of the pixels that a kernel reads.
        name: Prefix of the layers' names.
    """
    for i, channels in enumerate(_pair(filters)):
        x = conv_norm_activation(
            x,
            channels,
            padding=padding,
            norm=norm,
            activation=activation,
            use_bias=use_bias,
            dilation_rate=dilation_rate,
            name=f"{name}_{i}",
        )
    return x


def residual_block(
    x: Any,
    filters: int | tuple[int, ...],
    *,
    padding: str,
    norm: str | None,
    activation: str,
    use_bias: bool | None = None,
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
    options: dict[str, Any] = {"norm": norm, "use_bias": use_bias}
    if x.shape[-1] != last:
        shortcut = conv_norm_activation(
            x, last, kernel_size=1, activation=None, name=f"{name}_shortcut", **options
        )
    x = conv_norm_activation(x, first, activation=activation, name=f"{name}_0", **options)
    x = conv_norm_activation(x, last, activation=None, name=f"{name}_1", **options)
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return activate(x, activation, f"{name}_act")


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
