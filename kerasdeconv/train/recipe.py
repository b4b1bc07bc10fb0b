"""Recipes: how a network is trained, as a TOML file."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import types
import typing
from pathlib import Path
from typing import Any

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.errors import DataError, closest
from kerasdeconv.tables import read_toml


@dataclasses.dataclass(frozen=True)
class DataRecipe:
    """What to train on.

    Attributes:
        kind: The task of the networks that learn from it: "segmentation", "autoencoding", ...
        folders: Data folders, below the folder given on the command line.
        labels: Segmentation: folder of the label files, if not `instances`, `masks` or `labels`.
        field: Segmentation: folder of masks that are black where a picture has no labels.
        outside: Segmentation: class that training takes for what is outside the field, if it takes
            one; validation never does.
        values: Segmentation: value of each class in the label files; other values are no class.
        validation: Share of the pictures kept for validation.
        split_seed: Seed of that choice.
        held_out: Names of the pictures kept instead, without suffix; "2?" is 20 to 29.
        validation_folders: Data folders for validation instead.
        last: Whole pictures, and bodies: how many at the end are kept for validation instead.
        patch: Side of a patch in input pixels, or voxels.
        sides: Volumes, depth and what is learned from it, flow, disparity: height and width (and
            depth first) of a patch, if they differ.
        spacing: Volumes: millimetres between voxels (z, y, x) that scans are resampled to.
        batch: Samples in a batch.
        steps: Batches in an epoch.
        border: Super-resolution: input pixels along a patch's border that don't count.
        shrinks: Super-resolution: sizes in which the pictures are used.
        zoom: Segmentation, of instances too: least and greatest random magnification.
        augmentation: Segmentation, of instances and volumes too: what to vary instead of what the
            data sets vary without it.
        balance: Segmentation, of instances and volumes too: share of the patches that are cut
            around a pixel of a class, all classes equally often.
        boxes: Instance segmentation and detection: boxes in a patch, whose masks are learned.
        jitter: Instance segmentation and detection: how far the edges of a box are moved at
            most, as a share of its sides.
        annealing: Variational autoencoding: epochs in which what the posterior costs gets its
            weight.
        focal: Normals: focal length of the camera in pixels.
        shift: Flow and disparity: greatest motion in pixels.
    """

    kind: str
    folders: tuple[str, ...]
    labels: str = ""
    field: str = ""
    outside: int | None = None
    values: tuple[int, ...] = ()
    validation: float = 0.2
    split_seed: int = 0
    held_out: tuple[str, ...] = ()
    validation_folders: tuple[str, ...] = ()
    last: int = 0
    patch: int = 256
    sides: tuple[int, ...] = ()
    spacing: tuple[float, ...] = ()
    batch: int = 8
    steps: int = 100
    border: int = 0
    shrinks: tuple[float, ...] = (1.0,)
    zoom: tuple[float, float] = (0.75, 1.33)
    augmentation: Augmentation | None = None
    balance: float = 0.0
    boxes: int = 16
    jitter: float = 0.05
    annealing: int = 0
    focal: float = 0.0
    shift: float = 8.0

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            last=(0, math.inf),
            patch=(1, math.inf),
            batch=(1, math.inf),
            steps=(1, math.inf),
            border=(0, math.inf),
            balance=(0, 1),
            boxes=(1, math.inf),
            jitter=(0, math.inf),
            annealing=(0, math.inf),
            focal=(0, math.inf),
            shift=(0, math.inf),
        )


@dataclasses.dataclass(frozen=True)
class AdversarialRecipe:
    """How a generator is trained against a discriminator. See `kerasdeconv.train.Adversarial`.

    Attributes:
        discriminator: Name of its builder in `kerasdeconv.models`.
        arguments: The builder's arguments, but for the input shape.
        loss: "non_saturating", "hinge" or "wasserstein".
        smoothing: What the answer "real" lacks of 1.
        penalty: Weight of the gradient penalty.
        r1: Weight of the R1 penalty.
        critic_steps: Steps of the discriminator for one of the generator, which share a batch.
        rate: Learning rate of the discriminator, as a multiple of the generator's.
        beta_1: Momentum of both networks' Adam.
    """

    discriminator: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    loss: str = "non_saturating"
    smoothing: float = 0.0
    penalty: float = 0.0
    r1: float = 0.0
    critic_steps: int = 1
    rate: float = 1.0
    beta_1: float = 0.5


@dataclasses.dataclass(frozen=True)
class FitRecipe:
    """How to train.

    Attributes:
        epochs: Epochs.
        loss: Weight of each loss, by the name of Keras' function or of one of `kerasdeconv.losses`;
            or a table with its weight and its options. See `WeightedSum`. Every output has it.
        losses: The same for each output of its own, by the output's name, instead.
        adversarial: Training against a discriminator instead of by a loss on the outputs.
        learning_rate: Peak learning rate of Adam.
        schedule: How it falls from there: "cosine" (to a thousandth), "polynomial" or "constant".
        warmup: Share of all steps in which the learning rate rises to its peak.
        weight_decay: Decoupled weight decay (AdamW); 0 for Adam.
        clip_norm: Greatest norm of all gradients together; 0 for any.
        average: Momentum of the running average of the weights that is kept; 0 for none.
        statistics: Batches over which the statistics of BatchNormalization are estimated in the
            end, for the weights that are kept; 0 for the moving ones. See `estimate_statistics`.
        precision: "float32", or "mixed_bfloat16" for convolutions in 16 bits.
        patience: Epochs without a lower validation loss after which training ends; 0 for all.
    """

    epochs: int
    loss: dict[str, float | dict[str, Any]] = dataclasses.field(default_factory=dict)
    losses: dict[str, dict[str, float | dict[str, Any]]] = dataclasses.field(default_factory=dict)
    adversarial: AdversarialRecipe | None = None
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.02
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    average: float = 0.0
    statistics: int = 0
    precision: str = "float32"
    patience: int = 0

    def __post_init__(self) -> None:
        _check_ranges(
            self,
            epochs=(1, math.inf),
            learning_rate=(0, math.inf),
            warmup=(0, 1),
            weight_decay=(0, math.inf),
            clip_norm=(0, math.inf),
            average=(0, 1),
            statistics=(0, math.inf),
            patience=(0, math.inf),
        )


@dataclasses.dataclass(frozen=True)
class CompressRecipe:
    """How weights are made compressible before the training for 8 bits, which keeps them so.

    Attributes:
        sparsity: Share of zeros in each kernel; 0 for no pruning.
        clusters: Different values in each kernel; 0 for no clustering.
        epochs: Epochs of the pruning, and of the clustering.
    """

    sparsity: float = 0.0
    clusters: int = 0
    epochs: int = 1


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A whole recipe.

    Attributes:
        entry: Zoo entry whose network is trained.
        data: What to train on.
        fit: How to train.
        arguments: Arguments of the entry's builder that are others in training, and leave its
            weights as they are: `multiscale = true`.
        seed: Seed of weights and batches.
        start: Weights to start from: those of a trained zoo entry, by its name, or an .npz file,
            relative to the folder that holds the output folder; layers that they do not fit start
            anew, as all do with None.
        compress: Pruning and clustering; only for exports that train (`qat=`).
    """

    entry: str
    data: DataRecipe
    fit: FitRecipe
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    seed: int = 0
    start: str | None = None
    compress: CompressRecipe = CompressRecipe()


