"""Where an export goes: what each target takes, as data, and a check of real files against it.

A target is a TOML file in this folder. Its keys are the fields of `Target`; its operators are an
allow-list of rules, whose keys are the fields of `Rule` plus `names`. Several rules may name one
operator: it is taken when one of them takes it, the earlier the better, and one with a `note`
takes it at a price.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasdeconv.errors import TargetError, closest
from kerasdeconv.export import artifact as art
from kerasdeconv.tables import read_toml

FORMS = ("keep", "joint")


@dataclasses.dataclass(frozen=True)
class Rule:
    """One way in which a target takes an operator. A field that is None or empty does not limit.

    Attributes:
        dtypes: Types that the tensors computed at run time may have.
        weights: Types in which constants of two dimensions or more may be stored.
        max_version: Of the operator (TFLite) or the operator set (ONNX).
        max_rank: Of any tensor, where lower than the target's.
        max_inputs: How many inputs at most.
        fused_activations: Those it takes; () for none at all.
        strides: Those it takes, such as (2, 2).
        kernels: Heights and widths of the weights that it takes.
        scales: Ratios of output to input height and width that it takes, for a resize.
        constant_inputs: Places of inputs that must be constants.
        attributes: The values it takes of other attributes.
        custom: Whether an operator outside the format's own set is meant.
        note: What it costs, for an operator that is taken but not well.
        source: Where the facts come from.
        verified: Whether the source was checked.
    """

    dtypes: tuple[str, ...] | None = None
    weights: tuple[str, ...] | None = None
    max_version: int | None = None
    max_rank: int | None = None
    max_inputs: int | None = None
    fused_activations: tuple[str, ...] | None = None
    strides: tuple[tuple[int, ...], ...] | None = None
    kernels: tuple[tuple[int, ...], ...] | None = None
    scales: tuple[float, ...] | None = None
    constant_inputs: tuple[int, ...] = ()
    attributes: Mapping[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    custom: bool = False
    note: str | None = None
    source: str = ""
    verified: bool = True

    def problems(self, operator: art.Operator) -> list[str]:
        """Says what is wrong with an operator, a clause each."""
        found: list[str] = []

        def limit(what: str, value: Any, allowed: Iterable[Any] | None) -> None:
            if allowed is not None and value not in (allowed := tuple(allowed)):
                choice = ", ".join(str(a) for a in allowed) or "none"
                found.append(f"{what} {value} where it takes {choice}")

        if operator.custom and not self.custom:
            found.append("it is a custom operator")
        for dtype in sorted({t.dtype for t in operator.data}):
            limit("type", dtype, self.dtypes)
        for stored in sorted({t.stored for t in operator.weights if t.stored}):
            limit("weights of type", stored, self.weights)
        if self.max_version is not None and operator.version > self.max_version:
            found.append(f"version {operator.version} where it takes {self.max_version} at most")
        if self.max_inputs is not None and len(operator.inputs) > self.max_inputs:
            found.append(f"{len(operator.inputs)} inputs where it takes {self.max_inputs} at most")
        found += rank_problems(operator, self.max_rank)
        if operator.fused_activation is not None:
            limit("fused activation", operator.fused_activation, self.fused_activations)
        if operator.strides:
            limit("strides", operator.strides, self.strides)
        if operator.weights and self.kernels is not None:
            limit("kernel", _kernel(operator), self.kernels)
        if self.scales is not None:
            for scale in _scales(operator):
                limit("scale", scale, self.scales)
        for place in self.constant_inputs:
            if place < len(operator.inputs) and not operator.inputs[place].constant:
                found.append(f"input {place} is computed where it must be a constant")
        for name, allowed in self.attributes.items():
            if name in operator.attributes:
                limit(name, operator.attributes[name], allowed)
        return found


@dataclasses.dataclass(frozen=True)
class Target:
    """What a place to run on takes.

    Attributes:
        name: As it is typed.
        title: For people.
        format: "tflite" or "onnx".
        runtime: What verifies a file for it here: "litert" or "onnxruntime".
        precisions: Those it runs, the usual choice first.
        door: The type at the door of an int8 file: "uint8", "int8" or "float32".
        max_rank: The most dimensions of a tensor.
        max_version: The newest operator set (ONNX), None for no limit.
        dynamic_shapes: Whether sides may be free.
        lowering: Rewrite ("transposed_convolution") and precision to its forms, the preferred
            first: "keep" as it is, or "joint", one convolution and a depth-to-space.
        operators: Name to rules.
        notes: What else to know.
    """

    name: str
    title: str
    format: str
    runtime: str
    precisions: tuple[str, ...]
    door: str
    max_rank: int
    lowering: Mapping[str, Mapping[str, tuple[str, ...]]]
    operators: Mapping[str, tuple[Rule, ...]]
    max_version: int | None = None
    dynamic_shapes: bool = False
    notes: tuple[str, ...] = ()

    def forms(self, rewrite: str, precision: str) -> tuple[str, ...]:
        """The forms of a rewrite to try for a precision, the preferred first.

        Raises:
            TargetError: The target does not run this precision, or says nothing of this rewrite.
        """
        if precision not in self.precisions:
            raise TargetError(
                f"{self.name} runs {', '.join(self.precisions)}. Received: {precision!r}"
            )
        if rewrite not in self.lowering:
            raise TargetError(
                f"{self.name} has no such rewrite. {closest(rewrite, self.lowering)} "
                f"Received: {rewrite!r}"
            )
        return self.lowering[rewrite][precision]

    def folds_volumes(self, precision: str) -> bool:
        """Whether volumes become pictures before the conversion.

        The runtimes of TFLite have no fast operator on five axes, no integer one and no pooling;
        ONNX Runtime lacks the integer ones alone.
        """
        return self.format == "tflite" or precision == "int8"


@dataclasses.dataclass(frozen=True)
class Violation:
    """Something in a file that a target refuses, or takes at a price.

    Attributes:
        problem: What is wrong.
        severity: "error" for what is refused, "warning" for what is slow.
        operator: Its name; None when the whole file is meant.
        index: The operator's place in the file.
        version: The operator's.
        dtype: Of its output.
        shape: Of its output.
        layer: The Keras layer that it came from, None where that cannot be told.
        source: Where the target's fact comes from.
    """

    problem: str
    severity: str = "error"
    operator: str | None = None
    index: int | None = None
    version: int | None = None
    dtype: str | None = None
    shape: tuple[int | None, ...] | None = None
    layer: str | None = None
    source: str = ""

    def __str__(self) -> str:
        if self.operator is None:
            return self.problem
        sides = "x".join("?" if side is None else str(side) for side in self.shape or ())
        tensor = f"{self.dtype} {sides or 'scalar'}"
        where = f"layer {self.layer!r}, " if self.layer else ""
        return (
            f"{self.operator} ({where}operator {self.index}, version {self.version}, "
            f"{tensor}): {self.problem}"
        )


def target_names() -> list[str]:
    """Lists the targets."""
    files = importlib.resources.files(__name__).iterdir()
    return sorted(Path(file.name).stem for file in files if file.name.endswith(".toml"))


@functools.cache
def load_target(name: str) -> Target:
    """Loads a target.

    Raises:
        TargetError: No such target; the message names the closest.
    """
    names = target_names()
    if name not in names:
        raise TargetError(f"No such target. {closest(name, names)} Received: {name!r}")
    fields = _read(name)
    fields["operators"] = _rules(fields.pop("operators"), fields.pop("defaults", {}))
    return Target(**_frozen(fields))


def _read(name: str) -> dict[str, Any]:
    """Reads a target's TOML, put over the one that it extends."""
    file = importlib.resources.files(__name__) / f"{name}.toml"
    fields = read_toml(file)
    if "extends" in fields:
        fields = {**_read(fields.pop("extends")), **fields}
    return fields


