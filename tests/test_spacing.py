"""Spacing of voxels: read, and volumes resampled to another."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest

from kerasdeconv import data
from kerasdeconv.data.nifti import read_spacing
from kerasdeconv.data.segmentation import labelled_samples
from kerasdeconv.data.volumes import LabelledVolume, VolumePatches, normalize, resample
from kerasdeconv.errors import DataError
from kerasdeconv.train.parts import validation_part
from kerasdeconv.train.recipe import DataRecipe


def save(
    path: Path, values: np.ndarray, spacing: tuple[float, ...], unit: str | None = "mm"
) -> Path:
    """Writes an array (z, y, x) with its spacing (z, y, x) as NIfTI."""
    image = nibabel.Nifti1Image(values.T, np.diag([*spacing[::-1], 1.0]))
    if unit is not None:
        image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


class TestRead:
    @pytest.mark.parametrize(
        ("unit", "factor"), [("mm", 1), (None, 1), ("meter", 1000), ("micron", 0.001)]
    )
    def test_millimetres(self, tmp_path, unit, factor):
        path = save(tmp_path / "a.nii.gz", np.zeros((4, 5, 6), np.int16), (3.0, 1.5, 0.5), unit)
        # Headers hold spacings in float32.
        assert read_spacing(path) == pytest.approx([3 * factor, 1.5 * factor, 0.5 * factor])

    def test_bad_files_are_named(self, tmp_path):
        missing = tmp_path / "none.nii"
        with pytest.raises(DataError, match=r"No such volume\. Received: '.*none\.nii'$"):
            read_spacing(missing)
        np.save(tmp_path / "a.npy", np.zeros((2, 2, 2)))
        with pytest.raises(DataError, match=r"Only NIfTI files .*Received: '.*a\.npy'$"):
            read_spacing(tmp_path / "a.npy")
        (tmp_path / "b.nii.gz").write_bytes(b"no volume")
        with pytest.raises(DataError, match=r"Not a readable volume.*b\.nii\.gz'$"):
            read_spacing(tmp_path / "b.nii.gz")
        flat = nibabel.Nifti1Image(np.zeros((4, 5), np.int16), np.eye(4))
        nibabel.save(flat, tmp_path / "flat.nii")
        with pytest.raises(DataError, match=r"three spacings above 0.*flat\.nii'$"):
            read_spacing(tmp_path / "flat.nii")

    @pytest.mark.parametrize("step", [0.0, np.nan])
    def test_a_spacing_that_is_none(self, tmp_path, step):
        path = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16), (1.0, 1.0, 1.0))
        content = bytearray(path.read_bytes())
        content[80:84] = np.float32(step).tobytes()  # pixdim[1]: x
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"three spacings above 0.*a\.nii'$"):
            read_spacing(path)

    def test_without_nibabel(self, tmp_path, monkeypatch):
        path = save(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16), (1.0, 1.0, 1.0))
        monkeypatch.setitem(sys.modules, "nibabel", None)
        with pytest.raises(DataError, match=r"kerasdeconv\[volumes\].*a\.nii'$"):
            read_spacing(path)


class TestResample:
    def test_a_ramp_stays_a_ramp(self):
        """In millimetres: what was at a place is there still."""
        spacing, target = (2.0, 1.0, 0.5), (1.0, 1.5, 0.5)
        z, y, x = (
            (np.arange(n) + 0.5) * step for n, step in zip((8, 12, 10), spacing, strict=True)
        )
        volume = (z[:, None, None] + 10 * y[:, None] + 100 * x).astype(np.float32)
        got = resample(volume, spacing, target)
        assert got.shape == (16, 8, 10) and got.dtype == np.float32
        z, y, x = ((np.arange(n) + 0.5) * step for n, step in zip(got.shape, target, strict=True))
        expected = z[:, None, None] + 10 * y[:, None] + 100 * x
        # Inside; beyond the middles of the outermost voxels nothing is known. Float32 of 600.
        np.testing.assert_allclose(got[1:-1, 1:-1, 1:-1], expected[1:-1, 1:-1, 1:-1], atol=1e-3)

    def test_the_same_spacing_changes_nothing(self):
        volume = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
        np.testing.assert_array_equal(resample(volume, (3, 1, 1), (3, 1, 1)), volume)

    def test_labels_get_no_new_values(self):
        labels = np.random.default_rng(0).choice(np.array([0, 3, 200], np.uint8), (6, 7, 8))
        got = resample(labels, (1, 1, 1), (0.7, 0.9, 1.3), order=0)
        assert got.dtype == np.uint8 and got.shape == (9, 8, 6)
        assert set(np.unique(got)) == {0, 3, 200}
        twice = resample(labels, (2, 2, 2), (1, 1, 1), order=0)
        np.testing.assert_array_equal(twice, labels.repeat(2, 0).repeat(2, 1).repeat(2, 2))

    def test_nothing_vanishes(self):
        assert resample(np.ones((2, 9, 9)), (1, 1, 1), (9, 1, 1)).shape == (1, 9, 9)

    @pytest.mark.parametrize(
        ("spacing", "target"),
        [((1, 1), (1, 1, 1)), ((1, 1, 1), (1, 1)), ((1, 0, 1), (1, 1, 1)), ((1, 1, 1), (1, -1, 1))],
    )
    def test_mistakes(self, spacing, target):
        with pytest.raises(ValueError, match=r"two times 3 spacings above 0\. Received: \(1, "):
            resample(np.zeros((3, 3, 3)), spacing, target)


def resampled(sample: LabelledVolume, *spacing: float) -> LabelledVolume:
    return dataclasses.replace(sample, spacing=spacing)


class TestScans:
    @pytest.fixture
    def sample(self, tmp_path) -> LabelledVolume:
        """Brightness tells the class, in cubes of 3 voxels."""
        labels = np.random.default_rng(0).integers(0, 3, (4, 5, 4)).astype(np.uint8)
        labels = labels.repeat(3, 0).repeat(3, 1).repeat(3, 2)
        image = save(tmp_path / "scan.nii.gz", labels * np.int16(100), (3.0, 1.0, 1.0))
        mask = save(tmp_path / "labels.nii.gz", labels, (1.0, 1.0, 1.0))  # a header nobody filled
        return LabelledVolume(image, mask)

    def test_read(self, sample):
        scan, labels = resampled(sample, 1.0, 1.0, 2.0).read()
        assert scan.shape == (36, 15, 6, 1) and labels.shape == (36, 15, 6)
        assert labels.dtype == np.uint8
        nearest = sample.read()[1].repeat(3, 0)[:, :, 1::2]  # of two voxels either is as near
        np.testing.assert_array_equal(labels, nearest)
        # Normalized after it was resampled.
        assert abs(scan.mean()) < 1e-5 and scan.std() == pytest.approx(1, abs=1e-5)
        # One voxel in three lies between classes; turned otherwise all would be by chance.
        assert np.corrcoef(scan.ravel(), labels.ravel())[0, 1] > 0.85
        np.testing.assert_array_equal(
            resampled(sample, 3.0, 1.0, 1.0).read()[0][..., 0],
            normalize(sample.read()[1] * 100.0),
        )

    def test_patches(self, sample):
        sample = resampled(sample, 1.0, 1.0, 2.0)
        volumes, _ = VolumePatches([sample], patch=(36, 15, 6), batch_size=1, augment=False)[0]
        np.testing.assert_array_equal(volumes[0], sample.read()[0])

    def test_numpy_files_have_none(self, tmp_path):
        data.write_synthetic("blobs", tmp_path, 1, (6, 7, 8))
        (sample,) = data.labelled_volumes(tmp_path, spacing=(1.0, 1.0, 1.0))
        with pytest.raises(DataError, match=r"Only NIfTI files .*images/000\.npy'$"):
            sample.read()

    def test_of_a_recipe(self, sample):
        """Training and evaluation see the same voxels."""
        folder = sample.image.parent
        for path, name in ((sample.image, "images"), (sample.mask, "labels")):
            (folder / name).mkdir()
            path.rename(folder / name / "a.nii.gz")
        recipe = DataRecipe("segmentation", ("",), spacing=(1.0, 1.0, 2.0), held_out=("a",))
        (kept,) = validation_part(recipe, folder)
        assert kept.read()[0].shape == (36, 15, 6, 1)

    def test_pictures_have_none(self, tmp_path):
        data.write_synthetic("nuclei", tmp_path, 1, (32, 32))
        with pytest.raises(ValueError, match=r"spacing is for volumes.* Received: \[1\.0\]$"):
            labelled_samples(tmp_path, spacing=(1.0,))
