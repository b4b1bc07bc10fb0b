"""Objects that are found: data, training, tiles, evaluation, verification, command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
from test_instances import cells

from kerasdeconv import runtime, train, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.centres import CentrePatches, centre_targets
from kerasdeconv.data.instances import instance_boxes
from kerasdeconv.data.segmentation import labelled_images
from kerasdeconv.errors import ExportError, VerificationError, WeightsError
from kerasdeconv.evaluation import KerasPredictor, evaluate
from kerasdeconv.evaluation.detection import mask_ious
from kerasdeconv.export import export, verify
from kerasdeconv.export.found_instances import in_order
from kerasdeconv.layers import ROIAlign, TopCentres
from kerasdeconv.metrics import found_average_precision, found_hits, mask_iou
from kerasdeconv.runtime.detection import box_ious, suppress
from kerasdeconv.zoo import cards

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NUCLEI = Convention(
    task="instance-detection",
    color="rgb",
    value_range=(0.0, 255.0),
    output="probabilities",
    labels=("background", "nucleus"),
)
SIDE, COUNT = 64, 24


def by_brightness(side: int | None = SIDE) -> keras.Model:
    """Finds what is bright and of the size of `cells`, in boxes of 16 pixels."""
    inputs = keras.Input((side, side, 3), name="input")
    bright = keras.layers.Conv2D(1, 1, name="brightness")(inputs)
    heat = keras.layers.Conv2D(1, 12, strides=4, padding="same", name="spots")(bright)
    heat = keras.layers.Activation("sigmoid", name="centres")(heat)
    distances = keras.layers.Conv2D(4, 1, name="distances")(heat)
    boxes, scores = TopCentres(COUNT, name="find")([heat, distances])
    masks = ROIAlign(14, stride=1, name="cut")([bright, boxes])
    masks = keras.layers.Activation("sigmoid", name="head")(masks)
    model = keras.Model(inputs, [masks, boxes, scores], name="by_brightness")
    slope = 6.5 - np.abs(np.arange(12) - 5.5)
    cone = np.outer(slope, slope)[..., None, None] / np.sum(slope) ** 2
    # 110 would be the middle between background and ellipses; so it finds a little less of them.
    model.get_layer("brightness").set_weights([np.full((1, 1, 3, 1), 1 / 6), np.float32([-70])])
    model.get_layer("spots").set_weights([cone / 4, np.float32([8.0])])
    model.get_layer("distances").set_weights([np.zeros((1, 1, 1, 4)), np.full(4, 2.0)])
    return model


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("files"), {}
    picture = np.float32(cells(SIDE, SIDE)[0][None])
    for target in ("android-cpu", "onnxruntime-cpu"):
        report = export(
            by_brightness(),
            folder,
            target=target,
            convention=NUCLEI,
            calibration=[picture],
            tune=False,
        )
        made[report.format] = Path(report.artifact)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of several sizes and two kinds, with 16-bit instance numbers."""
    folder, index = tmp_path_factory.mktemp("data") / "cells", []
    for part in ("images", "instances"):
        (folder / part).mkdir(parents=True)
    for i, (height, width) in enumerate([(64, 64), (80, 64), (70, 112), (64, 64)]):
        picture, numbers = cells(height, width, seed=i)
        PIL.Image.fromarray(picture).save(folder / f"images/{i}.png")
        PIL.Image.fromarray(numbers.astype(np.uint16)).save(folder / f"instances/{i}.png")
        index.append({"id": str(i), "group": "even" if i % 2 == 0 else "odd"})
    (folder / "index.json").write_text(json.dumps(index))
    return folder


