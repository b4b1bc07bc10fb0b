"""Synthetic data folders, in the layouts that the loaders read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.data.outlines import rle_encode
from kerasdeconv.data.solids import draw_solid, occupancy, render, surface_points
from kerasdeconv.data.synthetic import sample_rank, synthetic_pairs
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import write_image
from kerasdeconv.tables import save_json

_SIZES = {2: (128, 128), 3: (32, 48, 48)}
_OWN_SIZES = {"digits": (28, 28), "solids": (64, 64)}
_POINTS = 1024  # of each solid


def write_synthetic(
    kind: str,
    folder: str | Path,
    count: int = 8,
    size: tuple[int, ...] | None = None,
    seed: int = 0,
    *,
    coco: bool = False,
) -> Path:
    """Writes synthetic samples as a data folder: what it holds, any recipe can be tried on.

    - "nuclei", instance segmentation: `images/` and `instances/`, or `instances.json`.
    - "shapes", segmentation with background and three classes: `images/` and `labels/`.
    - "blobs", volumes with background and two classes: `images/` and `labels/`, NumPy files.
    - "rooms", depth: `color/` and `depth/`, 16-bit millimetres.
    - "textures", super-resolution: `HR/`.
    - "digits", pictures with classes: `pictures.npz`.
    - "solids", views of bodies with 32 x 32 x 32 voxels and 1024 points of each: `solids.npz`.

    Args:
        kind: One of these, see `synthetic_samples`.
        folder: Where to; it is made. Files of the same names, 000 and on, are replaced.
        count: How many samples.
        size: Their sides; 128 x 128 without it, 28 x 28 for digits, 64 x 64 for solids,
            32 x 48 x 48 for volumes.
        seed: Seed.
        coco: Nuclei: whether instances are written in COCO form.

    Returns:
        The folder.

    Raises:
        DataError: A file cannot be written.
        ValueError: No such kind, one of another rank, or one that has no instances for COCO.
    """
    if coco and kind != "nuclei":
        raise ValueError(f"Only nuclei can be written in COCO form. Received: {kind!r}")
    folder = Path(folder)
    size = size or _OWN_SIZES.get(kind) or _SIZES[sample_rank(kind)]
    if kind == "solids":
        _save_solids(folder / "solids.npz", count, size, seed)
        return folder
    pairs = synthetic_pairs(kind, count, size, seed)
    if kind == "digits":
        _save_pictures(folder / "pictures.npz", pairs)
        return folder
    for number, (sample, target) in enumerate(pairs):
        name = f"{number:03}"
        if kind == "blobs":
            _save(folder / "images" / f"{name}.npy", sample)
            _save(folder / "labels" / f"{name}.npy", target.astype(np.uint8))
        elif kind == "textures":
            write_image(folder / "HR" / f"{name}.png", sample)
        elif kind == "rooms":
            write_image(folder / "color" / f"{name}.png", sample)
            millimetres = np.rint(1000 * target).astype(np.uint16)
            write_image(folder / "depth" / f"{name}.png", millimetres)
        else:
            write_image(folder / "images" / f"{name}.png", sample)
            if kind == "shapes":
                write_image(folder / "labels" / f"{name}.png", target.astype(np.uint8))
            elif not coco:
                write_image(folder / "instances" / f"{name}.png", target.astype(np.uint16))
    if coco:
        save_json(_coco([target for _, target in pairs]), folder / "instances.json")
    return folder


def _save_pictures(path: Path, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Gray pictures, and the class of the thing in each."""
    pictures = np.stack([picture[..., 0] for picture, _ in pairs])
    classes = np.array([labels.max() - 1 for _, labels in pairs], np.uint8)
    with _writing(path):
        np.savez_compressed(path, x=pictures, y=classes)


def _save_solids(path: Path, count: int, size: tuple[int, ...], seed: int) -> None:
    """The bodies of `synthetic_pairs`; see `kerasdeconv.data.solid_views.SolidViews`."""
    synthetic_pairs("solids", 0, size)  # checks the size
    made: dict[str, list[np.ndarray]] = {"x": [], "voxels": [], "points": []}
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        body = draw_solid(rng)
        made["x"].append(render(body, (size[0], size[1])))
        made["voxels"].append(np.packbits(occupancy(body), axis=-1))
        # Two bytes a coordinate: a step is a thousandth at most.
        made["points"].append(surface_points(rng, body, _POINTS).astype(np.float16))
    with _writing(path):
        x, voxels, points = map(np.stack, made.values())
        np.savez_compressed(path, x=x, voxels=voxels, points=points)


def _save(path: Path, values: np.ndarray) -> None:
    with _writing(path):
        np.save(path, values)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Makes the folder of a file, and says which file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise DataError(
            f"Cannot write the file ({error.strerror}). Received: {str(path)!r}"
        ) from None


def _coco(targets: list[np.ndarray]) -> dict[str, Any]:
    """The content of a COCO file with one category."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, numbers in enumerate(targets):
        height, width = numbers.shape
        images.append(
            {"id": image, "file_name": f"{image:03}.png", "height": height, "width": width}
        )
        for number in np.unique(numbers[numbers > 0]):
            mask = numbers == number
            rows, columns = (np.flatnonzero(mask.any(axis=axis)).tolist() for axis in (1, 0))
            y, x = rows[0], columns[0]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "segmentation": rle_encode(mask, compressed=True),
                    "area": int(mask.sum()),
                    "bbox": [x, y, columns[-1] + 1 - x, rows[-1] + 1 - y],
                    "iscrowd": 0,
                }
            )
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "nucleus"}],
    }
