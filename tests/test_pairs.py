"""Flow and disparity that follow from how pictures are made, and normals that follow from depth."""

from __future__ import annotations

import numpy as np
import pytest

from kerasdeconv.data.depth import DepthPair, depth_pairs
from kerasdeconv.data.flow import FlowPatches, moved
from kerasdeconv.data.normals import NormalPatches, normals_from_depth
from kerasdeconv.data.pairs import enlarge, picture_files, sample_at, shrink
from kerasdeconv.data.stereo import DisparityPatches
from kerasdeconv.data.synthetic_folders import write_synthetic
from kerasdeconv.data.synthetic_parts import grid
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import write_image


def smooth(size: tuple[int, int] = (90, 110), seed: int = 0) -> np.ndarray:
    """A picture without edges, so that interpolating it twice makes no difference to speak of."""
    rng = np.random.default_rng(seed)
    y, x = grid(size)
    waves = [
        np.sin(a * y + b * x + c) for a, b, c in rng.uniform([0.05, 0.05, 0], [0.2, 0.2, 6], (3, 3))
    ]
    return 127.5 + 100 * np.stack(waves, axis=-1)


class TestFlow:
    def test_the_second_picture_at_the_end_of_the_flow_is_the_first(self):
        first, second, flow = moved(np.random.default_rng(1), smooth(), (48, 64), 6.0)
        y, x = grid((48, 64))
        places = np.stack([y + flow[..., 1], x + flow[..., 0]])
        inside = ((places > 0) & (places < np.reshape([47, 63], (2, 1, 1)))).all(axis=0)
        assert inside.mean() > 0.5 and np.abs(flow).mean() > 1
        # Linear interpolation of waves of 30 pixels and more is off by less than 2 of 200 levels.
        assert np.abs(sample_at(second, places) - first)[inside].max() < 3

    def test_no_shift_leaves_the_rest(self):
        flows = [moved(np.random.default_rng(i), smooth(), (64, 64), 0.0).truth for i in range(8)]
        assert 0.3 < np.abs(flows).mean() < 5

    def test_batches(self):
        options = {"patch": 64, "batch_size": 2, "steps": 3, "seed": 4}
        patches = FlowPatches([smooth(), smooth((40, 50), 1)], strides=(4, 8), **options)
        pair, (fine, coarse) = patches[0]
        assert (pair.shape, fine.shape, coarse.shape) == (
            (2, 64, 64, 6), (2, 16, 16, 2), (2, 8, 8, 2),
        )  # fmt: skip
        assert pair.dtype == fine.dtype == np.float32
        assert pair.min() >= 0 and pair.max() <= 255
        np.testing.assert_allclose(
            fine.reshape(2, 8, 2, 8, 2, 2).mean(axis=(2, 4)), coarse, rtol=1e-4, atol=1e-4
        )
        np.testing.assert_array_equal(patches[0][0], pair)
        patches.epoch = 1
        assert not np.array_equal(patches[0][0], pair)
        fixed = FlowPatches([smooth()], augment=False, **options)
        before = fixed[1][0]
        fixed.epoch = 1
        np.testing.assert_array_equal(fixed[1][0], before)

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"patch": (64, 60), "strides": (4, 8)}, r"\(4, 8\)\. Received: \(64, 60\)$"),
            ({"shift": -1.0}, r"shift must be 0 or more\. Received: -1\.0$"),
        ],
    )
    def test_mistakes(self, wrong, message):
        with pytest.raises(ValueError, match=message):
            FlowPatches([smooth()], **wrong)


class TestDisparity:
    def test_what_the_left_shows_is_that_far_left_in_the_right(self):
        """Where nothing nearer hides it; edges of layers are interpolated and may differ."""
        patches = DisparityPatches([smooth(seed=i) for i in range(3)], patch=(48, 96), shift=9.0)
        left, right, truth = patches.pair(np.random.default_rng(2))
        assert truth.min() >= 0 and truth.max() <= 9 and np.ptp(truth) > 2
        y, x = grid((48, 96))
        column = x - truth[..., 0]
        seen = sample_at(right, np.stack([y, column]))
        wrong = np.abs(seen - left).max(axis=-1)[column > 0]
        assert np.median(wrong) < 3
        assert np.mean(wrong < 6) > 0.75

    def test_batches(self):
        patches = DisparityPatches([smooth()], patch=64, strides=(2,), batch_size=2)
        pair, disparity = patches[0]
        assert pair.shape == (2, 64, 64, 6) and disparity.shape == (2, 32, 32, 1)


class TestSizes:
    def test_enlarging_undoes_shrinking_of_what_is_straight(self):
        y, x = grid((16, 24))
        ramp = np.stack([3 * y + x, 0 * y + 7], axis=-1).astype(np.float32)
        small = shrink(ramp, 4)
        assert small.shape == (4, 6, 2)
        inner = (slice(2, -2), slice(2, -2))  # the border repeats
        np.testing.assert_allclose(enlarge(small, (16, 24))[inner], ramp[inner], rtol=1e-5)


