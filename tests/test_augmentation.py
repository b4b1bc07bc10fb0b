"""Augmentation and class balance: image and labels move together, in 2D and 3D, and repeat."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest

from kerasdeconv import train
from kerasdeconv.data.augmentation import Augmentation, _displacements
from kerasdeconv.data.balance import ClassBalance
from kerasdeconv.data.instances import InstancePatches, instance_boxes
from kerasdeconv.data.patches import RandomPatches
from kerasdeconv.data.segmentation import IGNORE, LabelledImage, SegmentationPatches
from kerasdeconv.data.volumes import LabelledVolume, VolumePatches
from kerasdeconv.errors import DataError
from kerasdeconv.train.kinds import make_datasets

EVERYWHERE = Augmentation(rotate=180, tilt=180, zoom=(0.5, 2.0), elastic=3, smoothness=10)
MOVES = {
    "flip": Augmentation(flip=(0, 1)),
    "rotate": Augmentation(rotate=180),
    "tilt": Augmentation(tilt=30),
    "zoom": Augmentation(zoom=(0.5, 2.0)),
    "elastic": Augmentation(elastic=3, smoothness=10),
    "all": dataclasses.replace(EVERYWHERE, flip=(0, 1)),
}


def ramps(sides: tuple[int, ...]) -> np.ndarray:
    """A picture whose channels are the coordinates of its pixels."""
    return np.stack(np.indices(sides), axis=-1)


@pytest.mark.parametrize("sides", [(40, 50), (14, 20, 17)], ids=["2d", "3d"])
class TestGeometry:
    @pytest.mark.parametrize("move", MOVES)
    def test_image_and_labels_move_together(self, sides, move):
        """A picture of coordinates is interpolated exactly, so labels are within half a pixel."""
        picture = ramps(sides)
        patch = tuple(side // 2 + 3 for side in sides)
        seen = set()
        for seed in range(5):
            for axis in range(len(sides)):
                rng = np.random.default_rng(seed)
                image, labels = MOVES[move].patch(rng, picture, picture[..., axis], patch)
                assert image.shape == (*patch, len(sides)) and labels.shape == patch
                # Float32 holds coordinates of some tens to 1e-5.
                assert np.abs(image[..., axis] - labels).max() <= 0.5 + 1e-5
            seen.add(image.tobytes())
        moved = move != "tilt" or len(sides) == 3  # in a picture there is nothing to tilt
        assert len(seen) == 5
        pixels = (image == np.rint(image)).all()
        assert pixels == (move == "flip" or not moved)

    def test_off_is_a_crop(self, sides):
        picture = np.random.default_rng(0).normal(size=(*sides, 2)).astype(np.float32)
        numbers = np.arange(picture[..., 0].size).reshape(sides)
        patch = tuple(side - 9 for side in sides)
        starts = set()
        for seed in range(20):
            rng = np.random.default_rng(seed)
            image, labels = Augmentation().patch(rng, picture, numbers, patch)
            start = np.unravel_index(labels.flat[0], sides)
            window = tuple(slice(s, s + n) for s, n in zip(start, patch, strict=True))
            np.testing.assert_array_equal(image, picture[window])
            np.testing.assert_array_equal(labels, numbers[window])
            starts.add(start)
        assert len(starts) > 10
        image, labels = Augmentation().patch(rng, picture, numbers, sides)
        np.testing.assert_array_equal(image, picture)
        np.testing.assert_array_equal(labels, numbers)

    def test_labels_get_no_new_values(self, sides):
        numbers = np.random.default_rng(0).choice(np.array([3, 70_000, IGNORE], np.int32), sides)
        picture = numbers[..., None].astype(np.float32)
        image, labels = EVERYWHERE.patch(np.random.default_rng(1), picture, numbers, sides)
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) == {3, 70_000, IGNORE}
        assert len(np.unique(image)) > 100  # where the image is interpolated

    def test_seeded(self, sides):
        picture = ramps(sides)
        first, same, other = (
            EVERYWHERE.patch(np.random.default_rng(seed), picture, picture[..., 0], sides)
            for seed in (0, 0, 1)
        )
        np.testing.assert_array_equal(first[0], same[0])
        np.testing.assert_array_equal(first[1], same[1])
        assert (first[0] != other[0]).any()

    def test_flips_are_exact(self, sides):
        """Each axis by itself, half the time."""
        picture = ramps(sides)
        axes = tuple(range(len(sides)))
        outcomes = {}
        for seed in range(60):
            rng = np.random.default_rng(seed)
            image, _ = Augmentation(flip=axes).patch(rng, picture, picture[..., 0], sides)
            mirrored = tuple(axis for axis in axes if image[(0,) * len(sides)][axis])
            np.testing.assert_array_equal(image, np.flip(picture, mirrored))
            outcomes[mirrored] = outcomes.get(mirrored, 0) + 1
        assert len(outcomes) == 2 ** len(sides)

    def test_a_pixel_in_the_middle(self, sides):
        picture = ramps(sides)
        patch = tuple(side // 2 | 1 for side in sides)  # odd: it has a pixel in the middle
        inside, first = tuple(side // 2 for side in sides), (0,) * len(sides)
        for at in (inside, first, tuple(side - 1 for side in sides)):
            image, _ = Augmentation().patch(
                np.random.default_rng(0), picture, picture[..., 0], patch, at=at
            )
            middle = [
                np.clip(a, n // 2, side - 1 - n // 2)
                for a, n, side in zip(at, patch, sides, strict=True)
            ]
            np.testing.assert_array_equal(image[tuple(n // 2 for n in patch)], middle)

    def test_beyond_the_border_it_is_mirrored(self, sides):
        picture = ramps(sides)
        patch = tuple(side + 4 for side in sides)
        image, labels = Augmentation().patch(
            np.random.default_rng(0), picture, picture[..., 0], patch
        )
        expected = np.pad(picture, [(2, 2)] * len(sides) + [(0, 0)], mode="symmetric")
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(labels, expected[..., 0])


class TestSizes:
    """How far things move: patches of 21 pixels from the middle of a picture of coordinates."""

    def middle(self, augmentation: Augmentation, seed: int, rank: int = 2) -> np.ndarray:
        picture = ramps((101,) * rank).astype(np.float64)
        at, patch = (50,) * rank, (21,) * rank
        rng = np.random.default_rng(seed)
        return augmentation.patch(rng, picture, picture[..., 0], patch, at=at)[0].astype(float) - 50

    @pytest.mark.parametrize(("rank", "option"), [(2, "rotate"), (3, "rotate"), (3, "tilt")])
    def test_rotations(self, rank, option):
        angles = []
        for seed in range(30):
            places = self.middle(Augmentation(**{option: 40.0}), seed, rank)
            # Away from the middle by as much as before: nothing is stretched or sheared.
            away = np.linalg.norm(ramps((21,) * rank) - 10.0, axis=-1)
            np.testing.assert_allclose(np.linalg.norm(places, axis=-1), away, atol=1e-4)
            still = places[..., 0] - (ramps((21,) * rank)[..., 0] - 10)
            if rank == 3 and option == "rotate":
                assert np.abs(still).max() < 1e-4  # only within slices
            along = places[(*[10] * (rank - 1), 20)]
            angles.append(np.rad2deg(np.arccos(along[-1] / 10)))
        assert 25 < max(angles) <= 40.01

    def test_zooms(self):
        widths = []
        for seed in range(200):
            places = self.middle(Augmentation(zoom=(0.5, 2.0)), seed)
            widths.append(20 / (places[10, 20, 1] - places[10, 0, 1]))
        assert 0.5 <= min(widths) < 0.55 and 1.8 < max(widths) <= 2 + 1e-5
        twice = self.middle(Augmentation(zoom=(2.0, 2.0)), 0)
        assert twice[10, 20, 1] - twice[10, 0, 1] == pytest.approx(10)  # 21 pixels show 11
        # Enlarged as often as shrunk: five deviations of 200 draws of a half.
        assert abs(np.mean(np.array(widths) > 1) - 0.5) < 0.18

    @pytest.mark.parametrize("rank", [2, 3])
    def test_elastic_displacements_are_bounded_and_smooth(self, rank):
        sides = (60,) * rank
        moved = np.stack(
            [_displacements(np.random.default_rng(s), sides, 4.0, 15.0) for s in range(4)]
        )
        assert moved.shape == (4, rank, *sides)
        assert 1.5 < np.abs(moved).max() <= 4
        assert np.mean(np.abs(moved) < 4 / 3) > 0.6
        # The slope of a cubic B-spline is a weighted mean of differences of neighbouring knots.
        for axis in range(2, rank + 2):
            assert np.abs(np.diff(moved, axis=axis)).max() <= 2 * 4 / 15

    @pytest.mark.parametrize("rank", [2, 3])
    def test_elastic_does_not_fold(self, rank):
        """At the greatest amplitude the map's Jacobian determinant stays positive."""
        for seed in range(5):
            rng = np.random.default_rng(seed)
            moved = _displacements(rng, (30,) * rank, 0.399 * 6, 6.0)
            slopes = [np.gradient(moved[i], axis=tuple(range(rank))) for i in range(rank)]
            jacobian = np.eye(rank) + np.moveaxis(np.array(slopes), (0, 1), (-2, -1))
            assert np.linalg.det(jacobian).min() > 0