def _rules(rows: list[dict[str, Any]], defaults: dict[str, Any]) -> dict[str, tuple[Rule, ...]]:
    rules: dict[str, tuple[Rule, ...]] = {}
    for row in rows:
        fields = {**defaults, **row}
        names = fields.pop("names")
        rule = Rule(**_frozen(fields))
        for operator in names:
            rules[operator] = (*rules.get(operator, ()), rule)
    return rules


def _frozen(value: Any) -> Any:
    """Turns lists into tuples, all the way down."""
    if isinstance(value, dict):
        return {key: _frozen(item) for key, item in value.items()}
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value


def check(
    artifact: art.Artifact | str | Path,
    target: Target | str,
    layer_names: Iterable[str] = (),
) -> list[Violation]:
    """Walks a file and says what a target refuses in it.

    Args:
        artifact: The file, read or by its path.
        target: The target, or its name.
        layer_names: Of the Keras model, to name the layers with; without them the names in the
            file are read as well as they can be.

    Returns:
        What is refused (severity "error") or slow ("warning"), in the order of the file.

    Raises:
        ArtifactError: The file cannot be read.
        TargetError: No such target.
    """
    if not isinstance(artifact, art.Artifact):
        artifact = art.read_artifact(artifact)
    if isinstance(target, str):
        target = load_target(target)
    if artifact.format != target.format:
        return [
            Violation(f"{target.name} takes {target.format} files, this one is {artifact.format}")
        ]
    violations = []
    names = tuple(layer_names)
    own = [o.version for o in artifact.operators if not o.custom]
    if target.max_version is not None and max(own, default=0) > target.max_version:
        violations.append(
            Violation(f"operator set {max(own)}, where it takes {target.max_version} at most")
        )
    for operator in artifact.operators:
        output = operator.outputs[0] if operator.outputs else art.ABSENT
        for severity, problem, rule in _judge(operator, target):
            violations.append(
                Violation(
                    problem if rule.verified else f"{problem} [unverified]",
                    severity,
                    operator.name,
                    operator.index,
                    operator.version,
                    output.dtype,
                    output.shape,
                    art.layer_of(operator, names),
                    rule.source,
                )
            )
    return violations


