"""Evaluation: one code for Keras models and exported files, on labelled data.

Segmentation is measured by intersection over union from one confusion matrix over the whole set,
super-resolution by PSNR and SSIM on luma, with as many border pixels shaved as the scale.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.segmentation import LabelledImage, labelled_images
from kerasdeconv.data.super_resolution import degrade, high_resolution_lumas
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import to_uint8
from kerasdeconv.metrics import ConfusionMatrix, psnr, ssim
from kerasdeconv.sizes import nearest_sizes


class KerasPredictor(runtime.Predictor):
    """Asks a Keras model as the runtime asks a file.

    Args:
        model: A model with one input, channels last.
        convention: How to feed it; by default what the zoo knows of it.

    Raises:
        ValueError: Nothing says how to feed the model.
    """

    def __init__(self, model: keras.Model, convention: Convention | None = None) -> None:
        convention = convention or zoo.convention_of(model)
        if convention is None:
            raise ValueError(
                f"A model that is not from the zoo needs a convention. Received: {model.name!r}"
            )
        super().__init__(convention, tuple(model.inputs[0].shape))
        self.model = model

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the model once. See `Predictor.run`."""
        (batch,) = inputs
        answer = self.model.predict_on_batch(batch.astype(np.float32))
        return [np.asarray(part) for part in keras.tree.flatten(answer)]

    def tile_for(self, height: int, width: int) -> tuple[int, int]:
        """The least size, not smaller than a picture, that the model can take at once."""
        fixed = self.input_shape[1:3]
        if None not in fixed:
            return fixed[0] or height, fixed[1] or width
        above = nearest_sizes(self.model, (height, width))[-1:]
        if not above:
            raise DataError(
                f"The model {self.model.name!r} takes no size near this one. "
                f"Received: {height} x {width}"
            )
        return above[0][0], above[0][1]


