"""Instances: their patches, masks pasted back into pictures, evaluation, training, command line."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest

from kerasdeconv import data, models, runtime, train, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.instances import InstancePatches, box_target, instance_boxes
from kerasdeconv.data.segmentation import labelled_images
from kerasdeconv.errors import DataError, ExportError
from kerasdeconv.evaluation import KerasPredictor, evaluate
from kerasdeconv.export import export
from kerasdeconv.layers import ROIAlign
from kerasdeconv.metrics import mask_iou
from kerasdeconv.runtime.instances import check_boxes, paste_mask
from kerasdeconv.zoo import cards

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NUCLEI = Convention(
    task="instance-segmentation",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "nucleus"),
)
SIDE, BOXES = 64, 3


def cells(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bright ellipses, one in each field of a grid: a picture and the number at each pixel."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width] + 0.5
    numbers = np.zeros((height, width), np.int32)
    fields = [(y, x) for y in range(0, height - 15, 16) for x in range(0, width - 15, 16)]
    for number, (y, x) in enumerate(fields, start=1):
        centre, radius = np.array([y, x]) + rng.uniform(6, 10, 2), rng.uniform(3, 6, 2)
        away = ((rows - centre[0]) / radius[0]) ** 2 + ((columns - centre[1]) / radius[1]) ** 2
        numbers[away <= 1] = number
    picture = np.where(numbers[..., None] > 0, 200, 20) + rng.integers(-9, 10, (height, width, 3))
    return picture.astype(np.uint8), numbers


def by_brightness(
    side: int | None = SIDE, boxes: int | None = BOXES, classes: int = 1
) -> keras.Model:
    """Calls bright points in a box its object; each further class is the opposite of the last."""
    inputs = keras.Input((side, side, 3), name="input")
    corners = keras.Input((boxes, 4), name="boxes")
    x = keras.layers.Conv2D(classes, 1, name="brightness")(inputs)
    x = ROIAlign(14, stride=1, name="cut")([x, corners])
    x = keras.layers.Activation("sigmoid", name="head")(x)
    model = keras.Model([inputs, corners], x, name="by_brightness")
    sign = np.float32([(-1) ** n for n in range(classes)])
    # 110 would be the middle between background and ellipses; so it finds a little less of them.
    model.get_layer("brightness").set_weights([np.ones((1, 1, 3, 1)) * sign / 6, -70 * sign])
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("files"), {}
    for target in ("android-cpu", "onnxruntime-cpu"):
        report = export(by_brightness(), folder, target=target, convention=NUCLEI, tune=False)
        made[report.format] = Path(report.artifact)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes and two kinds, with 16-bit instance numbers."""
    folder, index = tmp_path_factory.mktemp("data") / "cells", []
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    for i, (height, width) in enumerate([(64, 64), (80, 64), (70, 112), (48, 96), (64, 64)]):
        picture, numbers = cells(height, width, seed=i)
        PIL.Image.fromarray(picture).save(folder / f"images/{i}.png")
        PIL.Image.fromarray(numbers.astype(np.uint16)).save(folder / f"instances/{i}.png")
        index.append({"id": str(i), "group": "even" if i % 2 == 0 else "odd"})
    (folder / "index.json").write_text(json.dumps(index))
    return folder