def _judge(operator: art.Operator, target: Target) -> list[tuple[str, str, Rule]]:
    """Severity, problem and rule of all that is wrong with an operator."""
    rules = target.operators.get(operator.name, ())
    if not rules:
        kind = "custom operator" if operator.custom else "operator"
        if operator.custom and operator.name.startswith("Flex"):
            kind = "TensorFlow (Flex) operator"
        return [("error", f"{target.name} has no such {kind}", Rule())]
    judged = [(rule.problems(operator), rule) for rule in rules]
    # The first rule that takes it, without a price if possible, or that misses by least.
    problems, rule = min(judged, key=lambda pair: (len(pair[0]), pair[1].note is not None))
    found = [("error", problem, rule) for problem in problems]
    found += [("error", problem, rule) for problem in rank_problems(operator, target.max_rank)]
    if not target.dynamic_shapes and any(None in (t.shape or ()) for t in operator.data):
        found.append(("error", "a shape that is free until run time", rule))
    if not found and rule.note:
        found.append(("warning", rule.note, rule))
    if not found and not rule.verified:
        found.append(("warning", f"{target.name} is believed to take it", rule))
    return found


def rank_problems(operator: art.Operator, max_rank: int | None) -> list[str]:
    """Says whether a tensor of an operator has too many dimensions."""
    rank = max((len(t.shape or ()) for t in (*operator.inputs, *operator.outputs)), default=0)
    if max_rank is None or rank <= max_rank:
        return []
    return [f"a tensor of {rank} dimensions where it takes {max_rank} at most"]


def _kernel(operator: art.Operator) -> tuple[int | None, ...]:
    """Height and width of the weights: O-H-W-I in TFLite, O-I-H-W in ONNX."""
    shape = operator.weights[0].shape or ()
    return shape[1:-1] if operator.name.isupper() else shape[2:]


def _scales(operator: art.Operator) -> list[float]:
    """Output over input height and width: N-H-W-C in TFLite, N-C-H-W in ONNX."""
    sides = slice(1, -1) if operator.name.isupper() else slice(2, None)
    before = next((t.shape for t in operator.inputs if not t.constant), None) or ()
    after = (operator.outputs[0].shape or ()) if operator.outputs else ()
    return [
        a / b
        for b, a in zip(before[sides], after[sides], strict=False)
        if a is not None and b is not None
    ]
