"""`export`, `check` and `verify`: from a model to a file, and what a file is worth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.naming import Like
from kerasdeconv.cli.terminal import Json
from kerasdeconv.errors import ArtifactError, TargetError

if TYPE_CHECKING:
    from kerasdeconv.export.targets import Violation


def export(
    model: Annotated[str, typer.Argument(help="A zoo entry, or a .keras file.")],
    *,
    target: naming.Target,
    out: Annotated[Path, typer.Option(help="Folder for the file and its report.")],
    precision: Annotated[
        str, typer.Option(help="float32, float16, dynamic, int8 or int16x8, as the target takes.")
    ] = "float32",
    size: naming.Size = None,
    calibration: naming.Calibration = None,
    count: naming.Count = 100,
    seed: naming.Seed = 0,
    ranges: naming.Ranges = "minmax",
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="LOSS",
            help="Most that int8 may lose on --evaluate, in dB or points of IoU; layers that cost "
            "most stay in float.",
        ),
    ] = None,
    min_psnr: Annotated[
        float | None,
        typer.Option(metavar="DB", help="The same for the PSNR of the output against Keras'."),
    ] = None,
    qat: Annotated[
        Path | None,
        typer.Option(
            metavar="RECIPE",
            help="Train for 8 bits first, by a recipe as `kerasdeconv train` takes it.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data sets that --qat trains on.")
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(help="Folder of labelled data: measures the model and the file on it."),
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="What to put out: probabilities, logits or labels.")
    ] = None,
    door: Annotated[
        str | None, typer.Option(help="Type at the doors of an int8 file: uint8, int8, float32.")
    ] = None,
    format_: Annotated[
        str | None, typer.Option("--format", help="tflite or onnx; the target's own by default.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Pictures at a time.")] = 1,
    allow_float: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Layer that stays in float; can be repeated."),
    ] = None,
    tune: Annotated[
        bool,
        typer.Option("--tune/--no-tune", help="Time the target's forms and keep the fastest."),
    ] = True,
    fold_doors: Annotated[
        bool,
        typer.Option("--fold-doors", help="Volumes go in and out as pictures, four axes alone."),
    ] = False,
    name: Annotated[str | None, typer.Option(help="Start of the files' names.")] = None,
    like: Like = None,
    json: Json = False,
) -> None:
    r"""Export a model to TFLite or ONNX: quantized, verified, with a report.

    Examples: a zoo entry, and a network of your own that was fine-tuned from one.

      $ kerasdeconv export unet --target android-cpu --precision int8 --out build/unet
      $ kerasdeconv export mine.keras --like unet --calibration photos \
          --target android-cpu --precision int8 --out build/mine
    """
    sides = naming.parse_size(size)
    naming.check_job(model, target, like)
    with terminal.steps("loading Keras and TensorFlow") as progress:
        from kerasdeconv.export import export as run

        report = run(
            naming.open_model(model),
            out,
            target=target,
            precision=precision,
            size=sides,
            batch=batch,
            calibration=calibration,
            count=count,
            seed=seed,
            ranges=ranges,
            max_drop=max_drop,
            min_psnr=min_psnr,
            qat=qat,
            data=data,
            evaluate=evaluate,
            head=head,
            tune=tune,
            fold_doors=fold_doors,
            name=name or (Path(model).stem if naming.is_model_file(model) else None),
            format=format_,
            door=door,
            allow_float=allow_float or (),
            like=like,
            progress=progress,
        )
    if json:
        terminal.print_json(report.to_dict())
    else:
        terminal.print_pairs(report.rows())
        if report.metrics:
            pairs = zip(
                terminal.figures(report.metrics["keras"]),
                terminal.figures(report.metrics["file"]),
                strict=True,
            )
            terminal.print_table(
                (f"measured on {report.metrics['data']}", "Keras", "file"),
                [(name, keras, file) for (name, keras), (_, file) in pairs],
                right=("Keras", "file"),
            )
    if naming.is_model_file(model) and like is None:
        terminal.note(
            f"note: nothing says which pictures {model} takes, so its file will take plain "
            "arrays; --like ENTRY takes a zoo entry's word for it"
        )


def check(
    file: Annotated[str, typer.Argument(help="A .tflite or .onnx file.")],
    *,
    target: Annotated[str, typer.Option(help="See `kerasdeconv targets`.")],
    json: Json = False,
) -> None:
    """Check a file against a target, operator by operator; exit code 1 when it is refused.

    Where the target's vendor has a tool that is installed here (Vela, OpenVINO), it really takes
    the file, and its word is printed too.

    Example: any file will do, whoever made it.

      $ kerasdeconv check other.tflite --target microcontroller
      $ kerasdeconv check other.tflite --target ethos-u55
    """
    from kerasdeconv.export.artifact import read_artifact
    from kerasdeconv.export.targets import Violation, load_target
    from kerasdeconv.export.targets import check as walk
    from kerasdeconv.export.vendors import Compiled, compile_file

    profile = load_target(target)
    artifact = read_artifact(file)
    violations = walk(artifact, profile)
    vendor = None
    if artifact.format == profile.format:
        try:
            vendor = compile_file(file, profile)
        except TargetError as error:
            reason = str(error).partition(" Received:")[0]
            violations.append(Violation(reason, source=profile.source))
    if isinstance(vendor, Compiled):
        named = {violation.index for violation in violations}
        violations += [left for left in vendor.left if left.index not in named]
    refused = [violation for violation in violations if violation.severity == "error"]
    if json:
        terminal.print_json(
            {
                "file": file,
                "target": target,
                "accepted": not refused,
                "violations": [dataclasses.asdict(violation) for violation in violations],
                "compiled": vendor and vendor.to_dict(),
            }
        )
    else:
        if violations:
            columns = ("", "operator", "at", "version", "type", "shape", "layer", "problem", "by")
            sources = list(dict.fromkeys(v.source for v in violations if v.source))
            rows = [_violation_row(v, sources) for v in violations]
            terminal.print_table(columns, rows, right=("at", "version"))
            for number, source in enumerate(sources, 1):
                terminal.stdout().print(f"[{number}] {source}", style="dim", markup=False)
        warnings = len(violations) - len(refused)
        verdict = "does not take" if refused else "takes"
        terminal.stdout().print(
            f"{target} {verdict} {file}: {len(refused)} errors, {warnings} warnings",
            markup=False,
        )
        if vendor is not None:
            terminal.stdout().print(vendor.summary(), markup=False)
    if refused:
        raise typer.Exit(1)


def _violation_row(violation: Violation, sources: list[str]) -> tuple[str, ...]:
    """A line of the table; a source is told by its number."""
    sides = violation.shape if violation.operator is not None else ()
    return (
        violation.severity,
        violation.operator or "the file",
        _blank(violation.index),
        _blank(violation.version),
        violation.dtype or "",
        "x".join("?" if side is None else str(side) for side in sides or ()),
        violation.layer or "",
        violation.problem,
        f"[{sources.index(violation.source) + 1}]" if violation.source else "",
    )


def _blank(value: int | None) -> str:
    return "" if value is None else str(value)


def verify(
    file: Annotated[str, typer.Argument(help="A .tflite or .onnx file.")],
    *,
    model: Annotated[
        str | None,
        typer.Option(help="Zoo entry or .keras file that it was made from; the file says which."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures to compare on. An entry has samples of its own."),
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="What to judge it by; the file says which.")
    ] = None,
    json: Json = False,
) -> None:
    """Run a file and the Keras model that it came from on the same pictures, and compare.

    Example: an exported entry, and a file from a model of your own.

      $ kerasdeconv verify build/unet/unet.int8.tflite
      $ kerasdeconv verify build/mine/mine.int8.tflite --model mine.keras --data photos
    """
    from kerasdeconv.runtime import read_metadata

    metadata = read_metadata(file) or {}
    name = model or metadata.get("name")
    if name is None:
        raise ArtifactError(
            "The file does not say which model it was made from: give --model, a zoo entry or a "
            f".keras file. Received: {file!r}"
        )
    precision = precision or metadata.get("precision", "float32")
    naming.check_model(name)
    with terminal.steps("loading Keras and TensorFlow") as progress:
        from kerasdeconv.cli.comparing import compare

        result = compare(file, name, metadata, precision=precision, data=data, progress=progress)
    fields = {"file": file, "model": name, "precision": precision, **result.to_dict()}
    if json:
        terminal.print_json(fields)
        return
    psnr = "identical" if result.psnr_db is None else f"{result.psnr_db:.1f} dB"
    rows = [
        ("file", file),
        ("made from", name),
        ("samples", f"{result.samples}, {result.source}"),
        ("max error", f"{result.max_abs_error:.3g}"),
        ("mean error", f"{result.mean_abs_error:.3g}"),
        ("PSNR", psnr),
    ]
    if result.agreement is not None:
        rows.append(("labels agree", f"{result.agreement:.3%}"))
    terminal.print_pairs([*rows, ("verdict", f"passed, as {precision}")])
