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
_IOU = {"mean_iou": ("mean IoU", 4)}
# What the cards' figures are measured on, by task and the folder that is trained on, and the
# figures of a result that they show; a path leads to those below others. Those that a network or a
# file does not have are left out.
PROTOCOLS: dict[tuple[str, str], Any] = {
    ("super-resolution", "sr_t91"): {
        "folder": "sr_set5",
        "title": "Set5",
        "figures": {"psnr_y": ("PSNR on Y (dB)", 2), "ssim_y": ("SSIM on Y", 4)},
    },
    ("segmentation", "dsb2018_nuclei"): {
        "folder": "dsb2018_nuclei",
        "title": "DSB 2018 validation split",
        "figures": _IOU,
    },
    ("instance-segmentation", "dsb2018_nuclei"): {
        "folder": "dsb2018_nuclei",
        "title": "DSB 2018 validation split, true boxes given",
        "figures": {"mean_iou": ("mean IoU over instances", 4)},
    },
    ("instance-detection", "dsb2018_nuclei"): {
        "folder": "dsb2018_nuclei",
        "title": "DSB 2018 validation split",
        "figures": {"ap_50": ("mask AP at IoU 0.5", 4), "ap": ("mask AP", 4)},
    },
    ("segmentation", "msd_hippocampus"): {
        "folder": "msd_hippocampus",
        "title": "MSD hippocampus validation split",
        "figures": {"mean_dice": ("mean Dice", 4)},
    },
    ("segmentation", "isbi2012_em"): {
        "folder": "isbi2012_em",
        "title": "ISBI 2012, slices 20 to 25",
        "figures": {
            "dice.membrane": ("Dice of membranes", 4),
            "pixel_accuracy": ("pixel accuracy", 4),
        },
    },
    ("segmentation", "drive/train"): {
        "folder": "drive/train",
        "title": "DRIVE training half, images 36 to 40",
        "figures": {"auc": ("ROC AUC in the field of view", 4), "dice.vessel": ("Dice", 4)},
    },
    ("segmentation", "camvid/train"): {
        "folder": "camvid/val",
        "title": "CamVid val",
        "figures": _IOU,
    },
    ("classification", "mnist"): {
        "folder": "mnist",
        "title": "MNIST validation split",
        "figures": {"accuracy": ("accuracy", 4)},
    },
    ("generation", "mnist"): {
        "folder": "mnist",
        "title": "2,000 pictures, features of classifier.mnist",
        "title": "MNIST validation split, features of classifier.mnist",
        "figures": {"fid": ("FID", 2), "inception_score": ("Inception Score", 3)},
    },
    ("autoencoding", "mnist"): {
        "folder": "mnist",
        "title": "MNIST validation split",
        "figures": {
            "negative_elbo": ("negative ELBO (nats)", 2),
            "nats_of_draws": ("reconstruction of draws (nats)", 2),
            "nats_of_means": ("reconstruction of means (nats)", 2),
            "kl": ("KL of the posterior (nats)", 2),
            "active_latents": ("active latents", 0),
            "mse": ("mean squared error on [0, 1]", 5),
        },
    },
    ("video", "mnist"): {
        "folder": "mnist",
        "title": "Moving MNIST, 256 videos of the last 10,000 digits",
        "figures": {
            "psnr": ("PSNR (dB)", 2),
            "psnr_gain": ("PSNR above that of the last frame (dB)", 2),
        },
    },
    ("voxels", "solids/train"): {
        "folder": "solids/val",
        "title": "512 other solids",
        "figures": {"voxel_iou": ("voxel IoU", 4)},
    },
    ("points", "solids/train"): {
        "folder": "solids/val",
        "title": "512 other solids",
        "figures": {"chamfer_distance": ("chamfer distance", 5)},
    },
    ("depth", "depth_7scenes"): {
        "folder": "depth_7scenes",
        "title": "7-Scenes, the last 16 of 76 frames of one room",
        "figures": {
            "abs_rel": ("absolute relative error", 4),
            "rmse": ("RMSE (m)", 3),
            "delta1": ("share within a factor of 1.25", 4),
        },
    },
    ("flow", "sr_t91"): {
        "folder": "sr_set5",
        "title": "Set5, moved",
        "figures": {
            "end_point_error": ("end-point error (pixels)", 3),
            "zero": ("end-point error of no motion (pixels)", 3),
        },
    },
}
# Layers that stay in float in int8 files, by task.
IN_FLOAT = {"instance-detection": ("distances", "find", "roi_align")}
CALIBRATING = 100  # samples of the training data
# Tasks whose training data are pictures of any size: cut to the size of the files.
LABELLED = ("segmentation", "instance-segmentation", "instance-detection", "depth", "normals")


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
    protocol = PROTOCOLS[card.task, recipe.data.folders[0]]
    folder = data / protocol["folder"]
    kept = None if card.task == "super-resolution" else HERE / card.name / "recipe.toml"

    def figures(subject: Any) -> dict[str, Any]:
        return evaluate(subject, folder, recipe=kept)["metrics"]

    rows: list[dict[str, Any]] = [
        {"format": "keras", "precision": "float32", "calibration": "", "metrics": figures(model)}
    ]
    real = training_samples(model, card, recipe, data)
    with tempfile.TemporaryDirectory() as out:
        for target, precision in EXPORTS:
            if card.task == "instance-segmentation" and precision == "int8":
                continue  # boxes are coordinates: their arithmetic has no integers of 8 bits
            calibrations = ["synthetic"] if card.calibration or precision != "int8" else []
            # Synthetic codes are drawn as those of training are.
            if precision == "int8" and not (
                card.calibration and card.calibration.samples == "codes"
            ):
                calibrations.append("training pictures")
            for calibration in calibrations:
                samples = real if calibration == "training pictures" else None
                report = export(
                    model,
                    out,
                    target=target,
                    precision=precision,
                    calibration=samples,
                    allow_float=IN_FLOAT.get(card.task, ()) if precision == "int8" else (),
                )
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
    return {"entry": card.name, "data": protocol["title"], "rows": rows}


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
    protocol, found = PROTOCOLS[card.task, recipe.data.folders[0]], []
    folder = f"--data DATA/{protocol['folder']}"
    part = "" if card.task == "super-resolution" else f" --recipe zoo/{card.name}/recipe.toml"
    for key, (title, digits) in protocol["figures"].items():
        for row in result["rows"]:
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
                    data=protocol["title"] + (", calibrated with training pictures" * real),
                    command=f"kerasdeconv evaluate {subject} {folder}{part}",
                )
            )
    key, (title, digits) = next(iter(protocol["figures"].items()))
    for group, figures in result["rows"][0]["metrics"].get("groups", {}).items():
        found.append(
            Metric(
                metric=title,
                value=round(look_up(figures, key), digits),
                precision="float32",
                format="keras",
                data=f"{protocol['title']}, {group}",
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
