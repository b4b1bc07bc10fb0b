"""Cards of trained entries as Markdown: what they do, how well, and what they cost."""

from __future__ import annotations

from kerasdeconv.convention import input_text, output_text
from kerasdeconv.tables import abbreviated
from kerasdeconv.zoo.cards import Card, Metric, find_cards

# Columns of a card's table of figures, in order.
_COLUMNS = {
    ("keras", "float32"): "Keras",
    ("tflite", "float32"): "TFLite float32",
    ("tflite", "int8"): "TFLite int8",
    ("onnx", "float32"): "ONNX float32",
    ("onnx", "int8"): "ONNX int8",
}


def markdown_cards() -> str:
    """Returns the cards of all trained entries, one section each."""
    return "\n\n".join(_section(card) for card in find_cards(pretrained=True))


def _section(entry: Card) -> str:
    names = f"`{entry.name}`" + (f" (`{entry.model}`)" if entry.default else "")
    parts = [f"## {names}: {entry.title}", entry.summary]
    if entry.use:
        parts.append(f"![What {entry.title} gives](pictures/{entry.name}.jpg)")
    parts += ["\n".join(_facts(entry)), _figures(entry.metrics)]
    if entry.files:
        parts.append(_files(entry))
    return "\n\n".join(parts)


def _facts(entry: Card) -> list[str]:
    sides = " x ".join(
        "any" if side is None else str(side) for side in entry.arguments["input_shape"]
    )
    size = " x ".join(map(str, entry.export_size))
    macs = f", {abbreviated(entry.macs)} multiply-accumulates at {size}" if entry.macs else ""
    lines = [
        f"- **Network:** `{entry.builder}`, {entry.parameters:,} parameters{macs}. "
        f"[{entry.paper.title}]({entry.paper.url}).",
        f"- **Takes** {sides}, {input_text(entry.convention)}; **gives** "
        f"{output_text(entry.convention)}.",
    ]
    if entry.use:
        lines += [
            f"- **Intended use:** {entry.use.intended}",
            f"- **Limits:** {entry.use.limits}",
        ]
    if entry.data:
        note = f" {entry.data.note}" if entry.data.note else ""
        lines.append(f"- **Trained on** {entry.data.name}; licence: {entry.data.licence}.{note}")
    lines.append(f"- **Recipe and log:** [zoo/{entry.name}](../zoo/{entry.name}).")
    if entry.weights:
        lines.append(f"- **Weights:** {entry.weights.size_bytes / 1e6:.2f} MB.")
    return lines


def _figures(metrics: tuple[Metric, ...]) -> str:
    """A row for each figure and what it was measured on, a column for each kind of file."""
    rows: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for metric in metrics:
        row = rows.setdefault((metric.metric, metric.data), {})
        row[metric.format, metric.precision] = metric.value
    lines = [
        "| figure | on | " + " | ".join(_COLUMNS.values()) + " |",
        "|---|---|" + len(_COLUMNS) * "---:|",
    ]
    for (figure, data), values in rows.items():
        cells = [f"{values[kind]:.5g}" if kind in values else "" for kind in _COLUMNS]
        lines.append(f"| {figure} | {data} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _files(entry: Card) -> str:
    """A row for each exported file."""
    size = " x ".join(map(str, entry.export_size))
    lines = [
        f"| file, {size} | precision | size | against the stock conversion |",
        "|---|---|---:|---:|",
    ]
    for file in entry.files:
        speed = "none that runs" if file.faster_by is None else f"{file.faster_by:.2f}x"
        lines.append(
            f"| {file.format} | {file.precision} | {file.size_bytes / 1e6:.2f} MB | {speed} |"
        )
    return "\n".join(lines)
