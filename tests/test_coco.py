"""COCO JSON: polygons, run lengths, crowds, overlaps, classes, and files that are not sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from kerasdeconv import data
from kerasdeconv.data.coco import coco_classes, coco_images
from kerasdeconv.data.instances import InstancePatches, instance_boxes
from kerasdeconv.data.outlines import fill_polygon, rle_decode, rle_encode
from kerasdeconv.data.segmentation import IGNORE, SegmentationPatches
from kerasdeconv.errors import DataError

SIDES = (40, 50)


def box(y0: float, x0: float, y1: float, x1: float) -> list[float]:
    """A rectangle as a polygon."""
    return [x0, y0, x1, y0, x1, y1, x0, y1]


def content() -> dict[str, Any]:
    """Two pictures; the first has overlapping objects of two categories, and a crowd."""
    crowd = np.zeros(SIDES, bool)
    crowd[30:, :] = True
    runs = np.zeros(SIDES, bool)
    runs[2:6, 40:48] = True
    return {
        "images": [
            {"id": 8, "file_name": "b.png", "height": 24, "width": 30},
            {"id": 5, "file_name": "a.jpg", "height": SIDES[0], "width": SIDES[1]},
        ],
        "categories": [{"id": 90, "name": "car"}, {"id": 3, "name": "cat"}],
        "annotations": [
            # Small, under the large one in the list, and yet seen.
            {"id": 1, "image_id": 5, "category_id": 90, "segmentation": [box(8, 8, 12, 14)]},
            {"id": 2, "image_id": 5, "category_id": 3, "segmentation": [box(4, 4, 20, 20)]},
            {
                "id": 3, "image_id": 5, "category_id": 90,
                "segmentation": [box(24, 2, 28, 6), box(26, 30, 34, 36)],
            },
            {
                "id": 4, "image_id": 5, "category_id": 3, "iscrowd": 1,
                "segmentation": rle_encode(crowd),
            },
            {
                "id": 5, "image_id": 5, "category_id": 90,
                "segmentation": rle_encode(runs, compressed=True),
            },
        ],
    }  # fmt: skip


def write(folder: Path, coco: Any, name: str = "annotations.json") -> Path:
    (folder / "images").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for file, sides in (("a.jpg", SIDES), ("b.png", (24, 30)), ("of_no_use.png", (9, 9))):
        picture = rng.integers(0, 256, (*sides, 3), np.uint8)
        PIL.Image.fromarray(picture).save(folder / "images" / file)
    (folder / name).write_text(coco if isinstance(coco, str) else json.dumps(coco))
    return folder / name


@pytest.fixture
def folder(tmp_path) -> Path:
    write(tmp_path, content())
    return tmp_path


def expected() -> tuple[np.ndarray, np.ndarray]:
    """Instance and class numbers of the first picture."""
    numbers, labels = np.zeros(SIDES, int), np.zeros(SIDES, int)
    labels[30:] = IGNORE
    for number, label, y0, x0, y1, x1 in (
        (2, 1, 4, 4, 20, 20),
        (3, 2, 24, 2, 28, 6),
        (3, 2, 26, 30, 34, 36),
        (4, 2, 2, 40, 6, 48),
        (1, 2, 8, 8, 12, 14),
    ):
        numbers[y0:y1, x0:x1], labels[y0:y1, x0:x1] = number, label
    return numbers, labels


class TestRead:
    def test_instances_and_classes(self, folder):
        samples = coco_images(folder / "annotations.json")
        assert [sample.image.name for sample in samples] == ["a.jpg", "b.png"]
        numbers, labels = expected()
        image, got = samples[0].read_instances()
        assert (image.shape, got.dtype) == ((*SIDES, 3), np.int32)
        np.testing.assert_array_equal(got, numbers)
        image, got = samples[0].read()
        assert (image.dtype, got.dtype) == (np.uint8, np.uint8)
        np.testing.assert_array_equal(got, labels)
        for empty in (samples[1].read(), samples[1].read_instances()):
            assert empty[0].shape == (24, 30, 3) and not empty[1].any()
        assert coco_classes(folder / "annotations.json") == ("background", "cat", "car")

    @pytest.mark.parametrize("name", ["annotations.json", "instances.json", "train2017.json"])
    def test_a_folder_is_found_to_be_coco(self, tmp_path, name):
        write(tmp_path, content(), name)
        (tmp_path / "index.json").write_text('[{"id": "b", "group": "night"}]')
        option = {"labels": name} if name.startswith("train") else {}
        samples = data.labelled_images(tmp_path, **option)
        assert [(s.image.name, s.group) for s in samples] == [("a.jpg", ""), ("b.png", "night")]
        np.testing.assert_array_equal(samples[0].read()[1], expected()[1])
        with pytest.raises(ValueError, match=r"field and values are for masks.*Received: 'fov', "):
            data.labelled_images(tmp_path, field="fov", **option)

    def test_masks_come_first(self, folder):
        (folder / "masks").mkdir()
        with pytest.raises(DataError, match=r"has no mask .*masks/a\.png"):
            data.labelled_images(folder)

    def test_in_patches(self, folder):
        samples = data.labelled_images(folder)
        options = {"patch": 24, "batch_size": 4}
        (images, boxes), masks, weights = InstancePatches(samples, boxes=4, **options)[0]
        assert images.shape == (4, 24, 24, 3) and boxes.shape == (4, 4, 4)
        assert masks.max() == 1 and weights.any()
        _, target = SegmentationPatches(samples, **options, balance=1.0)[0]
        assert set(np.unique(target)) <= {0, 1, 2, IGNORE} and (target == 2).any()

    def test_evaluated_like_any_instances(self, folder):
        """What evaluation does: boxes around what is to be seen of each object."""
        _, numbers = data.labelled_images(folder)[0].read_instances()
        present, boxes = instance_boxes(numbers)
        assert present.tolist() == [1, 2, 3, 4]
        assert boxes[2].tolist() == [24, 2, 34, 36]  # in two parts


class TestPolygons:
    def test_by_definition(self):
        """Against a winding angle, which is another way to tell what is inside."""
        rng = np.random.default_rng(0)
        for _ in range(20):
            turn = np.sort(rng.uniform(0, 2 * np.pi, 9))
            radius = rng.uniform(3, 16, 9)
            corners = np.stack([14 + radius * np.cos(turn), 12 + radius * np.sin(turn)], axis=-1)
            got = fill_polygon(corners, (20, 24))
            for y, x in np.ndindex(20, 24):
                to = (corners - [x + 0.5, y + 0.5]) @ [1, 1j]
                angle = np.angle(np.roll(to, -1) / to).sum()
                assert got[y, x] == (abs(angle) > np.pi), (y, x)

    def test_area(self):
        """An annotation's own area is that of its polygon; here by the shoelace formula."""
        rng = np.random.default_rng(1)
        excess = []
        for _ in range(60):
            turn = np.sort(rng.uniform(0, 2 * np.pi, 12))
            corners = 50 + rng.uniform(30, 45, (12, 1)) * np.stack([np.cos(turn), np.sin(turn)], -1)
            (x, y), (nx, ny) = corners.T, np.roll(corners, -1, axis=0).T
            area = abs(np.sum(x * ny - nx * y)) / 2
            outline = np.hypot(nx - x, ny - y).sum()
            excess.append((fill_polygon(corners, (100, 100)).sum() - area) / outline)
        # A pixel of the outline is a coin's throw: some 250 of them leave less than 0.1 each, and
        # 60 polygons no bias. (What fills touched pixels too is 0.3 off.)
        assert np.abs(excess).max() < 0.1
        assert abs(np.mean(excess)) < 0.01

    def test_whole_pixels_and_crossings(self):
        assert fill_polygon(np.array([[1, 1], [4, 1], [4, 3], [1, 3]]), (5, 6)).sum() == 6
        # A star that crosses itself: its middle is outside, by the even-odd rule.
        turn = np.arange(5) * 4 * np.pi / 5
        star = np.stack([20 + 18 * np.cos(turn), 20 + 18 * np.sin(turn)], axis=-1)
        got = fill_polygon(star, (40, 40))
        assert not got[20, 20] and got[20, 33]

    def test_beyond_the_picture(self):
        corners = np.array([[-5, -7], [30, -7], [30, 3], [-5, 3]])
        got = fill_polygon(corners, (8, 9))
        np.testing.assert_array_equal(got, np.arange(8)[:, None].repeat(9, 1) < 3)
        assert not fill_polygon(corners + 100, (8, 9)).any()
        assert not fill_polygon(corners - 100, (8, 9)).any()

    def test_a_point(self):
        assert not fill_polygon(np.full((3, 2), 2.5), (5, 5)).any()


