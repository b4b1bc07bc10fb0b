"""Depth: pictures with distances, in patches, with weights, and files that are not sound."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest

from kerasdeconv import data
from kerasdeconv.data.augmentation import Augmentation
from kerasdeconv.data.depth import DepthPair, DepthPatches, depth_pairs
from kerasdeconv.errors import DataError

SIDES = (30, 40)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Pictures whose red and green say the depth in centimetres; no measurement in a corner."""
    for name in ("color", "depth"):
        (tmp_path / name).mkdir()
    for i in range(3):
        depth = np.random.default_rng(i).integers(50, 250, SIDES)
        depth[:5, :8] = 0
        picture = np.stack([depth, depth, np.full(SIDES, 255)], axis=-1).astype(np.uint8)
        PIL.Image.fromarray(picture).save(tmp_path / f"color/{i}.png")
        PIL.Image.fromarray((depth * 10).astype(np.uint16)).save(tmp_path / f"depth/{i}.png")
    return tmp_path


class TestPairs:
    def test_reads(self, folder):
        pairs = depth_pairs(folder)
        assert [pair.image.name for pair in pairs] == ["0.png", "1.png", "2.png"]
        image, depth = pairs[1].read()
        assert (image.dtype, depth.dtype, depth.shape) == (np.uint8, np.float32, SIDES)
        # Metres from millimetres; float32 holds them to 1e-7.
        np.testing.assert_allclose(depth, image[..., 0] / 100, rtol=1e-6)
        assert (depth[:5, :8] == 0).all()

    @pytest.mark.parametrize("suffix", [".npy", ".tif", ".png"])
    def test_files_and_units(self, folder, suffix):
        (folder / "rgb").mkdir()
        (folder / "far").mkdir()
        depth = np.random.default_rng(0).integers(0, 9999, SIDES).astype(np.uint16)
        PIL.Image.new("RGB", SIDES[::-1]).save(folder / "rgb/a.png")
        if suffix == ".npy":
            np.save(folder / "far/a.npy", depth / 4)
        elif suffix == ".tif":
            PIL.Image.fromarray(depth.astype(np.float32) / 4).save(folder / "far/a.tif")
        else:
            PIL.Image.fromarray(depth).save(folder / "far/a.png")
        (pair,) = depth_pairs(folder, color="rgb", depth="far", unit=0.5)
        factor = 0.5 if suffix == ".png" else 0.125
        np.testing.assert_array_equal(pair.read()[1], np.float32(depth * factor))

    def test_missing_files_are_named(self, folder):
        with pytest.raises(DataError, match=r"No such folder of images\. Received: '.*rgb'$"):
            depth_pairs(folder, color="rgb")
        with pytest.raises(DataError, match=r"No such folder of depths\. Received: '.*far'$"):
            depth_pairs(folder, depth="far")
        np.save(folder / "depth/2.npy", np.zeros(SIDES))
        with pytest.raises(DataError, match=r"one file of depth.*has 2\. Received: 2\.png$"):
            depth_pairs(folder)
        (folder / "depth/1.png").unlink()
        with pytest.raises(DataError, match=r"one file of depth.*has 0\. Received: 1\.png$"):
            depth_pairs(folder)
        for unit in (0, -1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=rf"metres, more than 0\. Received: {unit}$"):
                depth_pairs(folder, unit=unit)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.zeros((30, 39)), r"size \(30, 40\), this is \(30, 39\)"),
            (np.zeros((30, 40, 1)), r"one channel .* this is \(30, 40, 1\)"),
            (np.full(SIDES, np.nan), r"NaN"),
            (np.full(SIDES, np.inf), r"infinite"),
            (np.full(SIDES, -1), r"negative"),
            (np.zeros(SIDES, np.uint8), r"16 bits or more, this is uint8"),
            (np.zeros(SIDES, bool), r"this is bool"),
            (np.zeros(SIDES, "U3"), r"this is <U3"),
            (np.array([None]), r"Not a readable depth file"),
        ],
    )
    def test_bad_depth_is_named(self, folder, values, message):
        path = folder / "a.npy"
        np.save(path, values)
        with pytest.raises(DataError, match=rf"^[^\n]*{message}[^\n]*Received: '.*a\.npy'$"):
            DepthPair(folder / "color/0.png", path).read()

    def test_broken_files_are_named(self, folder):
        (pair, *_) = depth_pairs(folder)
        PIL.Image.new("L", SIDES[::-1]).save(pair.depth)
        with pytest.raises(DataError, match=r"this is uint8.*depth/0\.png'$"):
            pair.read()
        for content in (b"", b"nonsense"):
            pair.depth.write_bytes(content)
            with pytest.raises(DataError, match=r"Not a readable depth file.*depth/0\.png'$"):
                pair.read()
        pair.depth.unlink()
        with pytest.raises(DataError, match=r"Not a readable depth file.*depth/0\.png'$"):
            pair.read()