class TestIntensities:
    PICTURE = np.linspace(0, 255, 12 * 12 * 3).reshape(12, 12, 3).astype(np.float32)

    def vary(self, seed: int = 0, **fields) -> np.ndarray:
        return Augmentation(**fields).vary(np.random.default_rng(seed), self.PICTURE, (0.0, 255.0))

    def test_off(self):
        np.testing.assert_array_equal(self.vary(), self.PICTURE)

    def test_gamma_keeps_black_and_white(self):
        results = [self.vary(seed, gamma=(0.5, 2.0)) for seed in range(20)]
        for got in results:
            assert got.dtype == np.float32 and (got.min(), got.max()) == (0, 255)
            assert (np.diff(got.ravel()) >= 0).all()
        exponents = [np.log(got[6, 6, 0] / 255) / np.log(0.5 + 1 / 12) for got in results]
        assert min(exponents) < 0.8 and max(exponents) > 1.25

    def test_gain_and_color(self):
        inner = self.PICTURE < 120  # nothing is clipped
        gain = self.vary(gain=(0.5, 2.0))[inner][1:] / self.PICTURE[inner][1:]
        assert np.ptp(gain) < 1e-5 and 0.5 <= gain[0] <= 2 and abs(gain[0] - 1) > 0.01
        color = (self.vary(color=(0.5, 2.0)) / np.maximum(self.PICTURE, 1))[3]
        assert np.ptp(color, axis=0).max() < 1e-5 and np.ptp(color[0]) > 0.01

    def test_offset_and_noise(self):
        middle = (self.PICTURE > 60) & (self.PICTURE < 190)
        shift = (self.vary(offset=20) - self.PICTURE)[middle]
        assert np.ptp(shift) < 1e-4 and 0.1 < abs(shift[0]) <= 20
        deviations = [(self.vary(s, noise=8) - self.PICTURE)[middle].std() for s in range(30)]
        assert min(deviations) < 2
        assert 6 < max(deviations) < 9.6  # 8, and five deviations of it

    def test_clipped_to_a_range_if_there_is_one(self):
        augmentation = Augmentation(gain=(3.0, 3.0), offset=50, noise=50)
        got = self.vary(gain=(3.0, 3.0), offset=50, noise=50)
        assert (got.min(), got.max()) == (0, 255)
        rng = np.random.default_rng(0)
        assert augmentation.vary(rng, self.PICTURE).max() > 500

    def test_gamma_of_a_scan(self):
        """Without a range a patch's own is kept."""
        scan = np.random.default_rng(0).normal(size=(5, 6, 7, 1)).astype(np.float32)
        got = Augmentation(gamma=(2.0, 2.0)).vary(np.random.default_rng(0), scan)
        assert got.min() == pytest.approx(scan.min(), abs=1e-5)
        assert got.max() == pytest.approx(scan.max(), abs=1e-5)
        assert got.mean() < scan.mean() - 0.1
        blank = np.full((3, 3, 1), 7, np.float32)
        np.testing.assert_array_equal(
            Augmentation(gamma=(2.0, 2.0)).vary(np.random.default_rng(0), blank), blank
        )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"zoom": (2.0, 1.0)}, r"zoom must be two numbers above 0.*Received: \(2\.0, 1\.0\)"),
        ({"gamma": (0.0, 1.0)}, r"gamma must be two numbers above 0.*Received: \(0\.0, 1\.0\)"),
        ({"gain": (1.0, float("nan"))}, r"gain must .*Received: \(1\.0, nan\)"),
        ({"rotate": 181}, r"rotate must be from 0 to 180\. Received: 181"),
        ({"tilt": -1}, r"tilt must be from 0 to 180\. Received: -1"),
        ({"noise": -1}, r"noise must be from 0 to inf\. Received: -1"),
        ({"elastic": 4.0, "smoothness": 10.0}, r"less than 0\.4 smoothness\. Received: 4\.0 and 1"),
        ({"smoothness": 0.0}, r"Received: 0\.0 and 0\.0"),
        ({"flip": (-1,)}, r"0 and above\. Received: \(-1,\)"),
    ],
)
def test_mistakes(fields, message):
    with pytest.raises(ValueError, match=message):
        Augmentation(**fields)


