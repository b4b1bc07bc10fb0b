"""`list`, `show` and `targets`: what there is.

They need neither Keras nor TensorFlow, unless `show` is to analyze a network.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.terminal import Json
from kerasdeconv.convention import input_text, output_text
from kerasdeconv.tables import abbreviated
from kerasdeconv.zoo.cards import Card, Metric, card, find_cards


def list_(
    pattern: Annotated[str, typer.Argument(help="Names, * and ? standing for anything.")] = "*",
    task: Annotated[
        str | None, typer.Option(help="Only entries for this task, such as segmentation.")
    ] = None,
    pretrained: Annotated[
        bool | None,
        typer.Option("--pretrained/--untrained", help="Only entries with trained weights."),
    ] = None,
    json: Json = False,
) -> None:
    """List the entries of the zoo.

    Example: the trained super-resolution networks.

      $ kerasdeconv list "espcn*" --pretrained
    """
    cards = find_cards(pattern, task=task, pretrained=pretrained)
    if not cards and not find_cards(pattern):
        raise naming.unknown_entry(pattern)
    if json:
        terminal.print_json([_brief(entry) for entry in cards])
        return
    columns = ("name", "task", "parameters", "weights", "figure", "network")
    rows = [
        (
            entry.name,
            entry.task,
            f"{entry.parameters:,}",
            f"{entry.weights.size_bytes / 1e6:.2f} MB" if entry.weights else "none",
            _figure(entry.metrics[0]) if entry.metrics else "",
            entry.title,
        )
        for entry in cards
    ]
    terminal.print_table(columns, rows, right=("parameters", "weights"))


def show(
    name: Annotated[str, typer.Argument(help="A zoo entry, or a .keras, .tflite or .onnx file.")],
    *,
    analyze: Annotated[
        bool,
        typer.Option(
            "--analyze",
            help="Work out what the network costs, how far it sees, and whether its upsampling "
            "leaves a checkerboard; a .keras file always is.",
        ),
    ] = False,
    layers: Annotated[
        bool, typer.Option("--layers", help="Analyze, and list layer by layer.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Analyze at this size (DxHxW for volumes); else the card's."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show the card of a zoo entry, what is inside an exported file, or what a network costs.

    Example: what the network takes, what it gives, and how well it does; what it costs.

      $ kerasdeconv show unet
      $ kerasdeconv show build/unet/unet.int8.tflite
      $ kerasdeconv show unet --layers --size 512x512
    """
    analyze = analyze or layers or size is not None
    if naming.is_file(name):
        if analyze:
            raise ValueError(
                "Only networks are analyzed: give the zoo entry or the .keras file that this was "
                f"made from. Received: {name!r}"
            )
        from kerasdeconv.cli.filecard import show_file

        show_file(name, json=json)
        return
    if analyze or name.lower().endswith(".keras"):
        from kerasdeconv.cli.analyzing import show_analysis

        show_analysis(name, size=size, layers=layers, json=json)
        return
    entry = card(name)
    if json:
        terminal.print_json(entry.to_dict())
        return
    terminal.print_title(f"{entry.name}: {entry.title}", entry.summary)
    terminal.print_pairs(_card_rows(entry))
    if entry.metrics:
        terminal.stdout().print()
        terminal.print_table(
            ("metric", "value", "precision", "format", "data"),
            [(m.metric, f"{m.value:g}", m.precision, m.format, m.data) for m in entry.metrics],
            right=("value",),
        )
    if entry.files:
        terminal.stdout().print()
        terminal.print_table(
            ("file", "precision", "MB", "against stock"),
            [
                (f.format, f.precision, f"{f.size_bytes / 1e6:.2f}", _speed(f.faster_by))
                for f in entry.files
            ],
            right=("MB", "against stock"),
        )


def targets(json: Json = False) -> None:
    """List the targets: where an exported file can run.

    Example: export for one of them.

      $ kerasdeconv export unet --target raspberry-pi --precision int8 --out build/unet
    """
    from kerasdeconv.export.targets import load_target, target_names

    found = [load_target(name) for name in target_names()]
    if json:
        terminal.print_json([target.to_dict() for target in found])
        return
    terminal.print_table(
        ("name", "runs", "precisions", "int8 door", "tool", "where"),
        [
            (
                t.name,
                t.format,
                ", ".join(t.precisions),
                t.door if "int8" in t.precisions else "",
                t.compiler.tool if t.compiler else "",
                t.title,
            )
            for t in found
        ],
    )
    for target in found:
        for line in target.notes:
            terminal.stdout().print(f"{target.name}: {line}", style="dim", markup=False)


def _brief(entry: Card) -> dict[str, Any]:
    return {
        "name": entry.name,
        "task": entry.task,
        "title": entry.title,
        "parameters": entry.parameters,
        "pretrained": entry.pretrained,
        "size_bytes": entry.weights.size_bytes if entry.weights else None,
        "metric": dataclasses.asdict(entry.metrics[0]) if entry.metrics else None,
    }


def _figure(metric: Metric) -> str:
    return f"{metric.metric} {metric.value:g}"


def _speed(faster_by: float | None) -> str:
    return "" if faster_by is None else f"{faster_by:.2f}x"


def _card_rows(entry: Card) -> list[tuple[str, Any]]:
    convention = entry.convention
    sides = entry.arguments.get("input_shape", ())
    shape = " x ".join("any" if side is None else str(side) for side in sides)
    rows: list[tuple[str, Any]] = [
        ("paper", entry.paper.title),
        ("", entry.paper.url),
        ("network", f"{entry.builder}, {entry.parameters:,} parameters"),
    ]
    if entry.macs:
        rows.append(("", f"{abbreviated(entry.macs)} multiply-accumulates at the export size"))
    rows += [
        ("input", f"{shape}, {input_text(convention)}"),
        ("output", output_text(convention)),
    ]
    rows.append(("exported at", " x ".join(map(str, entry.export_size))))
    if entry.calibration:
        source = f"{entry.calibration.count} synthetic samples ({entry.calibration.samples})"
        rows.append(("calibrated with", f"{source} {entry.calibration.note}".strip()))
    if entry.data:
        rows += [("trained on", entry.data.name), ("data licence", entry.data.licence)]
        rows += [("", entry.data.note)] if entry.data.note else []
    if entry.use:
        rows += [("intended use", entry.use.intended), ("limits", entry.use.limits)]
    weights = entry.weights
    rows.append(
        (
            "weights",
            f"{weights.size_bytes / 1e6:.2f} MB, {weights.url or 'in the package'}"
            if weights
            else "none: to be trained",
        )
    )
    return rows
