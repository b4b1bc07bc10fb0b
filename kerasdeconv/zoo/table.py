"""The table of models, generated from the cards: `python -m kerasdeconv.zoo.table README.md`.

It replaces what stands between the lines `<!-- models:begin -->` and `<!-- models:end -->`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kerasdeconv.zoo.cards import Card, card, list_models

BEGIN, END = "<!-- models:begin -->", "<!-- models:end -->"
_HEADER = (
    "| name | network | parameters | weights | figure | float32 | int8 |\n"
    "|---|---|---:|---:|---|---:|---:|"
)


def markdown_table() -> str:
    """Returns the table of all entries as Markdown, without a newline at the end."""
    return "\n".join([_HEADER, *(_row(card(name)) for name in list_models())])


def updated(text: str) -> str:
    """Returns a page with its table replaced.

    Raises:
        ValueError: The page has no markers, or not one of each in order.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"A page needs the lines {BEGIN!r} and {END!r}, once each, in this order.")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{markdown_table()}\n{END}{after}"


def _row(entry: Card) -> str:
    name = f"`{entry.name}`" + (f" (`{entry.model}`)" if entry.default else "")
    weights = f"{entry.weights.size_bytes / 1e6:.2f} MB" if entry.weights else "none"
    headline = entry.metrics[0] if entry.metrics else None
    cells = [
        name,
        f"[{entry.title}]({entry.paper.url})",
        f"{entry.parameters:,}",
        weights,
        f"{headline.metric}, {headline.data}" if headline else "",
        _value(entry, "float32", "keras"),
        _value(entry, "int8", "tflite"),
    ]
    return "| " + " | ".join(cells) + " |"


def _value(entry: Card, precision: str, file_format: str) -> str:
    """The headline figure of one precision."""
    for metric in entry.metrics:
        if (
            (metric.precision, metric.format) == (precision, file_format)
            and metric.metric == entry.metrics[0].metric
            and metric.data == entry.metrics[0].data
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