def evaluate(
    subject: keras.Model | str | Path | runtime.Predictor,
    data: str | Path,
    *,
    recipe: str | Path | None = None,
    convention: Convention | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Measures a model or an exported file on labelled data.

    A Keras model sees each picture whole; a file sees it in tiles of its size.

    Args:
        subject: A Keras model, the name of a zoo entry, a .tflite or .onnx file, or a predictor.
        data: A folder: `images/` with `masks/`, `labels/` or `instances/` for segmentation;
            high-resolution pictures, or a subfolder `HR/` of them, for super-resolution.
        recipe: A recipe whose validation part of the data is to be used alone.
        convention: For a subject that does not know its own.
        progress: Called with how many pictures are done, and how many there are.

    Returns:
        `task`, `data`, `images` (how many) and `metrics`. Segmentation: `mean_iou`, `iou` by
        class, `dice` by class, `pixel_accuracy`, and `groups` with the same by kind of picture
        where the data knows kinds. Super-resolution: `psnr_y` in dB and `ssim_y`, means over the
        pictures, and `pictures` with the same of each.

    Raises:
        ArtifactError: The file cannot be read.
        DataError: The data cannot be used.
        UnknownModel: The zoo has no such entry.
        ValueError: Nothing says what the subject takes, or its task has no measure.
    """
    predictor = as_predictor(subject, convention)
    task = predictor.convention.task
    if task == "segmentation":
        samples = _kept(labelled_images(data), recipe)
        figures = _segmentation(predictor, samples, progress)
        count = len(samples)
    elif task == "super-resolution":
        lumas = high_resolution_lumas(data)
        figures = _super_resolution(predictor, lumas, progress)
        count = len(lumas)
    else:
        raise ValueError(
            "Only segmentation and super-resolution have measures: give a convention with that "
            f"task. Received: task={task!r}"
        )
    return {"task": task, "data": str(data), "images": count, "metrics": figures}


def as_predictor(
    subject: keras.Model | str | Path | runtime.Predictor, convention: Convention | None = None
) -> runtime.Predictor:
    """Opens whatever can be asked: a model, a zoo entry's name, or a file."""
    if isinstance(subject, runtime.Predictor):
        return subject
    if isinstance(subject, keras.Model):
        return KerasPredictor(subject, convention)
    if str(subject).endswith((".tflite", ".onnx")):
        return runtime.open(subject, convention=convention)
    if str(subject).endswith(".keras"):
        return KerasPredictor(read_model(subject), convention)
    return KerasPredictor(zoo.load(str(subject)), convention)


def read_model(path: str | Path) -> keras.Model:
    """Reads a .keras file.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No such model file. Received: {str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"Not a .keras file, or a damaged one. Received: {str(path)!r}")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().split(". ", maxsplit=1)[0].splitlines()
        raise DataError(
            f"Not a readable Keras model ({' '.join(reason) or type(error).__name__}). "
            f"Received: {str(path)!r}"
        ) from None


def _kept(samples: list[LabelledImage], recipe: str | Path | None) -> list[LabelledImage]:
    """The validation part of a recipe; everything without one."""
    if recipe is None:
        return samples
    from kerasdeconv.train import read_recipe
    from kerasdeconv.train.run import split_samples

    return split_samples(read_recipe(recipe).data, samples)[1]


def _segmentation(
    predictor: runtime.Predictor, samples: list[LabelledImage], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    labels = predictor.convention.labels
    groups: dict[str, ConfusionMatrix] = {}
    for done, sample in enumerate(samples, start=1):
        image, expected = sample.read()
        answer = _answer(predictor, image)
        matrix = groups.setdefault(sample.group, ConfusionMatrix(len(labels)))
        matrix.update(expected, runtime.label_map(predictor.convention, answer))
        progress(done, len(samples))
    whole = ConfusionMatrix(len(labels))
    whole.counts = sum((matrix.counts for matrix in groups.values()), whole.counts)
    figures = _figures(whole, labels)
    if set(groups) - {""}:
        figures["groups"] = {name: _figures(groups[name], labels) for name in sorted(groups)}
    return figures


def _figures(matrix: ConfusionMatrix, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "mean_iou": matrix.mean_iou,
        "iou": dict(zip(labels, matrix.iou.tolist(), strict=True)),
        "dice": dict(zip(labels, matrix.dice.tolist(), strict=True)),
        "pixel_accuracy": matrix.pixel_accuracy,
    }


def _answer(predictor: runtime.Predictor, image: np.ndarray) -> np.ndarray:
    if isinstance(predictor, KerasPredictor):
        tile = predictor.tile_for(*image.shape[:2])
        return predictor.predict_tiled(image, tile=tile)
    return predictor.predict_tiled(image)


def _super_resolution(
    predictor: runtime.Predictor, lumas: list[np.ndarray], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Luma alone, as the field measures, also for networks that take colour."""
    convention = predictor.convention
    if convention.color != "y":
        raise ValueError(f"Only luma networks are measured. Received: color={convention.color!r}")
    scale, pictures = convention.scale, []
    for done, luma in enumerate(lumas, start=1):
        low, high = degrade(luma, scale)
        got = _enlarged(predictor, low)
        inner = slice(scale, -scale)
        pictures.append(
            {
                "psnr_y": psnr(high[inner, inner], got[inner, inner]),
                "ssim_y": ssim(high[inner, inner], got[inner, inner]),
            }
        )
        progress(done, len(lumas))
    means = {key: float(np.mean([p[key] for p in pictures])) for key in ("psnr_y", "ssim_y")}
    return {**means, "pictures": pictures}


def _enlarged(predictor: runtime.Predictor, low: np.ndarray) -> np.ndarray:
    """Runs a luma network over luma, tile by tile, to 8 bits."""
    tile = (predictor.input_shape[1] or low.shape[0], predictor.input_shape[2] or low.shape[1])
    halo = min(predictor.convention.halo or max(tile), min(tile) // 4)
    answer = runtime.tiled(
        lambda part: predictor.run_batch(part[None])[0],
        low[..., None].astype(np.float32),
        tile,
        halo,
        predictor.convention.scale,
    )
    return to_uint8(answer[..., 0])