class TestTargets:
    def test_by_definition(self):
        boxes = np.float32([[3, 5, 27, 45], [40, 8, 52, 20]])
        heat, distances, weights = centre_targets(boxes, (16, 20), 4)
        assert np.argwhere(heat[..., 0] == 1).tolist() == [[3, 6], [11, 3]]
        assert 0 < heat[3, 7, 0] < 1 and heat[3, 7, 0] > heat[4, 6, 0]  # as wide as the box
        for y, x, box in ((3, 6, boxes[0]), (3, 7, boxes[0]), (11, 3, boxes[1])):
            middle = np.array([y + 0.5, x + 0.5])
            wanted = [*(middle - box[:2] / 4), *(box[2:] / 4 - middle)]
            np.testing.assert_allclose(distances[y, x], wanted, rtol=1e-6)
        assert weights.mean() == pytest.approx(1)
        assert weights[:8].sum() == pytest.approx(weights[8:].sum())
        assert not weights[heat[..., 0] < 0.3].any()

    def test_no_box(self):
        heat, _, weights = centre_targets(np.zeros((0, 4)), (4, 4), 4)
        assert not heat.any() and not weights.any()

    def test_a_box_smaller_than_a_cell(self):
        heat, distances, weights = centre_targets(np.float32([[4, 4, 5, 5]]), (4, 4), 4)
        assert heat[1, 1] == 1 and (distances > 0).all() and weights[1, 1] == 16


