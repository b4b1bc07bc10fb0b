"""Arm's compiler for the Ethos-U, Vela: what runs on the NPU, what does not, and how long it takes.

It is run in a process of its own, since it ends in a crash on some files that it does not take.
"""

from __future__ import annotations

import csv
import dataclasses
import importlib.metadata
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from kerasdeconv.errors import TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export.targets import Compiler, Violation
from kerasdeconv.export.vendors import Compiled, NotCompiled

PACKAGE = "ethos-u-vela"
# The operator in a compiled file that stands for all that the NPU runs.
_NPU = "ethos-u"
_COUNT = re.compile(r"^(CPU|NPU) operators = (\d+) ", re.MULTILINE)
_MEMORY = re.compile(r"^(.*)_memory_used$")
_SECONDS = 600


def installed() -> bool:
    """Whether Vela is there."""
    try:
        importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def compile_with_vela(
    artifact: art.Artifact, compiler: Compiler, layer_names: tuple[str, ...]
) -> Compiled | NotCompiled:
    """Compiles a .tflite file for an Ethos-U and reads what Vela says of it.

    The estimates are Vela's own, for the NPU alone: what is left to the processor is not in them.

    Args:
        artifact: The file, read.
        compiler: The accelerator, and the system and memory to estimate for.
        layer_names: Of the Keras model.

    Raises:
        TargetError: Vela does not take the file.
    """
    try:
        version = importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return NotCompiled(PACKAGE, f"{PACKAGE} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        said = _run(artifact.path, compiler, Path(folder))
        try:
            result = _read(said, Path(folder), artifact, layer_names)
        except (KeyError, StopIteration, ValueError):
            raise TargetError(
                f"{PACKAGE} compiled the file, but its summary is not understood: 5.0 to 5.2 are "
                f"known. Received: {version!r}"
            ) from None
    return dataclasses.replace(result, version=version, device=compiler.device)


def _read(
    said: str, folder: Path, artifact: art.Artifact, layer_names: tuple[str, ...]
) -> Compiled:
    """Reads what Vela printed and wrote."""
    row = _summary(folder)
    (compiled,) = folder.glob("*_vela.tflite")
    left = [o for o in art.read_artifact(compiled).operators if o.name != _NPU]
    counts = {unit: int(count) for unit, count in _COUNT.findall(said)}
    memory = {m[1]: float(kib) for name, kib in row.items() if (m := _MEMORY.match(name))}
    return Compiled(
        PACKAGE,
        version="",
        device=row["accelerator_configuration"],
        placed=counts["NPU"],
        operators=sum(counts.values()),
        left=tuple(_left(operator, artifact, layer_names) for operator in left),
        cycles=int(float(row["cycles_total"])),
        milliseconds=1e3 * float(row["inference_time"]),
        memory_kib={name: kib for name, kib in memory.items() if kib},
        settings={
            "system": row["system_config"],
            "memory": row["memory_mode"],
            "clock_mhz": float(row["core_clock"]) / 1e6,
        },
    )


def _run(path: Path, compiler: Compiler, folder: Path) -> str:
    """Runs Vela, which writes into a folder, and returns what it printed."""
    command = [sys.executable, "-m", "ethosu.vela", str(path.resolve()), "--output-dir", "."]
    options = {
        "--config": "Arm/vela.ini",
        "--accelerator-config": compiler.device,
        "--system-config": compiler.system,
        "--memory-mode": compiler.memory,
    }
    command += [word for option in options.items() for word in option]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TargetError(
            f"{PACKAGE} has not compiled the file after {_SECONDS} s. Received: {str(path)!r}"
        ) from None
    if done.returncode or not _COUNT.search(done.stdout):
        raise TargetError(
            f"{PACKAGE} does not compile the file ({_reason(done)}). Received: {str(path)!r}"
        )
    return done.stdout


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    if done.returncode < 0:
        return f"it ended by signal {-done.returncode}"
    return lines[-1] if lines else "it says nothing"


def _summary(folder: Path) -> dict[str, str]:
    """The one row of Vela's summary, by the names of its columns."""
    (file,) = folder.glob("*_summary_*.csv")
    with file.open(newline="", encoding="utf-8") as lines:
        return next(csv.DictReader(lines))


def _left(
    operator: art.Operator, artifact: art.Artifact, layer_names: tuple[str, ...]
) -> Violation:
    """Says of an operator of the compiled file that the NPU does not run it.

    It is looked up in the file that was compiled, by the name of its output, which Vela keeps.
    """
    output = operator.outputs[0] if operator.outputs else art.ABSENT
    same = [o for o in artifact.operators if o.name == operator.name and o.outputs[:1] == (output,)]
    found = same[0] if same else operator
    return Violation(
        "Vela leaves it to the processor",
        "warning",
        operator.name,
        found.index if same else None,
        operator.version,
        output.dtype,
        output.shape,
        art.layer_of(found, layer_names),
        f"compiled with {PACKAGE}",
    )