class TestRunLengths:
    @given(arrays(bool, st.tuples(st.integers(1, 30), st.integers(1, 30))), st.booleans())
    def test_round_trip(self, mask, compressed):
        rle = json.loads(json.dumps(rle_encode(mask, compressed=compressed)))
        np.testing.assert_array_equal(rle_decode(rle), mask)

    def test_as_others_write_it(self):
        """Made with pycocotools 2.0 from the same masks."""
        noise = np.random.default_rng(1).integers(0, 2, (6, 7))
        assert rle_encode(noise, compressed=True)["counts"] == "11101000O10012OM3033JM"
        large = np.zeros((60, 90), bool)
        large[5:50, 3:70] = True
        large[20:30, 10:80] = False
        text = rle_encode(large, compressed=True)["counts"]
        np.testing.assert_array_equal(rle_decode({"size": [60, 90], "counts": text}), large)
        assert text.startswith("i5]1?0000000000")
        assert rle_encode(np.array([[0, 1], [1, 1]]))["counts"] == [1, 3]  # column by column
        assert rle_encode(np.array([[1, 1], [0, 1]]))["counts"] == [0, 1, 1, 2]

    @pytest.mark.parametrize("counts", [[5, 5], [7, -1], "0", "~", "i5]1", "i"])
    def test_mistakes(self, counts):
        with pytest.raises(ValueError, match="Received: "):
            rle_decode({"size": [2, 3], "counts": counts})


