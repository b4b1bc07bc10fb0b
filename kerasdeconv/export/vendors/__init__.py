"""Vendors' own tools: they really take a finished file for a target, and say what becomes of it.

A target's profile names the tool. `compile_file` runs it on a file and returns what it said, or
that it is not installed; nothing is guessed in its place.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasdeconv.errors import TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export.targets import Compiler, Target, Violation, load_target

__all__ = ["Compiled", "NotCompiled", "compile_file", "estimate", "estimates"]


@dataclasses.dataclass(frozen=True)
class Compiled:
    """What a vendor's tool made of a file.

    Attributes:
        tool: Name of its package.
        version: Of the tool.
        device: What it compiled for, in its own words.
        placed: Operators that the device runs, as the tool counts them.
        operators: All operators, as the tool counts them: it takes some of the file's apart, and
            joins others.
        left: Operators of the file that the tool leaves to the processor beside the device.
        precisions: Kind of layer and type in which it computes to how many there are, where told.
        cycles: Estimated by the tool, for what the device runs.
        milliseconds: The same as time, at the clock of `settings`.
        memory_kib: Kind of memory to how much is used.
        settings: What the estimates depend on.
    """

    tool: str
    version: str
    device: str
    placed: int
    operators: int
    left: tuple[Violation, ...] = ()
    precisions: Mapping[str, int] = dataclasses.field(default_factory=dict)
    cycles: int | None = None
    milliseconds: float | None = None
    memory_kib: Mapping[str, float] = dataclasses.field(default_factory=dict)
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def fraction(self) -> float:
        """Which part of the operators the device runs, by the tool's own count."""
        return self.placed / max(self.operators, 1)

    def summary(self) -> str:
        """The placement and the estimate, or what was loaded and run, in one line."""
        if self.milliseconds is None:
            layers = ", ".join(f"{count} {kind}" for kind, count in self.precisions.items())
            return f"{self.tool} loads and runs it: {layers or 'no layer that multiplies'}"
        part = " for the NPU's part" if self.left else ""
        return (
            f"NPU {100 * self.fraction:.3g} %: {self.placed} of {self.operators} operators; "
            f"{self.milliseconds:.2f} ms estimated{part}"
        )

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        fields = dataclasses.asdict(self)
        return {**fields, "fraction": self.fraction, "summary": self.summary()}


@dataclasses.dataclass(frozen=True)
class NotCompiled:
    """That a target's tool was not run, and why.

    Attributes:
        tool: Name of its package.
        reason: Such as "ethos-u-vela is not installed".
    """

    tool: str
    reason: str

    def summary(self) -> str:
        """One line."""
        return f"not compiled: {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """All of it, as plain values."""
        return {**dataclasses.asdict(self), "summary": self.summary()}


def compile_file(
    path: str | Path, target: Target | str, layer_names: Iterable[str] = ()
) -> Compiled | NotCompiled | None:
    """Gives a file to the tool of a target's vendor.

    Args:
        path: A finished file of the target's format; it is left as it is.
        target: The target, or its name.
        layer_names: Of the Keras model, to name the layers of what is left with.

    Returns:
        What the tool said, `NotCompiled` where it is not installed, or None for a target without
        such a tool.

    Raises:
        ArtifactError: The file cannot be read.
        TargetError: No such target, or the tool does not take the file.
    """
    if isinstance(target, str):
        target = load_target(target)
    if target.compiler is None:
        return None
    artifact = art.read_artifact(path)  # some tools crash on what is damaged
    if artifact.format != target.format:
        raise TargetError(
            f"{target.name} takes {target.format} files, this one is {artifact.format}. "
            f"Received: {str(path)!r}"
        )
    from kerasdeconv.export.vendors import openvino, vela

    tools = {"openvino": openvino.load, "vela": vela.compile_with_vela}
    return tools[target.compiler.tool](artifact, target.compiler, tuple(layer_names))


def estimates(compiler: Compiler) -> bool:
    """Whether a tool is installed and estimates times."""
    from kerasdeconv.export.vendors import vela

    return compiler.tool == "vela" and vela.installed()


def estimate(path: Path, target: Target) -> float:
    """A tool's estimate in milliseconds; without end where the device does not run all of it.

    Raises:
        TargetError: The tool does not take the file.
    """
    made = compile_file(path, target)
    if not isinstance(made, Compiled) or made.milliseconds is None or made.left:
        return math.inf
    return made.milliseconds
