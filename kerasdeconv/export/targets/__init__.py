"""Where an export goes: what each target takes, as data, and a check of real files against it.

A target is a TOML file in this folder. Its keys are the fields of `Target`; its operators are an
allow-list of rules, whose keys are the fields of `Rule` plus `names`. Several rules may name one
operator: it is taken when one of them takes it, the earlier the better, and one with a `note`
takes it at a price. `[defaults]` holds what rules have in common; its source is also that of the
list itself, of what is not on it.

A profile that `extends` another one has all its keys but those that it gives itself; `[lowering]`
alone is put together, family by family.
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
from kerasdeconv.export.targets.lowering import FORMS, KEEP, Lowering, parse_lowering
from kerasdeconv.export.targets.rules import Rule, axes_problems, rank_problems
from kerasdeconv.tables import read_toml

__all__ = [
    "FORMS",
    "Compiler",
    "Rule",
    "Target",
    "Violation",
    "check",
    "load_target",
    "target_names",
]


@dataclasses.dataclass(frozen=True)
class Compiler:
    """The vendor's own tool that takes a target's files, see `kerasdeconv.export.vendors`.

    Attributes:
        tool: "vela" or "openvino".
        device: What it compiles for, in its own words.
        system: Its name of the system around the device.
        memory: Its name of how memory is used.
    """

    tool: str
    device: str
    system: str = ""
    memory: str = ""


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
        operators: Name to rules.
        source: Where the list of operators comes from.
        verified: Whether that was checked.
        lowering: Family of operators and precision to the forms to try, the preferred first; see
            `lowering.FORMS`. What is not listed is kept.
        channel_tile: Output channels that a convolution kernel of the runtime computes at once.
            Where given, the form of least work is the default, channels counted in whole tiles, and
            the earlier of equals; without it the first.
        folded: Precisions in which volumes become pictures (`folds_volumes` in a profile: such a
            list, or true for all).
        tunes: Whether `runtime` runs files here as the target does, so that timing them says which
            form is faster there.
        compiler: The vendor's own tool for the target, where there is one that runs anywhere.
        max_axes: The most axes along which a tensor extends, sides of 1 before them not counted.
        notes: What else to know.
    """

    name: str
    title: str
    format: str
    runtime: str
    precisions: tuple[str, ...]
    door: str
    max_rank: int
    operators: Mapping[str, tuple[Rule, ...]]
    source: str
    verified: bool = True
    lowering: Lowering = dataclasses.field(default_factory=dict)
    channel_tile: int | None = None
    folded: tuple[str, ...] = ()
    tunes: bool = True
    compiler: Compiler | None = None
    max_version: int | None = None
    max_axes: int | None = None
    dynamic_shapes: bool = False
    notes: tuple[str, ...] = ()

    def forms(self, family: str, precision: str, stride: int | None = None) -> tuple[str, ...]:
        """The forms of a family to try for a precision, the preferred first.

        Args:
            family: One of `FORMS`.
            precision: One that the target runs.
            stride: Of the operator; forms that the target takes up to a lesser one are left out.

        Raises:
            TargetError: The target does not run this precision, or there is no such family.
        """
        if precision not in self.precisions:
            raise TargetError(
                f"{self.name} runs {', '.join(self.precisions)}. Received: {precision!r}"
            )
        if family not in FORMS:
            raise TargetError(f"No such family. {closest(family, FORMS)} Received: {family!r}")
        listed = self.lowering.get(family, {}).get(precision, ())
        names = [
            form.name
            for form in listed
            if stride is None or form.max_stride is None or stride <= form.max_stride
        ]
        return tuple(dict.fromkeys(names)) or (KEEP,)

    def folds_volumes(self, precision: str) -> bool:
        """Whether volumes become pictures before the conversion.

        The runtimes of TFLite have no fast operator on five axes, no integer one and no pooling;
        ONNX Runtime lacks the integer ones alone.
        """
        return precision in self.folded

    def to_dict(self) -> dict[str, Any]:
        """What a listing tells: all but forms and operators."""
        fields = {k: v for k, v in vars(self).items() if k not in ("operators", "lowering")}
        return {**fields, "compiler": self.compiler and dataclasses.asdict(self.compiler)}


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
        verified: Whether that was checked.
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
    verified: bool = True

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
    defaults = fields.pop("defaults", {})
    fields["source"] = defaults.get("source", "")
    fields["verified"] = defaults.get("verified", True)
    operators = _rules(fields.pop("operators"), defaults)
    lowering = parse_lowering(fields.pop("lowering", {}), fields["precisions"], name)
    folds = fields.pop("folds_volumes", False)
    fields["folded"] = fields["precisions"] if folds is True else folds or ()
    if "compiler" in fields:
        fields["compiler"] = Compiler(**fields["compiler"])
    return Target(operators=operators, lowering=lowering, **_frozen(fields))


def _read(name: str) -> dict[str, Any]:
    """Reads a target's TOML, put over the one that it extends."""
    file = importlib.resources.files(__name__) / f"{name}.toml"
    fields = read_toml(file)
    if "extends" in fields:
        inherited = _read(fields.pop("extends"))
        lowering = {**inherited.get("lowering", {}), **fields.get("lowering", {})}
        fields = {**inherited, **fields, "lowering": lowering}
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
        problem = f"{target.name} takes {target.format} files, this one is {artifact.format}"
        return [Violation(problem, source=target.source)]
    violations = []
    names = tuple(layer_names)
    own = [o.version for o in artifact.operators if not o.custom]
    if target.max_version is not None and max(own, default=0) > target.max_version:
        problem = f"operator set {max(own)}, where it takes {target.max_version} at most"
        violations.append(Violation(problem, source=target.source))
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
                    rule.verified,
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
        absent = Rule(source=target.source, verified=target.verified)
        return [("error", f"{target.name} has no such {kind}", absent)]
    judged = [(rule.problems(operator), rule) for rule in rules]
    # The first rule that takes it, without a price if possible, or that misses by least.
    problems, rule = min(judged, key=lambda pair: (len(pair[0]), pair[1].note is not None))
    found = [("error", problem, rule) for problem in problems]
    everywhere = [
        *rank_problems(operator, target.max_rank),
        *axes_problems(operator, target.max_axes),
    ]
    found += [("error", problem, rule) for problem in everywhere if problem not in problems]
    if not target.dynamic_shapes and any(None in (t.shape or ()) for t in operator.data):
        found.append(("error", "a shape that is free until run time", rule))
    if not found and rule.note:
        found.append(("warning", rule.note, rule))
    if not found and not rule.verified:
        found.append(("warning", f"{target.name} is believed to take it", rule))
    return found
