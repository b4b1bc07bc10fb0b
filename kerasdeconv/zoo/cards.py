"""The zoo's entries as data: one TOML file each in `cards/`, read without Keras or NumPy.

The file's name is the entry's name, `model.toml` or `model.tag.toml`. A card, field by field:

    title = "U-Net for cell nuclei"
    summary = "One sentence: what it finds, in which pictures."
    builder = "UNet"                    # a function of kerasdeconv.models
    default = true                      # `unet` means this tag; one tag of a model has it
    parameters = 1_946_881              # trainable; a test counts them
    macs = 3_000_000_000                # optional: multiply-accumulates at the export size

    [paper]                             # title, url
    [arguments]                         # the builder's keyword arguments. TOML has no null:
    input_shape = ["none", "none", 3]   # "none" stands for None, here a side of any length
    [convention]                        # the fields of kerasdeconv.convention.Convention
    [export]                            # size: the height and width to export at, by default
    [calibration]                       # optional: samples (a generator of kerasdeconv.data's
                                        # synthetic or synthetic_inputs), count, note
    [data]                              # optional: name, licence, note: what it was trained on
    [weights]                           # optional: absent means never trained. file (in the
                                        # package) or url, sha256, size_bytes
    [use]                               # optional: intended, limits: a sentence or two each
    [[metrics]]                         # any number: metric, value, precision, format, data,
                                        # command. The first metric is the headline.
    [[files]]                           # any number: precision, format, size_bytes, faster_by

`[weights]`, `[[metrics]]` and `[[files]]` are written by `update_card`, the rest by hand.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from kerasdeconv.convention import TASKS, Convention
from kerasdeconv.errors import UnknownModel, closest
from kerasdeconv.tables import read_toml

_FOLDER = Path(__file__).parent / "cards"
_MEASURED = "# Written by kerasdeconv.zoo.cards.update_card: do not edit below this line."

_Section = TypeVar("_Section")


@dataclasses.dataclass(frozen=True)
class Paper:
    """Where a network was published."""

    title: str
    url: str


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Which synthetic samples calibrate an integer export when no real data is given.

    Attributes:
        samples: A generator of `kerasdeconv.data.synthetic` or `.synthetic_inputs`.
        count: How many samples to draw.
        note: What these samples cost against real data, as measured.
    """

    samples: str
    count: int = 64
    note: str = ""


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """What an entry was trained on."""

    name: str
    licence: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """Where trained weights are. Exactly one of `file` and `url` is set.

    Attributes:
        sha256: Of the file, in hexadecimal.
        size_bytes: Of the file.
        file: Name of a file that ships in the package's `zoo/weights`.
        url: http or https address of a file that is downloaded when first needed.
    """

    sha256: str
    size_bytes: int
    file: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.url is None):
            raise ValueError(
                f"Weights need either a file or a url. Received: file={self.file!r}, "
                f"url={self.url!r}"
            )


@dataclasses.dataclass(frozen=True)
class Metric:
    """One measured figure.

    Attributes:
        metric: What was measured, with its unit: "mean IoU", "PSNR on Y (dB)".
        value: The figure, rounded to the digits that mean something.
        precision: "float32", "int8", ...
        format: "keras", "tflite" or "onnx": what ran.
        data: What it was measured on.
        command: What to type to measure it again.
    """

    metric: str
    value: float
    precision: str
    format: str
    data: str
    command: str = ""


@dataclasses.dataclass(frozen=True)
class Use:
    """What an entry with trained weights is for, and where it fails.

    Attributes:
        intended: Pictures and purposes it was made for.
        limits: What it was not made for, and what is known to go wrong.
    """

    intended: str
    limits: str


@dataclasses.dataclass(frozen=True)
class ExportedFile:
    """An exported file at the export size, as measured.

    Attributes:
        precision: "float32", "int8", ...
        format: "tflite" or "onnx".
        size_bytes: Of the file.
        faster_by: Median time of the stock conversion over that of this file, run in turns with
            one thread; None where the stock converter makes no file that runs.
    """

    precision: str
    format: str
    size_bytes: int
    faster_by: float | None = None


@dataclasses.dataclass(frozen=True)
class Card:
    """An entry of the zoo. The module's docstring explains each field.

    Attributes:
        name: "model" or "model.tag".
        arguments: Keyword arguments of the builder, None and tuples as Python has them.
        export_size: Height and width (and depth) to export at unless told otherwise.
        weights: None for an entry that was never trained.
    """

    name: str
    title: str
    summary: str
    builder: str
    paper: Paper
    parameters: int
    arguments: dict[str, Any] = dataclasses.field(hash=False)
    convention: Convention
    export_size: tuple[int, ...]
    default: bool = False
    macs: int | None = None
    calibration: Calibration | None = None
    data: TrainingData | None = None
    use: Use | None = None
    weights: WeightsFile | None = None
    metrics: tuple[Metric, ...] = ()
    files: tuple[ExportedFile, ...] = ()

    @property
    def model(self) -> str:
        """The name without its tag."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The Keras model's name: the least that tells this entry from the others."""
        return self.model if self.default else self.name.replace(".", "_")

    @property
    def task(self) -> str:
        """What the network is for, one of `kerasdeconv.convention.TASKS`."""
        return self.convention.task

    @property
    def pretrained(self) -> bool:
        """Whether there are trained weights."""
        return self.weights is not None

    def to_dict(self) -> dict[str, Any]:
        """Returns all fields, and `task` and `pretrained`, as plain values for JSON."""
        return dataclasses.asdict(self) | {"task": self.task, "pretrained": self.pretrained}