def read_recipe(path: str | Path) -> Recipe:
    """Reads a recipe.

    Raises:
        DataError: There is no such file.
        ValueError: The file is no TOML, or a field is missing, unknown, or of another type.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No such recipe. Received: {str(path)!r}")
    return _parse(Recipe, read_toml(path), str(path))


def _check_ranges(part: Any, **ranges: tuple[float, float]) -> None:
    """Refuses numbers of a part of a recipe that are out of range, ends included.

    Raises:
        ValueError: One is.
    """
    for name, (least, most) in ranges.items():
        value = getattr(part, name)
        if not least <= value <= most:
            bound = f"{least} or more" if most == math.inf else f"between {least} and {most}"
            raise ValueError(f"{name} must be {bound}. Received: {value}")


def _parse(cls: Any, fields: Any, where: str) -> Any:
    """Builds a dataclass from a TOML table, checking names and types."""
    if not isinstance(fields, dict):
        raise ValueError(f"{where} must be a table. Received: {fields!r}")
    types = typing.get_type_hints(cls)
    known = {field.name: field for field in dataclasses.fields(cls)}
    for name in fields:
        if name not in known:
            raise ValueError(f"{where}: no such field. {closest(name, known)} Received: {name!r}")
    needed = (
        name
        for name, field in known.items()
        if field.default is field.default_factory is dataclasses.MISSING
    )
    if missing := [name for name in needed if name not in fields]:
        raise ValueError(f"{where}: {', '.join(missing)} is missing. Received: {sorted(fields)}")
    values = {n: _convert(types[n], v, f"{where}: {n}") for n, v in fields.items()}
    try:
        return cls(**values)
    except ValueError as error:  # a number out of range
        raise ValueError(f"{where}: {error}") from None


def _convert(kind: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(kind):
        return _parse(kind, value, where)
    if kind is Any:
        return value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and isinstance(value, list):
        kinds = arguments[:1] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(kinds) == len(value):
            return tuple(_convert(k, v, where) for k, v in zip(kinds, value, strict=True))
    elif origin is dict and isinstance(value, dict):
        return {key: _convert(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    elif origin is types.UnionType:
        tables = [each for each in arguments if dataclasses.is_dataclass(each)]
        if tables and isinstance(value, dict):  # what is wrong in it is said, not that it is wrong
            return _parse(tables[0], value, where)
        for each in arguments:
            with contextlib.suppress(ValueError):
                return _convert(each, value, where)
    elif kind is float and type(value) is int:
        return float(value)
    elif type(value) is kind:
        return value  # isinstance would take true for a whole number
    raise ValueError(f"{where} must be of type {_name(kind)}. Received: {value!r}")


def _name(kind: Any) -> str:
    """Names a type as those who write TOML know it."""
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is types.UnionType:
        return " | ".join("None" if each is type(None) else _name(each) for each in arguments)
    if typing.get_origin(kind) is dict:
        return "table"
    return kind.__name__ if isinstance(kind, type) and not arguments else str(kind)
