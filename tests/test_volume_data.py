"""Volumes on disk: read, normalized, cut, evaluated and calibrated with."""

from __future__ import annotations

from pathlib import Path

import keras
import nibabel
import numpy as np
import pytest
from scipy import stats

from kerasdeconv.convention import Convention
from kerasdeconv.data.volumes import (
    LabelledVolume,
    VolumePatches,
    fit_volume,
    labelled_volumes,
    list_volumes,
    normalize,
    read_volume,
)
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation import evaluate
from kerasdeconv.export.calibration import samples_from
from kerasdeconv.losses import WeightedSum, sparse_dice

L = keras.layers
SCANS = Convention(
    task="segmentation", output="probabilities", labels=("dark", "bright", "brightest")
)


def save(path: Path, values: np.ndarray) -> None:
    """Writes an array (z, y, x) as NIfTI, whose axes are (x, y, z)."""
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values.T, np.eye(4)), path)


@pytest.fixture
def scans(tmp_path) -> Path:
    """Three scans of different sizes, in which brightness tells the class."""
    rng = np.random.default_rng(0)
    for number, sides in enumerate([(6, 9, 5), (8, 8, 8), (10, 7, 12)]):
        labels = rng.integers(0, 3, sides).astype(np.uint8)
        scan = (labels * 100 + rng.integers(0, 20, sides)).astype(np.int16)
        save(tmp_path / "images" / f"scan_{number}.nii.gz", scan)
        # One is stored in floats, as in the Medical Segmentation Decathlon.
        save(tmp_path / "labels" / f"scan_{number}.nii.gz", labels.astype(["u1", "f4"][number % 2]))
    return tmp_path