def list_models(
    pattern: str | Iterable[str] = "*",
    *,
    task: str | None = None,
    exclude: str | Iterable[str] | None = None,
    pretrained: bool | None = None,
) -> list[str]:
    """Lists the names of the zoo's entries, a model's default tag before its others.

    Args:
        pattern: One or several names, in which `*`, `?` and `[...]` are wildcards. A model's name
            without a tag stands for its default tag, as it does in `load`.
        task: Only entries for this task, such as "segmentation".
        exclude: One or several patterns to leave out.
        pretrained: True for entries with trained weights only, False for those without.

    Raises:
        ValueError: There is no such task.

    Example:
        >>> list_models("espcn*", pretrained=True)
        ['espcn_x2', 'espcn_x3', 'espcn_x4']
    """
    found = find_cards(pattern, task=task, exclude=exclude, pretrained=pretrained)
    return [card.name for card in found]


def find_cards(
    pattern: str | Iterable[str] = "*",
    *,
    task: str | None = None,
    exclude: str | Iterable[str] | None = None,
    pretrained: bool | None = None,
) -> list[Card]:
    """Returns the cards of the entries that `list_models` names. Arguments and errors as there."""
    if task is not None and task not in TASKS:
        raise ValueError(f"No such task. {closest(task, TASKS)} Received: {task!r}")
    wanted, unwanted = _patterns(pattern), _patterns(exclude)
    cards = sorted(
        (read_card(path) for path in _paths().values()),
        key=lambda card: (card.model, not card.default, card.name),
    )
    return [
        card
        for card in cards
        if _matches(card, wanted)
        and not _matches(card, unwanted)
        and task in (None, card.task)
        and pretrained in (None, card.pretrained)
    ]


def card(name: str) -> Card:
    """Returns the card of an entry.

    Args:
        name: "model.tag", or "model" for its default tag.

    Raises:
        UnknownModel: There is no such entry; the message names the closest.
    """
    paths = _paths()
    if name in paths:
        return read_card(paths[name])
    cards = [read_card(path) for path in paths.values()]
    by_model = {card.model: card for card in cards if card.default}
    if name in by_model:
        return by_model[name]
    raise UnknownModel(
        f"The zoo has no model of this name. {closest(str(name), [*by_model, *sorted(paths)])} "
        f"Received: {name!r}"
    )


def read_card(path: str | Path) -> Card:
    """Reads a card file.

    Raises:
        ValueError: The file is not TOML or has missing, unknown or wrong fields.
    """
    path = Path(path)
    try:
        table = read_toml(path)
        for key, section in (
            ("paper", Paper),
            ("calibration", Calibration),
            ("data", TrainingData),
            ("use", Use),
            ("weights", WeightsFile),
        ):
            if key in table:
                table[key] = section(**table[key])
        table["metrics"] = tuple(Metric(**entry) for entry in table.get("metrics", ()))
        table["files"] = tuple(ExportedFile(**entry) for entry in table.get("files", ()))
        table["convention"] = Convention.from_dict(table["convention"])
        table["arguments"] = {k: _argument(v) for k, v in table["arguments"].items()}
        table["export_size"] = tuple(table.pop("export")["size"])
        return Card(name=path.name.removesuffix(".toml"), **table)
    except KeyError as error:
        raise ValueError(f"A card lacks the field {error}. Received: {str(path)!r}") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"Not a card ({error}). Received: {str(path)!r}") from None


def update_card(
    path: str | Path,
    *,
    weights: WeightsFile | None = None,
    metrics: Sequence[Metric] | None = None,
    files: Sequence[ExportedFile] | None = None,
) -> Card:
    """Writes what was trained and measured into a card; what is not given stays as it is.

    Args:
        path: A card file. What was written by hand keeps its form and its comments.
        weights: The new `[weights]` section.
        metrics: The new `[[metrics]]`, all of them.
        files: The new `[[files]]`, all of them.

    Returns:
        The card as it now reads.

    Raises:
        ValueError: The file is not a card, before or after.
    """
    path = Path(path)
    old = read_card(path)
    weights = old.weights if weights is None else weights
    metrics = old.metrics if metrics is None else metrics
    files = old.files if files is None else files
    text, mark, _ = path.read_text(encoding="utf-8").partition(_MEASURED)
    if not mark and (old.weights or old.metrics or old.files):
        raise ValueError(
            "A card's [weights], [[metrics]] and [[files]] must come last, below the line "
            f"{_MEASURED!r}. Received: {str(path)!r}"
        )
    parts = [text.rstrip(), _MEASURED]
    if weights:
        parts.append(_toml("[weights]", weights))
    parts += [_toml("[[metrics]]", metric) for metric in metrics]
    parts += [_toml("[[files]]", file) for file in files]
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        read_card(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return read_card(path)


def _toml(header: str, section: WeightsFile | Metric | ExportedFile) -> str:
    """A section of strings and numbers; empty fields are left out."""
    fields = dataclasses.asdict(section).items()
    # JSON writes strings and numbers as TOML does, once non-ASCII text is left alone.
    lines = [f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in fields if v not in (None, "")]
    return "\n".join([header, *lines])


def _paths() -> dict[str, Path]:
    return {path.name.removesuffix(".toml"): path for path in _FOLDER.glob("*.toml")}


def _patterns(value: str | Iterable[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _matches(card: Card, patterns: list[str]) -> bool:
    names = (card.name, card.model) if card.default else (card.name,)
    return any(fnmatch.fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _argument(value: Any) -> Any:
    """A builder argument as Python has it: "none" is None and lists are tuples."""
    if isinstance(value, list):
        return tuple(_argument(item) for item in value)
    return None if value == "none" else value
