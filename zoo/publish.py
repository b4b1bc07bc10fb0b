"""Puts a trained network into the zoo: measures it and its exports, writes weights, log and card.

Example:
    python zoo/publish.py espcn_x3 --run build/train/espcn_x3 --data DATA
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from protocols import protocol_of

from kerasdeconv import zoo
from kerasdeconv.data.volumes import fit_volume
from kerasdeconv.evaluation import evaluate
from kerasdeconv.export import export
from kerasdeconv.export.calibration import from_pictures
from kerasdeconv.imaging import list_images, read_image
from kerasdeconv.train import Recipe, read_recipe
from kerasdeconv.train.kinds import make_datasets
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.zoo.cards import Card, Metric, WeightsFile, update_card

HERE = Path(__file__).parent
PACKAGE = Path(zoo.__file__).parent
EXPORTS = [
    ("android-cpu", "float32"),
    ("android-cpu", "int8"),
    ("onnxruntime-cpu", "float32"),
    ("onnxruntime-cpu", "int8"),
]
BOXED = ("instance-segmentation", "instance-detection")
CALIBRATING = 100  # samples of the training data
# Tasks whose training data are pictures of any size: cut to the size of the files.
LABELLED = ("segmentation", *BOXED, "depth", "normals")


def main() -> None:
    """Measures first; nothing is written before everything has been measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entry")
    parser.add_argument("--run", type=Path, required=True, help="folder of `kerasdeconv train`")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    arguments = parser.parse_args()
    card = zoo.card(arguments.entry)
    home = HERE / card.name
    recipe = read_recipe(home / "recipe.toml")
    weights = arguments.run / "weights.npz"
    model = zoo.load(card.name, weights=weights)
    result = measure(model, card, recipe, arguments.data)

    shutil.copyfile(weights, PACKAGE / "weights" / f"{card.name}.npz")
    shutil.copyfile(arguments.run / "log.csv", home / "log.csv")
    (home / "result.json").write_text(json.dumps(result, indent=2) + "\n")
    content = weights.read_bytes()
    update_card(
        PACKAGE / "cards" / f"{card.name}.toml",
        weights=WeightsFile(
            sha256=hashlib.sha256(content).hexdigest(),
            size_bytes=len(content),
            file=f"{card.name}.npz",
        ),
        metrics=metrics(card, recipe, result),
    )
    for row in result["rows"]:
        print({key: row[key] for key in ("format", "precision", "calibration", "metrics")})


def measure(model: Any, card: Card, recipe: Recipe, data: Path) -> dict[str, Any]:
    """Measures the Keras model and every export, int8 with both kinds of calibration."""
    protocol = protocol_of(card, recipe)
    folder = data / protocol.folder
    kept = None if card.task == "super-resolution" else HERE / card.name / "recipe.toml"

    def figures(subject: Any) -> dict[str, Any]:
        return evaluate(subject, folder, recipe=kept)["metrics"]

    rows: list[dict[str, Any]] = [
        {"format": "keras", "precision": "float32", "calibration": "", "metrics": figures(model)}
    ]
    real = training_samples(model, card, recipe, data)
    with tempfile.TemporaryDirectory() as out:
        for target, precision in EXPORTS:
            if card.task in BOXED and precision == "int8":
                continue  # boxes are coordinates: their arithmetic has no integers of 8 bits
            calibrations = ["synthetic"] if card.calibration or precision != "int8" else []
            # Synthetic codes are drawn as those of training are.
            if precision == "int8" and not (
                card.calibration and card.calibration.samples == "codes"
            ):
                calibrations.append("training pictures")
            for calibration in calibrations:
                samples = real if calibration == "training pictures" else None
                report = export(model, out, target=target, precision=precision, calibration=samples)
                row = {
                    "format": report.format,
                    "precision": precision,
                    "calibration": calibration if precision == "int8" else "",
                    "metrics": figures(Path(report.artifact)),
                    "size_bytes": report.size_bytes,
                    "verification": report.verification,
                }
                rows.append(row)
                print(row["format"], precision, row["calibration"], flush=True)
    return {"entry": card.name, "data": protocol.title, "rows": rows}


def training_samples(model: Any, card: Card, recipe: Recipe, data: Path) -> list[Any]:
    """Inputs of the training part of the data, in random order."""
    shape = (1, *card.export_size, model.inputs[0].shape[-1])
    if card.task in LABELLED:
        pictures = [sample.read()[0] for sample in labelled_parts(recipe.data, data)[0]]
    elif card.task == "super-resolution":
        folders = [data / name for name in recipe.data.folders]
        pictures = [read_image(path) for folder in folders for path in list_images(folder / "HR")]
    else:
        return drawn_samples(recipe, data)
    if len(shape) == 5:
        real = [fit_volume(volume, shape[1:-1])[None] for volume in pictures]
    else:
        real = list(from_pictures(pictures, shape, card.convention))
    order = np.random.default_rng(0).permutation(len(real))
    return [real[i] for i in order]


def drawn_samples(recipe: Recipe, data: Path) -> list[Any]:
    """Inputs as training draws them; lists of them for a network with several."""
    training = make_datasets(recipe, data)[0]
    samples: list[Any] = []
    while len(samples) < CALIBRATING:
        inputs = training[len(samples) // recipe.data.batch][0]
        parts = [np.asarray(part) for part in keras.tree.flatten(inputs)]
        rows = [[part[i : i + 1] for part in parts] for i in range(recipe.data.batch)]
        samples += [row if len(row) > 1 else row[0] for row in rows]
    return samples[:CALIBRATING]


def metrics(card: Card, recipe: Recipe, result: dict[str, Any]) -> list[Metric]:
    """The figures that the card shows, the headline first."""
    protocol, found = protocol_of(card, recipe), []
    folder = f"--data DATA/{protocol.folder}"
    part = "" if card.task == "super-resolution" else f" --recipe zoo/{card.name}/recipe.toml"
    for key, (title, digits) in [*protocol.figures.items(), *protocol.beside.items()]:
        for row in result["rows"][: 1 if key in protocol.beside else None]:
            value = look_up(row["metrics"], key)
            if value is None:
                continue
            real = row["calibration"] == "training pictures"
            file = f"build/{card.name}.{row['precision']}.{row['format']}"
            subject = card.name if row["format"] == "keras" else file
            found.append(
                Metric(
                    metric=title,
                    value=round(value, digits),
                    precision=row["precision"],
                    format=row["format"],
                    data=protocol.title + (", calibrated with training pictures" * real),
                    command=f"kerasdeconv evaluate {subject} {folder}{part}",
                )
            )
    key, (title, digits) = next(iter(protocol.figures.items()))
    for group, figures in result["rows"][0]["metrics"].get("groups", {}).items():
        found.append(
            Metric(
                metric=title,
                value=round(look_up(figures, key), digits),
                precision="float32",
                format="keras",
                data=f"{protocol.title}, {group}",
                command=f"kerasdeconv evaluate {card.name} {folder}{part}",
            )
        )
    return found


def look_up(figures: dict[str, Any], path: str) -> float | None:
    """A figure of a result, or one below others: "dice.membrane"; None where there is none."""
    found: Any = figures
    for key in path.split("."):
        if key not in found:
            return None
        found = found[key]
    return float(found)


if __name__ == "__main__":
    main()
