"""Instances from COCO JSON: polygons and run lengths as instance and class numbers.

The format: https://cocodataset.org/#format-data.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.data.outlines import outline_fault, outline_mask
from kerasdeconv.data.segmentation import IGNORE, LabelledImage
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import read_image


@dataclasses.dataclass(frozen=True)
class CocoObject:
    """An object of a picture.

    Attributes:
        label: Its class number, 1 or more.
        outline: Polygons, each x0, y0, x1, y1, ..., or run lengths, as in the JSON.
        crowd: Whether it is a group of objects that are not told apart.
    """

    label: int
    outline: Any = dataclasses.field(repr=False)
    crowd: bool = False

    def mask(self, sides: tuple[int, int]) -> np.ndarray:
        """Where it is, bool, for a picture of this height and width."""
        return outline_mask(self.outline, sides)


@dataclasses.dataclass(frozen=True)
class CocoImage(LabelledImage):
    """A picture whose labels are in a COCO file, `mask`.

    Where objects overlap, the smaller one is seen, as if it lay on top.

    Attributes:
        sides: Height and width by the COCO file.
        objects: What is in it, in the order of the file.
    """

    sides: tuple[int, int] = (0, 0)
    objects: tuple[CocoObject, ...] = ()

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture (uint8, H x W x 3) and its class numbers (uint8, H x W).

        0 is the background; a crowd, where no object is told apart, is of no class (255).

        Raises:
            DataError: The picture cannot be read, or has another size.
        """
        image = self._image()
        labels = np.zeros(self.sides, np.uint8)
        for crowd in (one for one in self.objects if one.crowd):
            labels[crowd.mask(self.sides)] = IGNORE
        for _, label, mask in self._masks():
            labels[mask] = label
        return image, labels

    def read_instances(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture (uint8, H x W x 3) and its instance numbers (int32, H x W).

        They count the objects in the order of the file from 1, crowds left out.

        Raises:
            DataError: The picture cannot be read, or has another size.
        """
        image = self._image()
        numbers = np.zeros(self.sides, np.int32)
        for number, _, mask in self._masks():
            numbers[mask] = number
        return image, numbers

    def _image(self) -> np.ndarray:
        image = read_image(self.image)
        if image.shape[:2] != self.sides:
            raise DataError(
                f"The picture is {image.shape[:2]} and not {self.sides}, as {self.mask.name} says. "
                f"Received: {str(self.image)!r}"
            )
        return image

    def _masks(self) -> list[tuple[int, int, np.ndarray]]:
        """Number, class and mask of each object, the largest first."""
        objects = [one for one in self.objects if not one.crowd]
        masks = [(n, one.label, one.mask(self.sides)) for n, one in enumerate(objects, start=1)]
        return sorted(masks, key=lambda part: -np.count_nonzero(part[2]))


def coco_images(
    path: str | Path, images: str | Path | None = None, groups: Mapping[str, str] | None = None
) -> list[CocoImage]:
    """Lists the pictures of a COCO file of instances, sorted by name.

    Classes are numbered from 1 by rising category id, see `coco_classes`. Pictures that the file
    does not name are none of it.

    Args:
        path: The JSON file.
        images: The folder of the pictures; `images` beside the file without one.
        groups: Kind of picture by file name without suffix.

    Raises:
        DataError: The file is missing, damaged or not in COCO form, an annotation is not sound, or
            a picture is missing.
    """
    path = Path(path)
    folder = Path(images) if images is not None else path.parent / "images"
    content = _content(path)
    classes = {category: n for n, (category, _) in enumerate(_categories(content, path), start=1)}
    files: dict[Any, tuple[str, tuple[int, int]]] = {}
    for entry in content["images"]:
        if not isinstance(entry, dict) or not _is_image(entry) or entry["id"] in files:
            raise _wrong(
                path, "An image needs an id of its own, file_name, height and width", entry
            )
        files[entry["id"]] = entry["file_name"], (entry["height"], entry["width"])
    objects: dict[Any, list[CocoObject]] = {identity: [] for identity in files}
    for entry in content["annotations"]:
        if not isinstance(entry, dict):
            raise _wrong(path, "An annotation must be an object", entry)
        image, category = (_known(entry, k, path) for k in ("image_id", "category_id"))
        if image not in files or category not in classes:
            raise _wrong(path, "An annotation names no image or category of the file", entry)
        outline = entry.get("segmentation")
        if reason := outline_fault(outline, files[image][1]):
            raise _wrong(path, reason, entry)
        objects[image].append(
            CocoObject(classes[category], outline, crowd=bool(entry.get("iscrowd", 0)))
        )
    samples = []
    for identity, (name, sides) in sorted(files.items(), key=lambda item: item[1][0]):
        file = folder / name
        if not file.is_file():
            raise DataError(f"{path.name} names an image that is missing. Received: {str(file)!r}")
        samples.append(
            CocoImage(
                file,
                path,
                (groups or {}).get(file.stem, ""),
                sides=sides,
                objects=tuple(objects[identity]),
            )
        )
    return samples


def coco_classes(path: str | Path) -> tuple[str, ...]:
    """Names the classes of a COCO file, the background first.

    Raises:
        DataError: The file is missing, damaged or not in COCO form.
    """
    path = Path(path)
    return ("background", *(name for _, name in _categories(_content(path), path)))


def _content(path: Path) -> dict[str, Any]:
    """Reads the JSON and checks that it has COCO's lists."""
    if not path.is_file():
        raise DataError(f"No such annotation file. Received: {str(path)!r}")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"Not a JSON file ({error}). Received: {str(path)!r}") from None
    lists = ("images", "annotations", "categories")
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in lists):
        raise DataError(
            f"A COCO file of instances has the lists {', '.join(lists)}. Received: {str(path)!r}"
        )
    return content


def _categories(content: dict[str, Any], path: Path) -> list[tuple[int, str]]:
    """Ids and names, the ids rising."""
    found: dict[int, str] = {}
    for entry in content["categories"]:
        identity = entry.get("id") if isinstance(entry, dict) else None
        if type(identity) is not int or identity in found or not isinstance(entry.get("name"), str):
            raise _wrong(
                path, "A category needs a whole number of its own as id, and a name", entry
            )
        found[identity] = entry["name"]
    if len(found) >= IGNORE:
        raise DataError(
            f"Class numbers end at {IGNORE - 1}: {path.name} has too many categories. "
            f"Received: {len(found)}"
        )
    return sorted(found.items())


def _is_image(entry: dict[str, Any]) -> bool:
    sides = [entry.get(key) for key in ("height", "width")]
    return (
        type(entry.get("id")) in (int, str)
        and isinstance(entry.get("file_name"), str)
        and all(type(side) is int and side > 0 for side in sides)
    )


def _known(entry: dict[str, Any], key: str, path: Path) -> Any:
    value = entry.get(key)
    if type(value) not in (int, str):
        raise _wrong(path, f"An annotation needs {key}", entry)
    return value


def _wrong(path: Path, reason: str, entry: Any) -> DataError:
    """An error that names the file and the entry."""
    name = entry.get("id", entry) if isinstance(entry, dict) else entry
    return DataError(f"{reason}: {str(path)!r}. Received: id {str(name)[:60]}")
