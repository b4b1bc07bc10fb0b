"""`train`: from a recipe to weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kerasdeconv.cli import terminal
from kerasdeconv.cli.machine import keep_memory, use_onednn
from kerasdeconv.cli.terminal import Json


def train(
    recipe: Annotated[
        Path, typer.Argument(help="A TOML file, such as zoo/unet.nuclei/recipe.toml")
    ],
    *,
    data: Annotated[Path, typer.Option(help="Folder that holds the recipe's data folders.")],
    out: Annotated[Path, typer.Option(help="Folder for the weights, the log and checkpoints.")],
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start over instead of going on with what is in --out.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write logs for TensorBoard, too.")
    ] = False,
    devices: Annotated[
        int, typer.Option(help="Devices that share each batch (KERAS_BACKEND=jax).")
    ] = 1,
    json: Json = False,
) -> None:
    """Train a network by a recipe; a run that was interrupted goes on where it stopped.

    Example: the weights of a zoo entry, made again.

      $ kerasdeconv train zoo/unet.nuclei/recipe.toml --data data --out build/train/unet
    """
    keep_memory()
    use_onednn()
    # Recipes are read by a module beside the training loop, which needs Keras.
    with terminal.steps("loading Keras"):
        from kerasdeconv.train import read_recipe, run
    plan = read_recipe(recipe)
    run(plan, data=data, out=out, fresh=fresh, tensorboard=tensorboard, devices=devices)
    weights = out / "weights.npz"
    if json:
        terminal.print_json(
            {"entry": plan.entry, "epochs": plan.fit.epochs, "weights": str(weights)}
        )
    else:
        terminal.print_pairs([("entry", plan.entry), ("weights", weights)])