class TestBoxes:
    def test_around_instances(self):
        numbers = np.zeros((9, 12), np.int32)
        numbers[2:5, 3:11] = 7
        numbers[0, 0] = 300
        numbers[8, 4] = numbers[6, 11] = 2  # in two parts
        present, boxes = instance_boxes(numbers)
        assert present.tolist() == [2, 7, 300]
        assert boxes.tolist() == [[6, 4, 9, 12], [2, 3, 5, 11], [0, 0, 1, 1]]
        assert instance_boxes(np.zeros((4, 4), int))[1].shape == (0, 4)

    def test_checked(self):
        got = check_boxes([[0, 0, 5, 9], [1.5, 2, 3, 4]], (5, 9))
        assert got.dtype == np.float32 and got.tolist() == [[0, 0, 5, 9], [1.5, 2, 3, 4]]
        assert check_boxes([], (5, 9)).shape == (0, 4)

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [
            ([1, 2, 3, 4], r"K x 4 numbers: y0, x0, y1, x1 each\. Received: shape \(4,\)"),
            ([[1, 2, 3]], r"Received: shape \(1, 3\)"),
            ([[1, 2, 3, 4], [1, 2]], r"K x 4 numbers\. Received: \[\[1, 2, 3, 4\], \[1, 2\]\]"),
            ({"a": 1}, r"K x 4 numbers\. Received: \{'a': 1\}"),
            ([["a", 0, 1, 1]], r"K x 4 numbers\. Received: .*"),
            ([[2, 0, 2, 5]], r"y0 < y1 and x0 < x1.*Received: \[2\.0, 0\.0, 2\.0, 5\.0\]"),
            ([[0, 0, 4, 4], [3, 5, 4, 1]], r"x0 < x1.*Received: \[3\.0, 5\.0, 4\.0, 1\.0\]"),
            ([[0, 0, float("nan"), 4]], r"y0 < y1.*Received: \[0\.0, 0\.0, nan, 4\.0\]"),
            ([[-1, 0, 4, 4]], r"picture of 5 x 9 pixels\. Received: \[-1\.0, .*"),
            ([[0, 0, 9, 5]], r"picture of 5 x 9 pixels\. Received: .*"),  # x and y changed places
            ([[0, 0, 4, float("inf")]], r"picture of 5 x 9 pixels\. Received: .*"),
        ],
    )
    def test_wrong(self, boxes, message):
        with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
            check_boxes(boxes, (5, 9))


def pasted(mask: np.ndarray, box: list[float], sides: tuple[int, int]) -> np.ndarray:
    whole = np.zeros(sides, np.float32)
    span, part = paste_mask(mask, np.float32(box), sides)
    whole[span] = part
    return whole


class TestPaste:
    def test_a_box_of_the_masks_size(self):
        mask = np.random.default_rng(0).uniform(size=(28, 28)).astype(np.float32)
        got = pasted(mask, [3, 5, 31, 33], (40, 36))
        np.testing.assert_allclose(got[3:31, 5:33], mask, atol=1e-6)
        assert got.sum() == pytest.approx(mask.sum())  # and nothing outside

    def test_by_definition(self):
        mask = np.random.default_rng(1).uniform(size=(5, 5))
        box, sides = [2.3, 1.6, 13.8, 4.4], (16, 9)
        got = pasted(mask, box, sides)
        for y, x in np.ndindex(*sides):
            expected = 0.0
            if box[0] <= y + 0.5 < box[2] and box[1] <= x + 0.5 < box[3]:
                row = np.clip((y + 0.5 - box[0]) / (box[2] - box[0]) * 5 - 0.5, 0, 4)
                column = np.clip((x + 0.5 - box[1]) / (box[3] - box[1]) * 5 - 0.5, 0, 4)
                for i, j in np.ndindex(5, 5):
                    weight = max(1 - abs(row - i), 0) * max(1 - abs(column - j), 0)
                    expected += weight * mask[i, j]
            assert got[y, x] == pytest.approx(expected, abs=1e-5)

    @pytest.mark.parametrize("box", [[0, 0, 6, 8], [2, 3, 3, 4], [1.6, 2.2, 1.8, 2.3]])
    def test_a_full_mask_fills_the_pixels_of_the_box(self, box):
        got = pasted(np.ones((28, 28)), box, (6, 8))
        rows, columns = np.mgrid[:6, :8] + 0.5
        inside = (rows > box[0]) & (rows < box[2]) & (columns > box[1]) & (columns < box[3])
        np.testing.assert_allclose(got, inside, atol=1e-6)

    def test_undoes_the_target(self):
        """A mask of 28 x 28 cells loses next to nothing of an object of some pixels."""
        _, numbers = cells(64, 64)
        present, boxes = instance_boxes(numbers)
        for number, box in zip(present, boxes, strict=True):
            mask = box_target(numbers == number, box, 28)
            assert mask_iou(numbers == number, pasted(mask, box, (64, 64)) >= 0.5) > 0.97


