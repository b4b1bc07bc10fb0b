"""NIfTI files: values and spacing, axes turned around to (z, y, x)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.errors import DataError

# A header without a unit means millimetres, as every scanner writes.
_MILLIMETRES = {"mm": 1.0, "meter": 1000.0, "micron": 0.001, "unknown": 1.0}


def read_nifti(path: Path) -> np.ndarray:
    """Reads the values, float32, scaled as the header says.

    Raises:
        DataError: nibabel, which reads NIfTI, is not installed.
        OSError: The file is damaged, as is said by EOFError and ValueError, too.
    """
    return _load(path).get_fdata(dtype=np.float32).T


def read_spacing(path: str | Path) -> tuple[float, float, float]:
    """Reads how far apart voxels are.

    Args:
        path: A NIfTI file.

    Returns:
        Millimetres along depth, height and width: z, y and x.

    Raises:
        DataError: The file is missing or damaged, no NIfTI, has no three axes, or no sound spacing;
            or nibabel is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No such volume. Received: {str(path)!r}")
    if path.suffix == ".npy":
        raise DataError(f"Only NIfTI files say how far apart voxels are. Received: {str(path)!r}")
    try:
        image = _load(path)
        # As it is stored: nibabel's own copy has 1 where there is 0.
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            header = image.header_class.from_fileobj(file, check=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"Not a readable volume ({error}). Received: {str(path)!r}") from None
    scale = _MILLIMETRES[header.get_xyzt_units()[0]]
    spacing = tuple(scale * abs(float(step)) for step in header.get_zooms()[::-1])
    if len(spacing) != 3 or not all(0 < step < np.inf for step in spacing):
        raise DataError(
            f"A volume must have three spacings above 0, this one has {spacing}. "
            f"Received: {str(path)!r}"
        )
    return spacing


def _load(path: Path) -> Any:
    """Opens a file; values are read later.

    Raises:
        DataError: nibabel is not installed.
        OSError: The file is damaged, as is said by EOFError and ValueError, too.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
    except ModuleNotFoundError:
        raise DataError(
            f"NIfTI files need nibabel: pip install 'kerasdeconv[volumes]'. Received: {str(path)!r}"
        ) from None
    try:
        return nibabel.load(path)
    except ImageFileError as error:
        raise ValueError(str(error)) from None
