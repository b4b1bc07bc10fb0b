"""The commands, put together. Nothing that is imported here is heavy: `list` and `--help` wait."""

from __future__ import annotations

from typing import Annotated

import typer

import kerasdeconv
from kerasdeconv.cli import benching, browsing, exporting, generating, quantizing, running, training

app = typer.Typer(
    name="kerasdeconv",
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"kerasdeconv {kerasdeconv.__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help="Show tracebacks and all logs; goes anywhere on the line."),
    ] = False,
) -> None:
    """Decoder networks for Keras: a trained zoo, and its export to phones and edge parts.

    Example: a network that finds cell nuclei, as an int8 file for Android, run on a picture.

      $ kerasdeconv list
      $ kerasdeconv export unet --target android-cpu --precision int8 --out build/unet
      $ kerasdeconv predict build/unet/unet.int8.tflite cells.png --out overlay.png
    """
    if context.invoked_subcommand is None:
        print(context.get_help())


app.command("list")(browsing.list_)
app.command()(browsing.show)
app.command()(browsing.targets)
app.command()(exporting.export)
app.command()(exporting.check)
app.command()(exporting.verify)
app.command("quantize-report")(quantizing.quantize_report)
app.command()(benching.bench)
app.command()(running.predict)
app.command()(generating.generate)
app.command()(running.evaluate)
app.command()(training.train)