def test_target_by_definition():
    inside = np.random.default_rng(0).uniform(size=(12, 15)) > 0.5
    box = np.float32([1.7, 2.2, 9.1, 14.6])
    got = box_target(inside, box, 9)
    for i, j in np.ndindex(9, 9):
        row = box[0] + (i + 0.5) / 9 * (box[2] - box[0]) - 0.5
        column = box[1] + (j + 0.5) / 9 * (box[3] - box[1]) - 0.5
        value = 0.0
        for y, x in np.ndindex(*inside.shape):
            value += max(1 - abs(row - y), 0) * max(1 - abs(column - x), 0) * inside[y, x]
        assert got[i, j] == (value >= 0.5), (i, j, value)


class TestPredict:
    def ask(self, predictor: runtime.Predictor, sides: tuple[int, int], **options) -> float:
        """The least intersection over union with the truth, over all ellipses of a picture."""
        picture, numbers = cells(*sides)
        present, boxes = instance_boxes(numbers)
        masks = predictor.predict_instances(picture, boxes, **options)
        assert masks.dtype == bool and masks.shape == (len(boxes), *sides)
        pairs = zip(present, masks, strict=True)
        return min(mask_iou(numbers == number, mask) for number, mask in pairs)

    def test_a_picture_of_the_networks_size(self):
        """16 boxes in groups of 3."""
        # A border of an ellipse of some 30 pixels may be off at single ones.
        assert self.ask(KerasPredictor(by_brightness(), NUCLEI), (SIDE, SIDE)) > 0.85

    @pytest.mark.parametrize("sides", [(150, 100), (40, 130), (40, 40)])
    def test_any_other_size(self, sides):
        assert self.ask(KerasPredictor(by_brightness(), NUCLEI), sides) > 0.85

    @pytest.mark.parametrize("boxes", [BOXES, None])
    def test_free_sizes(self, boxes):
        predictor = KerasPredictor(by_brightness(None, boxes), NUCLEI)
        assert self.ask(predictor, (300, 40)) > 0.85
        assert self.ask(predictor, (70, 90), tile=48) > 0.85

    @pytest.mark.parametrize("suffix", ["tflite", "onnx"])
    def test_a_file_answers_as_the_model(self, files, suffix):
        predictor = runtime.open(files[suffix])
        assert predictor.convention == NUCLEI
        assert predictor.input_shapes == [(1, SIDE, SIDE, 3), (1, BOXES, 4)]
        picture, numbers = cells(100, 90)
        boxes = instance_boxes(numbers)[1]
        got = predictor.predict_instances(picture, boxes, threshold=None)
        expected = KerasPredictor(by_brightness(), NUCLEI).predict_instances(
            picture, boxes, threshold=None
        )
        assert got.dtype == np.float32
        # Logits of some tens: float32 sums in another order shift them by some 1e-5.
        np.testing.assert_allclose(got, expected, atol=1e-4)
        assert np.ptp(got) > 0.9

    def test_a_batch(self, tmp_path):
        report = export(
            by_brightness(), tmp_path, target="android-cpu", batch=2, convention=NUCLEI, tune=False
        )
        assert self.ask(runtime.open(report.artifact), (SIDE, 90)) > 0.85

    def test_logits_and_labels(self, files, tmp_path):
        picture, numbers = cells(SIDE, SIDE)
        boxes = instance_boxes(numbers)[1]
        expected = runtime.open(files["onnx"]).predict_instances(picture, boxes)
        for head in ("logits", "labels"):
            report = export(
                by_brightness(),
                tmp_path,
                target="onnxruntime-cpu",
                convention=NUCLEI,
                head=head,
                tune=False,
            )
            got = runtime.open(report.artifact).predict_instances(picture, boxes)
            # Labels are rounded before they are interpolated, probabilities after.
            assert (got == expected).mean() > (0.999999 if head == "logits" else 0.99)

    def test_classes(self):
        predictor = KerasPredictor(by_brightness(classes=2), NUCLEI)
        picture, numbers = cells(SIDE, SIDE)
        boxes = instance_boxes(numbers)[1][:4]
        bright, dark = (predictor.predict_instances(picture, boxes, labels=[n] * 4) for n in (0, 1))
        mixed = predictor.predict_instances(picture, boxes, labels=[0, 1, 1, 0])
        np.testing.assert_array_equal(mixed[[0, 3]], bright[[0, 3]])
        np.testing.assert_array_equal(mixed[[1, 2]], dark[[1, 2]])
        assert not (bright & dark).any()
        for labels in (None, [0], [0, 1, 2, 0], [0.5] * 4):
            with pytest.raises(
                ValueError, match=r"class of each box|one label a box, 4, in 0\.\.1"
            ):
                predictor.predict_instances(picture, boxes, labels=labels)

    def test_no_boxes(self, files):
        masks = runtime.open(files["onnx"]).predict_instances(cells(50, 40)[0], [])
        assert masks.shape == (0, 50, 40)

    def test_mistakes(self, files):
        predictor = runtime.open(files["onnx"])
        picture = cells(100, 100)[0]
        with pytest.raises(ValueError, match=r"y0 < y1.*Received: \[5\.0, 5\.0, 5\.0, 9\.0\]$"):
            predictor.predict_instances(picture, [[5, 5, 5, 9]])
        with pytest.raises(ValueError, match=r"fit into the network's 64.*Received: a box of 65$"):
            predictor.predict_instances(picture, [[5, 5, 70, 9]])
        with pytest.raises(ValueError, match=r"takes one picture\. Received: shape"):
            predictor.predict_instances(np.stack([picture] * 2), [[5, 5, 9, 9]])
        unet = models.UNet((SIDE, SIDE, 3), 1, width=2, depth=2, padding="same")
        with pytest.raises(ValueError, match=r"takes no boxes\. Received: inputs of "):
            KerasPredictor(unet, NUCLEI).predict_instances(picture, [[5, 5, 9, 9]])
        for other in (predictor, KerasPredictor(by_brightness(), NUCLEI)):
            with pytest.raises(ValueError, match=r"takes the inputs \['input', 'boxes'\].*: 1$"):
                other.predict(picture[:SIDE, :SIDE])

    @pytest.mark.parametrize(
        "box", [[30, 71, 94, 135], [36, 86, 100, 150], [0.5, 0.5, 64.5, 64.5], [20, 41, 83, 104]]
    )
    def test_a_box_of_a_tile_s_size_anywhere(self, box):
        """Asked for in a tile of its own, it has the mask that it has in the whole picture."""
        picture = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
        (got,), (expected,) = (
            KerasPredictor(by_brightness(side), NUCLEI).predict_instances(
                picture, [box], threshold=None, tile=tile
            )
            for side, tile in ((SIDE, None), (None, 160))
        )
        # Coordinates differ by the tile's start: in float32 that shifts points by some 1e-6.
        np.testing.assert_allclose(got, expected, atol=1e-3)
        assert np.ptp(expected) > 0.9

    def test_a_number_of_boxes_for_an_export(self, tmp_path):
        with pytest.raises(ExportError, match=r"'boxes' leaves its size open: build .*\(None,\)$"):
            export(by_brightness(boxes=None), tmp_path, target="android-cpu")

    def test_a_size_for_an_export(self, tmp_path):
        report = export(
            by_brightness(None), tmp_path, target="onnxruntime-cpu", size=(32, 48), tune=False
        )
        assert runtime.open(report.artifact).input_shapes == [(1, 32, 48, 3), (1, BOXES, 4)]


