"""What a recipe trains on and what it is validated on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from kerasdeconv import data
from kerasdeconv.data.segmentation import IGNORE
from kerasdeconv.errors import DataError
from kerasdeconv.train.parts import labelled_parts, validation_part
from kerasdeconv.train.recipe import DataRecipe


def write(path: Path, pixels: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(np.asarray(pixels, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six slices and two more in a folder of their own; labels 7 and 9, in a round field."""
    y, x = np.mgrid[:16, :16]
    for part, count in (("train", 6), ("val", 2)):
        for i in range(count):
            name = f"{i:02}.png"
            labels = np.where(x < 4 + i, 7, 9)
            labels[0] = 3  # no class
            write(tmp_path / part / "images" / name, np.full((16, 16, 3), 10 * i))
            write(tmp_path / part / "vessels" / name, labels)
            write(tmp_path / part / "fov" / name, 255 * (np.hypot(y - 8, x - 8) < 6))
    return tmp_path


def plan(**options: Any) -> DataRecipe:
    options = {"folders": ("train",), "labels": "vessels", "values": (9, 7)} | options
    return DataRecipe(kind="segmentation", **options)


def names(samples: list[Any]) -> list[str]:
    return [sample.image.stem for sample in samples]


class TestParts:
    def test_held_out_by_name(self, folder):
        training, held = labelled_parts(plan(held_out=("0[45]", "00")), folder)
        assert (names(training), names(held)) == (["01", "02", "03"], ["00", "04", "05"])
        assert names(validation_part(plan(held_out=("05",)), folder / "train")) == ["05"]

    def test_folders_of_their_own(self, folder):
        recipe = plan(validation_folders=("val",))
        training, held = labelled_parts(recipe, folder)
        assert (len(training), names(held)) == (6, ["00", "01"])
        assert held[0].image.parts[-3] == "val"
        assert names(validation_part(recipe, folder / "val")) == ["00", "01"]
        with pytest.raises(DataError, match=r"it wants val\. Received: '.*train'$"):
            validation_part(recipe, folder / "train")

    def test_at_random(self, folder):
        training, held = labelled_parts(plan(validation=0.34), folder)
        assert (len(training), len(held)) == (4, 2)
        assert names(validation_part(plan(validation=0.34), folder / "train")) == names(held)
        with pytest.raises(DataError, match="leaves nothing of this folder"):
            validation_part(plan(validation=0.0), folder / "train")

    def test_mistakes(self, folder):
        with pytest.raises(DataError, match=r"no .*Received: held_out='9\?'$|No picture"):
            labelled_parts(plan(held_out=("9?",)), folder)
        with pytest.raises(ValueError, match=r"held_out or validation_folders\. Received: .*'val'"):
            labelled_parts(plan(held_out=("00",), validation_folders=("val",)), folder)


class TestLabels:
    def test_values_and_field(self, folder):
        sample = data.labelled_images(
            folder / "train", labels="vessels", field="fov", values=(9, 7)
        )[2]
        _, labels = sample.read()
        y, x = np.mgrid[:16, :16]
        outside = (np.hypot(y - 8, x - 8) >= 6) | (y == 0)
        np.testing.assert_array_equal(labels, np.where(outside, IGNORE, x < 6))

    def test_training_may_learn_what_is_outside(self, folder):
        recipe = plan(field="fov", outside=0, held_out=("05",))
        training, held = labelled_parts(recipe, folder)
        y, x = np.mgrid[:16, :16]
        outside = np.hypot(y - 8, x - 8) >= 6
        assert set(np.unique(training[0].read()[1][outside])) == {0}
        assert set(np.unique(held[0].read()[1][outside])) == {IGNORE}
        assert validation_part(recipe, folder / "train") == held
        with pytest.raises(ValueError, match=r"without a field\. Received: outside=0$"):
            labelled_parts(plan(outside=0), folder)

    def test_missing_files_are_named(self, folder):
        options = {"labels": "vessels", "field": "fov"}
        (folder / "train" / "fov" / "03.png").unlink()
        with pytest.raises(DataError, match=r"no mask '.*fov/03\.png'\. Received: 03\.png$"):
            data.labelled_images(folder / "train", **options)
        with pytest.raises(DataError, match="needs labells beside images"):
            data.labelled_images(folder / "train", labels="labells")

    def test_a_field_of_another_size(self, folder):
        write(folder / "train" / "fov" / "00.png", np.zeros((16, 15)))
        sample = data.labelled_images(folder / "train", labels="vessels", field="fov")[0]
        with pytest.raises(DataError, match=r"size \(16, 16\).*\(16, 15\).*fov/00\.png$"):
            sample.read()

    def test_volumes_have_none(self, tmp_path):
        for part in ("images", "labels"):
            (tmp_path / part).mkdir()
            np.save(tmp_path / part / "0.npy", np.zeros((4, 4, 4)))
        with pytest.raises(ValueError, match=r"for pictures, and the folder has volumes\."):
            labelled_parts(plan(folders=(".",)), tmp_path)