def test_an_axis_that_is_not_there():
    with pytest.raises(ValueError, match=r"axes below 2\. Received: \(2,\)$"):
        Augmentation(flip=(2,)).patch(
            np.random.default_rng(0), np.zeros((4, 4, 1)), np.zeros((4, 4)), (4, 4)
        )


def pictures(folder: Path, labels: str = "labels") -> list[LabelledImage]:
    """Noise with labels in squares of 8 pixels, 0 to 3, in two groups."""
    rng = np.random.default_rng(0)
    samples = []
    for name in ("images", labels):
        (folder / name).mkdir(parents=True)
    for i, (rows, columns) in enumerate([(5, 7), (6, 4), (8, 8)]):
        numbers = rng.integers(0, 4, (rows, columns)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
        picture = rng.integers(0, 256, (*numbers.shape, 3), np.uint8)
        image, mask = folder / f"images/{i}.png", folder / f"{labels}/{i}.png"
        PIL.Image.fromarray(picture).save(image)
        PIL.Image.fromarray(numbers).save(mask)
        samples.append(LabelledImage(image, mask, "ab"[i % 2]))
    return samples


def volumes(folder: Path) -> list[LabelledVolume]:
    rng = np.random.default_rng(1)
    samples = []
    for i, sides in enumerate([(9, 14, 12), (16, 10, 7)]):
        sample = LabelledVolume(folder / f"scan{i}.npy", folder / f"labels{i}.npy")
        np.save(sample.image, rng.integers(0, 500, sides))
        np.save(sample.mask, rng.integers(0, 3, sides).astype(np.uint8))
        samples.append(sample)
    return samples


def patches_of(kind: str, folder: Path, **options) -> RandomPatches:
    defaults = {"batch_size": 4, "steps": 2, "seed": 5}
    if kind == "volumes":
        return VolumePatches(volumes(folder), **({"patch": 8} | defaults | options))
    defaults["patch"] = 24
    if kind == "instances":
        samples = pictures(folder, "instances")
        return InstancePatches(samples, **({"boxes": 6} | defaults | options))
    return SegmentationPatches(pictures(folder), **(defaults | options))


class TestStreams:
    """What was trained must train again: batches are those of before there was `Augmentation`.

    Labels are compared bit by bit, which any other place, turn or magnification would change.
    Intensities go through powers and exponentials, whose last bits differ between processors, so
    their mean and deviation are compared; another draw would change these by far more.
    """

    @pytest.mark.parametrize(
        ("kind", "augment", "mean", "deviation", "labels"),
        [
            ("segmentation", True, 119.70649995666894, 50.94338986327168, "42d359ab863b277a"),
            ("segmentation", False, 129.31365740740742, 74.92024307711823, "75ef868923268044"),
            ("instances", True, 119.70649995666894, 50.94338986327168, None),
            ("instances", False, 129.31365740740742, 74.92024307711823, "4446b12c267e9349"),
            ("volumes", True, 0.05014136845477424, 1.162456156239895, "153f44b0ce4cb816"),
            ("volumes", False, -0.0027709028754543397, 0.9814395498736163, "b53f6ef4ef727f1e"),
        ],
    )
    def test_repeat(self, tmp_path, kind, augment, mean, deviation, labels):
        patches = patches_of(kind, tmp_path, augment=augment)
        patches.epoch = 3
        image, target = patches[1][:2]
        if kind == "instances":
            image, boxes = image
            assert boxes.mean() == pytest.approx(11.767085958272219 if augment else 11.7916666667)
        assert image.mean(dtype=float) == pytest.approx(mean, abs=1e-6)
        assert image.std(dtype=float) == pytest.approx(deviation, abs=1e-6)
        if labels is not None:
            digest = hashlib.sha256(np.ascontiguousarray(target).tobytes()).hexdigest()
            assert digest[:16] == labels


def similar(image: np.ndarray, target: np.ndarray) -> float:
    return float(np.corrcoef(image.ravel(), target.ravel())[0, 1])


class TestPatches:
    AUGMENTATION = Augmentation(
        flip=(0, 1), rotate=180, zoom=(0.8, 1.25), elastic=2, gain=(0.8, 1.25), noise=0.1
    )

    @pytest.mark.parametrize("kind", ["segmentation", "instances", "volumes"])
    def test_varied_and_repeatable(self, tmp_path, kind):
        for name in ("a", "b"):
            (tmp_path / name).mkdir()
        first, second = (
            patches_of(kind, tmp_path / name, augmentation=self.AUGMENTATION) for name in ("a", "b")
        )
        first[0]  # what was asked for before does not matter
        for one, other in zip(*map(keras.tree.flatten, (first[1], second[1])), strict=True):
            assert one.dtype == np.float32
            np.testing.assert_array_equal(one, other)
        second.epoch = 1
        flat = [keras.tree.flatten(patches[1])[0] for patches in (first, second)]
        assert (flat[0] != flat[1]).any()

    @pytest.mark.parametrize("kind", ["segmentation", "volumes"])
    def test_image_and_target_move_together(self, tmp_path, kind):
        """The labels are written into the pictures, so that the two can be compared."""
        samples = pictures(tmp_path) if kind == "segmentation" else volumes(tmp_path)
        for sample in samples:
            if kind == "volumes":
                labels = np.random.default_rng(0).integers(0, 3, (4, 5, 4)).astype(np.uint8)
                labels = labels.repeat(4, 0).repeat(4, 1).repeat(4, 2)
                np.save(sample.mask, labels)
                np.save(sample.image, labels * 100)
            else:
                labels = np.asarray(PIL.Image.open(sample.mask))
                PIL.Image.fromarray(np.repeat(labels[..., None] * 60, 3, -1)).save(sample.image)
        cls = VolumePatches if kind == "volumes" else SegmentationPatches
        options = {"patch": 16, "batch_size": 12, "augmentation": self.AUGMENTATION}
        image, target = cls(samples, **options)[0]
        assert len(np.unique(target)) == (3 if kind == "volumes" else 4)
        # Interpolated edges and noise cost some correlation; a patch turned otherwise has none.
        for one, numbers in zip(image[..., 0], target[..., 0], strict=True):
            assert np.ptp(numbers) == 0 or similar(one, numbers) > 0.8
        changed = image[0, ..., 0], target[1, ..., 0]
        assert similar(*changed) < 0.6

    def test_instances(self, tmp_path):
        """Numbers stay numbers: boxes are around whole instances."""
        patches = patches_of("instances", tmp_path, augmentation=self.AUGMENTATION, jitter=0.0)
        (_, boxes), masks, weights = patches[0]
        used = weights[..., 0, 0] > 0
        assert used.any()
        # A tight box has its object on each of its sides.
        inside = masks[used][..., 0] > 0
        for axis in (1, 2):
            edges = inside.any(axis=axis)
            assert edges[:, :2].any(axis=1).mean() > 0.9 and edges[:, -2:].any(axis=1).mean() > 0.9
        assert (boxes[used][:, 2:] > boxes[used][:, :2]).all()

    @pytest.mark.parametrize("kind", ["segmentation", "instances", "volumes"])
    def test_not_in_validation(self, tmp_path, kind):
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        options = {"augmentation": self.AUGMENTATION, "balance": 1.0}
        plain = patches_of(kind, tmp_path / "a", augment=False)[0]
        given = patches_of(kind, tmp_path / "b", augment=False, **options)[0]
        np.testing.assert_array_equal(plain[1], given[1])

    def test_two_zooms(self, tmp_path):
        with pytest.raises(ValueError, match=r"one of its fields\. Received: zoom=\(1\.0, 2\.0\)$"):
            patches_of("segmentation", tmp_path, augmentation=Augmentation(), zoom=(1.0, 2.0))


class TestBalance:
    @pytest.fixture
    def rare(self, tmp_path) -> list[LabelledImage]:
        """Four pictures, nearly all of class 0; one has a spot of 1, one of 2, and many of none."""
        samples = []
        for i in range(4):
            numbers = np.zeros((90, 110), np.uint8)
            numbers[:, :20] = IGNORE
            if i in (1, 2):
                numbers[70:76, 30 + 40 * i - 10 : 30 + 40 * i - 4] = i
            files = tmp_path / f"{i}.png", tmp_path / f"labels{i}.png"
            samples.append(LabelledImage(*files, values=(0, 1, 2)))
            PIL.Image.fromarray(np.repeat(numbers[..., None], 3, -1)).save(samples[i].image)
            PIL.Image.fromarray(numbers).save(samples[i].mask)
        return samples

    def shares(self, samples: list[LabelledImage], **options) -> list[float]:
        """How many patches hold class 1, and class 2."""
        patches = SegmentationPatches(samples, patch=16, batch_size=300, **options)
        target = patches[0][1]
        return [float((target == c).any(axis=(1, 2, 3)).mean()) for c in (1, 2)]

    @pytest.mark.parametrize(
        "augmentation", [None, Augmentation(rotate=180, zoom=(0.8, 1.2), elastic=2)]
    )
    def test_classes_are_drawn_equally(self, rare, augmentation):
        # A third each: five deviations of 300 draws are 0.136.
        for share in self.shares(rare, balance=1.0, augmentation=augmentation):
            assert share == pytest.approx(1 / 3, abs=0.136)
        # Half of that, and the few of the other half that meet a spot by chance.
        for share in self.shares(rare, balance=0.5, augmentation=augmentation):
            assert share == pytest.approx(1 / 6 + 0.01, abs=0.11)
        assert max(self.shares(rare, augmentation=augmentation)) < 0.06

    def test_of_volumes(self, tmp_path):
        labels = np.zeros((30, 30, 30), np.uint8)
        labels[-1, -1, -1] = 2
        sample = LabelledVolume(tmp_path / "a.npy", tmp_path / "b.npy")
        np.save(sample.image, labels * 100.0)
        np.save(sample.mask, labels)
        for augmentation in (None, Augmentation(flip=(0, 1, 2))):
            options = {"patch": 6, "batch_size": 100, "augmentation": augmentation}
            shares = [
                float((VolumePatches([sample], balance=b, **options)[0][1] == 2).sum() / 100)
                for b in (0.0, 1.0)
            ]
            assert shares[0] < 0.05  # 1 in 25^3 places has it
            assert shares[1] == pytest.approx(0.5, abs=0.25)  # five deviations

    def test_of_instances(self, tmp_path):
        """All instances together are one class."""
        numbers = np.zeros((90, 90), np.uint8)
        numbers[40:50, 40:50] = 7
        numbers[2:8, 60:70] = 9
        sample = LabelledImage(tmp_path / "a.png", tmp_path / "instances/a.png")
        sample.mask.parent.mkdir()
        PIL.Image.fromarray(np.repeat(numbers[..., None], 3, -1)).save(sample.image)
        PIL.Image.fromarray(numbers).save(sample.mask)
        options = {"patch": 16, "batch_size": 100, "boxes": 2, "zoom": (1.0, 1.0)}
        found = [
            InstancePatches([sample], balance=balance, **options)[0][2].any(axis=(1, 2, 3)).mean()
            for balance in (0.0, 1.0)
        ]
        assert found[1] > 0.4 and found[1] > found[0] + 0.15
        assert len(instance_boxes(numbers)[0]) == 2

    def test_draws_groups_equally(self):
        """A class that two groups have is drawn from both, however many pictures they have."""
        labels = [np.ones((2, 2), int)] * 5
        balance = ClassBalance(1.0, lambda: labels, [[0], [1, 2, 3, 4]])
        rng = np.random.default_rng(0)
        drawn = [balance.draw(rng)[0] for _ in range(400)]
        # Five deviations of 400 draws of a half.
        assert np.mean(np.array(drawn) == 0) == pytest.approx(0.5, abs=0.125)
        assert set(drawn) == set(range(5))

    def test_mistakes(self, tmp_path, rare):
        for share in (-0.1, 1.1, float("nan")):
            with pytest.raises(
                ValueError, match=rf"balance must be from 0 to 1\. Received: {share}"
            ):
                SegmentationPatches(rare, balance=share)
        for sample in rare:
            PIL.Image.new("L", (110, 90), IGNORE - 1).save(sample.mask)
        numbers = np.full((90, 110), IGNORE, np.uint8)
        with pytest.raises(DataError, match=r"No pixel belongs to a class\. Received: 2 pictures$"):
            ClassBalance(0.5, lambda: [numbers, numbers], [[0, 1]])


RECIPE = """
entry = "unet.nuclei"
[data]
kind = "segmentation"
folders = ["cells"]
balance = 0.5
{zoom}
[data.augmentation]
flip = [0, 1]
rotate = 180
elastic = {elastic}
{field} = [0.8, 1.25]
[fit]
epochs = 1
loss = {{ binary_crossentropy = 1.0 }}
"""


class TestRecipe:
    def recipe(self, folder: Path, **fields: str) -> train.Recipe:
        values = {"elastic": "4.0", "field": "gamma", "zoom": ""} | fields
        (folder / "recipe.toml").write_text(RECIPE.format(**values))
        return train.read_recipe(folder / "recipe.toml")

    def test_reads(self, tmp_path):
        recipe = self.recipe(tmp_path)
        expected = Augmentation(flip=(0, 1), rotate=180.0, elastic=4.0, gamma=(0.8, 1.25))
        assert recipe.data.augmentation == expected
        assert recipe.data.balance == 0.5

    def test_passed_on(self, tmp_path):
        pictures(tmp_path / "cells")
        training, validation = make_datasets(self.recipe(tmp_path), tmp_path)
        assert training.augmentation.elastic == 4.0
        assert training.balance.share == 0.5
        assert validation.augmentation is None and validation.balance.share == 0
        with pytest.raises(ValueError, match=r"one of its fields\. Received: zoom=\(1\.0, 1\.5\)$"):
            make_datasets(self.recipe(tmp_path, zoom="zoom = [1.0, 1.5]"), tmp_path)

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"field": "gama"}, r"augmentation: no such field\. Did you mean 'gamma'"),
            ({"elastic": '"much"'}, r"augmentation: elastic must be of type float\. Received: 'mu"),
            ({"elastic": "20.0"}, r"augmentation: elastic must be at least 0.*: 20\.0 and 32\.0"),
        ],
    )
    def test_mistakes(self, tmp_path, fields, message):
        with pytest.raises(ValueError, match=rf"^[^\n]*recipe\.toml: data: {message}"):
            self.recipe(tmp_path, **fields)
