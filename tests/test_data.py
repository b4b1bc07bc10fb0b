"""Splits, patches, the degradation protocol, folders of labelled pictures, synthetic samples."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
import skimage.data
from hypothesis import given
from hypothesis import strategies as st

from kerasdeconv import data, imaging, zoo
from kerasdeconv.data.patches import FollowEpoch, RandomPatches
from kerasdeconv.data.segmentation import LabelledImage
from kerasdeconv.data.synthetic import sample_rank, synthetic_pairs
from kerasdeconv.data.synthetic_inputs import INPUTS
from kerasdeconv.errors import DataError

ASTRONAUT = imaging.to_uint8(imaging.luma(skimage.data.astronaut()))


class TestSplit:
    @given(
        groups=st.lists(st.sampled_from("abc"), max_size=60),
        fraction=st.floats(0, 0.99),
        seed=st.integers(0, 9),
    )
    def test_stratified(self, groups, fraction, seed):
        items = list(range(len(groups)))
        kept, held = data.split(items, fraction, groups=groups, seed=seed)
        assert kept == sorted(kept) and held == sorted(held)
        assert sorted(kept + held) == items
        share = Counter(groups[i] for i in held)
        for group, count in Counter(groups).items():
            assert abs(share[group] - fraction * count) <= 0.5

    def test_seed_decides(self):
        first, same, other = (data.split(range(50), 0.2, seed=seed) for seed in (1, 1, 2))
        assert first == same != other
        assert data.split(range(50), 0.0)[1] == []

    def test_mistakes(self):
        with pytest.raises(ValueError, match=r"in \[0, 1\)\. Received: 1$"):
            data.split([1, 2], 1)
        with pytest.raises(ValueError, match=r"group for each item\. Received: 1 for 2$"):
            data.split([1, 2], 0.5, groups=["a"])


class Numbers(RandomPatches):
    """Samples that are one random number, and a note of what was asked for."""

    def __init__(self, **options) -> None:
        super().__init__(**({"batch_size": 3, "steps": 4, "seed": 0, "augment": True} | options))
        self.asked: list[tuple[int, int]] = []

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        self.asked.append((self.epoch, index))
        return super().__getitem__(index)

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        return rng.uniform(size=1).astype("float32"), np.zeros(1, "float32")


class TestRandomPatches:
    def test_seed_epoch_and_index_alone_decide(self):
        batches = {}
        for seed in (0, 1):
            for epoch in (0, 1, 2):
                for index in (3, 0, 2, 1):  # in any order
                    numbers = Numbers(seed=seed)
                    numbers.epoch = epoch
                    batches[seed, epoch, index] = numbers[index][0]
        assert len({batch.tobytes() for batch in batches.values()}) == len(batches)
        used = Numbers()
        for epoch in (2, 0):
            used.epoch = epoch
            for index in range(4):
                np.testing.assert_array_equal(used[index][0], batches[0, epoch, index])

    def test_validation_is_the_same_in_every_epoch(self):
        numbers = Numbers(augment=False)
        first = numbers[1][0]
        numbers.epoch = 5
        np.testing.assert_array_equal(numbers[1][0], first)

    def test_keras_sees_each_batch_of_each_epoch(self):
        """`FollowEpoch` is in time for the first batch, also when a training is resumed."""
        numbers = Numbers()
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=True)
        model.fit(
            numbers, epochs=5, initial_epoch=2, shuffle=False, verbose=0,
            callbacks=[FollowEpoch(numbers)],
        )  # fmt: skip
        expected = [(epoch, index) for epoch in (2, 3, 4) for index in range(4)]
        assert numbers.asked[-len(expected) :] == expected

    def test_length(self):
        assert len(Numbers(steps=7)) == 7
        assert Numbers(batch_size=5)[0][0].shape == (5, 1)


def write_folder(folder: Path, count: int = 6, side: int = 40, kind: str = "instances") -> Path:
    """Labelled pictures whose red channel says where the mask is."""
    for name in ("images", kind):
        (folder / name).mkdir(parents=True)
    index = []
    for i in range(count):
        rng = np.random.default_rng(i)
        y, x = np.mgrid[:side, :side]
        inside = np.hypot(y - rng.integers(8, side - 8), x - rng.integers(8, side - 8)) < 8
        image = rng.integers(60, 80, (side, side, 3), np.uint8)
        image[inside, 0] = 240
        PIL.Image.fromarray(image).save(folder / "images" / f"{i}.png")
        mask = inside * (np.uint16(300) if kind == "instances" else np.uint8(1))
        PIL.Image.fromarray(mask).save(folder / kind / f"{i}.png")
        index.append({"id": str(i), "group": "rare" if i == 0 else "common", "more": 1})
    (folder / "index.json").write_text(json.dumps(index))
    return folder


class TestLabelledImages:
    @pytest.mark.parametrize("kind", ["instances", "masks", "labels"])
    def test_reads(self, tmp_path, kind):
        samples = data.labelled_images(write_folder(tmp_path, kind=kind))
        assert [s.image.name for s in samples] == [f"{i}.png" for i in range(6)]
        assert [s.group for s in samples] == ["rare"] + 5 * ["common"]
        image, mask = samples[2].read()
        assert (image.shape, image.dtype, mask.dtype) == ((40, 40, 3), np.uint8, np.uint8)
        np.testing.assert_array_equal(mask, image[..., 0] == 240)

    def test_black_and_white_masks(self, tmp_path):
        write_folder(tmp_path, count=1, kind="masks")
        path = tmp_path / "masks" / "0.png"
        mask = np.zeros((40, 40), np.uint8)
        mask[3:9] = 255
        for pixels in (mask, mask > 0):
            PIL.Image.fromarray(pixels).save(path)
            np.testing.assert_array_equal(data.labelled_images(tmp_path)[0].read()[1], mask > 0)

    def test_class_numbers_stay(self, tmp_path):
        write_folder(tmp_path, count=1, kind="labels")
        mask = np.arange(1600, dtype=np.uint8).reshape(40, 40) % 5
        PIL.Image.fromarray(mask).save(tmp_path / "labels" / "0.png")
        np.testing.assert_array_equal(data.labelled_images(tmp_path)[0].read()[1], mask)

    def test_without_an_index(self, tmp_path):
        write_folder(tmp_path, count=2)
        (tmp_path / "index.json").unlink()
        assert [s.group for s in data.labelled_images(tmp_path)] == ["", ""]

    @pytest.mark.parametrize("text", ["[", "{}{}", "[1]", '[{"name": 1}]', '{"id": 1}'])
    def test_a_broken_index_is_named(self, tmp_path, text):
        write_folder(tmp_path, count=1)
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(DataError, match=r"^[^\n]*Received: '.*index\.json'$"):
            data.labelled_images(tmp_path)

    def test_missing_parts_are_named(self, tmp_path):
        with pytest.raises(DataError, match=r"Received: '.*images'$"):
            data.labelled_images(tmp_path)
        folder = write_folder(tmp_path / "a")
        (folder / "instances" / "3.png").unlink()
        with pytest.raises(DataError, match=r"no mask '.*instances/3\.png'\. Received: 3\.png$"):
            data.labelled_images(folder)
        for path in (folder / "instances").iterdir():
            path.unlink()
        (folder / "instances").rmdir()
        with pytest.raises(DataError, match=r"or labels or annotations\.json or .* beside images"):
            data.labelled_images(folder)

    @pytest.mark.parametrize("part", ["image", "mask"])
    @pytest.mark.parametrize("content", [b"", b"nonsense", None], ids=["empty", "text", "cut"])
    def test_broken_files_are_named(self, tmp_path, part, content):
        (sample,) = data.labelled_images(write_folder(tmp_path, count=1))
        path = getattr(sample, part)
        path.write_bytes(path.read_bytes()[:-60] if content is None else content)
        with pytest.raises(DataError, match=rf"Not a readable.*{path.parent.name}/0\.png'?$"):
            sample.read()

    def test_a_mask_of_another_size(self, tmp_path):
        (sample,) = data.labelled_images(write_folder(tmp_path, count=1))
        for pixels in (np.zeros((40, 39), np.uint8), np.zeros((40, 40, 3), np.uint8)):
            PIL.Image.fromarray(pixels).save(sample.mask)
            with pytest.raises(DataError, match=r"size \(40, 40\).*instances/0\.png"):
                sample.read()


class TestSegmentationPatches:
    @pytest.fixture
    def samples(self, tmp_path) -> list[LabelledImage]:
        return data.labelled_images(write_folder(tmp_path))

    def test_batches(self, samples):
        patches = data.SegmentationPatches(samples, patch=32, batch_size=5, steps=2)
        assert len(patches) == 2
        images, masks = patches[0]
        assert (images.shape, masks.shape) == ((5, 32, 32, 3), (5, 32, 32, 1))
        assert images.dtype == masks.dtype == np.float32
        assert images.min() >= 0 and images.max() <= 255
        assert set(np.unique(masks)) == {0, 1}

    def test_mask_and_image_move_together(self, samples):
        patches = data.SegmentationPatches(samples, patch=32, batch_size=60, zoom=(0.6, 1.6))
        images, masks = patches[0]
        inside = masks[..., 0] > 0
        # What is red stays red whatever gamma, gain and offset are; edges are interpolated.
        red = images[..., 0] - images[..., 1:].mean(axis=-1)
        middle = [(np.quantile(r, 0.01) + np.quantile(r, 0.999)) / 2 for r in red]
        same = (red > np.reshape(middle, (-1, 1, 1))) == inside
        seen = inside.any(axis=(1, 2)) & ~inside.all(axis=(1, 2))
        assert seen.sum() > 40
        assert same[seen].mean(axis=(1, 2)).min() > 0.95

    def test_reproducible_and_varied(self, samples):
        first, second = (
            data.SegmentationPatches(samples, patch=32, batch_size=2, seed=7) for _ in range(2)
        )
        first[0]  # what was asked for before does not matter
        for a, b in zip(first[1], second[1], strict=True):
            np.testing.assert_array_equal(a, b)
        second.epoch = 1
        assert (first[1][0] != second[1][0]).any()

    def test_without_augmentation_patches_are_the_middles(self, samples):
        patches = data.SegmentationPatches(samples, patch=32, batch_size=4, augment=False)
        images, masks = patches[1]
        for i, sample in enumerate([samples[j] for j in (4, 5, 0, 1)]):
            image, mask = sample.read()
            np.testing.assert_array_equal(images[i], image[4:-4, 4:-4])
            np.testing.assert_array_equal(masks[i, ..., 0], mask[4:-4, 4:-4])

    def test_rare_groups_are_drawn_as_often(self, samples):
        """One picture of six is rare; it is made black, so that its patches can be told."""
        assert [s.group for s in samples].count("rare") == 1
        PIL.Image.new("RGB", (40, 40)).save(samples[0].image)
        images, _ = data.SegmentationPatches(samples, patch=8, batch_size=400)[0]
        rare = np.ptp(images, axis=(1, 2, 3)) == 0
        assert rare.mean() == pytest.approx(0.5, abs=0.1)  # four deviations of 400 draws

    def test_a_picture_smaller_than_a_patch_is_enlarged(self, samples):
        patches = data.SegmentationPatches(samples, patch=64, batch_size=2)
        assert patches[0][0].shape == (2, 64, 64, 3)


class TestDegrade:
    @pytest.mark.parametrize("scale", [2, 3, 4])
    @pytest.mark.parametrize("shape", [(50, 61), (50, 61, 3)], ids=["luma", "rgb"])
    def test_protocol(self, scale, shape):
        """Crop to a multiple, shrink by MATLAB's bicubic, round to 8 bits."""
        image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        low, high = data.degrade(image, scale)
        sides = [side // scale for side in shape[:2]]
        np.testing.assert_array_equal(high, image[: sides[0] * scale, : sides[1] * scale])
        exact = imaging.resize_bicubic(high, 1 / scale)
        assert (low.dtype, low.shape) == (np.uint8, (*sides, *shape[2:]))
        assert np.abs(low - exact.clip(0, 255)).max() <= 0.5

    def test_antialiased(self):
        """Stripes finer than the small picture can show become gray."""
        stripes = np.tile(np.array([0, 255], np.uint8), (48, 24))
        low, _ = data.degrade(stripes, 4)
        assert np.abs(low[:, 2:-2].astype(float) - 127.5).max() < 4


class TestSuperResolutionPatches:
    def patches(self, **options) -> data.SuperResolutionPatches:
        defaults = {"scale": 3, "patch": 16, "border": 4, "batch_size": 6}
        return data.SuperResolutionPatches([ASTRONAUT[:150, :170]], **(defaults | options))

    def test_batches(self):
        low, high, weights = self.patches()[0]
        assert (low.shape, high.shape) == ((6, 16, 16, 1), (6, 48, 48, 1))
        assert weights.shape == (6, 48, 48)
        assert low.dtype == high.dtype == weights.dtype == np.float32

    def test_weights_are_0_on_the_border(self):
        weights = self.patches(border=4)[0][2]
        expected = np.zeros((48, 48))
        expected[12:-12, 12:-12] = 1
        np.testing.assert_array_equal(weights, np.broadcast_to(expected, weights.shape))
        assert self.patches(border=0)[0][2].all()

    @pytest.mark.parametrize("augment", [True, False])
    def test_low_and_high_belong_together(self, augment):
        low, high, _ = self.patches(augment=augment)[0]
        for small, large in zip(low, high, strict=True):
            expected = imaging.resize_bicubic(large[..., 0], 1 / 3)
            inner = (slice(2, -2), slice(2, -2))  # the kernel reaches two pixels
            assert np.abs(small[..., 0][inner] - expected[inner]).max() < 0.51

    def test_reproducible(self):
        for first, second in zip(self.patches(seed=3)[2], self.patches(seed=3)[2], strict=True):
            np.testing.assert_array_equal(first, second)
        assert (self.patches(seed=3)[2][0] != self.patches(seed=4)[2][0]).any()

    def test_shrunk_pictures_too(self):
        pairs = self.patches(shrinks=(1.0, 0.5)).pairs
        assert [high.shape for _, high in pairs] == [(150, 168), (75, 84)]
        # At 0.3 the picture is smaller than a patch.
        assert len(self.patches(shrinks=(1.0, 0.3)).pairs) == 1

    def test_mistakes(self):
        with pytest.raises(DataError, match=r"No image is 192 pixels.*Received: 1$"):
            self.patches(patch=64)
        for border in (8, 9, -1):
            with pytest.raises(ValueError, match=rf"half a patch of 16\. Received: {border}$"):
                self.patches(border=border)

    def test_colour(self):
        picture = skimage.data.astronaut()[:150, :170]
        patches = data.SuperResolutionPatches([picture], scale=3, patch=16, batch_size=6)
        low, high, weights = patches[0]
        assert (low.shape, high.shape) == ((6, 16, 16, 3), (6, 48, 48, 3))
        assert weights.shape == (6, 48, 48)
        for small, large in zip(low, high, strict=True):
            inner = (slice(2, -2), slice(2, -2))
            expected = imaging.resize_bicubic(large, 1 / 3).clip(0, 255)
            assert np.abs(small[inner] - expected[inner]).max() < 0.51

    @pytest.mark.parametrize("augment", [True, False])
    def test_a_target_for_each_level(self, augment):
        """Each is the finest one, shrunk, and of the same place."""
        patches = self.patches(scale=4, levels=(4, 2), augment=augment)
        low, targets, weights = patches[0]
        sides = [(6, 64, 64), (6, 32, 32)]
        assert [x.shape[:3] for x in targets] == [x.shape for x in weights] == sides
        assert weights[1][0, 8:-8, 8:-8].all() and weights[1].sum() == 6 * 16 * 16
        for fine, coarse in zip(*targets, strict=True):
            expected = imaging.resize_bicubic(fine[..., 0], 1 / 2)
            inner = (slice(2, -2), slice(2, -2))
            assert np.abs(coarse[..., 0][inner] - expected[inner]).max() < 0.51
        same = self.patches(scale=4, augment=augment)[0]  # another level draws no other place
        np.testing.assert_array_equal(low, same[0])
        np.testing.assert_array_equal(targets[0], same[1])

    def test_images_of_a_folder(self, tmp_path):
        picture = skimage.data.coffee()[:20, :30]
        for folder in (tmp_path, tmp_path / "HR"):
            imaging.write_image(folder / "a.png", picture)
            (luma,) = data.high_resolution_images(tmp_path)
            np.testing.assert_array_equal(luma, imaging.to_uint8(imaging.luma(picture)))
            (color,) = data.high_resolution_images(tmp_path, "rgb")
            np.testing.assert_array_equal(color, picture)
        with pytest.raises(ValueError, match=r"on luma or RGB\. Received: color='gray'$"):
            data.high_resolution_images(tmp_path, "gray")
        (tmp_path / "HR" / "b.png").write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"Not a readable image.*b\.png'$"):
            data.high_resolution_images(tmp_path)


