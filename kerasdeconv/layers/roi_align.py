"""ROIAlign: the features inside a box, on a grid of fixed size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras

# Lin et al. 2017: a box of ImageNet's 224 x 224 pixels belongs to the map of stride 16.
_CANONICAL_STRIDE = 16


@keras.saving.register_keras_serializable(package="kerasdeconv")
class ROIAlign(keras.layers.Layer):
    """Samples maps inside boxes: `ROIAlign(14, stride=(4, 8))([map_4, map_8, boxes])`.

    A box is divided into size x size bins. Each is the mean of `sampling_ratio` x `sampling_ratio`
    points, spread evenly over the bin, at which the map is interpolated bilinearly. Points up to
    one map pixel outside take the value of the border, points beyond that are 0. Source: He et
    al., "Mask R-CNN" (2017), section 3; borders as in Detectron and torchvision.

    Bilinear interpolation is one factor for the rows times one for the columns, so that it is two
    products with matrices, without a gather: all shapes are static and any exporter takes it.

    Inputs are one map a stride, each N x H x W x C, and boxes N x K x 4: y0, x0, y1, x1 in pixels
    of the picture, of which each map pixel covers stride x stride. Edges of pixels lie at whole
    numbers, so that the whole picture is (0, 0, height, width). Boxes get no gradient.

    With several strides each box is sampled from one map, after equation 1 of Lin et al., "Feature
    pyramid networks for object detection" (2017): the coarsest whose stride is at most
    16 * sqrt(area) / canonical_size, or the finest where all are coarser.

    Args:
        size: Bins along each side.
        sampling_ratio: Points along each side of a bin.
        stride: Picture pixels per map pixel, or one number for each map, the finest first.
        aligned: Whether the centre of map pixel i lies at (i + 0.5) * stride, as it does. False is
            the older habit, i * stride with boxes of one map pixel at least, for weights that were
            trained with it.
        canonical_size: Side of the box that belongs to a map of stride 16.

    Returns:
        N x K x size x size x C.

    Raises:
        ValueError: An argument is out of range, or there is not one map a stride.
    """

    def __init__(
        self,
        size: int = 14,
        *,
        sampling_ratio: int = 2,
        stride: int | Sequence[int] = 16,
        aligned: bool = True,
        canonical_size: float = 224,
        **kwargs: Any,
    ) -> None:
        # Coordinates up to some thousand pixels stay float32 under mixed precision.
        super().__init__(autocast=False, **kwargs)
        if size < 1 or sampling_ratio < 1 or canonical_size <= 0:
            raise ValueError(
                "size and sampling_ratio must be 1 or more, canonical_size positive. "
                f"Received: {size}, {sampling_ratio}, {canonical_size}"
            )
        self.size = size
        self.sampling_ratio = sampling_ratio
        self.stride = stride if isinstance(stride, int) else tuple(stride)
        self.aligned = aligned
        self.canonical_size = canonical_size
        self._strides = (stride,) if isinstance(stride, int) else tuple(stride)
        if not self._strides or min(self._strides) < 1 or not _ascending(self._strides):
            raise ValueError(
                f"stride must be 1 or more, and several of them rise. Received: {stride!r}"
            )

    def compute_output_shape(self, input_shape: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
        *maps, boxes = (tuple(shape) for shape in input_shape)
        fits = len(maps) == len(self._strides) and len({shape[-1] for shape in maps}) == 1
        if not fits or {len(shape) for shape in maps} != {4} or len(boxes) != 3 or boxes[2] != 4:
            raise ValueError(
                f"ROIAlign takes {len(self._strides)} maps (N, H, W, C) and boxes (N, K, 4). "
                f"Received: {[tuple(shape) for shape in input_shape]}"
            )
        return (maps[0][0], boxes[1], self.size, self.size, maps[0][-1])

    def call(self, inputs: Sequence[Any]) -> Any:
        *maps, boxes = inputs
        boxes = keras.ops.stop_gradient(keras.ops.cast(boxes, "float32"))
        y0, x0, y1, x1 = keras.ops.split(boxes, 4, axis=-1)
        answer = None
        for x, stride, chosen in zip(
            maps, self._strides, self._shares((y1 - y0) * (x1 - x0)), strict=True
        ):
            height, width = keras.ops.shape(x)[1:3]
            rows = self._weights(y0 / stride, y1 / stride, height)
            columns = self._weights(x0 / stride, x1 / stride, width)
            if chosen is not None:
                rows = rows * chosen[..., None]
            part = self._sample(keras.ops.cast(x, self.compute_dtype), rows, columns)
            answer = part if answer is None else answer + part
        # The number of boxes may be free, and is that of the boxes.
        shape = (-1, keras.ops.shape(boxes)[1], *keras.ops.shape(answer)[1:])
        return keras.ops.reshape(answer, shape)

    def _shares(self, areas: Any) -> list[Any]:
        """For each map, N x K x 1: 1 where the box is sampled from it, 0 elsewhere."""
        if len(self._strides) == 1:
            return [None]
        sides = [self.canonical_size * s / _CANONICAL_STRIDE for s in self._strides[1:]]
        large = [keras.ops.cast(areas >= side**2, "float32") for side in sides]
        pairs = zip([keras.ops.ones_like(areas), *large], [*large, None], strict=True)
        return [here if coarser is None else here - coarser for here, coarser in pairs]

    def _weights(self, start: Any, stop: Any, length: Any) -> Any:
        """How much each pixel of an axis counts in each bin: N x K x size x length."""
        extent, ratio = stop - start, self.sampling_ratio
        if self.aligned:
            start = start - 0.5
        else:
            extent = keras.ops.maximum(extent, 1.0)
        count = self.size * ratio
        places = (keras.ops.arange(count, dtype="float32") + 0.5) / count
        points = start + places * extent  # N x K x count, in map pixels
        last = keras.ops.cast(length - 1, "float32")
        counts = [keras.ops.cast(c, "float32") for c in (points >= -1.0, points <= last + 1.0)]
        points = keras.ops.minimum(keras.ops.maximum(points, 0.0), last)
        pixels = keras.ops.arange(length, dtype="float32")
        weights = keras.ops.relu(1.0 - keras.ops.abs(points[..., None] - pixels))
        weights = weights * (counts[0] * counts[1])[..., None]
        bins = keras.ops.reshape(weights, (-1, ratio, length))
        bins = keras.ops.mean(bins, axis=1)
        return keras.ops.reshape(bins, (-1, keras.ops.shape(start)[1], self.size, length))

    def _sample(self, x: Any, rows: Any, columns: Any) -> Any:
        """Takes the rows of all boxes, and then their columns: (N*K) x size x size x C."""
        rows, columns = (keras.ops.cast(w, self.compute_dtype) for w in (rows, columns))
        _, height, width, channels = keras.ops.shape(x)
        count = keras.ops.shape(rows)[1] * self.size
        rows = keras.ops.reshape(rows, (-1, count, height))
        strips = keras.ops.matmul(rows, keras.ops.reshape(x, (-1, height, width * channels)))
        strips = keras.ops.reshape(strips, (-1, self.size, width, channels))
        columns = keras.ops.reshape(columns, (-1, 1, self.size, width))
        return keras.ops.matmul(columns, strips)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": self.size,
            "sampling_ratio": self.sampling_ratio,
            "stride": self.stride,
            "aligned": self.aligned,
            "canonical_size": self.canonical_size,
        }


def _ascending(numbers: Sequence[int]) -> bool:
    return all(a < b for a, b in itertools.pairwise(numbers))
