"""What the commands print."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdeconv.tables import finite

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

Json = Annotated[bool, typer.Option("--json", help="Print plain JSON, for scripts.")]

_PIPED_WIDTH = 200  # columns where no terminal says how many there are


def stdout() -> Console:
    """Returns the console for results."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Returns the console for everything else."""
    return _console(sys.stderr)


def _console(stream: Any) -> Console:
    from rich.console import Console

    known = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if known else _PIPED_WIDTH, highlight=False)


def note(text: str) -> None:
    """Prints a line that is not a result."""
    print(text, file=sys.stderr)


def print_json(value: Any) -> None:
    """Prints a result as JSON. What JSON has no number for (infinity, NaN) becomes null."""
    print(json.dumps(finite(value), indent=2, ensure_ascii=False, allow_nan=False))


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[str] = ()
) -> None:
    """Prints a table; the columns named in `right` hold numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    _print(table)


def print_pairs(rows: Sequence[tuple[str, Any]]) -> None:
    """Prints a list of names and values."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")  # a path that is cut off is of no use
    for name, value in rows:
        table.add_row(Text(name), Text(str(value)))
    _print(table)


def _print(table: Table) -> None:
    """Prints a table without the blanks that Rich puts at the ends of lines."""
    console = stdout()
    with console.capture() as captured:
        console.print(table)
    print(*(line.rstrip() for line in captured.get().splitlines()), sep="\n")


def figures(metrics: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Lays out an evaluation's figures line by line, those of groups under the group's name."""
    rows = []
    for name, value in metrics.items():
        if isinstance(value, dict):
            rows += figures(value, f"{prefix}{name} ")
        elif not isinstance(value, list):  # the figures of single pictures are for JSON
            shown = f"{value:.4f}" if isinstance(value, float) else str(value)
            rows.append((prefix + name.replace("_", " "), shown))
    return rows


def print_title(title: str, text: str = "") -> None:
    """Prints a heading, with a sentence under it."""
    console = stdout()
    console.print(title, style="bold", markup=False)
    if text:
        console.print(text, markup=False)


@contextlib.contextmanager
def steps(first: str) -> Iterator[Callable[[str], None]]:
    """Shows which step is being done, with a spinner, on a terminal."""
    console = stderr()
    if not console.is_terminal:
        yield lambda step: None
        return
    with console.status(first) as status:
        yield status.update


@contextlib.contextmanager
def bar(description: str) -> Iterator[Callable[[int, int], None]]:
    """Shows how many of how many are done, on a terminal."""
    from rich import progress

    console = stderr()
    shown = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with shown:
        task = shown.add_task(description, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