class TestSynthetic:
    @pytest.mark.parametrize("kind", ["nuclei", "textures"])
    def test_seeded(self, kind):
        first, same, other = (data.synthetic_samples(kind, 2, (40, 56), s) for s in (0, 0, 1))
        np.testing.assert_array_equal(first, same)
        assert (np.array(first) != np.array(other)).any()
        assert (first[0] != first[1]).any()
        # A longer list begins with a shorter one.
        np.testing.assert_array_equal(data.synthetic_samples(kind, 3, (40, 56))[:2], first)
        assert first[0].shape == (40, 56, 3) and first[0].dtype == np.uint8

    def test_textures_are_black_to_white_each(self):
        for picture in data.synthetic_samples("textures", 6, (48, 48)):
            assert (picture.min(), picture.max()) == (0, 255)

    def test_nuclei_are_black_to_white_together(self):
        """A range calibrated on them must not clip what a microscope gives."""
        pictures = np.array(data.synthetic_samples("nuclei", 16, (64, 64)))
        assert (pictures.min(), pictures.max()) == (0, 255)
        grays = (np.ptp(pictures.astype(int), axis=-1) == 0).all(axis=(1, 2))
        assert 0 < grays.sum() < 16  # fluorescence and stained tissue

    @pytest.mark.parametrize("kind", ["nuclei", "textures"])
    def test_labels_belong_to_the_pictures(self, kind):
        pairs = synthetic_pairs(kind, 3, (64, 64), seed=2)
        pictures = data.synthetic_samples(kind, 3, (64, 64), seed=2)
        for (picture, labels), alone in zip(pairs, pictures, strict=True):
            np.testing.assert_array_equal(picture, alone)
            assert labels.shape == (64, 64) and labels.dtype == np.int32
            assert len(np.unique(labels)) > 3
            if kind == "nuclei":
                inside, outside = picture[labels > 0].mean(), picture[labels == 0].mean()
                assert abs(inside - outside) > 20

    def test_the_cards_name_what_there_is(self):
        named = {
            card.calibration.samples
            for card in map(zoo.card, zoo.list_models())
            if card.calibration is not None
        }
        assert named
        for kind in named:
            if kind not in INPUTS:
                size = (8, 32, 32)[-sample_rank(kind) :]
                assert len(data.synthetic_samples(kind, 1, size)) == 1

    def test_unknown_kind(self):
        with pytest.raises(ValueError, match=r"Did you mean 'nuclei'\? Received: 'nucleus'$"):
            data.synthetic_samples("nucleus", 1, (32, 32))
