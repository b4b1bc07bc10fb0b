"""Synthetic samples of every task, and the folders that the loaders read them from."""

from __future__ import annotations

import json

import numpy as np
import pytest

from kerasdeconv import data
from kerasdeconv.data.segmentation import labelled_samples
from kerasdeconv.data.synthetic_scenes import room
from kerasdeconv.data.volumes import normalize
from kerasdeconv.errors import DataError

SIZES = {
    "shapes": (64, 80),
    "rooms": (64, 80),
    "digits": (28, 28),
    "solids": (64, 48),
    "blobs": (16, 32, 24),
}


@pytest.mark.parametrize("kind", SIZES)
class TestEveryKind:
    def test_seeded(self, kind):
        first, same, other = (data.synthetic_pairs(kind, 2, SIZES[kind], s) for s in (0, 0, 1))
        for part in (0, 1):
            np.testing.assert_array_equal(first[1][part], same[1][part])
            assert (first[1][part] != other[1][part]).any()
            assert (first[0][part] != first[1][part]).any()
        # A longer list begins with a shorter one.
        longer = data.synthetic_samples(kind, 3, SIZES[kind])
        np.testing.assert_array_equal(longer[1], first[1][0])

    def test_form(self, kind):
        sample, target = data.synthetic_pairs(kind, 1, SIZES[kind])[0]
        assert target.shape == SIZES[kind]
        assert target.dtype == (np.float32 if kind == "rooms" else np.int32)
        if kind == "blobs":
            assert (sample.shape, sample.dtype) == (SIZES[kind], np.float32)
        else:
            assert (sample.shape, sample.dtype) == ((*SIZES[kind], 3), np.uint8)

    def test_another_rank(self, kind):
        size = SIZES[kind][:2] if kind == "blobs" else (*SIZES[kind], 8)
        with pytest.raises(ValueError, match=rf"{kind!r} have [23] sides.*Received: \(.*\)$"):
            data.synthetic_pairs(kind, 1, size)


class TestShapes:
    def test_classes(self):
        pairs = data.synthetic_pairs("shapes", 8, (64, 64))
        seen = [set(np.unique(labels)) for _, labels in pairs]
        assert set().union(*seen) == {0, 1, 2, 3}
        assert all(0 in one and len(one) > 1 for one in seen)

    def test_colours_tell_them(self):
        """Classes are redder, greener and bluer than gray, as a network can learn."""
        for picture, labels in data.synthetic_pairs("shapes", 6, (64, 64)):
            gray = picture[labels == 0].astype(float)
            assert np.ptp(gray.mean(axis=0)) < 8
            for label in set(np.unique(labels)) - {0}:
                mean = picture[labels == label].astype(float).mean(axis=0)
                assert mean.argmax() == label - 1


class TestBlobs:
    def test_scales_differ_by_scan(self):
        """The brighter class of one scan is darker than the background of another."""
        pairs = data.synthetic_pairs("blobs", 8, (16, 32, 24))
        means = np.array([[scan[labels == c].mean() for c in range(3)] for scan, labels in pairs])
        assert (np.diff(means, axis=1) > 0).all()
        assert means[:, 2].min() < means[:, 0].max()
        normalized = [
            [normalize(scan)[labels == c].mean() for c in range(3)] for scan, labels in pairs
        ]
        assert np.min(normalized, axis=0)[1] > np.max(normalized, axis=0)[0]

    def test_all_classes(self):
        for _, labels in data.synthetic_pairs("blobs", 8, (16, 32, 24)):
            shares = np.bincount(labels.ravel(), minlength=3) / labels.size
            assert shares[0] > 0.5 and shares[1:].min() > 0.001


class TestRooms:
    def test_depth(self):
        for picture, depth in data.synthetic_pairs("rooms", 6, (64, 80)):
            measured = depth[depth > 0]
            assert measured.min() > 0.3 and measured.max() < 9
            assert 0 < (depth == 0).mean() < 0.15
            millimetres = depth * 1000
            # Float32 holds 9000 to 1e-3.
            np.testing.assert_allclose(millimetres, np.rint(millimetres), atol=2e-3)
            assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 100

    def test_surfaces_are_planes(self):
        """Of a plane the inverse of depth is linear in the picture (a pinhole camera)."""
        _, depth = room(np.random.default_rng(0), (120, 160))
        inverse = 1 / np.where(depth > 0, depth, np.nan)
        bent = np.abs(inverse[:, 2:] - 2 * inverse[:, 1:-1] + inverse[:, :-2])
        known = np.isfinite(bent)
        assert known.mean() > 0.8
        # Depth is rounded to half a millimetre: at a metre or more 4 times 5e-4 in the inverse.
        assert (bent[known] < 2e-3).mean() > 0.95

    def test_colour_belongs_to_depth(self):
        """Where depth jumps from a box to what is behind it, so does the colour."""
        jumps = others = 0
        for picture, depth in data.synthetic_pairs("rooms", 8, (96, 128)):
            known = (depth[:, 1:] > 0) & (depth[:, :-1] > 0)
            edge = known & (np.abs(np.diff(depth, axis=1)) > 0.3)
            contrast = np.abs(np.diff(picture.astype(float), axis=1)).max(axis=-1)
            jumps += contrast[edge].sum() / max(edge.sum(), 1)
            others += contrast[known & ~edge].mean()
        # Tiles alone, if boxes had the colours of walls, would make it 3.
        assert jumps > 5 * others


