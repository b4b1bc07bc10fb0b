"""Weights files: one .npz a network, one array a variable, named by the variable's path.

Kernels are stored as float16 where that costs no more than float16's own rounding (2^-11 of the
largest weight); biases and everything of a normalisation stay float32, since they are small and a
variance may be anything. The file holds arrays alone, so reading one runs no code.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import keras
import numpy as np

from kerasdeconv.errors import WeightsError

_FULL_PRECISION = ("bias", "beta", "gamma", "moving_mean", "moving_variance")
_NAMED = 3  # how many misfits a message names


def save_weights(model: keras.Model, path: str | Path) -> Path:
    """Writes a model's weights to an .npz file, whole or not at all.

    The same weights give the same bytes.

    Args:
        model: A built model.
        path: Where to write; must end in .npz.

    Returns:
        The path.

    Raises:
        ValueError: The path has another suffix, or two variables have the same name.
        WeightsError: The file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"A weights file must end in .npz. Received: {str(path)!r}")
    arrays = {key: _compact(key, variable) for key, variable in _variables(model).items()}
    temporary = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("wb") as file:
                np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise WeightsError(
            f"Cannot write the weights file ({error.strerror}). Received: {str(path)!r}"
        ) from None
    return path


def load_weights(model: keras.Model, path: str | Path, *, partial: bool = False) -> tuple[str, ...]:
    """Reads weights from an .npz file into a model. Nothing is changed when it fails.

    Args:
        model: A built model.
        path: A file of `save_weights`.
        partial: Keep every weight that fits and leave the others as they are, instead of refusing
            a file that does not fit the model variable by variable.

    Returns:
        Names of the layers in which something was left as it was, in the model's order. Empty
        unless `partial`.

    Raises:
        WeightsError: The file is missing, damaged, or does not fit.
    """
    arrays = _read(Path(path))
    variables = _variables(model)
    fitting = [
        key
        for key, variable in variables.items()
        if key in arrays and arrays[key].shape == tuple(variable.shape)
    ]
    misfits = [key for key in variables if key not in fitting]
    surplus = [key for key in arrays if key not in variables]
    if variables and not fitting:
        raise WeightsError(
            f"No weight of the file fits the model {model.name!r}: it is of another network. "
            f"Received: {str(path)!r}"
        )
    if not partial and (misfits or surplus):
        raise WeightsError(
            f"The weights file does not fit the model {model.name!r}: "
            f"{_describe(misfits, surplus, arrays, variables)}. Received: {str(path)!r}"
        )
    for key in fitting:
        variables[key].assign(arrays[key].astype(variables[key].dtype))
    return tuple(dict.fromkeys(_layer(key) for key in misfits))


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """A model's weights by path, without the model's own name."""
    own = f"{model.name}/"
    variables: dict[str, keras.Variable] = {}
    for variable in model.weights:
        key = variable.path.removeprefix(own)
        if key in variables:
            raise ValueError(f"Two layers of the model have one name. Received: {key!r}")
        variables[key] = variable
    return variables


def _compact(key: str, variable: keras.Variable) -> np.ndarray:
    value = variable.numpy()
    if keras.backend.is_float_dtype(variable.dtype) and value.dtype != np.float64:
        value = value.astype(np.float32)  # .npz knows no bfloat16
    if value.dtype != np.float32 or value.ndim < 2 or key.endswith(_FULL_PRECISION):
        return value
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    # Fails on what overflows (infinite error), on NaN, and on weights all below float16's range.
    error = np.abs(half.astype(np.float32) - value).max(initial=0.0)
    return half if error <= 2.0**-11 * np.abs(value).max(initial=0.0) else value


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("a single array")
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError:
        raise WeightsError(f"No such weights file. Received: {str(path)!r}") from None
    except (
        EOFError,
        NotImplementedError,  # a compression that zipfile does not know
        OSError,
        ValueError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        raise WeightsError(
            f"Not a readable .npz weights file ({' '.join(str(error).split())}). "
            f"Received: {str(path)!r}"
        ) from None


def _describe(
    misfits: list[str],
    surplus: list[str],
    arrays: dict[str, np.ndarray],
    variables: dict[str, keras.Variable],
) -> str:
    """Names the first misfits of each kind."""
    clauses = [
        f"{key} is {arrays[key].shape} in the file and {tuple(variables[key].shape)} in the model"
        if key in arrays
        else f"{key} is not in the file"
        for key in misfits
    ] + [f"{key} is not in the model" for key in surplus]
    more = f" (and {len(clauses) - _NAMED} more)" if len(clauses) > _NAMED else ""
    return "; ".join(clauses[:_NAMED]) + more


def _layer(key: str) -> str:
    return key.rpartition("/")[0] or key
