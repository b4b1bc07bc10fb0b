"""Measures the zoo and the figures, and writes results.json and the tables of the page.

Run it by `make bench`, on a machine that does nothing else. It took 42 minutes on two
cores that other work shared. A part of it:

    python benchmarks/run.py --part figures --only '*transposed*'
    python benchmarks/run.py --part zoo --only 'unet*' 'espcn*'
    python benchmarks/run.py --all                # with the largest entries, too

Rows of a part that another processor measured than the rest are marked with its name.
"""

from __future__ import annotations

import argparse
import dataclasses
import fnmatch
import functools
import gc
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import figures
import keras
import table

from kerasdeconv import zoo
from kerasdeconv.benchmark import Comparison, compare, machine, precisions_for, write_results
from kerasdeconv.quiet import quiet

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
PAGE = HERE.parent / "docs" / "performance.md"
TARGET = "android-cpu"

# Beyond these a comparison takes minutes or gigabytes: three conversions, calibration on the float
# network, and the Keras model itself, which verifies the export.
MACS = 10e9
PARAMETERS = 100e6
# Entries that are compared at a smaller size than their card's, so that they stay below.
SIZES = {"unet3d.padded": (32, 32, 32)}

Results = dict[str, Any]


def too_large(name: str) -> str | None:
    """Why an entry is left out unless `--all` asks for it; None for one that is not."""
    card = zoo.card(name)
    if card.parameters > PARAMETERS:
        return f"{card.parameters / 1e6:.0f} million weights"
    if name not in SIZES and card.macs is not None and card.macs > MACS:
        return f"{card.macs / 1e9:.0f} G multiply-accumulates"
    return None


def measure_entry(name: str, precision: str) -> Comparison:
    """Compares one entry; an error becomes a row that says it."""
    try:
        return compare(name, target=TARGET, precision=precision, size=SIZES.get(name))
    except Exception as error:  # one entry that fails must not end the run
        problem = f"{type(error).__name__}: {error}".splitlines()[0]
        return Comparison(name, TARGET, precision, (), "", 1, ours_problem=problem)


def zoo_rows(names: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of entries, each with its key."""
    for name in names:
        for precision in precisions_for(TARGET):
            result = measure_entry(name, precision)
            yield f"{name} {precision}: {_brief(result.ratio)}", result.to_dict()
            keras.backend.clear_session(free_memory=True)


def figure_rows(chosen: Callable[[str], bool]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of the figures whose names are chosen."""
    sources: list[tuple[str, Callable[[], Iterator[figures.Figure]]]] = [
        (case.what, functools.partial(figures.measure, case)) for case in figures.CASES
    ]
    sources += [
        ("multiply-accumulates a second", figures.measure_rates),
        ("lowering", figures.measure_lowering),
    ]
    for what, measure in sources:
        if not chosen(what):
            continue
        try:
            for row in measure():
                said = f"{row.what}, {row.target} {row.precision}: {_brief(row.value)}"
                yield said, dataclasses.asdict(row)
        except Exception as error:  # as above
            problem = f"{type(error).__name__}: {error}".splitlines()[0]
            yield (
                f"{what}: {problem}",
                dataclasses.asdict(figures.Figure(what, "", "", None, None, note=problem)),
            )
        keras.backend.clear_session(free_memory=True)


def merged(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The old rows with those replaced that were measured again, and new ones behind them."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row.get(part) for part in ("name", "what", "target", "precision"))

    fresh = {key(row): row for row in new}
    kept = [fresh.pop(key(row), row) for row in old]
    return [*kept, *fresh.values()]


def _brief(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _arguments(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--all", action="store_true", help="the largest entries, too")
    parser.add_argument("--part", choices=("zoo", "figures"), help="one part alone")
    parser.add_argument(
        "--only", nargs="+", default=["*"], metavar="PATTERN", help="entries or figures like these"
    )
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    """Measures, and writes after every row, so that an interrupted run leaves what it has."""
    arguments = _arguments(given)
    whole = arguments.only == ["*"]

    def chosen(name: str) -> bool:
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in arguments.only)

    old: Results = {"zoo": [], "figures": []}
    if RESULTS.is_file() and not (whole and arguments.part is None):
        old |= json.loads(RESULTS.read_text(encoding="utf-8"))
    names = [name for name in zoo.list_models() if chosen(name)]
    large = {name: why for name in zoo.list_models() if (why := too_large(name))}
    if not arguments.all:
        names = [name for name in names if name not in large]
    here = {**machine(), "threads": 1}
    results: Results = dict(old)
    results.setdefault("machine", here)
    elsewhere = here["processor"] != results["machine"]["processor"]
    parts = {"figures": lambda: figure_rows(chosen), "zoo": lambda: zoo_rows(names)}
    started = time.monotonic()
    for part, rows in parts.items():
        if arguments.part not in (None, part):
            continue
        base = [] if whole else old[part]
        fresh: list[dict[str, Any]] = []
        with quiet():
            for said, row in rows():
                fresh.append(row | ({"processor": here["processor"]} if elsewhere else {}))
                results[part] = merged(base, fresh)
                measured = {entry["name"] for entry in results["zoo"]}
                results["left_out"] = {
                    name: large.get(name, "not measured yet")
                    for name in zoo.list_models()
                    if name not in measured
                }
                write_results(results, RESULTS)
                print(f"{time.monotonic() - started:6.0f} s  {said}", file=sys.stderr, flush=True)
                gc.collect()
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(table.updated(page, results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