class TestPatches:
    def patches(self, folder: Path, **options) -> InstancePatches:
        defaults = {"patch": 48, "boxes": 12, "batch_size": 4, "steps": 2, "zoom": (1.0, 1.0)}
        return InstancePatches(labelled_images(folder), **(defaults | options))

    def test_batches(self, folder):
        (images, boxes), masks, weights = self.patches(folder)[0]
        assert (images.shape, boxes.shape) == ((4, 48, 48, 3), (4, 12, 4))
        assert (masks.shape, weights.shape) == ((4, 12, 28, 28, 1), (4, 12, 28, 28))
        assert {part.dtype for part in (images, boxes, masks, weights)} == {np.dtype("float32")}
        assert set(np.unique(masks)) == {0, 1}
        assert (boxes[..., 2:] > boxes[..., :2]).all() and 0 <= boxes.min() <= boxes.max() <= 48

    @pytest.mark.parametrize("augment", [True, False])
    def test_picture_box_and_mask_belong_together(self, folder, augment):
        """Ellipses are bright in every picture: pasted back, a mask covers the bright pixels."""
        (images, boxes), masks, weights = self.patches(folder, augment=augment)[1]
        seen = 0
        for image, corners, targets, counted in zip(images, boxes, masks, weights, strict=True):
            for box, target, weight in zip(corners, targets, counted, strict=True):
                if not weight.all():
                    assert not weight.any() and not target.any()
                    assert box.tolist() == [0, 0, 48, 48]  # fills up, and is not counted
                    continue
                seen += 1
                mask = pasted(target[..., 0], box, (48, 48)) >= 0.5
                inside = pasted(np.ones((28, 28)), box, (48, 48)) >= 0.5
                middle = (image[inside].max() + image[inside].min()) / 2
                bright = inside & (image.mean(axis=-1) > middle)
                assert mask_iou(bright, mask) > 0.8
        assert seen > 10

    def test_boxes_are_moved_a_little(self, folder):
        options = {"jitter": 0.1, "boxes": 30}
        for seed in range(3):
            patches = self.patches(folder, seed=seed, **options)
            still = self.patches(folder, seed=seed, **(options | {"jitter": 0.0}))
            (_, moved), _, weights = patches[0]
            (_, tight), _, same = still[0]
            np.testing.assert_array_equal(weights, same)
            extents = np.concatenate([tight[..., 2:] - tight[..., :2]] * 2, axis=-1)
            shift = np.abs(moved - tight) / extents
            assert 0.05 < shift.max() <= 0.1 + 1e-5
            assert (tight == np.rint(tight)).all()  # around whole pixels

    def test_reproducible_and_new_in_each_epoch(self, folder):
        first, second = self.patches(folder, seed=3), self.patches(folder, seed=3)
        first[0]  # what was asked for before does not matter
        for a, b in zip(keras.tree.flatten(first[1]), keras.tree.flatten(second[1]), strict=True):
            np.testing.assert_array_equal(a, b)
        second.epoch = 1
        assert (first[1][0][1] != second[1][0][1]).any()

    def test_more_instances_than_boxes(self, folder):
        many = self.patches(folder, boxes=30, augment=False)[0][2][..., 0, 0].sum(axis=1)
        few = self.patches(folder, boxes=2, augment=False)[0][2][..., 0, 0].sum(axis=1)
        assert many.min() > 2
        assert few.tolist() == [2, 2, 2, 2]

    def test_slivers_are_left_out(self, tmp_path):
        for part in ("images", "instances"):
            (tmp_path / part).mkdir()
        numbers = np.zeros((40, 40), np.uint16)
        numbers[10:20, 0:3] = 1  # cut off by the border
        numbers[10:20, 30:40] = 2  # cut off, but much is left
        numbers[30:32, 20:23] = 3  # small, but whole
        PIL.Image.fromarray(numbers).save(tmp_path / "instances/a.png")
        PIL.Image.new("RGB", (40, 40)).save(tmp_path / "images/a.png")
        patches = InstancePatches(
            labelled_images(tmp_path), boxes=3, patch=40, batch_size=1, augment=False
        )
        (_, boxes), _, weights = patches[0]
        assert weights[0, :, 0, 0].tolist() == [1, 1, 0]
        assert boxes[0, :2].tolist() == [[10, 30, 20, 40], [30, 20, 32, 23]]

    def test_mistakes(self, folder, tmp_path):
        for options in ({"boxes": 0}, {"jitter": 0.5}, {"jitter": -0.1}):
            with pytest.raises(ValueError, match=r"boxes must be 1 or more, jitter"):
                self.patches(folder, **options)
        (tmp_path / "images").symlink_to(folder / "images")
        (tmp_path / "masks").symlink_to(folder / "instances")
        with pytest.raises(DataError, match=r"are in a folder instances\. Received: "):
            self.patches(tmp_path)

    def test_public(self):
        assert data.InstancePatches is InstancePatches
        assert data.instance_boxes is instance_boxes


