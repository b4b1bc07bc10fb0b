"""Evaluation: one code for Keras models and exported files, on labelled data.

Segmentation is measured by intersection over union from one confusion matrix over the whole set,
for volumes also by the mean of each volume's Dice coefficients, as medical challenges do,
instance segmentation by the mean over all instances, given their true boxes, super-resolution by
PSNR and SSIM on luma, with as many border pixels shaved as the scale.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.instances import instance_boxes
from kerasdeconv.data.segmentation import (
    IGNORE,
    LabelledImage,
    labelled_images,
    labelled_samples,
)
from kerasdeconv.data.super_resolution import degrade, high_resolution_images
from kerasdeconv.data.volumes import LabelledVolume
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import luma, to_uint8
from kerasdeconv.metrics import ConfusionMatrix, known_mean, mask_iou, psnr, roc_auc, ssim
from kerasdeconv.sizes import nearest_sizes


class KerasPredictor(runtime.Predictor):
    """Asks a Keras model as the runtime asks a file.

    Args:
        model: A model whose first input is pictures, channels last.
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
        super().__init__(convention, *(tuple(tensor.shape) for tensor in model.inputs))
        self.model = model

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the model once. See `Predictor.run`."""
        if len(inputs) != len(self.input_shapes):
            names = [tensor.name for tensor in self.model.inputs]
            raise ValueError(f"The network takes the inputs {names}. Received: {len(inputs)}")
        arrays = [values.astype(np.float32) for values in inputs]
        # A model with several inputs may take them in a list or by name.
        several = len(arrays) > 1
        answer = self.model.predict_on_batch(
            keras.tree.pack_sequence_as(self.model.input, arrays) if several else arrays[0]
        )
        return [np.asarray(part) for part in keras.tree.flatten(answer)]

    def tile_for(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """The least size, not smaller than a picture or volume, that the model can take at once."""
        fixed = tuple(side for side in self.input_shape[1:-1] if side is not None)
        if len(fixed) == len(self.input_shape) - 2:
            return fixed
        above = nearest_sizes(self.model, sides)[-1:]
        if not above:
            raise DataError(
                f"The model {self.model.name!r} takes no size near this one. "
                f"Received: {' x '.join(map(str, sides))}"
            )
        return above[0]


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
        data: A folder: `images/` with `masks/`, `labels/` or `instances/` for segmentation, with
            `labels/` for volumes; `images/` with `instances/` for instance segmentation;
            high-resolution pictures, or a subfolder `HR/` of them, for super-resolution.
        recipe: A recipe whose validation part of the data is to be used alone.
        convention: For a subject that does not know its own.
        progress: Called with how many pictures are done, and how many there are.

    Returns:
        `task`, `data`, `images` (how many) and `metrics`. Segmentation: `mean_iou`, `iou` by
        class, `dice` by class, `pixel_accuracy`, for networks with one channel `auc`, the area
        under the ROC curve over all pixels, and `groups` with the same but that by kind of picture
        where the data knows kinds; for volumes `dice` is the mean over the volumes, and `mean_dice`
        its mean over all classes but the first, the background. Instance segmentation: `mean_iou`
        over all instances, where the network is given the box around each, `instances` (how many),
        and `groups` as before.
        Super-resolution: `psnr_y` in dB and `ssim_y`, means over the pictures, and `pictures` with
        the same of each.

    Raises:
        ArtifactError: The file cannot be read.
        DataError: The data cannot be used.
        UnknownModel: The zoo has no such entry.
        ValueError: Nothing says what the subject takes, or its task has no measure.
    """
    predictor = as_predictor(subject, convention)
    task = predictor.convention.task
    if task == "segmentation":
        samples = _kept(labelled_samples, data, recipe)
        _check_rank(predictor, samples[0])
        figures = _segmentation(predictor, samples, progress)
        count = len(samples)
    elif task == "instance-segmentation":
        samples = _kept(labelled_images, data, recipe)
        figures = _instances(predictor, samples, progress)
        count = len(samples)
    elif task == "super-resolution":
        images = high_resolution_images(data, predictor.convention.color)
        figures = _super_resolution(predictor, images, progress)
        count = len(images)
    else:
        raise ValueError(
            "Only segmentation, instance segmentation and super-resolution have measures: give a "
            f"convention with that task. Received: task={task!r}"
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


def _check_rank(predictor: runtime.Predictor, sample: LabelledImage | LabelledVolume) -> None:
    """Refuses pictures for a network of volumes, and the other way around.

    Raises:
        DataError: They do not belong together.
    """
    volumes = len(predictor.input_shape) == 5
    if volumes != isinstance(sample, LabelledVolume):
        raise DataError(
            f"The network takes {'volumes' if volumes else 'pictures'}. Received: {sample.image}"
        )


def _kept(
    read: Callable[[str | Path], list[Any]], data: str | Path, recipe: str | Path | None
) -> list[Any]:
    """The validation part of a recipe; everything without one."""
    if recipe is None:
        return read(data)
    from kerasdeconv.train.parts import validation_part
    from kerasdeconv.train.recipe import read_recipe

    return validation_part(read_recipe(recipe).data, Path(data))


def _segmentation(
    predictor: runtime.Predictor, samples: list[Any], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    labels = predictor.convention.labels
    groups: dict[str, list[ConfusionMatrix]] = {}
    scores: list[tuple[np.ndarray, np.ndarray]] = []
    binary = len(labels) == 2 and predictor.convention.output != "labels"
    for done, sample in enumerate(samples, start=1):
        image, expected = sample.read()
        answer = _answer(predictor, image)
        if binary and answer.shape[-1] == 1:
            scores.append((expected[expected != IGNORE], answer[expected != IGNORE, 0]))
        matrix = ConfusionMatrix(len(labels), ignore=IGNORE)
        matrix.update(expected, runtime.label_map(predictor.convention, answer))
        groups.setdefault(sample.group, []).append(matrix)
        progress(done, len(samples))
    matrices = [matrix for group in groups.values() for matrix in group]
    figures = _figures(ConfusionMatrix.sum(matrices), labels)
    if scores:
        figures["auc"] = roc_auc(*map(np.concatenate, zip(*scores, strict=True)))
    if isinstance(samples[0], LabelledVolume):
        dice = np.stack([matrix.dice for matrix in matrices])
        figures["dice"] = dict(zip(labels, map(known_mean, dice.T), strict=True))
        figures["mean_dice"] = known_mean(dice[:, 1:])
    if set(groups) - {""}:
        figures["groups"] = {
            name: _figures(ConfusionMatrix.sum(groups[name]), labels) for name in sorted(groups)
        }
    return figures


def _instances(
    predictor: runtime.Predictor, samples: list[LabelledImage], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Every true box is asked for, so that masks are measured and not a detector."""
    groups: dict[str, list[float]] = {}
    for done, sample in enumerate(samples, start=1):
        image, numbers = sample.read_instances()
        present, boxes = instance_boxes(numbers)
        masks = predictor.predict_instances(image, boxes, tile=_tile_of(predictor, image))
        groups.setdefault(sample.group, []).extend(
            mask_iou(numbers == number, mask) for number, mask in zip(present, masks, strict=True)
        )
        progress(done, len(samples))
    figures = _instance_figures([iou for group in groups.values() for iou in group])
    if set(groups) - {""}:
        figures["groups"] = {name: _instance_figures(groups[name]) for name in sorted(groups)}
    return figures


def _instance_figures(ious: list[float]) -> dict[str, Any]:
    return {"mean_iou": float(np.mean(ious)) if ious else math.nan, "instances": len(ious)}


def _figures(matrix: ConfusionMatrix, labels: tuple[str, ...]) -> dict[str, Any]:
    return {
        "mean_iou": matrix.mean_iou,
        "iou": dict(zip(labels, matrix.iou.tolist(), strict=True)),
        "dice": dict(zip(labels, matrix.dice.tolist(), strict=True)),
        "pixel_accuracy": matrix.pixel_accuracy,
    }


def _answer(predictor: runtime.Predictor, image: np.ndarray) -> np.ndarray:
    return predictor.predict_tiled(image, tile=_tile_of(predictor, image))


def _tile_of(predictor: runtime.Predictor, image: np.ndarray) -> tuple[int, ...] | None:
    """A Keras model sees a picture whole, a file in tiles of its own size."""
    if isinstance(predictor, KerasPredictor):
        return predictor.tile_for(image.shape[: len(predictor.input_shape) - 2])
    return None


def _super_resolution(
    predictor: runtime.Predictor, images: list[np.ndarray], progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Luma alone, as the field measures, also for networks that take colour.

    These get the RGB picture shrunk, and the luma of what they give counts.
    """
    scale, pictures = predictor.convention.scale, []
    for done, image in enumerate(images, start=1):
        low, high = degrade(image, scale)
        got = _enlarged(predictor, low)
        inner = slice(scale, -scale)
        # Rounded, as MATLAB's rgb2ycbcr rounds what it makes of bytes.
        wanted, given = (
            (to_uint8(luma(x)) if x.ndim == 3 else x)[inner, inner] for x in (high, got)
        )
        pictures.append({"psnr_y": psnr(wanted, given), "ssim_y": ssim(wanted, given)})
        progress(done, len(images))
    means = {key: float(np.mean([p[key] for p in pictures])) for key in ("psnr_y", "ssim_y")}
    return {**means, "pictures": pictures}


def _enlarged(predictor: runtime.Predictor, low: np.ndarray) -> np.ndarray:
    """Runs a network over luma (height x width) or RGB, tile by tile, to 8 bits."""
    tile = (predictor.input_shape[1] or low.shape[0], predictor.input_shape[2] or low.shape[1])
    halo = min(predictor.convention.halo or max(tile), min(tile) // 4)
    answer = runtime.tiled(
        lambda part: predictor.run_batch(part[None])[0],
        np.atleast_3d(low).astype(np.float32),
        tile,
        halo,
        predictor.convention.scale,
    )
    return to_uint8(answer.reshape(*answer.shape[:2], *low.shape[2:]))
