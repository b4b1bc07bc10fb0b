"""Arrays from .npz files."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerasdeconv.errors import DataError


def read_arrays(path: Path, names: Sequence[str], *, more: Sequence[str] = ()) -> list[np.ndarray]:
    """Reads arrays of an .npz file.

    Args:
        path: The file.
        names: Names of arrays that must be in it.
        more: Names of arrays that may be.

    Returns:
        Those of `names`, and behind them those of `more` that there are.

    Raises:
        DataError: There is no such file, it is damaged, or an array is missing.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            if missing := [name for name in names if name not in archive]:
                raise DataError(
                    f"The file must hold {', '.join(names)}; {missing[0]} is missing. "
                    f"Received: {str(path)!r}"
                )
            return [archive[name] for name in (*names, *more) if name in archive]
    except FileNotFoundError:
        raise DataError(f"No such file. Received: {str(path)!r}") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise DataError(f"Not a readable .npz file ({error}). Received: {str(path)!r}") from None
