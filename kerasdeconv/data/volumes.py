"""Volumes: scans in NIfTI or NumPy files with their labels, normalized, in patches.

Axes are (depth, height, width), the last running fastest in memory: NIfTI's (z, y, x).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.ndimage

from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.balance import ClassBalance
from kerasdeconv.data.nifti import read_nifti, read_spacing
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_files

VOLUME_SUFFIXES = (".nii", ".nii.gz", ".npy")


@dataclasses.dataclass(frozen=True)
class LabelledVolume:
    """A scan and where its labels are.

    Attributes:
        image: Scan file.
        mask: Label file: class numbers.
        group: What kind of scan it is, for stratified splits; may be "".
        spacing: Millimetres between voxels (z, y, x) that both are resampled to: the scan linearly,
            labels to the nearest. They stay as they are without it.
    """

    image: Path
    mask: Path
    group: str = ""
    spacing: tuple[float, ...] = ()

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """Reads the scan, normalized (float32, D x H x W x 1), and its class numbers (uint8).

        Raises:
            DataError: A file cannot be read, the labels are no class numbers, the two differ in
                size, or there is a spacing to come to and none to come from.
            ValueError: The spacing is not three numbers above 0.
        """
        scan, mask = read_volume(self.image), read_volume(self.mask)
        if mask.shape != scan.shape:
            raise DataError(
                f"Labels must have their scan's size {scan.shape}, these have {mask.shape}. "
                f"Received: {self.mask}"
            )
        labels = mask.astype(np.uint8)
        if not np.array_equal(labels, mask):
            raise DataError(f"Labels must be whole numbers from 0 to 255. Received: {self.mask}")
        if self.spacing:
            present = read_spacing(self.image)
            scan = resample(scan, present, self.spacing)
            labels = resample(labels, present, self.spacing, order=0)
        return normalize(scan)[..., None], labels


def list_volumes(folder: str | Path) -> list[Path]:
    """Lists the volumes in a folder, sorted by name.

    Raises:
        DataError: The folder does not exist or holds no volume.
    """
    return list_files(folder, VOLUME_SUFFIXES, "volume")


def is_volume(path: Path) -> bool:
    """Says whether a file is a volume, by its name."""
    return path.name.lower().endswith(VOLUME_SUFFIXES)


def labelled_volumes(folder: str | Path, *, spacing: Sequence[float] = ()) -> list[LabelledVolume]:
    """Lists the volumes in `images/` with those of the same name in `labels/`.

    Args:
        folder: The folder.
        spacing: Millimetres between voxels (z, y, x) that they are resampled to when they are read.

    Raises:
        DataError: There are no volumes, or one has no labels.
    """
    folder = Path(folder)
    samples = []
    for image in list_volumes(folder / "images"):
        mask = folder / "labels" / image.name
        if not mask.is_file():
            raise DataError(f"A scan has no labels {str(mask)!r}. Received: {image.name}")
        samples.append(LabelledVolume(image, mask, spacing=tuple(spacing)))
    return samples


def read_volume(path: str | Path) -> np.ndarray:
    """Reads a volume as it is stored, float32, D x H x W.

    Args:
        path: A NIfTI file, whose axes are turned around and whose intensities are scaled as its
            header says, or a NumPy file of three axes, taken as it is.

    Raises:
        DataError: The file is missing or damaged, or holds no volume of finite numbers, or nibabel,
            which reads NIfTI, is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No such volume. Received: {str(path)!r}")
    try:
        values = np.load(path) if path.suffix == ".npy" else read_nifti(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"Not a readable volume ({error}). Received: {str(path)!r}") from None
    if values.ndim != 3 or values.dtype.kind not in "uif" or not np.isfinite(values).all():
        raise DataError(
            "A volume must have three axes of finite numbers, this one has the shape "
            f"{values.shape} and the type {values.dtype}. Received: {str(path)!r}"
        )
    return values.astype(np.float32)


def resample(
    volume: np.ndarray, spacing: Sequence[float], target: Sequence[float], order: int = 1
) -> np.ndarray:
    """Brings a volume to another spacing; what is between the outermost edges stays the same.

    Sides are rounded to whole voxels, so the spacing is met to half a voxel over a whole side.
    Nothing is blurred first: to a spacing that is much wider, blur the volume yourself.

    Args:
        volume: As many axes as there are spacings.
        spacing: How far apart its voxels are along each axis, in any unit.
        target: How far apart they shall be.
        order: Order of the interpolation: 1 is linear, 0 takes the nearest, for labels.

    Returns:
        The volume in its own type.

    Raises:
        ValueError: The spacings are not as many numbers above 0 as the volume has axes.
    """
    if not len(spacing) == len(target) == volume.ndim or not min(*spacing, *target) > 0:
        raise ValueError(
            f"Give two times {volume.ndim} spacings above 0. "
            f"Received: {tuple(spacing)} and {tuple(target)}"
        )
    factors = [
        max(1, round(side * have / want)) / side
        for side, have, want in zip(volume.shape, spacing, target, strict=True)
    ]
    # Voxels are boxes, not points: their edges are kept in place.
    return scipy.ndimage.zoom(volume, factors, order=order, mode="nearest", grid_mode=True)