class TestEvaluate:
    def test_figures_are_those_of_the_definition(self, folder):
        predictor = KerasPredictor(by_brightness(None), NUCLEI)
        ious = {"even": [], "odd": []}
        for sample in labelled_images(folder):
            picture, numbers = sample.read_instances()
            present, boxes = instance_boxes(numbers)
            for number, box in zip(present, boxes, strict=True):
                (mask,) = predictor.predict_instances(picture, box[None])
                truth = numbers == number
                ious[sample.group].append((truth & mask).sum() / (truth | mask).sum())
        result = evaluate(predictor, folder)
        assert (result["task"], result["images"]) == ("instance-segmentation", 5)
        figures, both = result["metrics"], ious["even"] + ious["odd"]
        assert figures["instances"] == len(both) > 80
        assert figures["mean_iou"] == pytest.approx(np.mean(both))
        assert 0.9 < figures["mean_iou"] < 1
        for name, group in figures["groups"].items():
            assert group["instances"] == len(ious[name])
            assert group["mean_iou"] == pytest.approx(np.mean(ious[name]))

    @pytest.mark.parametrize("suffix", ["tflite", "onnx"])
    def test_a_file_has_the_models_figures(self, folder, files, suffix):
        expected = evaluate(by_brightness(None), folder, convention=NUCLEI)["metrics"]
        got = evaluate(files[suffix], folder)["metrics"]
        # float32 sums in another order may flip a pixel.
        assert got["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-3)
        assert got["instances"] == expected["instances"]

    def test_in_an_export(self, folder, tmp_path):
        report = export(
            by_brightness(),
            tmp_path,
            target="onnxruntime-cpu",
            convention=NUCLEI,
            evaluate=folder,
            tune=False,
        )
        assert report.metrics["file"]["mean_iou"] == pytest.approx(
            report.metrics["keras"]["mean_iou"], abs=1e-3
        )

    def test_iou(self):
        a, b = np.array([1, 1, 1, 0], bool), np.array([0, 1, 1, 1], bool)
        assert mask_iou(a, b) == 0.5
        assert mask_iou(a, ~a) == 0
        assert mask_iou(a & ~a, a & ~a) == 1


RECIPE = """
entry = "mask_segmenter.nuclei"
[data]
kind = "instance-segmentation"
folders = ["cells"]
validation = 0.4
patch = 32
batch = 2
steps = 8
[fit]
epochs = 3
loss = { binary_crossentropy = 1.0 }
learning_rate = 3e-3
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoo.Card:
    """The entry with a network of some thousand weights."""
    text = (cards._FOLDER / "mask_segmenter.nuclei.toml").read_text().partition(cards._MEASURED)[0]
    for wide in ("encoder_width = 16", "\nchannels = 64", "\nwidth = 64"):
        assert wide in text
        text = text.replace(wide, wide.split(" = ")[0] + " = 3")
    text = text.replace("strides = [2, 4, 8, 16]", "strides = [2, 4]")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards/mask_segmenter.nuclei.toml").write_text(text)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path / "cards")
    return zoo.card("mask_segmenter")


class TestTraining:
    def test_by_a_recipe(self, tiny, folder, tmp_path):
        (tmp_path / "recipe.toml").write_text(RECIPE)
        recipe = train.read_recipe(tmp_path / "recipe.toml")
        model = train.run(recipe, data=folder.parent, out=tmp_path / "out")
        with (tmp_path / "out/log.csv").open() as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        assert losses[-1] < losses[0]
        again = zoo.load(recipe.entry, weights=tmp_path / "out/weights.npz")
        inputs = [
            np.float32(cells(64, 64)[0][None]),
            np.tile(np.float32([8, 8, 24, 30]), (1, 16, 1)),
        ]
        # Weights are stored in float16.
        np.testing.assert_allclose(again(inputs), model(inputs), atol=0.01)

    def test_boxes_that_the_network_does_not_take(self, folder, tmp_path):
        path = tmp_path / "recipe.toml"
        path.write_text(RECIPE.replace("patch = 32", "patch = 32\nboxes = 5"))
        with pytest.raises(ValueError, match=r"takes 16 boxes\. Received: boxes=5$"):
            train.run(train.read_recipe(path), data=folder.parent, out=tmp_path)

    def test_the_entry(self):
        card = zoo.card("mask_segmenter")
        assert card.name == "mask_segmenter.nuclei"
        assert card.name in zoo.list_models(task="instance-segmentation")
        model = zoo.load("mask_segmenter", weights=None, boxes=None)
        predictor = KerasPredictor(model)
        masks = predictor.predict_instances(cells(70, 90)[0], [[3, 5, 40, 50]], threshold=None)
        assert masks.shape == (1, 70, 90) and 0 < masks.max() < 1


def test_samples_of_the_entry_are_pictures_and_boxes(tiny, tmp_path):
    """Verified on synthetic nuclei with the boxes around them."""
    model = zoo.load("mask_segmenter", weights=None, input_shape=(64, 64, 3))
    report = export(model, tmp_path / "out", target="onnxruntime-cpu", tune=False)
    assert report.verification["source"] == "synthetic nuclei"
    assert report.verification["max_abs_error"] < 1e-4


class TestCommandLine:
    @pytest.fixture
    def scene(self, tmp_path) -> Path:
        picture, numbers = cells(80, 100)
        PIL.Image.fromarray(picture).save(tmp_path / "scene.png")
        boxes = instance_boxes(numbers)[1][:5].tolist()
        (tmp_path / "boxes.json").write_text(json.dumps(boxes))
        return tmp_path

    def test_predict(self, run, files, scene):
        arguments = ["--boxes", scene / "boxes.json", "--out", scene / "out.png"]
        done = run("predict", files["tflite"], scene / "scene.png", *arguments, "--json")
        assert done.code == 0, done.err
        (result,) = done.json
        assert (result["height"], result["width"], len(result["pixels"])) == (80, 100, 5)
        assert all(20 < pixels < 120 for pixels in result["pixels"])
        before = np.asarray(PIL.Image.open(scene / "scene.png"))
        after = np.asarray(PIL.Image.open(scene / "out.png"))
        changed = (before != after).any(axis=-1)
        boxes = check_boxes(json.loads((scene / "boxes.json").read_text()), (80, 100))
        for y0, x0, y1, x1 in boxes.astype(int):
            assert changed[y0:y1, x0:x1].mean() > 0.5
        assert not changed[40:].any()  # no box is there
        assert run("predict", files["onnx"], scene / "scene.png", *arguments).code == 0

    def test_refused(self, run, files, scene):
        out = ["--out", scene / "out.png"]
        run("predict", files["onnx"], scene / "scene.png", *out).refused("need --boxes")
        twice = [scene / "scene.png", scene]
        PIL.Image.open(scene / "scene.png").save(scene / "other.png")
        run(
            "predict", files["onnx"], *twice, "--boxes", scene / "boxes.json", "--out", scene / "o"
        ).refused("of one picture", "Received: 3 pictures")
        for content, words in (
            ("nonsense", "Not a readable JSON file of boxes"),
            ("[[1, 2, 3]]", "shape (1, 3)"),
            ("[[1, 2, 3, 4, 5]]", "shape (1, 5)"),
            ("[[0, 0, 90, 20]]", "in the picture of 80 x 100"),
            ('{"boxes": []}', "K x 4 numbers"),
        ):
            (scene / "boxes.json").write_text(content)
            run(
                "predict", files["onnx"], scene / "scene.png", "--boxes", scene / "boxes.json", *out
            ).refused(words)
        missing = scene / "missing.json"
        run("predict", files["onnx"], scene / "scene.png", "--boxes", missing, *out).refused(
            "Not a readable JSON file", "missing.json"
        )
        assert not (scene / "out.png").exists()

    def test_other_networks_take_no_boxes(self, run, exports, picture, scene):
        done = run(
            "predict",
            exports / "cells.float32.tflite",
            picture,
            "--boxes",
            scene / "boxes.json",
            "--out",
            scene / "out.png",
        )
        done.refused("no others take it")

    def test_evaluate(self, run, files, folder):
        done = run("evaluate", files["onnx"], "--data", folder)
        assert done.code == 0, done.err
        lines = dict(line.rsplit(maxsplit=1) for line in done.out.splitlines())
        assert lines["instances"] == str(
            sum(len(instance_boxes(s.read_instances()[1])[0]) for s in labelled_images(folder))
        )
        assert 0.9 < float(lines["mean iou"]) < 1


def test_labels_of_several_classes_are_no_masks():
    convention = dataclasses.replace(NUCLEI, output="labels", labels=("a", "b", "c"))
    predictor = KerasPredictor(by_brightness(), convention)
    with pytest.raises(ValueError, match=r"head='probabilities'\. Received: output='labels'$"):
        predictor.predict_instances(cells(SIDE, SIDE)[0], [[0, 0, 9, 9]])
