"""Rules: the ways in which a target takes an operator."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kerasdeconv.export import artifact as art


@dataclasses.dataclass(frozen=True)
class Rule:
    """One way in which a target takes an operator. A field that is None or empty does not limit.

    Attributes:
        dtypes: Types that the tensors computed at run time may have.
        weights: Types in which constants of two dimensions or more may be stored.
        max_version: Of the operator (TFLite) or the operator set (ONNX).
        max_rank: Of any tensor, where lower than the target's.
        max_axes: Of any tensor computed at run time, where lower than the target's.
        max_inputs: How many inputs at most.
        max_pixels: Height times width of the first input.
        fused_activations: Those it takes; () for none at all.
        strides: Those it takes, such as (2, 2).
        max_stride: In each direction.
        kernels: Heights and widths of the weights that it takes.
        scales: Ratios of output to input height and width that it takes, for a resize.
        whole_upsampling: Whether the output of a transposed convolution must be as large as stride
            and padding alone make it: nothing cut off and nothing added.
        unpadded: Whether it may read nothing outside the picture, whatever the padding is called.
        constant_inputs: Places of inputs that must be constants.
        zero_points: Those that the quantized tensors may have.
        attributes: The values it takes of other attributes.
        custom: Whether an operator outside the format's own set is meant.
        refusal: Why it is not taken at all, for an operator of which just that is known.
        note: What it costs, for an operator that is taken but not well.
        source: Where the facts come from.
        verified: Whether the source was checked.
    """

    dtypes: tuple[str, ...] | None = None
    weights: tuple[str, ...] | None = None
    max_version: int | None = None
    max_rank: int | None = None
    max_axes: int | None = None
    max_inputs: int | None = None
    max_pixels: int | None = None
    fused_activations: tuple[str, ...] | None = None
    strides: tuple[tuple[int, ...], ...] | None = None
    max_stride: int | None = None
    kernels: tuple[tuple[int, ...], ...] | None = None
    scales: tuple[float, ...] | None = None
    whole_upsampling: bool = False
    unpadded: bool = False
    constant_inputs: tuple[int, ...] = ()
    zero_points: tuple[int, ...] | None = None
    attributes: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    custom: bool = False
    refusal: str | None = None
    note: str | None = None
    source: str = ""
    verified: bool = True

    def problems(self, operator: art.Operator) -> list[str]:
        """Says what is wrong with an operator, a clause each."""
        if self.refusal is not None:
            return [self.refusal]
        found = ["it is a custom operator"] if operator.custom and not self.custom else []
        return [*found, *self._tensor_problems(operator), *self._option_problems(operator)]

    def _tensor_problems(self, operator: art.Operator) -> list[str]:
        """What is wrong with types, shapes and quantization."""
        found: list[str] = []
        for dtype in sorted({t.dtype for t in operator.data}):
            found += _outside("type", dtype, self.dtypes)
        for stored in sorted({t.stored for t in operator.weights if t.stored}):
            found += _outside("weights of type", stored, self.weights)
        for zero in sorted(_zero_points(operator)) if self.zero_points is not None else ():
            found += _outside("zero point", zero, self.zero_points)
        found += rank_problems(operator, self.max_rank)
        found += axes_problems(operator, self.max_axes)
        for place in self.constant_inputs:
            if place < len(operator.inputs) and not operator.inputs[place].constant:
                found.append(f"input {place} is computed where it must be a constant")
        return found

    def _option_problems(self, operator: art.Operator) -> list[str]:
        """What is wrong with version, options and geometry."""
        pixels, stride = _pixels(operator), max(operator.strides, default=0)
        found = [
            *_above("version {}", operator.version, self.max_version),
            *_above("{} inputs", len(operator.inputs), self.max_inputs),
            *_above("{} pixels", pixels, self.max_pixels),
            *_above("stride {}", stride, self.max_stride),
        ]
        if operator.fused_activation is not None:
            found += _outside("fused activation", operator.fused_activation, self.fused_activations)
        if operator.strides:
            found += _outside("strides", operator.strides, self.strides)
        if operator.weights and self.kernels is not None:
            found += _outside("kernel", _kernel(operator), self.kernels)
        for scale in _scales(operator) if self.scales is not None else ():
            found += _outside("scale", scale, self.scales)
        if self.whole_upsampling:
            found += _upsampling_problems(operator)
        if self.unpadded:
            found += _padding_problems(operator)
        for name, allowed in self.attributes.items():
            if name in operator.attributes:
                found += _outside(name, operator.attributes[name], allowed)
        return found


def rank_problems(operator: art.Operator, max_rank: int | None) -> list[str]:
    """Says whether a tensor of an operator has too many dimensions."""
    rank = max((len(t.shape or ()) for t in (*operator.inputs, *operator.outputs)), default=0)
    return _above("a tensor of {} dimensions", rank, max_rank)


def axes_problems(operator: art.Operator, max_axes: int | None) -> list[str]:
    """Says whether a tensor extends along too many axes, those before the first side > 1 aside."""
    return _above("a tensor along {} axes", max(map(_axes, operator.data), default=0), max_axes)


def _axes(tensor: art.Tensor) -> int:
    shape = tensor.shape or ()
    first = next((i for i, side in enumerate(shape) if side != 1), len(shape))
    return len(shape) - first


def _outside(what: str, value: Any, allowed: Iterable[Any] | None) -> list[str]:
    if allowed is None or value in (allowed := tuple(allowed)):
        return []
    choice = ", ".join(str(a) for a in allowed) or "none"
    return [f"{what} {value} where it takes {choice}"]


def _above(what: str, value: int, limit: int | None) -> list[str]:
    if limit is None or value <= limit:
        return []
    return [f"{what.format(value)} where it takes {limit} at most"]


def _spatial(operator: art.Operator) -> slice:
    """Where the sides of a picture are: N-H-W-C in TFLite, N-C-H-W in ONNX."""
    return slice(1, -1) if operator.name.isupper() else slice(2, None)


def _picture(operator: art.Operator) -> tuple[int | None, ...]:
    """Height and width of the first input that is computed."""
    shape = next((t.shape for t in operator.inputs if not t.constant), None) or ()
    return shape[_spatial(operator)]


def _pixels(operator: art.Operator) -> int:
    pixels = 1
    for side in _picture(operator):
        pixels *= side or 1
    return pixels


def _kernel(operator: art.Operator) -> tuple[int | None, ...]:
    """Height and width of the weights: O-H-W-I in TFLite, O-I-H-W in ONNX."""
    return (operator.weights[0].shape or ())[_spatial(operator)]


def _after(operator: art.Operator) -> tuple[int | None, ...]:
    """Height and width of the output."""
    shape = operator.outputs[0].shape if operator.outputs else None
    return (shape or ())[_spatial(operator)]


def _scales(operator: art.Operator) -> list[float]:
    """Output over input height and width."""
    sides = zip(_picture(operator), _after(operator), strict=False)
    return [a / b for b, a in sides if a is not None and b is not None]


def _upsampling_problems(operator: art.Operator) -> list[str]:
    """Whether a transposed convolution cuts its output or adds to it."""
    same = operator.attributes.get("padding") == "SAME"
    kernels = _kernel(operator) if operator.weights else ()
    found = []
    sides = zip(_picture(operator), _after(operator), operator.strides, kernels, strict=False)
    for before, after, stride, kernel in sides:
        if before is None or after is None or kernel is None:
            continue
        whole = before * stride + (0 if same else max(kernel - stride, 0))
        if after != whole:
            found.append(f"{before} pixels become {after} where it makes {whole}")
    return found


def _padding_problems(operator: art.Operator) -> list[str]:
    """Whether a window reaches out of the picture. Windows are those of a TFLite operator."""
    options = operator.attributes
    if options.get("padding") != "SAME":
        return []
    filters = options.get("filter_height"), options.get("filter_width")
    kernels = _kernel(operator) if operator.weights else filters
    dilations = options.get("dilation_h_factor", 1), options.get("dilation_w_factor", 1)
    windows = zip(kernels, dilations, operator.strides, strict=False)
    sides = zip(_picture(operator), _after(operator), windows, strict=False)
    for before, after, (kernel, dilation, stride) in sides:
        if before is None or after is None or kernel is None:
            continue
        if (after - 1) * stride + (kernel - 1) * dilation + 1 > before:
            return ["padding around the picture where it takes none"]
    return []


def _zero_points(operator: art.Operator) -> set[int]:
    tensors = (*operator.inputs, *operator.outputs)
    return {zero for t in tensors if t.quantization for zero in t.quantization.zero_points}
