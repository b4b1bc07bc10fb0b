"""How models, sizes and files are named on the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError, DataError, UnknownModel, closest
from kerasdeconv.zoo.cards import card, find_cards

if TYPE_CHECKING:
    import keras

    from kerasdeconv.runtime import FilePredictor

FILES = (".tflite", ".onnx")
Target = Annotated[str, typer.Option(help="Where the file will run: see `kerasdeconv targets`.")]
Size = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="Input height and width. An entry has its own."),
]
Calibration = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Folder of typical pictures, for integers; 'noise' for noise. An entry has samples.",
    ),
]
Count = Annotated[int, typer.Option(min=1, help="Samples that are used at most.")]
Seed = Annotated[int, typer.Option(min=0, help="Which tiles of the pictures, and which samples.")]
Ranges = Annotated[
    str, typer.Option(help="How int8 chooses ranges: minmax, percentile, entropy or mse.")
]
Like = Annotated[
    str | None,
    typer.Option(
        metavar="ENTRY",
        help="Zoo entry from which a .keras file was fine-tuned, or whose pictures and answers a "
        "file of other origin shares: its convention is taken over.",
    ),
]


def unknown_entry(pattern: str) -> UnknownModel:
    """Says that the zoo has no entry that fits a pattern, and what comes closest."""
    known = dict.fromkeys(name for card in find_cards() for name in (card.model, card.name))
    return UnknownModel(
        f"The zoo has no entry of this name. {closest(pattern, known)} Received: {pattern!r}"
    )


def is_file(name: str) -> bool:
    """Whether this names an exported file."""
    return name.lower().endswith(FILES)


def is_model_file(name: str) -> bool:
    """Whether this names a .keras file, which must then be there.

    Raises:
        DataError: It is not there.
        ValueError: It is a path to something else.
    """
    path = Path(name)
    if path.suffix == ".keras":
        if not path.is_file():
            raise DataError(f"No such model file. Received: {name!r}")
        return True
    if len(path.parts) > 1 or path.suffix in (*FILES, ".h5", ".hdf5", ".pb", ".npz"):
        raise ValueError(
            "A model is the name of a zoo entry (see `kerasdeconv list`) or a .keras file. "
            f"Received: {name!r}"
        )
    return False


def check_model(name: str) -> None:
    """Refuses a name that is neither an entry nor a .keras file, before Keras is loaded.

    Raises:
        DataError: There is no such file.
        UnknownModel: There is no such entry.
        ValueError: It is a path to something else.
    """
    if not is_model_file(name):
        card(name)


def open_model(name: str) -> keras.Model | str:
    """Reads a .keras file; the name of a zoo entry stays a name."""
    check_model(name)
    if not is_model_file(name):
        return name
    from kerasdeconv.evaluation import read_model

    return read_model(name)


def check_job(model: str, target: str, like: str | None) -> None:
    """Refuses a model, target or entry that there is not, before Keras is loaded.

    Raises:
        DataError: There is no such file.
        TargetError: There is no such target.
        UnknownModel: There is no such entry.
        ValueError: The model is a path to something else.
    """
    from kerasdeconv.export.targets import load_target

    load_target(target)
    check_model(model)
    convention_like(like)


def convention_like(entry: str | None) -> Convention | None:
    """Returns the convention of a zoo entry.

    Raises:
        UnknownModel: There is no such entry.
    """
    return card(entry).convention if entry else None


def open_file(
    path: str, like: str | None, *, pictures: bool = True, **options: Any
) -> FilePredictor:
    """Opens an exported file that says, or is told, what it takes.

    Args:
        path: The file.
        like: A zoo entry that takes the same.
        pictures: Whether it has to take pictures; otherwise a task is enough.
        **options: See `runtime.open`.

    Raises:
        ArtifactError: The file is missing or damaged, or nobody says what it takes.
        UnknownModel: There is no entry `like`.
    """
    from kerasdeconv import runtime

    predictor = runtime.open(path, convention=convention_like(like), **options)
    convention = predictor.convention
    if convention.color is None and (pictures or convention.task == "tensor"):
        raise ArtifactError(
            "The file does not say what it takes (it has no metadata of kerasdeconv, or its model "
            "takes no pictures): give --like, a zoo entry that takes the same. "
            f"Received: {path!r}"
        )
    return predictor


def open_subject(model: str, like: str | None) -> tuple[Any, Convention | None]:
    """Checks what is to be asked, an entry or a file of any kind, before Keras is loaded.

    Returns:
        What `kerasdeconv.evaluation.as_predictor` takes.

    Raises:
        ArtifactError: The file is missing or damaged, or nobody says what it takes.
        DataError: There is no such .keras file.
        UnknownModel: There is no such entry.
        ValueError: It is a path to something else, or a .keras file without `like`.
    """
    convention = convention_like(like)
    if is_file(model):
        return open_file(model, like, pictures=False), convention
    check_model(model)
    if is_model_file(model) and convention is None:
        raise ValueError(
            "A .keras file does not say what it takes: give --like, a zoo entry that takes "
            f"the same. Received: {model!r}"
        )
    return model, convention


def parse_size(text: str | None) -> tuple[int, ...] | None:
    """Parses sides such as "256x256"; one number makes a square.

    Raises:
        ValueError: It is something else.
    """
    if text is None:
        return None
    if not re.fullmatch(r"\d+(\s*[xX×,]\s*\d+)*", text.strip()):  # noqa: RUF001 - people type it
        raise ValueError(f"A size is height x width in pixels, such as 256x256. Received: {text!r}")
    sides = tuple(int(side) for side in re.findall(r"\d+", text))
    return sides * 2 if len(sides) == 1 else sides
