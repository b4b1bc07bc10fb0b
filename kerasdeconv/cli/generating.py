"""`generate`: pictures that a network makes of a seed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.naming import Like
from kerasdeconv.cli.terminal import Json


def generate(
    model: Annotated[str, typer.Argument(help="A zoo entry, or a .keras, .tflite or .onnx file.")],
    *,
    out: Annotated[Path, typer.Option(help="A picture to write: all of them side by side.")],
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Other pictures for another one.")] = 0,
    steps: Annotated[
        int, typer.Option(min=1, help="Diffusion: steps from noise to a picture.")
    ] = 25,
    eta: Annotated[
        float,
        typer.Option(min=0, max=1, help="Diffusion: share of new noise, 0 for DDIM, 1 for DDPM."),
    ] = 0.0,
    like: Like = None,
    json: Json = False,
) -> None:
    """Make pictures of nothing but a seed, with a generator or a diffusion network.

    The same seed gives the same pictures, from an entry and from its files.

    Example: sixteen digits, by Keras and by a file.

      $ kerasdeconv generate dcgan --out digits.png
      $ kerasdeconv generate build/dcgan/dcgan.int8.tflite --out digits.png
    """
    from kerasdeconv import imaging

    if out.suffix.lower() not in imaging.IMAGE_SUFFIXES:
        raise ValueError(
            f"--out must end in one of {', '.join(imaging.IMAGE_SUFFIXES)}. Received: {str(out)!r}"
        )
    subject, convention = naming.open_subject(model, like)
    from kerasdeconv import runtime
    from kerasdeconv.evaluation import as_predictor

    predictor = as_predictor(subject, convention)
    with terminal.bar("generating") as progress:
        pictures = runtime.generate(
            predictor, count, seed=seed, steps=steps, eta=eta, progress=progress
        )
    imaging.write_image(out, runtime.side_by_side(pictures))
    fields = {"model": model, "output": str(out), "count": count, "seed": seed}
    if predictor.convention.diffusion is not None:
        fields |= {"steps": steps, "eta": eta}
    if json:
        terminal.print_json(fields)
    else:
        height, width = pictures.shape[1:3]
        terminal.note(f"{out}: {count} pictures of {height} x {width}, seed {seed}")
