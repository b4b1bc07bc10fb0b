"""Linear upsampling in any number of dimensions."""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers.ranks import per_axis


@keras.saving.register_keras_serializable(package="kerasdeconv")
class LinearUpsampling(keras.layers.Layer):
    """Upsamples linearly along each spatial axis: bilinear in 2D, trilinear in 3D.

    Pixel centres lie at half integers and borders repeat, as in `UpSampling2D("bilinear")`; Keras
    has no such layer for volumes.

    Args:
        size: Whole upsampling factor, or one for each spatial axis.
    """

    def __init__(self, size: int | tuple[int, ...] = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size if isinstance(size, int) else tuple(size)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, *sides, channels = input_shape
        size = per_axis(self.size, len(sides))
        grown = [None if side is None else side * s for side, s in zip(sides, size, strict=True)]
        return (batch, *grown, channels)

    def call(self, inputs: Any) -> Any:
        x = inputs
        for axis, factor in enumerate(per_axis(self.size, len(inputs.shape) - 2), start=1):
            if factor > 1:
                x = _upsample_axis(x, axis, factor)
        return x

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


def linear_upsample(x: Any, factor: int | tuple[int, ...], name: str) -> Any:
    """Upsamples a map linearly: with Keras' own layer in 2D, with ours in 3D."""
    if len(x.shape) == 4:
        return keras.layers.UpSampling2D(factor, interpolation="bilinear", name=name)(x)
    return LinearUpsampling(factor, name=name)(x)


def upsample_phases(x: Any, axis: int, factor: int) -> list[Any]:
    """Interpolates linearly along an axis: one map for each of `factor` phases."""
    everything = [slice(None)] * len(x.shape)

    def part(start: int | None, stop: int | None) -> Any:
        index = list(everything)
        index[axis] = slice(start, stop)
        return x[tuple(index)]

    previous = keras.ops.concatenate([part(0, 1), part(0, -1)], axis=axis)
    following = keras.ops.concatenate([part(1, None), part(-1, None)], axis=axis)
    phases = []
    for phase in range(factor):
        offset = (phase + 0.5) / factor - 0.5  # of the output centre from the input centre
        neighbour = following if offset > 0 else previous
        phases.append(x * (1 - abs(offset)) + neighbour * abs(offset))
    return phases


def _upsample_axis(x: Any, axis: int, factor: int) -> Any:
    shape = list(keras.ops.shape(x))
    shape[axis] = shape[axis] * factor
    phases = upsample_phases(x, axis, factor)
    return keras.ops.reshape(keras.ops.stack(phases, axis=axis + 1), shape)
