"""Volumes laid out as pictures: the depth folded into the batch.

A folded map is (N * D) x H x W x C, slice by slice. Runtimes have fast, and integer, operators on
four axes alone. The layers here do along the depth what operators on pictures leave to do, with
reshapes, slices, concatenations and poolings, none of which has more than four axes.

Shapes are static, but for `FoldDepth` and `UnfoldDepth`, which networks on videos are made with.
Every layer but `FoldDepth` is told the depth, which a folded map does not show.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv.layers.linear_upsampling import upsample_phases


@keras.saving.register_keras_serializable(package="kerasdeconv")
class FoldDepth(keras.layers.Layer):
    """Lays a volume out as a picture: N x D x H x W x C to (N * D) x H x W x C."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, depth, *rest = input_shape
        return (None if None in (batch, depth) else batch * depth, *rest)

    def call(self, inputs: Any) -> Any:
        return _reshaped(inputs, self.compute_output_shape(inputs.shape))


def _reshaped(inputs: Any, shape: tuple[Any, ...]) -> Any:
    """Splits or joins the first axes; sides that are not known are read off."""
    count = len(shape) - 3
    sides = keras.ops.shape(inputs)[-3:]
    known = [-1 if side is None else side for side in shape[:count]]
    return keras.ops.reshape(inputs, (*known, *sides))


