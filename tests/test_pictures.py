"""Whole pictures of one size: arrays, folders, parts and batches."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kerasdeconv import data
from kerasdeconv.errors import DataError
from kerasdeconv.evaluation.base import kept_pictures
from kerasdeconv.imaging import write_image
from kerasdeconv.train.parts import picture_parts
from kerasdeconv.train.recipe import DataRecipe

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (10, 6, 5), np.uint8)
CLASSES = np.arange(10)


@pytest.fixture
def archive(tmp_path):
    np.savez(tmp_path / "all.npz", x=PIXELS, y=CLASSES)
    return tmp_path


class TestReading:
    def test_an_archive(self, archive):
        pictures = data.read_pictures(archive)
        np.testing.assert_array_equal(pictures.pixels[..., 0], PIXELS)
        np.testing.assert_array_equal(pictures.labels, CLASSES)

    def test_a_folder(self, tmp_path):
        for i, picture in enumerate(PIXELS):
            write_image(tmp_path / f"{i}.png", picture)
        pictures = data.read_pictures(tmp_path)
        np.testing.assert_array_equal(pictures.pixels[..., 0], PIXELS)
        assert pictures.labels is None
        assert data.read_pictures(tmp_path, "rgb").pixels.shape == (10, 6, 5, 3)

    def test_synthetic_digits(self, tmp_path):
        pictures = data.read_pictures(data.write_synthetic("digits", tmp_path, 40))
        assert pictures.pixels.shape == (40, 28, 28, 1)
        assert len(set(pictures.labels)) == 10
        # The least, a thin one, covers a fiftieth of the picture; none touches its border.
        assert (pictures.pixels.mean(axis=(1, 2, 3)) > 255 / 50).all()
        assert pictures.pixels[:, [0, -1]].max() == 0

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"pixels": PIXELS}, r"x is missing\. Received: '.*all\.npz'$"),
            (
                {"x": PIXELS / 255},
                r"uint8, N x height x width x 1\. Received: float64 \(10, 6, 5\)",
            ),
            ({"x": PIXELS, "y": CLASSES[:4]}, r"10 whole numbers\. Received: int64 \(4,\) in"),
        ],
    )
    def test_no_pictures(self, tmp_path, arrays, message):
        np.savez(tmp_path / "all.npz", **arrays)
        with pytest.raises(DataError, match=message):
            data.read_pictures(tmp_path)

    def test_several_archives(self, archive):
        np.savez(archive / "more.npz", x=PIXELS)
        with pytest.raises(DataError, match=r"several \.npz files"):
            data.read_pictures(archive)

    def test_damaged(self, archive):
        (archive / "all.npz").write_bytes(b"PK\x03\x04 no more")
        with pytest.raises(DataError, match=r"Not a readable \.npz file"):
            data.read_pictures(archive)

    def test_another_size(self, tmp_path):
        write_image(tmp_path / "0.png", PIXELS[0])
        write_image(tmp_path / "1.png", PIXELS[1, :4])
        with pytest.raises(
            DataError, match=r"\(6, 5\) as the first\. Received: \(4, 5\) in '.*1\.png"
        ):
            data.read_pictures(tmp_path)

    def test_another_colour(self, archive):
        with pytest.raises(ValueError, match=r"'gray' or 'rgb'\. Received: 'y'$"):
            data.read_pictures(archive, "y")


class TestParts:
    recipe = DataRecipe(kind="autoencoding", folders=("a",), last=3)

    def parts(self, archive, **changes):
        (archive / "a").mkdir(exist_ok=True)
        (archive / "all.npz").rename(archive / "a" / "all.npz")
        return picture_parts(dataclasses.replace(self.recipe, **changes), archive, "gray")

    def test_the_last(self, archive):
        training, held = self.parts(archive)
        assert training.labels.tolist() == list(range(7))
        assert held.labels.tolist() == [7, 8, 9]
        np.testing.assert_array_equal(held.pixels[..., 0], PIXELS[7:])

    def test_a_share(self, archive):
        """At random, but of each class: files may be in order of the classes."""
        classes = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2])
        np.savez(archive / "all.npz", x=PIXELS, y=classes)
        training, held = self.parts(archive, last=0, validation=0.5)
        assert held.labels.tolist() == [0, 0, 1, 1, 2]
        both = np.concatenate([training.pixels, held.pixels])[..., 0]
        assert sorted(map(bytes, both)) == sorted(map(bytes, PIXELS))
        again = picture_parts(
            dataclasses.replace(self.recipe, last=0, validation=0.5), archive, "gray"
        )
        np.testing.assert_array_equal(again[1].pixels, held.pixels)

    def test_a_folder(self, archive):
        training, held = self.parts(archive, last=0, validation_folders=("a",))
        assert len(training.pixels) == len(held.pixels) == 10

    def test_contradictions(self, archive):
        with pytest.raises(
            ValueError, match=r"last or validation_folders\. Received: 3 and \['a'\]"
        ):
            self.parts(archive, validation_folders=("a",))

    def test_nothing_left(self, archive):
        with pytest.raises(ValueError, match=r"some of the 10 pictures.*Received: 10$"):
            self.parts(archive, last=10)

    def test_for_evaluation(self, archive, tmp_path):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(
            'entry = "a"\n[data]\nkind = "autoencoding"\nfolders = ["a"]\nlast = 4\n'
            "[fit]\nepochs = 1\n"
        )
        assert kept_pictures(archive, recipe, "gray").labels.tolist() == [6, 7, 8, 9]
        assert len(kept_pictures(archive, recipe, "gray", training=True).pixels) == 6
        assert len(kept_pictures(archive, None, "gray").pixels) == 10

    def test_a_whole_folder_for_evaluation(self, archive, tmp_path):
        (archive / "a").mkdir()
        (archive / "all.npz").rename(archive / "a" / "all.npz")
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(
            'entry = "a"\n[data]\nkind = "autoencoding"\nfolders = ["b"]\n'
            'validation_folders = ["a"]\n[fit]\nepochs = 1\n'
        )
        assert len(kept_pictures(archive / "a", recipe, "gray").pixels) == 10
        with pytest.raises(DataError, match=r"it wants a\. Received: '.*a'$"):
            kept_pictures(archive / "a", recipe, "gray", training=True)


def test_batches():
    batches = data.PictureBatches(PIXELS[..., None], batch_size=4, steps=3)
    assert len(batches) == 3
    inputs, targets = batches[1]
    assert inputs.shape == (4, 6, 5, 1) and inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs, targets)
    assert all((one == PIXELS[..., None]).all(axis=(1, 2, 3)).any() for one in inputs)
    np.testing.assert_array_equal(batches[1][0], inputs)
    assert not np.array_equal(batches[0][0], inputs)
    with pytest.raises(ValueError, match="Received: none"):
        data.PictureBatches(PIXELS[:0, ..., None])
