"""What pages say of the models, from the cards: `python -m kerasdeconv.zoo.table README.md ...`.

It replaces what stands between the lines `<!-- models:begin -->` and `<!-- models:end -->` by the
tables of models, and what stands between `<!-- cards:begin -->` and `<!-- cards:end -->` by cards.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kerasdeconv.tables import abbreviated
from kerasdeconv.zoo.cards import Card, find_cards
from kerasdeconv.zoo.pages import markdown_cards

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
    trained = [_trained_row(card) for card in find_cards(pretrained=True)]
    untrained = [_untrained_row(card) for card in find_cards(pretrained=False)]
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


_PARTS = {"models": markdown_tables, "cards": markdown_cards}


def updated(text: str) -> str:
    """Returns a page with its parts replaced.

    Raises:
        ValueError: The page has no markers, or not one of each in order.
    """
    found = [part for part in _PARTS if f"<!-- {part}:" in text]
    for part in found or ["models"]:
        begin, end = f"<!-- {part}:begin -->", f"<!-- {part}:end -->"
        if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
            raise ValueError(
                f"A page needs the lines {begin!r} and {end!r}, once each, in this order."
            )
        before, rest = text.split(begin)
        text = f"{before}{begin}\n{_PARTS[part]()}\n{end}{rest.split(end)[1]}"
    return text


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
    macs = abbreviated(entry.macs) if entry.macs else ""
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