class _Folded(keras.layers.Layer):
    """A layer on a folded map.

    Args:
        depth: Slices of a volume that comes in.
    """

    def __init__(self, depth: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depth = int(depth)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "depth": self.depth}

    def _spread(self, x: Any) -> Any:
        """The depth as an axis of its own: N x D x H x (W * C)."""
        slices, height, width, channels = x.shape
        return keras.ops.reshape(x, (slices // self.depth, self.depth, height, width * channels))

    @staticmethod
    def _gather(rows: Any, width: int) -> Any:
        """Undoes `_spread`."""
        batch, depth, height, _ = rows.shape
        return keras.ops.reshape(rows, (batch * depth, height, width, -1))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class UnfoldDepth(_Folded):
    """Undoes `FoldDepth`."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        slices, *rest = input_shape
        return (None if slices is None else slices // self.depth, self.depth, *rest)

    def call(self, inputs: Any) -> Any:
        return _reshaped(inputs, self.compute_output_shape(inputs.shape))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthWindow(_Folded):
    """Puts the slices that a kernel sees side by side: (N * D') x H x W x (size * C).

    Slice d of the output holds the slices `d * stride + j * dilation - before` of the input, j from
    0 to size - 1, and zeros where there is none. A convolution over volumes is one over pictures on
    it.

    Args:
        depth: Slices of a volume that comes in.
        size: Kernel size along the depth.
        before: Slices of zeros before the first.
        after: Slices of zeros behind the last.
        stride: Stride along the depth.
        dilation: Distance of the slices that a kernel sees.
    """

    def __init__(
        self,
        depth: int,
        size: int,
        *,
        before: int = 0,
        after: int = 0,
        stride: int = 1,
        dilation: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, **kwargs)
        self.size, self.before, self.after = int(size), int(before), int(after)
        self.stride, self.dilation = int(stride), int(dilation)

    @property
    def output_depth(self) -> int:
        """Slices of a volume that goes out."""
        reach = (self.size - 1) * self.dilation
        return (self.depth + self.before + self.after - reach - 1) // self.stride + 1

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        slices, height, width, channels = input_shape
        return (slices // self.depth * self.output_depth, height, width, self.size * channels)

    def call(self, inputs: Any) -> Any:
        rows = self._spread(inputs)
        before, after = max(self.before, 0), max(self.after, 0)
        # Once, for all slices: groups of the stride are whole then.
        after += -(self.depth + before + after) % self.stride
        if before or after:
            rows = keras.ops.pad(rows, [(0, 0), (before, after), (0, 0), (0, 0)])
        first = before - self.before  # negative padding crops
        starts = [first + j * self.dilation for j in range(self.size)]
        seen = [
            inputs if self._is_all(start - before) else self._slices(rows, start, inputs.shape[1:3])
            for start in starts
        ]
        return keras.ops.concatenate(seen, axis=-1) if len(seen) > 1 else seen[0]

    def _is_all(self, start: int) -> bool:
        """Whether the slices from `start` on are those that came in, which need no copy."""
        return start == 0 and self.stride == 1 and self.output_depth == self.depth

    def _slices(self, rows: Any, start: int, sides: tuple[int, int]) -> Any:
        """Every stride-th slice from one on.

        As many slices as the stride lie below each other and are cut apart as rows are: runtimes
        have fast slices without strides.
        """
        height, width = sides
        batch, depth, _, pixels = rows.shape
        group, place = divmod(start, self.stride)
        shape = (batch, depth // self.stride, self.stride * height, pixels)
        rows = keras.ops.reshape(rows, shape)
        rows = rows[:, group : group + self.output_depth, place * height : (place + 1) * height]
        return self._gather(rows, width)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "before": self.before,
            "after": self.after,
            "stride": self.stride,
            "dilation": self.dilation,
        }


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthInterleave(keras.layers.Layer):
    """Interleaves maps slice by slice: the first slice of each, then the second of each, ...

    s maps (N * D) x H x W x C give (N * D * s) x H x W x C. Slices are laid below each other and
    cut again, which moves whole slices and needs no transposition.
    """

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        slices, *rest = input_shape[0]
        return (slices * len(input_shape), *rest)

    def call(self, inputs: list[Any]) -> Any:
        shape = self.compute_output_shape([x.shape for x in inputs])
        return keras.ops.reshape(keras.ops.concatenate(inputs, axis=1), shape)


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthPooling(_Folded):
    """Pools along the depth: (N * D) x H x W x C to (N * D') x H x W x C.

    Args:
        depth: Slices of a volume that comes in.
        size: Slices of a window.
        stride: Stride.
        padding: "valid" or "same".
        mode: "max" or "average".
    """

    def __init__(
        self,
        depth: int,
        size: int,
        *,
        stride: int,
        padding: str = "valid",
        mode: str = "max",
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, **kwargs)
        self.size, self.stride, self.padding, self.mode = int(size), int(stride), padding, mode

    @property
    def output_depth(self) -> int:
        """Slices of a volume that goes out."""
        reach = self.size - 1 if self.padding == "valid" else 0
        return -(-(self.depth - reach) // self.stride)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        slices, *rest = input_shape
        return (slices // self.depth * self.output_depth, *rest)

    def call(self, inputs: Any) -> Any:
        slices, height, width, channels = inputs.shape
        x = keras.ops.reshape(inputs, (slices // self.depth, self.depth, height * width, channels))
        pool = keras.ops.max_pool if self.mode == "max" else keras.ops.average_pool
        x = pool(x, (self.size, 1), (self.stride, 1), self.padding, data_format="channels_last")
        return keras.ops.reshape(x, self.compute_output_shape(inputs.shape))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "stride": self.stride,
            "padding": self.padding,
            "mode": self.mode,
        }


@keras.saving.register_keras_serializable(package="kerasdeconv")
class MergeDepth(_Folded):
    """Lays the slices of a volume below each other: (N * D) x H x W x C to N x (D * H) x W x C.

    For what looks at a whole volume at once: global pooling and norms with statistics.
    """

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        slices, height, width, channels = input_shape
        return (slices // self.depth, self.depth * height, width, channels)

    def call(self, inputs: Any) -> Any:
        return keras.ops.reshape(inputs, self.compute_output_shape(inputs.shape))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class SplitDepth(_Folded):
    """Undoes `MergeDepth`: N x (D * H) x W x C to (N * D) x H x W x C."""

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        batch, rows, width, channels = input_shape
        return (batch * self.depth, rows // self.depth, width, channels)

    def call(self, inputs: Any) -> Any:
        return keras.ops.reshape(inputs, self.compute_output_shape(inputs.shape))


@keras.saving.register_keras_serializable(package="kerasdeconv")
class DepthLinear(_Folded):
    """Upsamples linearly along the depth, as `LinearUpsampling` does along any axis.

    Args:
        depth: Slices of a volume that comes in.
        factor: Slices that go out for each.
    """

    def __init__(self, depth: int, factor: int, **kwargs: Any) -> None:
        super().__init__(depth, **kwargs)
        self.factor = int(factor)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        slices, *rest = input_shape
        return (slices * self.factor, *rest)

    def call(self, inputs: Any) -> Any:
        phases = upsample_phases(self._spread(inputs), 1, self.factor)
        rows = keras.ops.concatenate(phases, axis=2)
        return keras.ops.reshape(rows, self.compute_output_shape(inputs.shape))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable(package="kerasdeconv")
class FoldedGroupNormalization(_Folded):
    """Group normalization of volumes on a folded map, in operators on four axes at most.

    Keras' own layer takes the groups apart on a fifth axis. Here each channel is averaged by
    itself, and then the channels of a group, of which little is left by then. Source: Wu and He,
    "Group normalization" (2018).

    Args:
        depth: Slices of a volume that comes in.
        groups: Into which the channels are divided; as many as channels for instance normalization.
        epsilon: Added to the variance.
        center: Whether there is an offset for each channel.
        scale: Whether there is a factor for each channel.
    """

    def __init__(
        self,
        depth: int,
        groups: int,
        *,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(depth, **kwargs)
        self.groups, self.epsilon, self.center, self.scale = int(groups), epsilon, center, scale

    def build(self, input_shape: tuple[Any, ...]) -> None:
        channels = (input_shape[-1],)
        self.gamma = (
            self.add_weight(shape=channels, initializer="ones", name="gamma")
            if self.scale
            else None
        )
        self.beta = (
            self.add_weight(shape=channels, initializer="zeros", name="beta")
            if self.center
            else None
        )

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(input_shape)

    def call(self, inputs: Any) -> Any:
        slices, height, width, channels = inputs.shape
        batch = slices // self.depth
        x = keras.ops.reshape(inputs, (batch, self.depth * height, width, channels))
        mean, variance = self._moments(x)
        factor = keras.ops.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma
        normed = (x - mean) * factor
        if self.beta is not None:
            normed = normed + self.beta
        return keras.ops.reshape(normed, inputs.shape)

    def _moments(self, x: Any) -> tuple[Any, Any]:
        """Mean and variance over the voxels and the channels of a group: N x 1 x 1 x C each.

        A group's variance is the mean of its channels' variances and the variance of their means.
        """
        mean, variance = keras.ops.moments(x, axes=(1, 2), keepdims=True)
        channels = x.shape[-1]
        if self.groups == channels:
            return mean, variance
        size = channels // self.groups
        mean, variance = (
            keras.ops.reshape(each, (-1, 1, self.groups, size)) for each in (mean, variance)
        )
        mean, between = keras.ops.moments(mean, axes=3, keepdims=True)
        variance = between + keras.ops.mean(variance, axis=3, keepdims=True)
        # A product is an operator that every target has; a broadcast is not.
        spread = keras.ops.ones((1, 1, 1, size))
        mean, variance = (
            keras.ops.reshape(each * spread, (-1, 1, 1, channels)) for each in (mean, variance)
        )
        return mean, variance

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "groups": self.groups,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
        }


@keras.saving.register_keras_serializable(package="kerasdeconv")
class FoldedBlocks(keras.layers.Layer):
    """Depth to space of volumes on folded maps, one for each depth and row of the block.

    Whole rows are laid side by side and slices below each other, then cut again: four axes at most,
    for blocks that depth to space of pictures, which are squares, does not take.

    Args:
        block_size: Factor of the depth, the height and the width.
    """

    def __init__(self, block_size: tuple[int, ...], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.block_size = tuple(block_size)

    def compute_output_shape(self, input_shape: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        slices, height, width, channels = input_shape[0]
        deep, high, wide = self.block_size
        return (slices * deep, height * high, width * wide, channels // wide)

    def call(self, inputs: list[Any]) -> Any:
        shape = self.compute_output_shape([x.shape for x in inputs])
        high = self.block_size[1]
        rows = [
            keras.ops.concatenate(inputs[i : i + high], axis=2) for i in range(0, len(inputs), high)
        ]
        return keras.ops.reshape(keras.ops.concatenate(rows, axis=1), shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "block_size": self.block_size}
