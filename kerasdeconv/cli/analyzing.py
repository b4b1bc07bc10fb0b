"""What `show` says of a network that it analyzes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from kerasdeconv.cli import naming, terminal
from kerasdeconv.errors import AnalysisError
from kerasdeconv.tables import abbreviated
from kerasdeconv.zoo.cards import card

if TYPE_CHECKING:
    import keras

    from kerasdeconv.analysis import Checkerboard, Costs, Field, ReceptiveField


def show_analysis(name: str, *, size: str | None, layers: bool, json: bool) -> None:
    """Prints parameters, multiply-accumulates, memory, receptive field and checkerboard findings.

    Args:
        name: A zoo entry or a .keras file.
        size: Sides to count for, as typed; by default those that the card exports at.
        layers: Whether to go through it layer by layer.
        json: Whether to print JSON.

    Raises:
        DataError: The file cannot be read.
        LoweringError: The model is subclassed.
        UnknownModel: There is no such entry.
        ValueError: The network does not take this size.
    """
    naming.check_model(name)
    naming.parse_size(size)
    with terminal.steps("loading Keras"):
        from kerasdeconv import analysis

        model, trained = _open(name)
    sides = _size(name, size, model)
    with terminal.steps("analyzing"):
        free = any(None in tensor.shape[1:-1] for tensor in model.inputs)
        costs = None if free and sides is None else analysis.costs(model, size=sides)
        unknown = ""
        try:
            field: ReceptiveField | None = analysis.receptive_field(model, sides)
        except AnalysisError as error:
            field, unknown = None, str(error)
        board = analysis.checkerboard(model, size=sides)
    if json:
        terminal.print_json(_fields(name, model, costs, field, board, layers=layers))
        return
    title = name if naming.is_model_file(name) else card(name).name
    terminal.print_title(title if trained else f"{title}, not trained: patterns are of the start")
    rows = [("parameters", _parameters(model)), *_cost_rows(costs)]
    rows += _field_rows(field) if field else [("receptive field", f"not known. {unknown}")]
    terminal.print_pairs(rows + _board_rows(board))
    if layers and (costs or field):
        terminal.stdout().print()
        _print_layers(costs, field)


def _open(name: str) -> tuple[keras.Model, bool]:
    """Returns a model, and whether its weights are trained as far as we know."""
    opened = naming.open_model(name)
    if not isinstance(opened, str):
        return opened, True
    from kerasdeconv import zoo

    trained = card(name).pretrained
    return zoo.load(name, weights="default" if trained else None), trained


def _size(name: str, text: str | None, model: keras.Model) -> tuple[int, ...] | None:
    """The sides to count for; one number stands for all axes."""
    sides = naming.parse_size(text)
    if sides is None:
        return None if naming.is_model_file(name) else card(name).export_size or None
    if text is not None and text.strip().isdigit():
        return sides[:1] * max(len(tensor.shape) - 2 for tensor in model.inputs)
    return sides


def _parameters(model: keras.Model) -> str:
    trainable = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    others = model.count_params() - trainable
    return f"{trainable:,} trainable" + (f", {others:,} others" if others else "")


def _cost_rows(costs: Costs | None) -> list[tuple[str, Any]]:
    if costs is None:
        return [("multiply-accumulates", "depend on the size: give --size")]
    sides = (shape[1:-1] or shape[-1:] for shape in costs.input_shapes)
    at = " and ".join(map(_joined, sides))
    macs = f"{abbreviated(costs.known_macs)}, for {at}"
    if costs.unknown:
        macs += f"; not known of {', '.join(costs.unknown)}"
    in_float, in_int8 = (abbreviated(costs.peak_bytes // part) for part in (1, 4))
    peak = f"{in_float}B in float32, {in_int8}B in int8"
    return [
        ("multiply-accumulates", macs),
        ("maps in memory", f"{peak}, most while {costs.peak_layer} runs"),
    ]


def _field_rows(found: ReceptiveField) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    several = len(found.outputs) > 1
    for field in found.outputs:
        text = f"{_field_text(field)} pixels of {field.input}"
        if field.halo is None:
            text = f"all of {field.input}, by way of {', '.join(field.whole[:3])}"
            text += f" and {len(field.whole) - 3} more" if len(field.whole) > 3 else ""
        else:
            text += f", halo {field.halo}"
        rows.append(("receptive field", f"{field.name}: {text}" if several else text))
    return rows


def _board_rows(board: Checkerboard) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for pattern in board.outputs:
        share = f"{pattern.strength:.2%} of the answer to a constant image"
        rows.append(("checkerboard", f"{pattern.output}: {share} ({pattern.deviation:.3g})"))
    if board.reason:
        rows.append(("checkerboard", f"not measured. {board.reason}"))
    for layer in board.layers:
        text = f"{layer.name}: phases differ by {layer.strength:.2f}"
        rows.append(("", f"{text}; {layer.remedy}" if layer.remedy else text))
    return rows


def _print_layers(costs: Costs | None, found: ReceptiveField | None) -> None:
    """Prints a table of all uses of layers; what is not known stays blank."""
    columns = ("layer", "kind", "output", "parameters", "MACs", "MB", "field", "stride")
    rows = []
    count = len(costs.layers) if costs else len(found.layers) if found else 0
    for place in range(count):
        row = costs.layers[place] if costs else None
        field = next(iter(found.layers[place]), None) if found else None
        known = row or field
        if known is None:  # depends on no pixel, and no size is given
            continue
        cells = [known.name, known.kind, "", "", "", "", "", ""]
        if row:
            cells[2] = _joined(row.shape[1:])
            cells[3] = f"{row.parameters:,}" if row.parameters else ""
            cells[4] = "?" if row.macs is None else abbreviated(row.macs)
            cells[5] = f"{row.activation_bytes / 1e6:.2f}"
        if field:
            cells[6] = _field_text(field)
            cells[7] = "" if field.halo is None else _joined(dict.fromkeys(field.stride))
        rows.append(cells)
    terminal.print_table(columns, rows, right=("parameters", "MACs", "MB"))


def _field_text(field: Field) -> str:
    return _joined("all" if side is None else side for side in field.size)


def _joined(numbers: Iterable[Any]) -> str:
    return " x ".join(map(str, numbers))


def _fields(
    name: str,
    model: keras.Model,
    costs: Costs | None,
    found: ReceptiveField | None,
    board: Checkerboard,
    *,
    layers: bool,
) -> dict[str, Any]:
    """All of it as plain values."""
    fields: dict[str, Any] = {
        "name": name,
        "parameters": model.count_params(),
        "macs": costs.macs if costs else None,
        "unknown_macs": costs.unknown if costs else None,
        "input_shapes": costs.input_shapes if costs else None,
        "peak_bytes": costs.peak_bytes if costs else None,
        "peak_layer": costs.peak_layer if costs else None,
        "halo": found.halo if found else None,
        "receptive_field": [_plain(field) for field in found.outputs] if found else None,
        "checkerboard": dataclasses.asdict(board),
    }
    if layers:
        fields["layers"] = [dataclasses.asdict(row) for row in costs.layers] if costs else None
        fields["receptive_fields"] = (
            [_plain(field) for row in found.layers for field in row] if found else None
        )
    return fields


def _plain(field: Field) -> dict[str, Any]:
    strides = [None if stride is None else float(stride) for stride in field.stride]
    return dataclasses.asdict(field) | {"stride": strides, "halo": field.halo}