class TestPatches:
    @pytest.mark.parametrize("augment", [True, False])
    def test_batches(self, folder, augment):
        patches = DepthPatches(
            depth_pairs(folder), patch=(16, 24), batch_size=5, steps=2, augment=augment
        )
        image, depth, weights = patches[0]
        assert (image.shape, depth.shape) == ((5, 16, 24, 3), (5, 16, 24, 1))
        assert weights.shape == (5, 16, 24)
        assert image.dtype == depth.dtype == weights.dtype == np.float32
        np.testing.assert_array_equal(weights, depth[..., 0] > 0)
        assert image.min() >= 0 and image.max() <= 255

    @pytest.mark.parametrize(
        "augmentation", [Augmentation(flip=(0, 1)), Augmentation(rotate=20, elastic=1)]
    )
    def test_picture_and_depth_move_together(self, folder, augmentation):
        """Smooth depth, so that what is interpolated in the picture is near the nearest depth."""
        y, x = np.mgrid[: SIDES[0], : SIDES[1]]
        depth = 40 + 2 * y + 3 * x
        PIL.Image.fromarray(depth.astype(np.uint8)).convert("RGB").save(folder / "color/0.png")
        PIL.Image.fromarray((depth * 10).astype(np.uint16)).save(folder / "depth/0.png")
        pairs = depth_pairs(folder)[:1]
        image, got, _ = DepthPatches(pairs, patch=20, batch_size=9, augmentation=augmentation)[0]
        # Half a pixel off in both directions: (2 + 3) / 2; and float32.
        assert np.abs(image[..., 0] / 100 - got[..., 0]).max() <= 0.025 + 1e-5
        starts = {float(one[0, 0, 0]) for one in got}
        assert len(starts) > 4

    def test_depth_gets_no_new_values(self, folder):
        """Not even beside pixels without measurement."""
        pairs = depth_pairs(folder)
        known = {float(v) for pair in pairs for v in np.unique(pair.read()[1])}
        augmentation = Augmentation(rotate=180, elastic=2)
        _, depth, _ = DepthPatches(pairs, patch=20, batch_size=9, augmentation=augmentation)[0]
        assert {float(v) for v in np.unique(depth)} <= known

    def test_left_and_right_alone_are_mirrored(self, folder):
        """A measurement is missing at the top left: at the top right, too, but not below."""
        _, _, weights = DepthPatches(depth_pairs(folder), patch=SIDES, batch_size=40)[0]
        missing = 1 - weights
        assert not missing[:, 5:].any()
        left, right = missing[:, 0, 0], missing[:, 0, -1]
        assert (left + right == 1).all() and 8 < left.sum() < 32  # five deviations of a half

    def test_limit(self, folder):
        _, depth, weights = DepthPatches(depth_pairs(folder), patch=20, limit=1.5)[0]
        np.testing.assert_array_equal(weights, (depth[..., 0] > 0) & (depth[..., 0] < 1.5))
        assert 0.2 < weights.mean() < 0.8

    def test_without_augmentation_they_are_the_middles(self, folder):
        pairs = depth_pairs(folder)
        image, depth, _ = DepthPatches(pairs, patch=20, batch_size=2, augment=False)[1]
        for n, pair in enumerate((pairs[2], pairs[0])):
            picture, metres = pair.read()
            np.testing.assert_array_equal(image[n], picture[5:25, 10:30])
            np.testing.assert_array_equal(depth[n, ..., 0], metres[5:25, 10:30])

    def test_repeatable(self, folder):
        first, same = (DepthPatches(depth_pairs(folder), patch=20, seed=3) for _ in range(2))
        first[0]
        for one, other in zip(first[1], same[1], strict=True):
            np.testing.assert_array_equal(one, other)
        same.epoch = 1
        assert (first[1][0] != same[1][0]).any()

    def test_mistakes(self, folder):
        with pytest.raises(DataError, match=r"of \(31, 31\), this one is \(30, 40\).*color/0\.png"):
            DepthPatches(depth_pairs(folder), patch=31)
        with pytest.raises(ValueError, match=r"takes no zoom\. Received: \(1\.0, 2\.0\)$"):
            DepthPatches(depth_pairs(folder), augmentation=Augmentation(zoom=(1.0, 2.0)))

    def test_keras_learns_from_them(self, tmp_path):
        """Synthetic rooms; pixels without measurement do not count."""
        data.write_synthetic("rooms", tmp_path, 2, (32, 32))
        patches = DepthPatches(depth_pairs(tmp_path), patch=16, batch_size=2, steps=4)
        model = keras.Sequential(
            [keras.Input((16, 16, 3)), keras.layers.Conv2D(1, 3, padding="same")]
        )
        model.compile(keras.optimizers.Adam(1e-3), "mean_absolute_error")
        losses = model.fit(patches, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
