"""Segmentation data: folders of pictures with their masks."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from kerasdeconv.data.patches import RandomPatches, dihedral
from kerasdeconv.data.volumes import is_volume, labelled_volumes
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, read_image

MASK_FOLDERS = ("instances", "masks", "labels")
# The label of pixels that belong to no class, as in the Pascal VOC data.
IGNORE = 255


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
    """

    image: Path
    mask: Path
    group: str = ""
    field: Path | None = None
    values: tuple[int, ...] = ()

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
            labels[_read_mask(self.field, labels.shape) == 0] = IGNORE
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
    An `index.json`, a list of objects with `id` and `group`, tells the groups.

    Args:
        folder: The folder.
        labels: Folder of the masks beside `images`, if it has another name.
        field: Folder of masks, named likewise, that are black where a picture has no labels.
        values: Value of each class in the masks; other values are no class.

    Raises:
        DataError: There are no pictures, one has no mask, or the index is damaged.
    """
    folder = Path(folder)
    images = list_images(folder / "images")
    names = (labels,) if labels else MASK_FOLDERS
    masks = next((folder / name for name in names if (folder / name).is_dir()), None)
    if masks is None:
        raise DataError(
            f"The folder needs {' or '.join(names)} beside images. Received: {str(folder)!r}"
        )
    groups = _groups(folder / "index.json")
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
    folder: str | Path, *, labels: str = "", field: str = "", values: Sequence[int] = ()
) -> list[Any]:
    """Lists the labelled volumes of a folder, or its labelled pictures where it has no volumes.

    Args:
        folder: The folder.
        labels: See `labelled_images`; pictures alone.
        field: See `labelled_images`; pictures alone.
        values: See `labelled_images`; pictures alone.

    Raises:
        DataError: As `labelled_images` and `labelled_volumes`.
        ValueError: An option is given for volumes.
    """
    images = Path(folder) / "images"
    if images.is_dir() and any(is_volume(path) for path in images.iterdir()):
        if labels or field or values:
            raise ValueError(
                "labels, field and values are for pictures, and the folder has volumes. "
                f"Received: {labels!r}, {field!r}, {list(values)}"
            )
        return list(labelled_volumes(folder))
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
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether to vary patches; without it they are cut around the centre, unzoomed.
    """

    def __init__(
        self,
        samples: Sequence[LabelledImage],
        *,
        patch: int = 256,
        zoom: tuple[float, float] = (0.75, 1.33),
        batch_size: int = 8,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        self.patch, self.zoom = patch, zoom
        self._images = [
            tuple(PIL.Image.fromarray(part) for part in self.read(sample)) for sample in samples
        ]
        # Groups are drawn equally often, however many pictures each has.
        names = sorted({sample.group for sample in samples})
        self._groups = [[i for i, s in enumerate(samples) if s.group == g] for g in names]

    def read(self, sample: LabelledImage) -> tuple[np.ndarray, np.ndarray]:
        """Reads a picture and its labels."""
        return sample.read()

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self.augment:
            return super().__getitem__(index)
        samples = [self._cut(image, None) for image in self.in_turn(index, self._images)]
        return tuple(np.stack(part) for part in zip(*samples, strict=True))

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts and varies one patch."""
        group = self._groups[rng.integers(len(self._groups))]
        image, mask = self._cut(self._images[group[rng.integers(len(group))]], rng)
        image, mask = dihedral(rng, image, mask)
        return _vary_intensity(rng, image), mask

    def _cut(
        self, pair: tuple[PIL.Image.Image, ...], rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        image, mask = pair
        sides = np.array(image.size, dtype=float)
        zoom = np.exp(rng.uniform(*np.log(self.zoom))) if rng else 1.0
        box = np.full(2, min(self.patch / zoom, *sides))  # never beyond the picture
        start = (sides - box) * (rng.uniform(size=2) if rng else 0.5)
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
