"""Segmentation data: folders of pictures with their masks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.balance import ClassBalance
from kerasdeconv.data.patches import RandomPatches, dihedral
from kerasdeconv.data.volumes import is_volume, labelled_volumes
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, read_image

MASK_FOLDERS = ("instances", "masks", "labels")
COCO_FILES = ("annotations.json", "instances.json")
# The label of pixels that belong to no class, as in the Pascal VOC data.
IGNORE = 255
_ZOOM = (0.75, 1.33)


@dataclasses.dataclass(frozen=True)
class LabelledImage:
    """A picture and where its labels are.

    Attributes:
        image: Picture file.
        mask: Label file: class numbers, or instance numbers if its folder is `instances`.
        group: What kind of picture it is (from `index.json`), for stratified splits; may be "".
        field: File that is black where the picture has no labels, if there is one.
        values: Value of each class in the label file; other values are no class. Without them
            values are class numbers.
        outside: Label of the pixels outside the field: none, or a class.
    """

    image: Path
    mask: Path
    group: str = ""
    field: Path | None = None
    values: tuple[int, ...] = ()
    outside: int = IGNORE

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture (uint8, H x W x 3) and its class numbers (uint8, H x W).

        Instances become class 1, and so does 255 in a mask that holds only 0 and 255. In others
        255 is the label of pixels that belong to no class.

        Raises:
            DataError: A file cannot be read, or they differ in size.
        """
        image, mask = self._read()
        if self.values:
            labels = np.full(mask.shape, IGNORE, np.uint8)
            for number, value in enumerate(self.values):
                labels[mask == value] = number
        elif self.mask.parent.name == "instances" or set(np.unique(mask)) <= {0, 255}:
            labels = (mask > 0).astype(np.uint8)
        else:
            labels = mask.astype(np.uint8)
        if self.field is not None:
            labels[_read_mask(self.field, labels.shape) == 0] = self.outside
        return image, labels

    def read_instances(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the picture (uint8, H x W x 3) and its instance numbers (int32, H x W).

        Raises:
            DataError: A file cannot be read, the two differ in size, or the labels are no
                instances.
        """
        if self.mask.parent.name != "instances":
            raise DataError(f"Instance numbers are in a folder instances. Received: {self.mask}")
        image, mask = self._read()
        return image, mask.astype(np.int32)

    def _read(self) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(self.image)
        return image, _read_mask(self.mask, image.shape[:2])


def labelled_images(
    folder: str | Path, *, labels: str = "", field: str = "", values: Sequence[int] = ()
) -> list[LabelledImage]:
    """Lists the pictures in `images/` with their masks of the same name.

    Masks are PNG files in `instances/` (instance numbers), `masks/` or `labels/` (class numbers).
    Where there is no such folder, `annotations.json` or `instances.json` holds them in COCO form,
    see `coco_images`. An `index.json`, a list of objects with `id` and `group`, tells the groups.

    Args:
        folder: The folder.
        labels: Folder of the masks, or COCO file, beside `images`, if it has another name.
        field: Folder of masks, named likewise, that are black where a picture has no labels.
        values: Value of each class in the masks; other values are no class.

    Raises:
        DataError: There are no pictures, one has no mask, or the index is damaged.
        ValueError: Labels are in COCO form, and options are given that are for masks.
    """
    folder = Path(folder)
    images = list_images(folder / "images")
    groups = _groups(folder / "index.json")
    names = (labels,) if labels else MASK_FOLDERS
    masks = next((folder / name for name in names if (folder / name).is_dir()), None)
    if masks is None:
        files = (labels,) if labels.endswith(".json") else () if labels else COCO_FILES
        file = next((folder / name for name in files if (folder / name).is_file()), None)
        if file is None:
            wanted = " or ".join(dict.fromkeys((*names, *files)))
            raise DataError(f"The folder needs {wanted} beside images. Received: {str(folder)!r}")
        if field or values:
            raise ValueError(
                f"field and values are for masks, and {file.name} has COCO's form. "
                f"Received: {field!r}, {list(values)}"
            )
        from kerasdeconv.data.coco import coco_images

        return list(coco_images(file, folder / "images", groups))
    samples = []
    for image in images:
        name = f"{image.stem}.png"
        sample = LabelledImage(
            image,
            masks / name,
            groups.get(image.stem, ""),
            field=folder / field / name if field else None,
            values=tuple(values),
        )
        for file in (sample.mask, sample.field):
            if file is not None and not file.is_file():
                raise DataError(f"An image has no mask {str(file)!r}. Received: {image.name}")
        samples.append(sample)
    return samples


def labelled_samples(
    folder: str | Path,
    *,
    labels: str = "",
    field: str = "",
    values: Sequence[int] = (),
    spacing: Sequence[float] = (),
) -> list[Any]:
    """Lists the labelled volumes of a folder, or its labelled pictures where it has no volumes.

    Args:
        folder: The folder.
        labels: See `labelled_images`; pictures alone.
        field: See `labelled_images`; pictures alone.
        values: See `labelled_images`; pictures alone.
        spacing: See `labelled_volumes`; volumes alone.

    Raises:
        DataError: As `labelled_images` and `labelled_volumes`.
        ValueError: An option is given for the other kind.
    """
    images = Path(folder) / "images"
    if images.is_dir() and any(is_volume(path) for path in images.iterdir()):
        if labels or field or values:
            raise ValueError(
                "labels, field and values are for pictures, and the folder has volumes. "
                f"Received: {labels!r}, {field!r}, {list(values)}"
            )
        return list(labelled_volumes(folder, spacing=spacing))
    if spacing:
        raise ValueError(
            f"spacing is for volumes, and the folder has pictures. Received: {list(spacing)}"
        )
    return list(labelled_images(folder, labels=labels, field=field, values=values))


def _read_mask(path: Path, sides: tuple[int, ...]) -> np.ndarray:
    """Reads a picture of one channel, which must have this height and width."""
    try:
        with PIL.Image.open(path) as file:
            mask = np.asarray(file)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"Not a readable mask ({error}). Received: {path}") from None
    if mask.shape != sides:
        raise DataError(
            f"A mask must be one channel of its image's size {sides}, "
            f"this one is {mask.shape}. Received: {path}"
        )
    return mask


def _groups(index: Path) -> dict[str, str]:
    """Reads the group of each picture; there need not be an index."""
    if not index.is_file():
        return {}
    try:
        return {entry["id"]: entry.get("group", "") for entry in json.loads(index.read_bytes())}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DataError(
            f"An index must be a JSON list of objects with id and group. Received: {str(index)!r}"
        ) from None


class SegmentationPatches(RandomPatches):
    """Random patches of labelled pictures, zoomed, turned, mirrored and changed in brightness.

    Batches are `(image, target)`: N x p x p x 3 float32 in [0, 255]; N x p x p x 1 float32 with 0
    or 1 for one class (binary), else N x p x p x 1 class numbers for sparse cross-entropy.

    Args:
        samples: Labelled pictures; they are read into memory.
        patch: Side p of a patch.
        zoom: Least and greatest random magnification.
        augmentation: What to vary instead of this zoom, turns, mirroring and brightness.
        balance: Share of the patches that are cut around a pixel of a class, all classes equally
            often; the others are cut anywhere.
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether to vary patches; without it they are cut around the centre, unzoomed.

    Raises:
        DataError: A picture cannot be read, or there is no class to balance.
        ValueError: The balance is out of range, or zoom and augmentation are given.
    """

    def __init__(
        self,
        samples: Sequence[LabelledImage],
        *,
        patch: int = 256,
        zoom: tuple[float, float] = _ZOOM,
        augmentation: Augmentation | None = None,
        balance: float = 0.0,
        batch_size: int = 8,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        if augmentation is not None and zoom != _ZOOM:
            raise ValueError(
                f"With an augmentation, zoom is one of its fields. Received: zoom={zoom}"
            )
        self.patch, self.zoom = patch, zoom
        self.augmentation = augmentation if augment else None
        pairs = [self.read(sample) for sample in samples]
        # An augmentation samples arrays; without one Pillow cuts and zooms at once.
        self._pairs = pairs if self.augmentation else []
        self._images = (
            [] if self._pairs else [tuple(map(PIL.Image.fromarray, pair)) for pair in pairs]
        )
        # Groups are drawn equally often, however many pictures each has.
        names = sorted({sample.group for sample in samples})
        self._groups = [[i for i, s in enumerate(samples) if s.group == g] for g in names]
        self.balance = ClassBalance(
            balance if augment else 0.0,
            lambda: [self.classes(labels) for _, labels in pairs],
            self._groups,
            IGNORE,
        )

    def read(self, sample: LabelledImage) -> tuple[np.ndarray, np.ndarray]:
        """Reads a picture and its labels."""
        return sample.read()

    def classes(self, labels: np.ndarray) -> np.ndarray:
        """The class numbers that labels stand for, for the balance."""
        return labels

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self.augment:
            return super().__getitem__(index)
        samples = [self._cut(image, None) for image in self.in_turn(index, self._images)]
        return tuple(np.stack(part) for part in zip(*samples, strict=True))

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts and varies one patch."""
        index, pixel = self.balance.draw(rng) or (self._drawn(rng), None)
        if self.augmentation is not None:
            sides = (self.patch, self.patch)
            image, mask = self.augmentation.patch(rng, *self._pairs[index], sides, at=pixel)
            image = self.augmentation.vary(rng, image, (0.0, 255.0))
            return image, mask.astype(np.float32)[..., None]
        image, mask = self._cut(self._images[index], rng, pixel)
        image, mask = dihedral(rng, image, mask)
        return _vary_intensity(rng, image), mask

    def _drawn(self, rng: np.random.Generator) -> int:
        group = self._groups[rng.integers(len(self._groups))]
        return group[rng.integers(len(group))]

    def _cut(
        self,
        pair: tuple[PIL.Image.Image, ...],
        rng: np.random.Generator | None,
        pixel: tuple[int, ...] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        image, mask = pair
        sides = np.array(image.size, dtype=float)
        zoom = np.exp(rng.uniform(*np.log(self.zoom))) if rng else 1.0
        box = np.full(2, min(self.patch / zoom, *sides))  # never beyond the picture
        if pixel is None:
            start = (sides - box) * (rng.uniform(size=2) if rng else 0.5)
        else:
            start = np.clip(np.array(pixel[::-1]) + 0.5 - box / 2, 0, sides - box)
        window = (*start, *(start + box))
        size = (self.patch, self.patch)
        pixels = image.resize(size, PIL.Image.Resampling.BILINEAR, box=window)
        labels = mask.resize(size, PIL.Image.Resampling.NEAREST, box=window)
        return np.asarray(pixels, np.float32), np.asarray(labels, np.float32)[..., None]


def _vary_intensity(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Changes gamma, contrast and the balance of the channels of a picture in [0, 255]."""
    gamma = np.exp(rng.uniform(-0.4, 0.4))
    gain = np.exp(rng.uniform(-0.35, 0.35)) * np.exp(rng.uniform(-0.08, 0.08, size=3))
    offset = rng.uniform(-15, 15)
    varied = 255.0 * (image / 255.0) ** gamma * gain + offset
    return np.clip(varied, 0, 255).astype(np.float32)
