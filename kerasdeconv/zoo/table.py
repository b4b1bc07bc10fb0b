"""The tables of models, generated from the cards: `python -m kerasdeconv.zoo.table README.md`.

It replaces what stands between the lines `<!-- models:begin -->` and `<!-- models:end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kerasdeconv.zoo.cards import Card, card, list_models

BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"
_TRAINED = (
    "| name | network | parameters | weights | figure | float32 | int8 |\n"
    "|---|---|---:|---:|---|---:|---:|"
)
_UNTRAINED = (
    "| name | network | task | parameters | multiply-accumulates | at |\n"
    "|---|---|---|---:|---:|---|"
)


def markdown_tables() -> str:
    """Returns two tables as Markdown: entries with trained weights, and those without."""
    trained = [_trained_row(card(name)) for name in list_models(pretrained=True)]
    untrained = [_untrained_row(card(name)) for name in list_models(pretrained=False)]
    return "\n".join(
        [
            _TRAINED,
            *trained,
            "",
            "To be trained (`weights=None`): no weights of ours yet.",
            "",
            _UNTRAINED,
            *untrained,
        ]
    )


def updated(text: str) -> str:
    """Returns a page with its tables replaced.

    Raises:
        ValueError: The page has no markers, or not one of each in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"A page needs the lines {BEGIN!r} and {END!r}, once each, in this order.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{markdown_tables()}\n{END}{after}"


def _trained_row(entry: Card) -> str:
    weights = f"{entry.weights.size_bytes / 1e6:.2f} MB" if entry.weights else ""
    headline = entry.metrics[0]
    return _row(
        entry,
        f"{entry.parameters:,}",
        weights,
        f"{headline.metric}, {headline.data}",
        _value(entry, "float32", "keras"),
        _value(entry, "int8", "tflite"),
    )


def _untrained_row(entry: Card) -> str:
    macs = f"{entry.macs / 1e9:,.2f} G" if entry.macs else ""
    size = " x ".join(map(str, entry.export_size))
    return _row(entry, entry.task, f"{entry.parameters:,}", macs, size)


def _row(entry: Card, *cells: str) -> str:
    name = f"`{entry.name}`" + (f" (`{entry.model}`)" if entry.default else "")
    return "| " + " | ".join([name, f"[{entry.title}]({entry.paper.url})", *cells]) + " |"


def _value(entry: Card, precision: str, file_format: str) -> str:
    """The headline figure of one precision."""
    for metric in entry.metrics:
        if (
            (metric.precision, metric.format) == (precision, file_format)
            and metric.metric == entry.metrics[0].metric
            and metric.data.startswith(entry.metrics[0].data)  # whatever calibrated it
        ):
            return f"{metric.value:.4g}"
    return ""


def main(arguments: list[str]) -> int:
    """Updates the pages named on the command line, and returns an exit code."""
    if not arguments:
        print("Usage: python -m kerasdeconv.zoo.table PAGE.md ...", file=sys.stderr)
        return 2
    for page in map(Path, arguments):
        try:
            page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")
        except (OSError, ValueError) as error:
            print(f"{error} Received: {str(page)!r}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
