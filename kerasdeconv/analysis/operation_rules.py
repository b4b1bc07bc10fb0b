"""What the operations of `keras.ops` read of their inputs: `rule_of`.

They come up as nodes of a model of their own, and inside custom layers.
"""

from __future__ import annotations

from typing import Any

from kerasdeconv.analysis.intervals import SAME, Taps
from kerasdeconv.analysis.reading import (
    Axes,
    Rule,
    UnknownReach,
    Use,
    blocks_apart,
    blocks_together,
    elementwise,
    everywhere,
    joined_along,
    keeps_sides,
    over_axes,
    resize_to,
    shifted,
    spreads,
    windows,
)


def _words(text: str) -> list[str]:
    return text.split()


# By class; classes of operations have no public names.
_ELEMENTWISE = _words(
    """
    Relu Relu6 Sigmoid SparseSigmoid Softplus Softsign SoftShrink SparsePlus Silu Squareplus
    LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu Gelu Celu TanhShrink HardTanh HardShrink
    Threshold Absolute Abs Fabs Add Subtract Multiply Divide DivideNoNan TrueDivide FloorDivide
    Power Negative Square Sqrt Rsqrt Reciprocal Exp Exp2 Expm1 Log Log10 Log1p Log2 Sin Cos Tan
    Sinh Cosh Tanh Arcsin Arccos Arctan Arctan2 Sign Floor Ceil Round Trunc Clip Maximum Minimum
    Mod Fmod Erf Erfc Where Equal NotEqual Greater GreaterEqual Less LessEqual LogicalAnd LogicalOr
    LogicalNot LogicalXor Isfinite Isinf Isnan NanToNum OnesLike ZerosLike Copy Cast SaturateCast
    StopGradient ConvertToTensor BatchNorm RGBToGrayscale RGBToHSV HSVToRGB
    """
)
_REDUCTIONS = _words(
    """
    Mean Sum Max Min Amax Amin Prod Var Std Any All CountNonzero Argmax Argmin Logsumexp Moments
    Median Norm
    """
)
_ALONG = _words("Softmax LogSoftmax Sparsemax Glu Normalize Cumsum Sort LayerNorm RMSNorm")


def _arguments(use: Use) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What the operation is called with."""
    return use.node.call(lambda *args, **kwargs: (args, kwargs), list(use.inputs))


def _operand(use: Use, name: str, place: int) -> Any:
    args, kwargs = _arguments(use)
    return kwargs[name] if name in kwargs else args[place]


def _kernel_size(use: Use) -> tuple[int, ...]:
    kernel = _operand(use, "kernel", 1)
    shape = getattr(kernel, "shape", kernel)  # a kernel that is computed stands for its shape
    return tuple(shape[: use.rank])


def _convolution(use: Use) -> list[Axes]:
    op = use.layer
    options = use.spread(op.strides), use.spread(op.dilation_rate), op.padding
    return [windows(use, _kernel_size(use), *options)]


def _transposed(use: Use) -> list[Axes]:
    op = use.layer
    options = use.spread(op.strides), use.spread(op.dilation_rate), op.padding
    return [spreads(use, _kernel_size(use), *options)]


def _pooling(use: Use) -> list[Axes]:
    op = use.layer
    strides = op.pool_size if op.strides is None else op.strides
    options = use.spread(strides), (1,) * use.rank, op.padding
    return [windows(use, use.spread(op.pool_size), *options)]


def _reduction(use: Use) -> list[Axes]:
    op = use.layer
    axes = op.axes if hasattr(op, "axes") else op.axis
    rows = over_axes(use, axes)
    keeps = getattr(op, "keepdims", False)
    if not keeps and None in rows[0] and SAME in rows[0]:
        raise UnknownReach  # the axes behind would move up
    return rows


def _pad(use: Use) -> list[Axes]:
    widths = use.layer.pad_width
    pairs = list(widths) * len(use.inputs[0]) if len(widths) == 1 else widths
    return [shifted(-pair[0] for pair in pairs[1 : 1 + use.rank])]


def _item(use: Use) -> list[Axes]:
    key = _operand(use, "key", 1)
    key = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis in key:
        place, count = key.index(Ellipsis), len(use.inputs[0])
        key[place : place + 1] = [slice(None)] * (count - len(key) + 1)
    key += [slice(None)] * (1 + use.rank - len(key))
    axes: list[Taps | None] = []
    for part, side in zip(key[1 : 1 + use.rank], use.sides(), strict=True):
        if not isinstance(part, slice) or (part.step or 1) < 1:
            raise UnknownReach
        start, _, step = part.indices(side)
        axes.append(Taps(1, step, ((start,),)))
    if not isinstance(key[0], slice):
        raise UnknownReach
    return [tuple(axes)]


def _slice(use: Use) -> list[Axes]:
    starts = _operand(use, "start_indices", 1)
    if not all(isinstance(start, int) for start in starts):
        raise UnknownReach
    return [shifted(starts[1 : 1 + use.rank])]


def _transpose(use: Use) -> list[Axes]:
    axes = use.layer.axes
    if axes is None or tuple(axes[: 1 + use.rank]) != tuple(range(1 + use.rank)):
        raise UnknownReach
    return everywhere(SAME, use)


def _repeat(use: Use) -> list[Axes]:
    if use.layer.axis is None or not isinstance(use.layer.repeats, int):
        raise UnknownReach
    return blocks_apart(use)


def _behind(use: Use) -> list[Axes]:
    """Adds or removes axes, which must lie behind the sides."""
    if use.sides() != use.output_sides:
        raise UnknownReach
    axes = use.layer.axis
    longer = max(len(use.inputs[0]), len(use.output))
    given = [axes] if isinstance(axes, int) else axes
    if given is None or min(axis % longer for axis in given) <= use.rank:
        raise UnknownReach
    return everywhere(SAME, use)


_RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    **dict.fromkeys(_ALONG, lambda use: over_axes(use, use.layer.axis)),
    **dict.fromkeys(("Conv", "DepthwiseConv", "SeparableConv"), _convolution),
    **dict.fromkeys(("MaxPool", "AveragePool"), _pooling),
    **dict.fromkeys(("ExpandDims", "Squeeze"), _behind),
    "ConvTranspose": _transposed,
    "Concatenate": lambda use: joined_along(use, use.layer.axis),
    "Split": lambda use: joined_along(use, use.layer.axis),
    "Stack": _behind,
    "DepthToSpace": blocks_apart,
    "SpaceToDepth": blocks_together,
    "Resize": resize_to,
    "Pad": _pad,
    "GetItem": _item,
    "Slice": _slice,
    "Transpose": _transpose,
    "Reshape": keeps_sides,
    "Repeat": _repeat,
}


def rule_of(operation: Any) -> Rule | None:
    """Returns the rule of an operation of Keras; None where there is none."""
    kind = type(operation)
    if not kind.__module__.startswith("keras."):
        return None
    return _RULES.get(kind.__name__)