def test_axes_are_turned_and_intensities_scaled(tmp_path):
    stored = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # x, y, z
    image = nibabel.Nifti1Image(stored, np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii"), stored.T * 0.5 + 3, rtol=1e-3)
    np.save(tmp_path / "b.npy", stored)
    np.testing.assert_array_equal(read_volume(tmp_path / "b.npy"), stored)


def test_scans_and_labels(scans):
    samples = labelled_volumes(scans)
    assert [sample.image.name for sample in samples] == [f"scan_{n}.nii.gz" for n in range(3)]
    for sample in samples:
        scan, labels = sample.read()
        assert scan.shape == (*labels.shape, 1) and labels.dtype == np.uint8
        assert abs(scan.mean()) < 1e-5 and scan.std() == pytest.approx(1, abs=1e-5)
        # The brighter, the higher the class: nothing was turned against anything.
        assert stats.spearmanr(scan.ravel(), labels.ravel())[0] > 0.9


def test_normalize_a_blank_scan():
    np.testing.assert_array_equal(normalize(np.full((2, 2, 2), 7)), np.zeros((2, 2, 2)))


def test_bad_files_are_named(scans):
    folder = scans / "images"
    (folder / "._scan_0.nii.gz").write_bytes(b"left behind")
    assert len(list_volumes(folder)) == 3
    (folder / "scan_1.nii.gz").write_bytes(b"no volume")
    with pytest.raises(DataError, match=r"Not a readable volume .*scan_1"):
        labelled_volumes(scans)[1].read()
    np.save(folder / "flat.npy", np.zeros((3, 4)))
    with pytest.raises(DataError, match=r"three axes .*\(3, 4\).*flat"):
        read_volume(folder / "flat.npy")
    with pytest.raises(DataError, match=r"has no labels .*Received: flat\.npy"):
        labelled_volumes(scans)
    save(scans / "labels" / "scan_2.nii.gz", np.full((10, 7, 12), 0.5, np.float32))
    with pytest.raises(DataError, match=r"whole numbers .*labels/scan_2"):
        LabelledVolume(folder / "scan_2.nii.gz", scans / "labels" / "scan_2.nii.gz").read()
    with pytest.raises(DataError, match=r"scan's size \(10, 7, 12\).*labels/scan_0"):
        LabelledVolume(folder / "scan_2.nii.gz", scans / "labels" / "scan_0.nii.gz").read()
    with pytest.raises(DataError, match=r"No such folder of volumes"):
        list_volumes(scans / "none")


def test_fit_volume():
    volume = np.arange(5 * 4).reshape(5, 4, 1)
    np.testing.assert_array_equal(fit_volume(volume, (3, 2)), volume[1:4, 1:3])
    wide = fit_volume(volume, (3, 6))
    np.testing.assert_array_equal(wide[:, :4], volume[1:4])
    np.testing.assert_array_equal(wide[:, 4:], volume[1:4, [3, 3]])


def test_patches(scans):
    samples = labelled_volumes(scans)
    patches = VolumePatches(samples, patch=8, batch_size=2, steps=3, seed=1)
    volume, target = patches[0]
    assert volume.shape == target.shape == (2, 8, 8, 8, 1)
    again = VolumePatches(samples, patch=8, batch_size=2, steps=3, seed=1)[0]
    np.testing.assert_array_equal(volume, again[0])
    assert not np.array_equal(volume, patches[1][0])
    # Mirrored together: brightness still tells the class.
    assert stats.spearmanr(volume[0].ravel(), target[0].ravel())[0] > 0.9
    plain = VolumePatches(samples, patch=8, batch_size=2, steps=3, augment=False)
    middle = fit_volume(samples[2].read()[0], (8, 8, 8))
    np.testing.assert_array_equal(plain[1][0][0], middle)  # the third sample


def by_brightness(sides: tuple[int | None, ...] = (None, None, None)) -> keras.Model:
    """Finds the classes of `scans` by brightness alone, without an error."""
    scan = keras.Input((*sides, 1), name="scan")
    x = L.Conv3D(3, 1, activation="softmax", name="head")(scan)
    model = keras.Model(scan, x, name="by_brightness")
    # Means near 0, 100 and 200 lie near -1.2, 0 and 1.2 after normalizing.
    model.set_weights([np.array([[[[[-9, 0, 9]]]]]), np.array([-5.4, 0, -5.4])])
    return model


def test_evaluation_takes_the_mean_over_volumes(scans):
    result = evaluate(by_brightness(), scans, convention=SCANS)
    assert result["images"] == 3
    assert result["metrics"]["mean_dice"] == 1 and result["metrics"]["mean_iou"] == 1
    model = by_brightness((4, 6, 4))  # in tiles
    kernel, bias = model.get_weights()
    assert evaluate(model, scans, convention=SCANS)["metrics"]["mean_dice"] == 1
    model.set_weights([kernel, bias + np.array([0, 0, 6.0])])  # too fond of the brightest
    figures = evaluate(model, scans, convention=SCANS)["metrics"]
    dice = []
    for sample in labelled_volumes(scans):
        scan, labels = sample.read()
        found = np.asarray(scores(model, scan)).argmax(-1)
        dice.append(
            [
                2
                * np.sum((found == c) & (labels == c))
                / np.sum((found == c) + 0.0 + (labels == c))
                for c in range(3)
            ]
        )
    np.testing.assert_allclose(list(figures["dice"].values()), np.mean(dice, axis=0))
    assert figures["mean_dice"] == pytest.approx(np.mean(np.array(dice)[:, 1:]))
    assert figures["mean_dice"] < 1


def scores(model: keras.Model, scan: np.ndarray) -> np.ndarray:
    kernel, bias = model.get_weights()
    return scan @ kernel[0, 0, 0] + bias


def test_pictures_and_volumes_are_told_apart(scans):
    flat = keras.Input((8, 8, 1))
    model = keras.Model(flat, L.Conv2D(3, 1)(flat))
    with pytest.raises(DataError, match=r"The network takes pictures\. Received: .*scan_0"):
        evaluate(model, scans, convention=SCANS)


def test_a_folder_of_scans_calibrates(scans):
    samples = samples_from(scans, (1, 8, 8, 8, 1), SCANS, count=2)
    assert [sample.shape for sample in samples] == [(1, 8, 8, 8, 1)] * 2
    chosen = np.random.default_rng(0).permutation(3)[:2]
    expected = normalize(read_volume(scans / "images" / f"scan_{chosen[0]}.nii.gz"))
    np.testing.assert_array_equal(samples[0][0, ..., 0], fit_volume(expected, (8, 8, 8)))
    firsts = {
        samples_from(scans, (1, 8, 8, 8, 1), SCANS, count=1, seed=seed)[0].tobytes()
        for seed in range(9)
    }
    assert len(firsts) == 3


def test_sparse_dice():
    labels = np.array([[0, 1, 1, 2], [0, 0, 0, 0]]).reshape(2, 2, 2, 1)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2, 2)).astype(np.float32)
    losses = []
    for n in range(2):
        for c in (1, 2):
            wanted, got = labels[n, ..., 0] == c, probabilities[n, ..., c]
            both = np.sum(wanted * got)
            losses.append(1 - (2 * both + 1) / (wanted.sum() + got.sum() + 1))
    assert float(sparse_dice(labels, probabilities)) == pytest.approx(np.mean(losses), rel=1e-6)
    perfect = np.eye(3, dtype=np.float32)[labels[..., 0]]
    assert float(WeightedSum({"sparse_dice": 1.0})(labels, perfect)) == pytest.approx(0, abs=1e-6)
