"""`bench`: exports against the stock converter's files, in one run."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.terminal import Json
from kerasdeconv.errors import DataError, TargetError, closest

if TYPE_CHECKING:
    from kerasdeconv.benchmark import Comparison


def bench(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            help="Zoo entries (* and ? standing for anything) or .keras files; all entries by "
            "default, which takes long."
        ),
    ] = None,
    *,
    target: Annotated[
        str, typer.Option(help="For which the files are made: see `kerasdeconv targets`.")
    ] = "android-cpu",
    precision: Annotated[
        str | None,
        typer.Option(help="One or several, with commas: float32 and int8 by default."),
    ] = None,
    size: naming.Size = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that both files run with.")] = 1,
    runs: Annotated[
        int | None,
        typer.Option(min=1, help="Runs of each file at most; slow networks get fewer."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="Write the results there, too.")
    ] = None,
    json: Json = False,
) -> None:
    """Time exports against the stock converter's files, in turns, on this machine.

    Both are made from the same weights and samples. Entries without trained weights get random
    ones, since only time matters here. Where one side cannot be made, or is not in the precision
    that was asked for, the table says so.

    Example: what the lowering is worth for a network, in int8 and float32.

      $ kerasdeconv bench unet --target android-cpu
    """
    sides = naming.parse_size(size)
    precisions = _precisions(precision, target)
    names = _names(models or ["*"])
    _require_writable(out)
    with terminal.steps("loading Keras and TensorFlow") as progress:
        from kerasdeconv import benchmark

        results = []
        for name in names:
            for wanted in precisions:
                say = functools.partial(_say, progress, f"{name} {wanted}")
                results.append(
                    benchmark.compare(
                        naming.open_model(name),
                        target=target,
                        precision=wanted,
                        size=sides,
                        threads=threads,
                        runs=runs or benchmark.RUNS,
                        progress=say,
                    )
                )
        machine = benchmark.machine()
        document = {"machine": machine, "zoo": [result.to_dict() for result in results]}
    if out is not None:
        benchmark.write_results(document, out)
    if json:
        terminal.print_json(document)
        return
    _print(results)
    terminal.note(
        f"note: medians of runs in turns, {threads} thread{'s' if threads > 1 else ''}, "
        f"{machine['processor']}; stock is the same model, static and frozen, "
        "converted without lowering"
    )


def _say(progress: Callable[[str], None], label: str, step: str) -> None:
    progress(f"{label}: {step}")


def _precisions(text: str | None, target: str) -> list[str]:
    """The precisions that are asked for, checked against the target.

    Raises:
        TargetError: There is no such target, or it does not take one of them.
        ValueError: There is no such precision.
    """
    from kerasdeconv.export.artifact import PRECISIONS
    from kerasdeconv.export.targets import load_target

    taken = load_target(target).precisions
    if text is None:
        return [name for name in ("float32", "int8") if name in taken]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise ValueError(f"Name a precision. Received: {text!r}")
    for name in names:
        if name not in PRECISIONS:
            raise ValueError(f"No such precision. {closest(name, PRECISIONS)} Received: {name!r}")
        if name not in taken:
            raise TargetError(f"The target {target!r} takes {', '.join(taken)}. Received: {name!r}")
    return list(dict.fromkeys(names))


def _names(patterns: list[str]) -> list[str]:
    """The entries and .keras files that the arguments name, each once.

    Raises:
        DataError: There is no such file.
        UnknownModel: No entry matches.
        ValueError: It is a path to something else.
    """
    from kerasdeconv.zoo.cards import list_models

    found: list[str] = []
    for pattern in patterns:
        if naming.is_model_file(pattern):
            found.append(pattern)
            continue
        names = list_models(pattern)
        if not names:
            raise naming.unknown_entry(pattern)
        found += names
    return list(dict.fromkeys(found))


def _require_writable(out: Path | None) -> None:
    """Refuses a place for the results before anything is measured.

    Raises:
        DataError: It cannot be written.
    """
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        raise DataError(f"--out is a file in a folder that there is. Received: {str(out)!r}")


def _print(results: list[Comparison]) -> None:
    columns = ("model", "precision", "stock ms", "ours ms", "ratio", "stock MB", "ours MB", "note")
    rows = [
        (
            result.name,
            result.precision,
            _number(result.stock_ms),
            _number(result.ours_ms),
            "" if result.ratio is None else f"{result.ratio:.2f}x",
            _megabytes(result.stock_bytes),
            _megabytes(result.ours_bytes),
            "; ".join(result.notes()),
        )
        for result in results
    ]
    terminal.print_table(columns, rows, right=columns[2:-1])


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.2f}"