class TestFolders:
    def test_segmentation(self, tmp_path):
        assert data.write_synthetic("shapes", tmp_path / "a", 3, (40, 48)) == tmp_path / "a"
        samples = labelled_samples(tmp_path / "a")
        pairs = data.synthetic_pairs("shapes", 3, (40, 48))
        assert len(samples) == 3
        for sample, (picture, labels) in zip(samples, pairs, strict=True):
            np.testing.assert_array_equal(sample.read()[0], picture)
            np.testing.assert_array_equal(sample.read()[1], labels)

    @pytest.mark.parametrize("coco", [False, True])
    def test_instances(self, tmp_path, coco):
        data.write_synthetic("nuclei", tmp_path, 2, (48, 40), seed=3, coco=coco)
        samples = data.labelled_images(tmp_path)
        assert isinstance(samples[0], data.CocoImage) == coco
        for sample, (picture, numbers) in zip(
            samples, data.synthetic_pairs("nuclei", 2, (48, 40), 3), strict=True
        ):
            image, got = sample.read_instances()
            np.testing.assert_array_equal(image, picture)
            np.testing.assert_array_equal(got > 0, numbers > 0)
            # COCO counts what can be seen; which is which stays the same.
            pairs = set(zip(got[got > 0].tolist(), numbers[numbers > 0].tolist(), strict=True))
            assert len(pairs) == len(np.unique(numbers)) - 1
            np.testing.assert_array_equal(sample.read()[1], numbers > 0)

    def test_coco_boxes_and_areas(self, tmp_path):
        data.write_synthetic("nuclei", tmp_path, 1, (48, 40), coco=True)
        coco = json.loads((tmp_path / "instances.json").read_text())
        _, numbers = data.labelled_images(tmp_path)[0].read_instances()
        present, boxes = data.instance_boxes(numbers)
        assert present.tolist() == [entry["id"] for entry in coco["annotations"]]
        for number, (y0, x0, y1, x1), entry in zip(
            present, boxes, coco["annotations"], strict=True
        ):
            assert entry["bbox"] == [x0, y0, x1 - x0, y1 - y0]
            assert entry["area"] == (numbers == number).sum()

    def test_volumes(self, tmp_path):
        data.write_synthetic("blobs", tmp_path, 2, (8, 12, 10), seed=1)
        for sample, (scan, labels) in zip(
            labelled_samples(tmp_path),
            data.synthetic_pairs("blobs", 2, (8, 12, 10), 1),
            strict=True,
        ):
            np.testing.assert_array_equal(sample.read()[0][..., 0], normalize(scan))
            np.testing.assert_array_equal(sample.read()[1], labels)

    def test_depth(self, tmp_path):
        data.write_synthetic("rooms", tmp_path, 2, (32, 40))
        for pair, (picture, depth) in zip(
            data.depth_pairs(tmp_path), data.synthetic_pairs("rooms", 2, (32, 40)), strict=True
        ):
            np.testing.assert_array_equal(pair.read()[0], picture)
            # Whole millimetres, and float32.
            np.testing.assert_allclose(pair.read()[1], depth, rtol=1e-6)

    def test_super_resolution(self, tmp_path):
        data.write_synthetic("textures", tmp_path, 2, (32, 40))
        images = data.high_resolution_images(tmp_path, "rgb")
        np.testing.assert_array_equal(images, data.synthetic_samples("textures", 2, (32, 40)))

    def test_sizes_by_default(self, tmp_path):
        data.write_synthetic("blobs", tmp_path, 1)
        assert data.read_volume(tmp_path / "images/000.npy").shape == (32, 48, 48)
        data.write_synthetic("textures", tmp_path, 1)
        assert data.high_resolution_images(tmp_path)[0].shape == (128, 128)

    def test_mistakes(self, tmp_path):
        with pytest.raises(ValueError, match=r"Did you mean 'shapes'\? Received: 'shape'$"):
            data.write_synthetic("shape", tmp_path)
        with pytest.raises(ValueError, match=r"Only nuclei .*Received: 'shapes'$"):
            data.write_synthetic("shapes", tmp_path, coco=True)
        (tmp_path / "file").write_text("")
        for kind in ("shapes", "blobs"):
            with pytest.raises(DataError, match=r"Received: '.*file/"):
                data.write_synthetic(kind, tmp_path / "file", 1)
