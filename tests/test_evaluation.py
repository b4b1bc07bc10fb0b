"""Evaluation: one code, the same figures for a Keras model and for its files."""

from __future__ import annotations

import dataclasses
import json
import shutil
import zipfile
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
from export_models import CELLS, LUMA, random_weights

from kerasdeconv import models, runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.data.segmentation import labelled_images
from kerasdeconv.data.synthetic import synthetic_pairs, synthetic_samples
from kerasdeconv.errors import ArtifactError, DataError, UnknownModel, WeightsError
from kerasdeconv.evaluation import KerasPredictor, as_predictor, evaluate, read_model
from kerasdeconv.export import export
from kerasdeconv.export.lowering import with_head
from kerasdeconv.imaging import luma, resize_bicubic, to_uint8
from kerasdeconv.metrics import ConfusionMatrix, psnr, roc_auc, ssim
from kerasdeconv.train import read_recipe
from kerasdeconv.train.parts import labelled_parts

L = keras.layers
SIDE = 32
BINARY = dataclasses.replace(CELLS, halo=2)


def threshold() -> keras.Model:
    """Calls nucleus what is bright around a pixel: right more often than not."""
    image = keras.Input((None, None, 3), name="image")
    x = L.Conv2D(2, 3, padding="same", activation="relu", name="blur")(L.Rescaling(1 / 255)(image))
    x = L.Conv2D(1, 3, padding="same", activation="sigmoid", name="head")(x)
    model = keras.Model(image, x, name="threshold")
    kernel, bias = np.zeros((3, 3, 3, 2)), np.zeros(2)
    kernel[..., 0] = 1 / 27
    last = np.zeros((3, 3, 2, 1))
    last[1, 1, 0] = 40
    # A mean of 51.03 is no mean of 27 bytes, so that no pixel lies on the threshold.
    model.set_weights([kernel, bias, last, np.array([-8.005])])
    return model


def enlarger(sides: tuple[int | None, int | None] = (None, None)) -> keras.Model:
    """An untrained network that doubles luma, and blurs it."""
    model = models.ESPCN((*sides, 1), 2, activation="relu")
    random_weights(model)
    return model