def normalize(scan: np.ndarray) -> np.ndarray:
    """Brings a scan to zero mean and unit variance, float32; a uniform one becomes zeros."""
    scan = np.asarray(scan, np.float32)
    return (scan - scan.mean()) / max(float(scan.std()), 1e-6)


def fit_volume(
    volume: np.ndarray,
    sides: Sequence[int],
    rng: np.random.Generator | None = None,
    at: Sequence[int] | None = None,
) -> np.ndarray:
    """Cuts a volume to a size, and repeats its last voxels where it is smaller.

    Args:
        volume: D x H x W (x channels).
        sides: The size.
        rng: Where to cut; from the middle without one.
        at: A voxel to be in the middle instead, as far as the border allows.
    """
    starts = []
    for axis, want in enumerate(sides):
        spare = max(volume.shape[axis] - want, 0)
        if at is not None:
            starts.append(min(max(at[axis] - want // 2, 0), spare))
        else:
            starts.append(int(rng.integers(spare + 1)) if rng else spare // 2)
    part = volume[tuple(slice(s, s + want) for s, want in zip(starts, sides, strict=True))]
    missing = [(0, want - have) for have, want in zip(part.shape, sides, strict=False)]
    return np.pad(part, missing + [(0, 0)] * (volume.ndim - len(sides)), mode="edge")


class VolumePatches(RandomPatches):
    """Random patches of labelled volumes, mirrored and changed in brightness.

    Batches are `(volume, target)`: N x D x H x W x 1 normalized float32; N x D x H x W x 1 class
    numbers, float32.

    Args:
        samples: Labelled volumes; they are read into memory.
        patch: Side of a patch, or its depth, height and width.
        augmentation: What to vary instead of this mirroring and brightness.
        balance: Share of the patches that are cut around a voxel of a class, all classes equally
            often; the others are cut anywhere.
        batch_size: See `RandomPatches`.
        steps: See `RandomPatches`.
        seed: See `RandomPatches`.
        augment: Whether to vary patches; without it they are cut from the middle, one volume after
            the other.

    Raises:
        DataError: A volume cannot be read, or there is no class to balance.
        ValueError: The balance is out of range.
    """

    def __init__(
        self,
        samples: Sequence[LabelledVolume],
        *,
        patch: int | tuple[int, int, int] = 32,
        augmentation: Augmentation | None = None,
        balance: float = 0.0,
        batch_size: int = 2,
        steps: int = 100,
        seed: int = 0,
        augment: bool = True,
    ) -> None:
        super().__init__(batch_size=batch_size, steps=steps, seed=seed, augment=augment)
        self.sides = (patch,) * 3 if isinstance(patch, int) else patch
        # Scan and labels in one array are cut and mirrored together.
        self._volumes = [
            np.concatenate([scan, labels[..., None]], axis=-1, dtype=np.float32)
            for scan, labels in (sample.read() for sample in samples)
        ]
        self.augmentation = augmentation
        self.balance = ClassBalance(
            balance if augment else 0.0,
            lambda: [volume[..., 1].astype(np.uint8) for volume in self._volumes],
            [range(len(self._volumes))],
        )

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        if self.augment:
            return super().__getitem__(index)
        volumes = self.in_turn(index, self._volumes)
        batch = np.stack([fit_volume(volume, self.sides) for volume in volumes])
        return batch[..., :1], batch[..., 1:]

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Cuts and varies one patch."""
        index, voxel = self.balance.draw(rng) or (rng.integers(len(self._volumes)), None)
        volume = self._volumes[index]
        if self.augmentation is not None:
            scan, labels = volume[..., :1], volume[..., 1]
            scan, labels = self.augmentation.patch(rng, scan, labels, self.sides, at=voxel)
            return self.augmentation.vary(rng, scan), labels[..., None]
        part = fit_volume(volume, self.sides, rng, voxel)
        mirrored = tuple(axis for axis in range(3) if rng.integers(2))
        part = np.flip(part, mirrored)
        gain, offset = np.exp(rng.uniform(-0.3, 0.3)), rng.uniform(-0.3, 0.3)
        noise = rng.normal(scale=rng.uniform(0, 0.1), size=(*self.sides, 1))
        return (gain * part[..., :1] + offset + noise).astype(np.float32), part[..., 1:]
