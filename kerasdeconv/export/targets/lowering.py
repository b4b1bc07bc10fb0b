"""The forms of operators that a target may take: families, and how a profile lists them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from kerasdeconv.errors import TargetError, closest

KEEP = "keep"

_PHASES = (KEEP, "joint", "split", "rows")
# Family to its forms. "keep" leaves the operator as it is. Upsampling: "joint" is one convolution
# to all phases and a depth to space; "split" a convolution for each phase, joined, and a depth to
# space; "rows" a convolution for each row phase, joined along the width and reshaped: four axes and
# nothing else. "diagonal" goes channel by channel, "axes" along one axis after the other, "resize"
# is the runtime's own operator.
FORMS: Mapping[str, tuple[str, ...]] = {
    "depth_convolution": (KEEP, "sum"),
    "transposed_convolution": (*_PHASES, "diagonal", "resize"),
    "nearest_convolution": _PHASES,
    "depthwise_transposed": (KEEP, "split", "rows"),
    "depth_to_space": (KEEP, "rows", "transposed"),
    "nearest": (KEEP, "concat", "resize"),
    "bilinear": (KEEP, "axes"),
    "global_average": (KEEP, "window"),
    "average_pooling": (KEEP, "depthwise"),
    "group_normalization": (KEEP, "moments", "mean", "pool"),
    "prelu": (KEEP, "leaky", "halves", "depthwise", "sum"),
    "relu": (KEEP, "clamp"),
    "hard_swish": (KEEP, "product"),
    "tanh": (KEEP, "sigmoid"),
}


@dataclasses.dataclass(frozen=True)
class Form:
    """A form in a target's list.

    Attributes:
        name: One of the family's forms.
        max_stride: The greatest stride for which the target takes it, None for any.
    """

    name: str
    max_stride: int | None = None


Lowering = Mapping[str, Mapping[str, tuple[Form, ...]]]


def parse_lowering(table: Mapping[str, Any], precisions: Iterable[str], target: str) -> Lowering:
    """Reads a profile's `[lowering]`: a family's forms by precision, or one list for all.

    Raises:
        TargetError: A family, a precision or a form that does not exist.
    """
    precisions = tuple(precisions)
    parsed: dict[str, dict[str, tuple[Form, ...]]] = {}
    for family, listed in table.items():
        if family not in FORMS:
            raise TargetError(
                f"The profile of {target} lowers an unknown family. {closest(family, FORMS)} "
                f"Received: {family!r}"
            )
        every = dict.fromkeys(precisions, listed)
        lists = listed if isinstance(listed, Mapping) else every
        if unknown := sorted(set(lists) - set(precisions)):
            raise TargetError(
                f"The profile of {target} lowers {family} for a precision that it does not run. "
                f"{closest(unknown[0], precisions)} Received: {unknown[0]!r}"
            )
        parsed[family] = {
            precision: tuple(_form(entry, family, target) for entry in entries)
            for precision, entries in lists.items()
        }
    return parsed


def _form(entry: Any, family: str, target: str) -> Form:
    fields = entry if isinstance(entry, Mapping) else {"form": entry}
    name = fields.get("form")
    if name not in FORMS[family] or set(fields) - {"form", "max_stride"}:
        raise TargetError(
            f"The profile of {target} gives {family} an unknown form. Known: "
            f"{', '.join(FORMS[family])}, as a text or as {{ form, max_stride }}. "
            f"Received: {entry!r}"
        )
    return Form(name, fields.get("max_stride"))