@pytest.fixture(scope="module")
def cells(tmp_path_factory) -> Path:
    """Twelve labelled pictures of two kinds and several sizes, none a multiple of the tile."""
    folder = tmp_path_factory.mktemp("cells")
    (folder / "images").mkdir()
    (folder / "instances").mkdir()
    index = []
    for number in range(12):
        size = (40 + number, 50 - number)
        ((picture, labels),) = synthetic_pairs("nuclei", 1, size, seed=number)
        PIL.Image.fromarray(picture).save(folder / f"images/{number:02}.png")
        PIL.Image.fromarray(labels.astype(np.uint16)).save(folder / f"instances/{number:02}.png")
        index.append({"id": f"{number:02}", "group": "even" if number % 2 == 0 else "odd"})
    (folder / "index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    for number, picture in enumerate(synthetic_samples("textures", 2, (51, 62))):
        PIL.Image.fromarray(picture).save(folder / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    made = {}
    for model, convention, size in (
        (threshold(), BINARY, (SIDE, SIDE)),
        (enlarger(), LUMA, (16, 20)),
    ):
        for target in ("android-cpu", "onnxruntime-cpu"):
            report = export(
                model, folder, target=target, size=size, convention=convention, tune=False
            )
            made[f"{model.name}.{report.format}"] = Path(report.artifact)
    return made


class TestSegmentation:
    def test_figures_are_those_of_the_definition(self, cells):
        model = threshold()
        matrix, truth, answers = ConfusionMatrix(2), [], []
        for sample in labelled_images(cells):
            picture, expected = sample.read()
            scores = model(picture[None].astype(np.float32)).numpy()[0, ..., 0]
            matrix.update(expected, scores > 0.5)
            truth += expected.ravel().tolist()
            answers += scores.ravel().tolist()
        result = evaluate(model, cells, convention=BINARY)
        assert result["task"] == "segmentation"
        assert result["images"] == 12
        assert result["data"] == str(cells)
        figures = result["metrics"]
        assert 0.55 < matrix.mean_iou < 0.95  # neither chance nor a perfect answer
        assert figures["mean_iou"] == pytest.approx(matrix.mean_iou)
        assert figures["iou"] == pytest.approx(dict(zip(BINARY.labels, matrix.iou, strict=True)))
        assert figures["dice"]["nucleus"] == pytest.approx(matrix.dice[1])
        assert figures["pixel_accuracy"] == pytest.approx(matrix.pixel_accuracy)
        assert figures["auc"] == pytest.approx(roc_auc(np.array(truth), np.array(answers)))

    def test_pixels_of_no_class_do_not_count(self, cells, tmp_path):
        """Half of each picture has no labels: what is said of it makes no difference."""
        model, matrix = threshold(), ConfusionMatrix(2)
        shutil.copytree(cells / "images", tmp_path / "images")
        (tmp_path / "labels").mkdir()
        for sample in labelled_images(cells):
            picture, expected = sample.read()
            half = len(expected) // 2
            scores = model(picture[None].astype(np.float32)).numpy()[0, ..., 0]
            matrix.update(expected[half:], scores[half:] > 0.5)
            expected[:half] = 255
            PIL.Image.fromarray(expected).save(tmp_path / "labels" / f"{sample.image.stem}.png")
        figures = evaluate(model, tmp_path, convention=BINARY)["metrics"]
        assert figures["mean_iou"] == pytest.approx(matrix.mean_iou)
        assert figures["auc"] != evaluate(model, cells, convention=BINARY)["metrics"]["auc"]

    def test_a_network_that_puts_out_labels(self, cells):
        labels = dataclasses.replace(BINARY, output="labels")
        got = evaluate(with_head(threshold(), "labels"), cells, convention=labels)["metrics"]
        scored = evaluate(threshold(), cells, convention=BINARY)["metrics"]
        del scored["auc"]  # labels have none
        assert got == scored

    def test_groups_add_up(self, cells):
        figures = evaluate(threshold(), cells, convention=BINARY)["metrics"]
        assert set(figures["groups"]) == {"even", "odd"}
        values = [group["mean_iou"] for group in figures["groups"].values()]
        assert min(values) < figures["mean_iou"] < max(values)

    @pytest.mark.parametrize("suffix", ["tflite", "onnx"])
    def test_a_file_has_the_models_figures(self, cells, files, suffix):
        expected = evaluate(threshold(), cells, convention=BINARY)["metrics"]
        got = evaluate(files[f"threshold.{suffix}"], cells)["metrics"]
        # Tiles with a halo of the receptive radius are exact; float32 sums may flip a pixel.
        assert got["mean_iou"] == pytest.approx(expected["mean_iou"], abs=1e-3)
        assert got["groups"]["odd"]["iou"]["nucleus"] == pytest.approx(
            expected["groups"]["odd"]["iou"]["nucleus"], abs=1e-3
        )

    def test_a_model_of_fixed_size_sees_tiles(self, cells):
        free, fixed = threshold(), threshold()
        fixed = keras.models.clone_model(
            fixed, input_tensors=keras.Input((SIDE, SIDE, 3), name="image")
        )
        fixed.set_weights(free.get_weights())
        results = [evaluate(m, cells, convention=BINARY)["metrics"] for m in (free, fixed)]
        assert results[0]["mean_iou"] == pytest.approx(results[1]["mean_iou"], abs=1e-3)

    def test_sizes_that_the_network_cannot_take_are_padded(self, cells):
        model = models.UNet((None, None, 3), 1, width=2, depth=3, padding="same")
        result = evaluate(random_weights(model), cells, convention=CELLS)
        assert 0 <= result["metrics"]["pixel_accuracy"] <= 1

    def test_a_recipe_keeps_to_its_validation_part(self, cells, tmp_path):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(
            'entry = "unet.nuclei"\n[data]\nkind = "segmentation"\nfolders = ["cells"]\n'
            "validation = 0.34\nsplit_seed = 5\n[fit]\nepochs = 1\nloss = { dice = 1.0 }\n"
        )
        plan = dataclasses.replace(read_recipe(recipe).data, folders=(cells.name,))
        training, validation = labelled_parts(plan, cells.parent)
        assert (len(training), len(validation)) == (8, 4)
        chosen = tmp_path / "chosen"
        for part in ("images", "instances"):
            (chosen / part).mkdir(parents=True)
            for sample in validation:
                source = sample.image if part == "images" else sample.mask
                (chosen / part / source.name).write_bytes(source.read_bytes())
        (chosen / "index.json").write_bytes((cells / "index.json").read_bytes())
        result = evaluate(threshold(), cells, recipe=recipe, convention=BINARY)
        assert result["images"] == 4
        assert result["metrics"] == evaluate(threshold(), chosen, convention=BINARY)["metrics"]
        assert result["metrics"] != evaluate(threshold(), cells, convention=BINARY)["metrics"]

    def test_progress(self, cells):
        seen = []
        evaluate(threshold(), cells, convention=BINARY, progress=lambda *s: seen.append(s))
        assert seen == [(n, 12) for n in range(1, 13)]


class TestSuperResolution:
    def test_figures_are_those_of_the_definition(self, scenes):
        model = enlarger()
        pairs = []
        for path in sorted(scenes.iterdir()):
            high = to_uint8(luma(np.asarray(PIL.Image.open(path))))[:50, :62]
            low = to_uint8(resize_bicubic(high, 0.5))
            got = model(low[None, ..., None].astype(np.float32)).numpy()[0, ..., 0]
            inner = (slice(2, -2), slice(2, -2))
            pair = high[inner], to_uint8(got)[inner]
            pairs.append((psnr(*pair), ssim(*pair)))
        result = evaluate(model, scenes, convention=LUMA)
        assert result["images"] == 2
        figures = result["metrics"]
        got = [(p["psnr_y"], p["ssim_y"]) for p in figures["pictures"]]
        assert got == [pytest.approx(pair) for pair in pairs]
        assert figures["psnr_y"] == pytest.approx(np.mean(pairs, axis=0)[0])
        assert figures["ssim_y"] == pytest.approx(np.mean(pairs, axis=0)[1])

    @pytest.mark.parametrize("suffix", ["tflite", "onnx"])
    def test_a_file_has_the_models_figures(self, scenes, files, suffix):
        expected = evaluate(enlarger(), scenes, convention=LUMA)["metrics"]
        got = evaluate(files[f"espcn.{suffix}"], scenes)["metrics"]
        # float32 sums in another order round one pixel in thousands to the other level.
        assert got["psnr_y"] == pytest.approx(expected["psnr_y"], abs=1e-3)
        assert got["ssim_y"] == pytest.approx(expected["ssim_y"], abs=1e-5)

    def test_a_model_of_fixed_size_has_no_seams(self, scenes):
        results = [
            evaluate(enlarger(sides), scenes, convention=LUMA)["metrics"]["psnr_y"]
            for sides in ((None, None), (16, 20))
        ]
        assert results[0] == pytest.approx(results[1], abs=1e-3)

    def test_a_file_with_a_batch(self, scenes, files, tmp_path):
        report = export(
            enlarger(),
            tmp_path,
            target="android-cpu",
            size=(16, 20),
            batch=3,
            convention=LUMA,
            tune=False,
        )
        got = evaluate(report.artifact, scenes)["metrics"]["psnr_y"]
        assert got == pytest.approx(evaluate(files["espcn.tflite"], scenes)["metrics"]["psnr_y"])

    def test_the_subfolder_of_a_data_set(self, scenes, tmp_path):
        (tmp_path / "set").mkdir()
        (tmp_path / "set/HR").symlink_to(scenes)
        results = [
            evaluate(enlarger(), f, convention=LUMA)["metrics"] for f in (scenes, tmp_path / "set")
        ]
        assert results[0] == results[1]

    def test_a_network_on_colour_is_measured_on_its_luma(self, scenes):
        convention = dataclasses.replace(LUMA, color="rgb")
        model = random_weights(models.ESPCN((None, None, 3), 2, activation="relu"))
        figures = evaluate(model, scenes, convention=convention)["metrics"]
        for path, measured in zip(sorted(scenes.iterdir()), figures["pictures"], strict=True):
            high = np.asarray(PIL.Image.open(path))[:50, :62]
            low = to_uint8(resize_bicubic(high, 0.5))
            got = to_uint8(model(low[None].astype(np.float32)).numpy()[0])
            inner = (slice(2, -2), slice(2, -2))
            pair = [to_uint8(luma(x))[inner] for x in (high, got)]
            assert measured["psnr_y"] == pytest.approx(psnr(*pair))
            assert measured["ssim_y"] == pytest.approx(ssim(*pair))

    def test_nearest_neighbours(self, scenes):
        """An untrained MobileSR without residuals: a figure that NumPy gives."""
        model = zoo.load("mobile_sr_x2", weights=None)
        layer = model.get_layer("residual")
        layer.set_weights([0 * w for w in layer.get_weights()])
        figures = evaluate(model, scenes)["metrics"]
        expected = []
        for path in sorted(scenes.iterdir()):
            high = np.asarray(PIL.Image.open(path))[:50, :62]
            got = to_uint8(resize_bicubic(high, 0.5)).repeat(2, 0).repeat(2, 1)
            expected.append(psnr(*(to_uint8(luma(x))[2:-2, 2:-2] for x in (high, got))))
        assert figures["psnr_y"] == pytest.approx(np.mean(expected))

    def test_a_pyramid_is_measured_on_its_finest_picture(self, scenes):
        options = {"width": 4, "depth": 1}
        pyramid = random_weights(models.LapSRN(scale=4, **options))
        finest = models.LapSRN(scale=4, progressive=False, **options)
        finest.set_weights(pyramid.get_weights())
        convention = dataclasses.replace(LUMA, scale=4)
        results = [
            evaluate(model, scenes, convention=convention)["metrics"]["psnr_y"]
            for model in (pyramid, finest)
        ]
        assert results[0] == pytest.approx(results[1])

    def test_gray_is_not_measured(self, scenes):
        convention = dataclasses.replace(LUMA, color="gray")
        with pytest.raises(ValueError, match=r"measured on luma or RGB\. Received: color='gray'"):
            evaluate(enlarger(), scenes, convention=convention)


class TestSubjects:
    def test_an_entry_of_the_zoo(self, cells):
        model = zoo.load("unet", weights=None)
        assert as_predictor(model).convention == zoo.convention_of(model)
        with pytest.raises(UnknownModel, match="unet"):
            evaluate("unett", cells)
        with pytest.raises(WeightsError, match="no trained weights"):
            evaluate("unet.paper", cells)

    def test_a_predictor(self, cells, files):
        predictor = runtime.open(files["threshold.tflite"])
        assert as_predictor(predictor) is predictor

    def test_a_saved_model(self, cells, tmp_path):
        path = tmp_path / "threshold.keras"
        threshold().save(path)
        result = evaluate(path, cells, convention=BINARY)
        assert result["metrics"] == evaluate(threshold(), cells, convention=BINARY)["metrics"]

    @pytest.mark.parametrize(
        ("content", "message"),
        [(None, "No such model file"), (b"random", "Not a .keras file"), (b"", "Not a .keras")],
    )
    def test_no_saved_model(self, tmp_path, content, message):
        path = tmp_path / "model.keras"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_model(path)

    def test_half_a_saved_model(self, tmp_path):
        path = tmp_path / "model.keras"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", "{}")
        with pytest.raises(DataError, match="Not a readable Keras model") as caught:
            read_model(path)
        assert "\n" not in str(caught.value)

    def test_a_model_of_which_nothing_is_known(self, cells):
        with pytest.raises(ValueError, match=r"needs a convention\. Received: 'threshold'"):
            evaluate(threshold(), cells)
        with pytest.raises(ValueError, match=r"have measures.* Received: task='tensor'"):
            evaluate(threshold(), cells, convention=Convention(color="rgb"))

    def test_files_that_are_none(self, cells, tmp_path):
        with pytest.raises(ArtifactError, match="No such file"):
            evaluate(tmp_path / "missing.tflite", cells)

    @pytest.mark.parametrize("inner", ["", "images"])
    def test_data_that_is_none(self, tmp_path, inner):
        (tmp_path / "set" / inner).mkdir(parents=True)
        with pytest.raises(DataError, match="Received: "):
            evaluate(threshold(), tmp_path / "set", convention=BINARY)

    @pytest.mark.parametrize("height", [40, 41, 44, 47])
    def test_an_encoder_that_rounds_up_answers_the_whole_picture(self, height):
        """A U-Net without a skip of full size makes 48 rows of 47."""
        model = models.UNet(
            (None, None, 3), 2, encoder="mobilenet_v3_small", width=4, depth=3, padding="same"
        )
        predictor = KerasPredictor(model, dataclasses.replace(BINARY, output="tensor"))
        sides = height, 48
        answer = predictor.predict_tiled(np.zeros((*sides, 3), np.uint8), predictor.tile_for(sides))
        assert answer.shape[:2] == sides

    def test_keras_predictor_answers_like_a_file(self, files):
        model = enlarger()
        predictor = KerasPredictor(model, LUMA)
        picture = np.random.default_rng(0).integers(0, 256, (16, 20, 3), np.uint8)
        answer, other = (
            p.predict(picture) for p in (predictor, runtime.open(files["espcn.tflite"]))
        )
        assert np.abs(answer.astype(int) - other).max() <= 1  # rounding to 8 bits
