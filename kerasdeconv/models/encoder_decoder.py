"""The two halves of U-shaped networks, in 2D and 3D: down with skips kept, and up again.

The builders differ in widths, blocks and encoders; how levels are joined is here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.errors import closest

BLOCKS = {"plain": layers.plain_block, "residual": layers.residual_block}
POOLINGS = ("max", "conv")

Widths = Sequence["int | tuple[int, ...]"]


def check_choices(block: str, padding: str, pooling: str) -> None:
    """Refuses a block, padding or pooling that there is not.

    Raises:
        ValueError: One of them is unknown; the message names the closest.
    """
    if block not in BLOCKS:
        raise ValueError(f"No such block. {closest(block, BLOCKS)} Received: {block!r}")
    if padding not in ("valid", "same"):
        raise ValueError(f"padding must be 'valid' or 'same'. Received: {padding!r}")
    if pooling not in POOLINGS:
        raise ValueError(f"No such pooling. {closest(pooling, POOLINGS)} Received: {pooling!r}")


def per_level(strides: Any, depth: int, rank: int) -> list[tuple[int, ...]]:
    """Spreads strides over levels and axes.

    Args:
        strides: One number for all, or a sequence of one entry a level, the finest first, each a
            number or a tuple of one number an axis (anisotropic volumes).
        depth: Number of levels.
        rank: Number of spatial axes.

    Raises:
        ValueError: There are not as many as levels or axes, or one is less than 1.
    """
    levels = [strides] * depth if isinstance(strides, int) else list(strides)
    if len(levels) != depth:
        raise ValueError(
            f"strides must be one number, or {depth}, one for each level. Received: {strides!r}"
        )
    spread = [layers.per_axis(level, rank) for level in levels]
    if any(stride < 1 for level in spread for stride in level):
        raise ValueError(f"strides must be 1 or more. Received: {strides!r}")
    return spread


def contract(
    x: Any,
    widths: Widths,
    *,
    strides: Sequence[tuple[int, ...]],
    block: str = "plain",
    pooling: str = "max",
    **options: Any,
) -> tuple[Any, list[Any]]:
    """Goes down: a block and a pooling a level.

    Args:
        x: A map.
        widths: Channels of each level's block, the finest first.
        strides: Pooling of each level, see `per_level`.
        block: One of `BLOCKS`.
        pooling: "max", or "conv" for a convolution with strides as kernel.
        **options: `padding`, `norm` and `activation` of the blocks.

    Returns:
        The pooled map below the last level, and each level's map before its pooling.
    """
    rank, skips = len(x.shape) - 2, []
    for level, (width, stride) in enumerate(zip(widths, strides, strict=True)):
        label = f"encoder_{level}"
        x = BLOCKS[block](x, width, name=label, **options)
        skips.append(x)
        if pooling == "max":
            x = layers.of_rank("MaxPooling{}D", rank)(stride, name=f"{label}_pool")(x)
        else:
            x = layers.of_rank("Conv{}D", rank)(
                x.shape[-1],
                stride,
                strides=stride,
                kernel_initializer="he_normal",
                name=f"{label}_pool",
            )(x)
    return x, skips


def contract_with_indices(
    x: Any, widths: Widths, *, pooled_indices: bool = True, **options: Any
) -> tuple[Any, list[Any]]:
    """Goes down by poolings of 2 that remember where each maximum was.

    Args:
        x: A map.
        widths: Channels of each level's block, the finest first.
        pooled_indices: Without it the poolings are ordinary ones.
        **options: `padding`, `norm`, `activation` and `use_bias` of the blocks.

    Returns:
        The pooled map below the last level, and each level's indices (None without).
    """
    rank, indices = len(x.shape) - 2, []
    for level, width in enumerate(widths):
        label = f"encoder_{level}"
        x = layers.plain_block(x, width, name=label, **options)
        index = None
        if pooled_indices:
            x, index = layers.MaxPoolingWithIndices(2, name=f"{label}_pool")(x)
        else:
            x = layers.of_rank("MaxPooling{}D", rank)(2, name=f"{label}_pool")(x)
        indices.append(index)
    return x, indices


def unpool(x: Any, indices: Any, *, upsample: str, name: str) -> Any:
    """Doubles a map, by the indices of a pooling or with learned weights.

    Args:
        x: A map.
        indices: Of `contract_with_indices`; not used by the other methods.
        upsample: "max_unpooling" or one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        name: Name of the layer.

    Raises:
        ValueError: No such method.
    """
    if upsample == "max_unpooling":
        return layers.MaxUnpooling(2, name=name)([x, indices])
    if upsample not in layers.UPSAMPLING_METHODS:
        methods = ("max_unpooling", *layers.UPSAMPLING_METHODS)
        raise ValueError(
            f"No such upsampling method. {closest(upsample, methods)} Received: {upsample!r}"
        )
    return layers.upsample(x, x.shape[-1], method=upsample, name=name)


def expand(
    x: Any,
    skips: Sequence[Any],
    widths: Widths,
    *,
    strides: Sequence[tuple[int, ...]],
    up_widths: Sequence[int] | None = None,
    up_bias: bool = True,
    upsample: str = "transpose",
    attention: bool = False,
    block: str = "plain",
    **options: Any,
) -> Any:
    """Goes up: upsampling, the skip of that level (cropped if it is larger), and a block a level.

    Args:
        x: The coarsest map.
        skips: Each level's skip, the finest first; None where a level has none.
        widths: Channels of each level's block, the finest first.
        strides: Upsampling factor of each level.
        up_widths: Channels after each upsampling; by default those of the block.
        up_bias: Whether the upsampling has a bias.
        upsample: One of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        attention: Whether attention gates weigh the skips; they need strides of 2.
        block: One of `BLOCKS`.
        **options: `padding`, `norm` and `activation` of the blocks.

    Returns:
        The finest level's map.
    """
    for level in reversed(range(len(widths))):
        gate, skip, width, label = x, skips[level], widths[level], f"decoder_{level}"
        up_width = up_widths[level] if up_widths else width if isinstance(width, int) else width[0]
        x = layers.upsample(
            x,
            up_width,
            factor=strides[level],
            method=upsample,
            use_bias=up_bias,
            name=f"{label}_up",
        )
        if skip is not None:
            if options["padding"] == "valid":
                skip = layers.CropLike(name=f"{label}_crop")([skip, x])
            if attention:
                skip = layers.attention_gate(
                    skip, gate, strides=strides[level], name=f"{label}_gate"
                )
            x = keras.layers.Concatenate(name=f"{label}_concat")([skip, x])
        x = BLOCKS[block](x, width, name=label, **options)
    return x


def fits(margin: int, strides: Sequence[tuple[int, ...]]) -> Callable[[int, int], bool]:
    """Makes the test whether a side fits a network of `contract` and `expand`.

    Args:
        margin: Pixels that an unpadded block takes from a side (4 for two 3 x 3 convolutions); 0
            for padded ones.
        strides: Of each level, the finest first.

    Returns:
        A function of a side and its axis, for `check_sides`.
    """

    def fit(side: int, axis: int) -> bool:
        rows = []
        for level in strides:
            side -= margin
            if side < 1 or side % level[axis]:
                return False  # a pooling would drop a row
            rows.append(side)
            side //= level[axis]
        side -= margin
        for row, level in zip(reversed(rows), reversed(strides), strict=True):
            side *= level[axis]
            if side < 1 or (row - side) % 2:
                return False
            side -= margin
        return side > 0

    return fit
