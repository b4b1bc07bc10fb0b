"""The tables of docs/performance.md, made from results.json: `python benchmarks/table.py`.

They stand between the lines `<!-- results:begin -->` and `<!-- results:end -->`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
_PACKAGES = ("tensorflow", "keras", "ai-edge-litert", "onnxruntime", "tf2onnx")
_FIGURES = (
    "| what | target | precision | stock, ms | ours, ms | measured | bar | met |\n"
    "|---|---|---|---:|---:|---:|---:|---|"
)
_ZOO = (
    "| entry | at | precision | stock, ms | ours, ms | faster by | stock, MB | ours, MB | notes |\n"
    "|---|---|---|---:|---:|---:|---:|---:|---|"
)


def updated(page: str, results: Mapping[str, Any]) -> str:
    """Returns a page with its tables replaced.

    Raises:
        ValueError: The page has no markers, or not one of each in order.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1 or page.index(BEGIN) > page.index(END):
        raise ValueError(f"A page needs the lines {BEGIN!r} and {END!r}, once each, in this order.")
    before, rest = page.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{markdown(results)}\n{END}{after}"


def markdown(results: Mapping[str, Any]) -> str:
    """Returns the machine and both tables as Markdown."""
    figures, zoo = results["figures"], results["zoo"]
    met = sum(row["met"] for row in figures)
    lines = [
        _machine(results["machine"]),
        "",
        "### Figures",
        "",
        f"{met} of {len(figures)} bars are met.",
        "",
        _FIGURES,
        *map(_figure, figures),
        *_remarks(figures),
        "",
        "### The zoo",
        "",
        _ZOO,
        *map(_entry, zoo),
    ]
    if results.get("left_out"):
        lines += ["", "Left out, mostly for their size (`benchmarks/run.py --all` runs them):"]
        left = [f"`{name}` ({why})" for name, why in results["left_out"].items()]
        lines.append(", ".join(left) + ".")
    return "\n".join(lines)


def _machine(machine: Mapping[str, Any]) -> str:
    """Where it was measured, in one sentence."""
    packages = ", ".join(
        f"{name} {machine['versions'][name]}" for name in _PACKAGES if name in machine["versions"]
    )
    instructions = ", ".join(machine["instructions"]) or "not told"
    threads = machine["threads"]
    return (
        f"Measured on {machine['processor']} ({machine['cores']} cores, instructions: "
        f"{instructions}), {threads} thread{'s' if threads > 1 else ''}, with {packages}."
    )


def _figure(row: Mapping[str, Any]) -> str:
    bar = ""
    if row["bar"] is not None:
        bar = f"{'at most ' if row['at_most'] else ''}{_measure(row['bar'], row['unit'])}"
    cells = (
        row["what"],
        row["target"],
        row["precision"],
        _milliseconds(row["stock_ms"]),
        _milliseconds(row["ours_ms"]),
        _measure(row["value"], row["unit"]),
        bar or "runs",
        "yes" if row["met"] else "**no**",
    )
    return _line(cells)


def _remarks(figures: list[Mapping[str, Any]]) -> list[str]:
    """What the rows do not say, one line each."""
    noted = [(row, [row["note"]] * bool(row["note"]) + _elsewhere(row)) for row in figures]
    lines = [
        f"- {row['what']}, {row['target']} {row['precision']}: {'; '.join(notes)}."
        for row, notes in noted
        if notes
    ]
    return ["", *lines] if lines else []


def _entry(row: Mapping[str, Any]) -> str:
    # Imported here, so that the tables of the figures need no Keras.
    from kerasdeconv.benchmark import Comparison

    result = Comparison.from_dict({k: v for k, v in row.items() if k != "processor"})
    sides = result.shape[1:-1] or result.shape[1:]
    cells = (
        f"`{result.name}`",
        " x ".join(map(str, sides)),
        result.precision,
        _milliseconds(result.stock_ms),
        _milliseconds(result.ours_ms),
        _measure(result.ratio, "x"),
        _megabytes(result.stock_bytes),
        _megabytes(result.ours_bytes),
        "; ".join([*result.notes(), *_elsewhere(row)]),
    )
    return _line(cells)


def _elsewhere(row: Mapping[str, Any]) -> list[str]:
    """The processor of a row that was measured on another one than the rest."""
    return [f"on {row['processor']}"] if "processor" in row else []


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if value < 100 else f"{value:.0f}"


def _measure(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    if unit.startswith("%"):
        return f"{value:.0f} {unit}"
    return f"{value:.2f}{'' if unit == 'x' else ' '}{unit}"


def _megabytes(value: int | None) -> str:
    return "" if value is None else f"{value / 1e6:.2f}"


def main() -> int:
    """Writes the page anew from the results that there are."""
    page = HERE.parent / "docs" / "performance.md"
    results = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    page.write_text(updated(page.read_text(encoding="utf-8"), results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
