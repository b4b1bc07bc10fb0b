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
    target: Annotated[
        str, typer.Option(help="Where the file will run: see `kerasdeconv targets`.")
    ],
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="Input height and width. An entry has its own."),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="Folder of typical pictures. An entry has samples of its own."),
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="Samples that losses are measured on.")] = 8,
    seed: Annotated[int, typer.Option(min=0, help="Which of the samples.")] = 0,
    ranges: Annotated[
        str, typer.Option(help="minmax, as `export` has it, percentile, entropy or mse.")
    ] = "minmax",
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
    from kerasdeconv.export.targets import load_target

    sides = naming.parse_size(size)
    load_target(target)
    naming.check_model(model)
    naming.convention_like(like)
    with terminal.steps("loading Keras and TensorFlow") as progress:
        from kerasdeconv.export import quantize_report as run
        from kerasdeconv.export.quantization.report import COLUMNS

        report = run(
            naming.open_model(model),
            target=target,
            size=sides,
            calibration=calibration,
            count=count,
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