class TestBadFiles:
    def fails(self, folder: Path, coco: Any, message: str) -> None:
        write(folder, coco)
        with pytest.raises(DataError, match=rf"^[^\n]*{message}"):
            data.labelled_images(folder)

    @pytest.mark.parametrize(
        ("coco", "message"),
        [
            ("", r"Not a JSON file .*Received: '.*annotations\.json'$"),
            ('{"images": [', r"Not a JSON file .*Received: '.*annotations\.json'$"),
            ("[]", r"lists images, annotations, categories\. Received: '.*annotations\.json'$"),
            ({"images": [], "annotations": {}, "categories": []}, r"has the lists .*Received"),
        ],
    )
    def test_no_coco(self, tmp_path, coco, message):
        self.fails(tmp_path, coco, message)

    @pytest.mark.parametrize(
        ("part", "index", "fields", "message"),
        [
            ("images", 0, {"id": 5}, r"id of its own.*annotations\.json'\. Received: id 5$"),
            ("images", 0, {"height": 0}, r"file_name, height and width.*Received: id 8$"),
            ("images", 1, {"file_name": None}, r"file_name, height and width.*Received: id 5$"),
            ("categories", 0, {"id": 3}, r"as id, and a name.*Received: id 3$"),
            ("categories", 0, {"name": 3}, r"as id, and a name.*Received: id 90$"),
            ("annotations", 1, {"image_id": 77}, r"no image or category .*Received: id 2$"),
            ("annotations", 1, {"category_id": 4}, r"no image or category .*Received: id 2$"),
            ("annotations", 1, {"image_id": [5]}, r"needs image_id.*Received: id 2$"),
            ("annotations", 1, {"segmentation": None}, r"must be polygons .*Received: id 2$"),
            ("annotations", 1, {"segmentation": []}, r"must be polygons .*Received: id 2$"),
            ("annotations", 1, {"segmentation": [[1, 2, 3, 4]]}, r"three or more .*: id 2$"),
            ("annotations", 1, {"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, r"polygons .*: id 2$"),
            ("annotations", 1, {"segmentation": [[1, 2, 3, 4, 5, "6"]]}, r"polygons .*: id 2$"),
            ("annotations", 1, {"segmentation": [[1, 2, 3, 4, 5, float("nan")]]}, r".*: id 2$"),
            ("annotations", 4, {"segmentation": {}}, r"image's size \[40, 50\].*: id 5$"),
            ("annotations", 4, {"segmentation": {"size": [50, 40], "counts": [2000]}}, r".*id 5$"),
            ("annotations", 4, {"segmentation": {"size": [40, 50]}}, r"need counts.*: id 5$"),
            (
                "annotations", 4, {"segmentation": {"size": [40, 50], "counts": [1999]}},
                r"Runs must be 0 or longer and 2000 together.*Received: id 5$",
            ),
            (
                "annotations", 4, {"segmentation": {"size": [40, 50], "counts": [10**30]}},
                r".*Received: id 5$",
            ),
            (
                "annotations", 4, {"segmentation": {"size": [40, 50], "counts": "i"}},
                r"Compressed runs are cut off.*Received: id 5$",
            ),
        ],
    )  # fmt: skip
    def test_an_entry_is_named(self, tmp_path, part, index, fields, message):
        coco = content()
        coco[part][index].update(fields)
        self.fails(tmp_path, coco, message)

    def test_entries_that_are_none(self, tmp_path):
        for part in ("images", "categories", "annotations"):
            coco = content()
            coco[part].append(1)
            self.fails(tmp_path, coco, r"Received: id 1$")

    def test_too_many_categories(self, tmp_path):
        coco = content()
        coco["categories"] = [{"id": n, "name": str(n)} for n in range(255)]
        self.fails(tmp_path, coco, r"end at 254.*Received: 255$")

    def test_files(self, folder):
        path = folder / "annotations.json"
        sample = coco_images(path)[1]
        PIL.Image.new("RGB", (31, 24)).save(sample.image)
        for read in (sample.read, sample.read_instances):
            with pytest.raises(DataError, match=r"\(24, 31\) and not \(24, 30\).*images/b\.png'$"):
                read()
        sample.image.write_bytes(b"nonsense")
        with pytest.raises(DataError, match=r"Not a readable image.*images/b\.png'$"):
            sample.read()
        sample.image.unlink()
        with pytest.raises(DataError, match=r"names an image that is missing.*images/b\.png'$"):
            coco_images(path)
        missing = re.escape(str(folder / "none.json"))
        with pytest.raises(DataError, match=rf"No such annotation file\. Received: '{missing}'$"):
            coco_images(folder / "none.json")