def test_pictures_alone_or_in_a_folder_of_high_resolution(tmp_path):
    write_image(tmp_path / "b.png", np.zeros((4, 5, 3), np.uint8))
    assert [p.image.name for p in picture_files(tmp_path)] == ["b.png"]
    (tmp_path / "HR").mkdir()
    write_image(tmp_path / "HR/a.png", np.full((4, 5, 3), 9, np.uint8))
    (picture,) = picture_files(tmp_path)
    assert picture.image.name == "a.png" and picture.read().mean() == 9
    with pytest.raises(DataError):
        picture_files(tmp_path / "none")


class TestNormals:
    @pytest.mark.parametrize("reach", [1, 2])
    def test_a_plane_before_a_pinhole_camera(self, reach):
        """Depth of the plane n . p = d along the rays of a camera."""
        normal = np.array([0.3, -0.4, -0.8])
        normal /= np.linalg.norm(normal)
        focal, size = 40.0, (20, 30)
        y, x = grid(size)
        rays = np.stack([(x - 14.5) / focal, (y - 9.5) / focal, np.ones(size)], axis=-1)
        depth = -2.0 / (rays @ normal)
        assert (depth > 0).all()
        got = normals_from_depth(depth, focal=focal, reach=reach)
        inner = (slice(reach, -reach), slice(reach, -reach))
        np.testing.assert_allclose(got[inner], np.broadcast_to(normal, got[inner].shape), atol=1e-5)
        assert not got[:reach].any() and not got[:, -reach:].any()

    def test_a_height_map(self):
        """Heights that fall to the right by 1 in 2: the normal leans that way."""
        _, x = grid((6, 8))
        got = normals_from_depth(5 + 0.5 * x, pitch=1.0)[2, 3]
        np.testing.assert_allclose(got, np.array([0.5, 0, -1]) / np.sqrt(1.25), atol=1e-6)

    def test_unknown_depth(self):
        depth = np.ones((7, 9))
        depth[3, 4] = 0
        known = normals_from_depth(depth, pitch=1.0).any(axis=-1)
        expected = np.zeros((7, 9), bool)
        expected[1:-1, 1:-1] = True
        for place in [(3, 4), (2, 4), (4, 4), (3, 3), (3, 5)]:
            expected[place] = False
        np.testing.assert_array_equal(known, expected)

    @pytest.mark.parametrize(
        "wrong", [{}, {"focal": 1.0, "pitch": 1.0}, {"focal": -1.0}, {"pitch": 1.0, "reach": 0}]
    )
    def test_mistakes(self, wrong):
        with pytest.raises(ValueError, match=r"a focal length or a pitch.*Received: "):
            normals_from_depth(np.ones((5, 5)), **wrong)

    def test_patches_turn_normals_with_the_picture(self, tmp_path):
        """A wall that leans to one side: mirrored, it leans to the other."""
        _, x = grid((32, 40))
        np.save(tmp_path / "a.npy", (1 + 0.02 * x).astype(np.float32))
        ramp = np.repeat(np.uint8(5 * x)[..., None], 3, axis=-1)
        write_image(tmp_path / "a.png", ramp)
        pair = DepthPair(tmp_path / "a.png", tmp_path / "a.npy", unit=1.0)
        patches = NormalPatches([pair], focal=50.0, patch=(16, 24), batch_size=8, steps=2)
        image, normals, weights = patches[0]
        assert image.shape == (8, 16, 24, 3) and normals.shape == (8, 16, 24, 3)
        rises = np.sign(image[:, 8, -4, 0] - image[:, 8, 4, 0])
        assert set(rises) == {-1.0, 1.0}
        leans = np.array([n[w > 0][:, 0].mean() for n, w in zip(normals, weights, strict=True)])
        np.testing.assert_array_equal(np.sign(leans), rises)
        np.testing.assert_allclose(np.linalg.norm(normals, axis=-1)[weights > 0], 1, rtol=1e-5)
        middle = NormalPatches([pair], focal=50.0, patch=16, batch_size=1, steps=1, augment=False)
        np.testing.assert_array_equal(middle[0][1], middle[0][1])


def test_walls_face_who_sees_them(tmp_path):
    write_synthetic("rooms", tmp_path, count=1, size=(48, 64))
    _, depth = depth_pairs(tmp_path)[0].read()
    focal = 0.9 * 64
    normals = normals_from_depth(depth, focal=focal, reach=2)
    y, x = grid((48, 64))
    rays = np.stack([(x - 31.5) / focal, (y - 23.5) / focal, np.ones_like(x)], axis=-1)
    known = normals.any(axis=-1)
    assert known.mean() > 0.5
    assert ((normals * rays).sum(axis=-1)[known] < 0).mean() > 0.95