class TestPatches:
    def test_batches(self, folder):
        patches = CentrePatches(
            labelled_images(folder), patch=64, batch_size=2, boxes=5, zoom=(1.0, 1.0), jitter=0.0
        )
        (images, boxes), (centres, distances, masks), weights = patches[0]
        assert images.shape == (2, 64, 64, 3) and boxes.shape == (2, 5, 4)
        assert centres.shape == (2, 16, 16, 1) and distances.shape == (2, 16, 16, 4)
        assert masks.shape == (2, 5, 28, 28, 1)
        assert [w.shape for w in weights] == [(2, 16, 16), (2, 16, 16), (2, 5, 28, 28)]
        # Every box whose mask is learned is one to be found.
        for n in range(2):
            cells_of = {tuple(cell) for cell in np.argwhere(centres[n, ..., 0] == 1)}
            middles = (boxes[n, :, :2] + boxes[n, :, 2:]) / 2
            assert {tuple(cell) for cell in (middles // 4).astype(int)} <= cells_of
            for y, x in cells_of:
                assert weights[0][n, y, x] == 1

    def test_slivers_do_not_count(self, tmp_path):
        numbers = np.zeros((64, 64), np.uint16)
        numbers[:3, 20:40], numbers[30:44, 30:44] = 1, 2
        for part, array in (("images", np.zeros((64, 64, 3), np.uint8)), ("instances", numbers)):
            (tmp_path / part).mkdir()
            PIL.Image.fromarray(array).save(tmp_path / part / "a.png")
        patches = CentrePatches(
            labelled_images(tmp_path), patch=64, batch_size=1, steps=1, augment=False
        )
        _, (centres, _, _), (counts, _, _) = patches[0]
        assert np.argwhere(centres[0, ..., 0] == 1).tolist() == [[9, 9]]
        assert not counts[0, 0, 5:10].any() and counts.sum() == 256 - 5

    def test_a_stride_that_does_not_fit(self, folder):
        with pytest.raises(ValueError, match=r"multiple of centre_stride\. Received: 62, 4$"):
            CentrePatches(labelled_images(folder), patch=62)


class TestFind:
    @pytest.mark.parametrize("sides", [(64, 64), (40, 52), (70, 64), (112, 150)])
    def test_any_size(self, sides):
        """Each object is found once, also where tiles meet."""
        picture, numbers = cells(*sides)
        found = KerasPredictor(by_brightness(), NUCLEI).find_instances(picture)
        ious = mask_ious(found.masks, numbers)
        assert ious.shape == (numbers.max(), numbers.max())
        # Boxes stand on a grid of 4 pixels, and cut off some of the largest objects.
        assert (ious.max(axis=0) > 0.5).all()
        assert (np.diff(found.scores) <= 0).all() and found.masks.dtype == bool
        middles = [
            (boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (found.boxes, instance_boxes(numbers)[1])
        ]
        away = np.abs(middles[0][:, None] - middles[1][None]).max(axis=-1)
        assert (away.min(axis=0) <= 4).all()

    @pytest.mark.parametrize("suffix", ["tflite", "onnx"])
    def test_a_file_answers_as_the_model(self, files, suffix):
        picture = cells(80, 100)[0]
        expected = KerasPredictor(by_brightness(), NUCLEI).find_instances(picture, threshold=None)
        found = runtime.open(files[suffix]).find_instances(picture, threshold=None)
        for got, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-4)

    def test_the_least_score(self):
        predictor = KerasPredictor(by_brightness(), NUCLEI)
        picture = cells(64, 64)[0]
        scores = predictor.find_instances(picture, score=0.0).scores
        middle = float(np.median(scores))
        found = predictor.find_instances(picture, score=middle)
        assert 0 < len(found.scores) < len(scores) and (found.scores >= middle).all()

    def test_nothing(self):
        found = KerasPredictor(by_brightness(), NUCLEI).find_instances(np.zeros((70, 90, 3)))
        assert [part.shape for part in found] == [(0, 70, 90), (0, 4), (0,)]

    def test_a_network_that_finds_nothing(self):
        x = keras.Input((SIDE, SIDE, 3))
        model = keras.Model(x, keras.layers.Conv2D(1, 1)(x))
        with pytest.raises(ValueError, match=r"does not find instances.*Received: outputs of"):
            KerasPredictor(model, NUCLEI).find_instances(cells(SIDE, SIDE)[0])


class TestBoxes:
    def test_ious(self):
        one = np.float32([[0, 0, 2, 2], [5, 5, 5, 9]])
        other = np.float32([[1, 1, 3, 3], [0, 0, 2, 2], [8, 8, 9, 9]])
        np.testing.assert_allclose(box_ious(one, other), [[1 / 7, 1, 0], [0, 0, 0]], rtol=1e-6)

    def test_suppression(self):
        boxes = np.float32([[0, 0, 10, 10], [0, 0, 10, 9], [0, 0, 10, 5], [20, 20, 30, 30]])
        scores = np.array([0.5, 0.9, 0.8, 0.1])
        assert suppress(boxes, scores, 0.5).tolist() == [1, 3]
        assert suppress(boxes, scores, 0.6).tolist() == [1, 2, 3]
        assert suppress(boxes[:0], scores[:0], 0.5).tolist() == []


class TestPrecision:
    def test_hits(self):
        ious = np.array([[0.9, 0.6], [0.8, 0.55], [0.7, 0.0]])
        scores = np.array([0.5, 0.9, 0.1])
        # The surest takes the first object, and the second has to do with the other.
        assert found_hits(ious, scores, 0.5).tolist() == [True, True, False]
        assert found_hits(ious, scores, 0.65).tolist() == [False, True, False]
        assert found_hits(np.zeros((2, 0)), np.ones(2), 0.5).tolist() == [False, False]

    def test_average_precision(self):
        right = (np.array([[0.9]]), np.array([0.3]))
        wrong = (np.array([[0.1]]), np.array([0.8]))
        nothing = (np.zeros((0, 1)), np.zeros(0))
        assert found_average_precision([right], [0.5]) == 1
        assert found_average_precision([right, nothing], [0.5]) == pytest.approx(51 / 101)
        # Half of what was found is right, and half of what is there was found.
        assert found_average_precision([right, wrong], [0.5]) == pytest.approx(51 / 2 / 101)
        assert found_average_precision([right], [0.5, 0.95]) == 0.5
        assert np.isnan(found_average_precision([(np.zeros((1, 0)), np.ones(1))], [0.5]))

    def test_mask_ious(self):
        numbers = np.array([[0, 1, 1], [3, 3, 1]])
        masks = np.array([[[0, 1, 1], [0, 0, 0]], [[1, 0, 0], [1, 1, 0]]], bool)
        wanted = [[mask_iou(numbers == n, mask) for n in (1, 3)] for mask in masks]
        np.testing.assert_allclose(mask_ious(masks, numbers), wanted)


class TestEvaluate:
    @pytest.mark.parametrize("suffix", ["keras", "tflite", "onnx"])
    def test_objects_that_are_easily_found(self, folder, files, suffix):
        model = by_brightness(None) if suffix == "keras" else files[suffix]
        convention = NUCLEI if suffix == "keras" else None
        result = evaluate(model, folder, convention=convention)
        figures = result["metrics"]
        assert result["task"] == "instance-detection" and result["images"] == 4
        counts = [len(instance_boxes(s.read_instances()[1])[0]) for s in labelled_images(folder)]
        assert figures["instances"] == sum(counts)
        assert figures["ap_50"] > 0.9 and 0.1 < figures["ap"] < figures["ap_50"]
        assert figures["groups"]["even"]["instances"] == counts[0] + counts[2]


class TestVerification:
    def answer(self, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng(seed)
        corners = 20.0 * np.arange(5)[:, None] + rng.uniform(0, 5, (5, 2))
        boxes = np.concatenate([corners, corners + 10], axis=1)
        scores = np.array([0.9, 0.8, 0.8, 0.3, 0.05001])
        parts = rng.uniform(0, 1, (5, 4, 4, 1)), boxes, scores
        rest = np.zeros((2, 4, 4, 1)), np.zeros((2, 4)), np.zeros(2)
        return [np.concatenate(part) for part in zip(parts, rest, strict=True)]

    def changed(self, order: list[int], noise: float = 1e-5) -> list[np.ndarray]:
        rng = np.random.default_rng(1)
        return [
            part[order] + noise * rng.normal(size=part.shape) * (part[order] > 0)
            for part in self.answer()
        ]

    def test_another_order(self):
        expected, got = self.answer(), self.changed([0, 2, 1, 3, 4, 5, 6])
        ordered, both, alone = in_order(expected, got, 0.05)
        assert (both, alone) == (pytest.approx(2.85001), 0)
        for have, wanted in zip(ordered, expected, strict=True):
            np.testing.assert_allclose(have, wanted, atol=1e-4)

    @pytest.mark.parametrize("swapped", [False, True])
    def test_an_object_at_the_threshold_may_be_missing(self, swapped):
        pair = [self.answer(), self.changed([0, 1, 2, 3, 5, 6, 6])]
        ordered, both, alone = in_order(*(pair[::-1] if swapped else pair), 0.05)
        assert (both, alone) == (pytest.approx(2.8, abs=1e-3), 0)
        np.testing.assert_allclose(ordered[1][:4], self.answer()[1][:4], atol=1e-4)

    @pytest.mark.parametrize("swapped", [False, True])
    def test_no_other_may(self, swapped):
        pair = [self.answer(), self.changed([0, 1, 3, 4, 5, 6, 6])]
        _, both, alone = in_order(*(pair[::-1] if swapped else pair), 0.05)
        assert (both, alone) == (pytest.approx(2.05, abs=1e-3), pytest.approx(0.8, abs=1e-3))

    def test_other_masks_are_seen(self):
        expected, got = self.answer(), self.changed([0, 2, 1, 3, 4, 5, 6])
        got[0][2] = 1 - got[0][2]
        ordered = in_order(expected, got, 0.05)[0]
        assert np.abs(ordered[0] - expected[0]).max() > 0.1

    def test_nothing_was_found(self):
        nothing = [np.zeros((2, 4, 4, 1)), np.zeros((2, 4)), np.zeros(2)]
        assert in_order(nothing, nothing, 0.05)[1:] == (0, 0)
        full = [part[:2] for part in self.answer()]
        assert in_order(full, nothing, 0.05)[1:] == (0, pytest.approx(1.7))

    def test_a_network_that_finds_less(self, files):
        other = by_brightness()
        kernel, bias = other.get_layer("spots").get_weights()
        other.get_layer("spots").set_weights([kernel, bias - 12])
        picture = np.float32(cells(SIDE, SIDE)[0][None])
        assert verify(by_brightness(), files["onnx"], [picture]).agreement > 0.999
        with pytest.raises(VerificationError):
            verify(other, files["onnx"], [picture])

    def test_coordinates_have_no_integers_of_8_bits(self, tmp_path):
        with pytest.raises(ExportError, match=r"allow_float=\['cut', 'find'\]\. Received: .*int8"):
            export(
                by_brightness(), tmp_path, target="android-cpu", precision="int8", convention=NUCLEI
            )


RECIPE = """
entry = "instance_segmenter"
arguments = { form = "training", boxes = 4 }
start = "mask_segmenter.tiny"
[data]
kind = "instance-detection"
folders = ["cells"]
patch = 64
batch = 2
steps = 6
boxes = 4
zoom = [0.9, 1.1]
[fit]
epochs = 5
learning_rate = 3e-3
[fit.losses]
centres = { centre_focal = 1.0 }
distances = { box_giou = 1.0 }
masks = { binary_crossentropy = 1.0 }
"""


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> zoo.Card:
    """The entry with a network of some thousand weights."""
    name = "instance_segmenter.nuclei.toml"
    text = (cards._FOLDER / name).read_text().partition(cards._MEASURED)[0]
    for wide in ("boxes = 128", "encoder_width = 16", "\nchannels = 64", "\nwidth = 64"):
        assert wide in text
        text = text.replace(wide, wide.split(" = ")[0] + " = 4")
    text = text.replace("strides = [2, 4, 8, 16]", "strides = [2, 4]\ndepth = 1")
    (tmp_path / "cards").mkdir()
    (tmp_path / "cards" / name).write_text(text)
    monkeypatch.setattr(cards, "_FOLDER", tmp_path / "cards")
    return zoo.card("instance_segmenter")


class TestTraining:
    def test_by_a_recipe(self, tiny, folder, tmp_path):
        (tmp_path / "recipe.toml").write_text(RECIPE.replace('start = "mask_segmenter.tiny"', ""))
        recipe = train.read_recipe(tmp_path / "recipe.toml")
        model = train.run(recipe, data=folder.parent, out=tmp_path / "out")
        with (tmp_path / "out/log.csv").open() as file:
            rows = list(csv.DictReader(file))
        for name in ("loss", "centres_loss", "distances_loss"):
            assert float(rows[-1][name]) < float(rows[0][name])
        again = zoo.load(recipe.entry, weights=tmp_path / "out/weights.npz")
        picture = np.float32(cells(64, 64)[0][None])
        masks, boxes, _ = again(picture)
        # Weights are stored in float16.
        wanted = model([picture, np.asarray(boxes)])[2]
        np.testing.assert_allclose(wanted, masks, atol=0.01)

    def test_an_entry_without_weights_to_start_from(self, tiny, folder, tmp_path):
        text = RECIPE.replace("mask_segmenter.tiny", "instance_segmenter")
        (tmp_path / "recipe.toml").write_text(text)
        recipe = train.read_recipe(tmp_path / "recipe.toml")
        with pytest.raises(WeightsError, match="no trained"):
            train.run(recipe, data=folder.parent, out=tmp_path / "out")


class TestCommandLine:
    def test_predict(self, run, files, tmp_path):
        picture, numbers = cells(80, 100)
        PIL.Image.fromarray(picture).save(tmp_path / "scene.png")
        arguments = [tmp_path / "scene.png", "--out", tmp_path / "out.png", "--json"]
        done = run("predict", files["tflite"], *arguments)
        assert done.code == 0, done.err
        (result,) = done.json
        assert len(result["boxes"]) == len(result["scores"]) == numbers.max()
        after = np.asarray(PIL.Image.open(tmp_path / "out.png"))
        assert (after != picture).any(axis=-1)[numbers > 0].mean() > 0.8
        done = run("predict", files["tflite"], *arguments, "--score", "0.999")
        assert len(done.json[0]["scores"]) < numbers.max()

    def test_boxes_are_for_others(self, run, files, tmp_path):
        PIL.Image.fromarray(cells(64, 64)[0]).save(tmp_path / "scene.png")
        (tmp_path / "boxes.json").write_text("[]")
        arguments = [tmp_path / "scene.png", "--boxes", tmp_path / "boxes.json"]
        done = run("predict", files["onnx"], *arguments, "--out", tmp_path / "out.png")
        done.refused("no others take it")
