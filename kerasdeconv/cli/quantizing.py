"""`quantize-report`: what int8 will cost a network, layer by layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.naming import Like
from kerasdeconv.cli.terminal import Json


def quantize_report(
    model: Annotated[str, typer.Argument(help="A zoo entry, or a .keras file.")],
    *,
    target: naming.Target,
    size: naming.Size = None,
    calibration: naming.Calibration = None,
    count: naming.Count = 100,
    measured: Annotated[
        int, typer.Option(min=1, help="Samples of these that losses are measured on.")
    ] = 8,
    seed: naming.Seed = 0,
    ranges: naming.Ranges = "minmax",
    like: Like = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report here too, as JSON.")
    ] = None,
    json: Json = False,
) -> None:
    """Tell what int8 will cost, layer by layer, before anything is exported.

    Each layer is rounded to 8 bits by itself, kernel and output, in a simulation of the lowered
    network; the one that costs the network's output most comes first.

    Example: a zoo entry, and a network of your own with your own pictures.

      $ kerasdeconv quantize-report unet --target android-cpu
      $ kerasdeconv quantize-report mine.keras --target android-cpu --like unet --calibration photos
    """
    sides = naming.parse_size(size)
    naming.check_job(model, target, like)
    with terminal.steps("loading Keras and TensorFlow") as progress:
        from kerasdeconv.export import quantize_report as run
        from kerasdeconv.export.quantization.report import COLUMNS

        report = run(
            naming.open_model(model),
            target=target,
            size=sides,
            calibration=calibration,
            count=count,
            measured=measured,
            seed=seed,
            ranges=ranges,
            like=like,
            progress=progress,
        )
    if out is not None:
        report.save(out)
    if json:
        terminal.print_json(report.to_dict())
        return
    terminal.print_table(
        COLUMNS, report.rows(), right=[c for c in COLUMNS if c not in ("layer", "kind")]
    )
    terminal.print_pairs(report.summary())
