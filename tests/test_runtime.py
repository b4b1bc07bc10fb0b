import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import skimage.data
import small_models
from onnx import TensorProto
from small_models import SEGMENTATION, SUPER_RESOLUTION

from kerasdeconv import imaging, runtime
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError, DataError
from kerasdeconv.export.metadata import write_metadata

UINT8 = {"scale": 1.0, "zero_point": 0}
PROBABILITY = {"scale": 1 / 256, "zero_point": 0}
INT8 = {"scale": 1.0, "zero_point": -128}
INT8_PROBABILITY = {"scale": 1 / 256, "zero_point": -128}


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    segmentation = small_models.segmentation_model()
    luma = small_models.super_resolution_model()
    three = small_models.three_output_model()
    tflite, onnx = small_models.write_tflite, small_models.write_onnx
    return {
        "float.tflite": tflite(folder / "float.tflite", segmentation, SEGMENTATION),
        "uint8.tflite": tflite(folder / "uint8.tflite", segmentation, SEGMENTATION, door=np.uint8),
        "int8.tflite": tflite(folder / "int8.tflite", segmentation, SEGMENTATION, door=np.int8),
        "free.tflite": tflite(folder / "free.tflite", luma, SUPER_RESOLUTION, free=True),
        "luma.tflite": tflite(folder / "luma.tflite", luma, SUPER_RESOLUTION),
        "bare.tflite": tflite(folder / "bare.tflite", segmentation, None),
        "three.tflite": tflite(
            folder / "three.tflite",
            three,
            Convention(color="rgb"),
            outputs=[(1, 16, 16, 3), (1, 32, 32, 3), (1, 8, 8, 3)],
        ),
        "float.onnx": onnx(folder / "float.onnx", SEGMENTATION),
        "uint8.onnx": onnx(
            folder / "uint8.onnx",
            SEGMENTATION,
            door=TensorProto.UINT8,
            input_quantization=UINT8,
            output_quantization=PROBABILITY,
        ),
        "int8.onnx": onnx(
            folder / "int8.onnx",
            SEGMENTATION,
            door=TensorProto.INT8,
            input_quantization=INT8,
            output_quantization=INT8_PROBABILITY,
        ),
        "batch4.onnx": onnx(folder / "batch4.onnx", SEGMENTATION, batch=4),
        "free.onnx": onnx(folder / "free.onnx", SEGMENTATION, batch="batch", side="side"),
        "bare.onnx": onnx(folder / "bare.onnx", None),
    }


@pytest.fixture(scope="session")
def photograph():
    return skimage.data.astronaut()[:128, 128:256]


def keras_answer(batch):
    model = small_models.segmentation_model()
    return np.concatenate([model(x[None].astype(np.float32)).numpy() for x in batch])


# What an 8-bit answer in steps of 1/256 can differ by, and int8 weights add.
TOLERANCE = {"float": 1e-5, "free": 1e-5, "batch4": 1e-5, "uint8": 0.02, "int8": 0.02}


@pytest.mark.parametrize(
    "name",
    ["float.tflite", "uint8.tflite", "int8.tflite", "float.onnx", "uint8.onnx", "int8.onnx"],
)
def test_predict_gives_what_keras_gives(files, photograph, name):
    image = photograph[:32, 32:64]
    predictor = runtime.open(files[name])
    assert predictor.input_shape == (1, 32, 32, 3)
    assert predictor.convention == SEGMENTATION
    answer = predictor.predict(image)
    assert answer.dtype == np.float32
    assert answer.shape == (32, 32, 1)
    expected = keras_answer(image[None])[0]
    assert np.ptp(expected) > 0.1  # not a constant that anything would meet
    tolerance = TOLERANCE[name.split(".")[0]]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["float.tflite", "float.onnx"])
def test_a_picture_comes_as_file_image_or_array(files, photograph, tmp_path, name):
    image = photograph[:32, :32]
    imaging.write_image(tmp_path / "image.png", image)
    predictor = runtime.open(files[name])
    expected = predictor.predict(image)
    for same in (
        tmp_path / "image.png",
        str(tmp_path / "image.png"),
        PIL.Image.fromarray(image),
        PIL.Image.fromarray(image).convert("RGBA"),
        image.astype(np.float64),
    ):
        np.testing.assert_array_equal(predictor.predict(same), expected)
    gray = image[..., 0]
    repeated = predictor.predict(np.stack([gray] * 3, axis=-1))
    np.testing.assert_array_equal(predictor.predict(gray), repeated)


@pytest.mark.parametrize("name", ["float.tflite", "batch4.onnx", "free.onnx", "uint8.onnx"])
@pytest.mark.parametrize("count", [1, 5])
def test_any_batch_through_any_network(files, photograph, name, count):
    batch = np.stack([photograph[16 * i : 16 * i + 32, :32] for i in range(count)])
    answer = runtime.open(files[name]).predict(batch)
    assert answer.shape == (count, 32, 32, 1)
    tolerance = TOLERANCE[name.split(".")[0]]
    np.testing.assert_allclose(answer, keras_answer(batch), rtol=0, atol=tolerance)


def test_outputs_come_in_the_order_of_the_metadata(files, photograph):
    image = photograph[:32, :32].astype(np.float32)
    predictor = runtime.open(files["three.tflite"])
    maximum, doubled, mean = predictor.run(image[None])
    np.testing.assert_allclose(doubled, 2 * image[None], rtol=1e-6)
    blocks = image.reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(mean[0], blocks, rtol=1e-5)
    blocks = image.reshape(16, 2, 16, 2, 3).max(axis=(1, 3))
    np.testing.assert_allclose(maximum[0], blocks, rtol=1e-6)


@pytest.mark.parametrize("name", ["int8.onnx", "uint8.onnx"])
def test_an_integer_door_rounds_halves_to_even_and_clips(files, name):
    door = runtime.open(files[name]).inputs[0]
    values = np.array([0.5, 1.5, 2.5, 254.5, 255.4, 300.0, -7.0])
    stored = np.array([0, 2, 2, 254, 255, 255, 0])
    offset = -128 if name == "int8.onnx" else 0
    np.testing.assert_array_equal(door.encode(values), stored + offset)
    np.testing.assert_array_equal(door.decode(door.encode(values)), stored)


@pytest.mark.parametrize("name", ["float.tflite", "float.onnx", "free.onnx"])
def test_predict_tiled_has_no_seam(files, photograph, name):
    image = photograph[:80, :101]
    # The reference sees the whole picture at once, as a network of that size would.
    whole = runtime.open(files["free.onnx"]).run(image[None])[0][0] if "free" in name else None
    answer = runtime.open(files[name]).predict_tiled(image, tile=32)
    assert answer.shape == (80, 101, 1)
    if whole is None:
        layers = [small_models.segmentation_model().get_layer(n) for n in ("hidden", "head")]
        x = image[None] / np.float32(255)
        for layer in layers:
            x = layer(x)
        whole = x.numpy()[0]
    np.testing.assert_allclose(answer, whole, rtol=0, atol=1e-5)


def test_predict_tiled_without_halo_has_seams(files, photograph):
    predictor = runtime.open(files["free.onnx"])
    image = photograph[:64, :64]
    seamless = predictor.predict_tiled(image, tile=32)
    assert np.abs(predictor.predict_tiled(image, tile=32, halo=0) - seamless).max() > 1e-3


def test_a_picture_smaller_than_the_network(files, photograph):
    image = photograph[:20, :32]
    padded = np.pad(image, [(0, 12), (0, 0), (0, 0)], mode="edge")
    predictor = runtime.open(files["float.tflite"])
    np.testing.assert_array_equal(predictor.predict_tiled(image), predictor.predict(padded)[:20])


def test_super_resolution_of_colour(files, photograph):
    image = photograph[:16, 32:56]
    answer = runtime.open(files["luma.tflite"]).predict(image)
    assert answer.dtype == np.uint8
    assert answer.shape == (48, 72, 3)
    luma = imaging.luma(image)[None, ..., None].astype(np.float32)
    enlarged = small_models.super_resolution_model()(luma).numpy()[0, ..., 0]
    # Its luma is the network's, its chroma bicubic; clipping and 8 bits cost at most 2 levels.
    inside = ((answer > 0) & (answer < 255)).all(axis=-1)
    assert inside.mean() > 0.5
    assert np.abs(imaging.luma(answer) - enlarged)[inside].max() < 1
    chroma = imaging.resize_bicubic(imaging.rgb_to_ycbcr(image)[..., 1:], 3)
    assert np.abs(imaging.rgb_to_ycbcr(answer)[..., 1:] - chroma)[inside].max() < 1


def test_super_resolution_of_gray(files, photograph):
    gray = photograph[:16, 32:56, 1]
    predictor = runtime.open(files["luma.tflite"])
    answer = predictor.predict(gray)
    assert answer.shape == (48, 72)
    colour = predictor.predict(np.stack([gray] * 3, axis=-1))
    # Gray stays gray: the two ways may round differently by one level.
    assert np.abs(colour.astype(int) - answer[..., None]).max() <= 1
    assert (colour != answer[..., None]).mean() < 0.02


@pytest.mark.parametrize("shape", [(16, 24), (40, 60), (11, 90)])
def test_super_resolution_tiled_equals_whole(files, photograph, shape):
    image = photograph[: shape[0], : shape[1]]
    tiles = runtime.open(files["luma.tflite"]).predict_tiled(image)
    assert tiles.shape == (3 * shape[0], 3 * shape[1], 3)
    whole = runtime.open(files["free.tflite"]).predict(image)
    rows = 3 * shape[0] if shape[0] >= 16 else 3 * shape[0] - 6  # below lies repeated edge
    # float32 sums in another order may fall on the other side of a half.
    assert np.abs(tiles.astype(int) - whole)[:rows].max() <= 1


def test_tiles_leave_room_for_the_bicubic_chroma(files):
    predictor = runtime.open(files["free.tflite"])
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    assert predictor.convention.halo == 1  # of the luma; bicubic reaches 2
    tiles = predictor.predict_tiled(image, tile=10)
    assert np.abs(tiles.astype(int) - predictor.predict(image)).max() <= 1


def test_a_luma_network_has_its_range_in_pixels_not_in_luma(files):
    predictor = runtime.open(files["luma.tflite"])
    for value in (-5, 258):  # luma 11.7 and 237.6, which the network would take
        with pytest.raises(ValueError, match=r"in \[0, 255\]"):
            predictor.predict(np.full((16, 24, 3), value))


def test_a_free_size_is_tried_at_one_size_after_another(files, photograph):
    predictor = runtime.open(files["free.tflite"])
    assert predictor.input_shape == (1, None, None, 1)
    for side in (12, 30, 12):
        assert predictor.predict(photograph[:side, :20]).shape == (3 * side, 60, 3)


@pytest.mark.parametrize("name", ["float.tflite", "uint8.onnx"])
@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((33, 32, 3), np.uint8), "takes 32 x 32 pixels; predict_tiled takes any size"),
        (np.zeros((32, 32, 4), np.uint8), "Received: shape"),
        (np.zeros((32, 32, 1), np.uint8), "Received: shape"),
        (np.zeros((1, 1, 32, 32, 3)), "Received: shape"),
        (np.zeros((0, 32, 3)), "must have pixels"),
        (np.full((32, 32, 3), 256.0), r"in \[0, 255\]. Received: 256 to 256"),
        (np.full((32, 32, 3), -1), r"in \[0, 255\]"),
        (np.full((32, 32, 3), np.nan), "finite"),
        (np.full((32, 32, 3), np.inf), "finite"),
    ],
)
def test_wrong_pictures(files, image, message, name):
    predictor = runtime.open(files[name])
    with pytest.raises(ValueError, match=message):
        predictor.predict(image)
    if "predict_tiled" not in message:
        with pytest.raises(ValueError, match=message):
            predictor.predict_tiled(image)


def test_wrong_arguments(files, photograph):
    predictor = runtime.open(files["float.tflite"])
    with pytest.raises(ValueError, match="takes tiles of 32 x 32"):
        predictor.predict_tiled(photograph, tile=64)
    with pytest.raises(ValueError, match="takes one picture"):
        predictor.predict_tiled(photograph[None])
    with pytest.raises(ValueError, match="takes the inputs"):
        predictor.run()
    with pytest.raises(ValueError, match="Received: shape"):
        predictor.run(photograph[None])
    with pytest.raises(ValueError, match="finite"):
        predictor.run(np.full((1, 32, 32, 3), np.nan, np.float32))
    with pytest.raises(ValueError, match=r"in \[0, 255\]"):
        predictor.run(np.full((1, 32, 32, 3), 1000, np.float32))
    with pytest.raises(TypeError, match="real numbers"):
        predictor.predict(np.full((32, 32, 3), "x"))
    with pytest.raises(ValueError, match="threads"):
        runtime.open(files["float.tflite"], threads=0)


def test_transparency_and_16_bits_are_refused_in_images_as_in_files(files):
    predictor = runtime.open(files["float.tflite"])
    with pytest.raises(DataError, match="transparent"):
        predictor.predict(PIL.Image.new("RGBA", (32, 32), (10, 20, 30, 40)))
    with pytest.raises(DataError, match="8 bits"):
        predictor.predict(PIL.Image.fromarray(np.zeros((32, 32), np.uint16)))


@pytest.mark.parametrize("name", ["bare.tflite", "bare.onnx"])
def test_without_metadata(files, photograph, tmp_path, name):
    assert runtime.read_metadata(files[name]) is None
    image = photograph[:32, :32]
    plain = runtime.open(files[name])
    assert plain.convention == Convention()
    expected = keras_answer(image[None])
    np.testing.assert_allclose(plain.predict(image), expected[0], rtol=0, atol=1e-5)
    np.testing.assert_allclose(plain.predict(image[None]), expected, rtol=0, atol=1e-5)
    imaging.write_image(tmp_path / "image.png", image)
    with pytest.raises(ArtifactError, match="convention"):
        plain.predict(tmp_path / "image.png")
    with pytest.raises(ValueError, match="Received: shape"):
        plain.predict(image[..., :2])
    told = runtime.open(files[name], convention=SEGMENTATION)
    np.testing.assert_array_equal(told.predict(tmp_path / "image.png"), plain.predict(image))


@pytest.mark.parametrize("name", ["float.tflite", "float.onnx"])
def test_a_convention_that_does_not_fit(files, name):
    with pytest.raises(ArtifactError, match="'y' pictures takes"):
        runtime.open(files[name], convention=SUPER_RESOLUTION)


def damaged(content, kind):
    return {
        "empty": b"",
        "random": np.random.default_rng(0).bytes(5000),
        "short": content[:6],
        "half": content[: len(content) // 2],
        "end": content[:-20],
    }[kind]


@pytest.mark.parametrize("name", ["float.tflite", "float.onnx"])
@pytest.mark.parametrize("kind", ["empty", "random", "short", "half", "end"])
def test_damaged_files(files, tmp_path, capfd, name, kind):
    path = tmp_path / name
    path.write_bytes(damaged(files[name].read_bytes(), kind))
    with pytest.raises(ArtifactError, match="Received: ") as caught:
        runtime.open(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().out == ""


def test_an_onnx_file_with_a_garbled_name(files, tmp_path, capfd):
    path = tmp_path / "garbled.onnx"
    content = files["float.onnx"].read_bytes()
    where = content.index(b"sigmoid", content.index(b"sigmoid") + 1)  # the second node's input
    path.write_bytes(content[:where] + b"\xff" + content[where + 1 :])
    with pytest.raises(ArtifactError, match="ONNX Runtime cannot run the file"):
        runtime.open(path)
    assert capfd.readouterr() == ("", "")


def test_files_that_are_none(tmp_path):
    for path, message in (
        (tmp_path / "missing.tflite", "No such file"),
        (tmp_path / "model.keras", r"ends in .tflite or .onnx"),
        (tmp_path, "ends in"),
    ):
        with pytest.raises(ArtifactError, match=message):
            runtime.open(path)
        with pytest.raises(ArtifactError, match=message):
            runtime.read_metadata(path)


@pytest.mark.parametrize("name", ["three.tflite", "float.onnx"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "update kerasdeconv"),
        ({"schema": None}, "damaged"),
        ({"convention": {"color": "blue"}}, "pass `convention`"),
        ({"convention": None}, "pass `convention`"),
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, "changed after its export"),
    ],
)
def test_metadata_that_makes_no_sense(files, tmp_path, name, change, message):
    path = tmp_path / name
    path.write_bytes(files[name].read_bytes())
    write_metadata(path, {**runtime.read_metadata(path), **change})
    with pytest.raises(ArtifactError, match=message):
        runtime.open(path)


@pytest.mark.parametrize("name", ["float.tflite", "float.onnx"])
def test_a_fresh_process_loads_neither_keras_nor_tensorflow(files, name):
    heavy = {"keras", "tensorflow", "jax", "torch", "tf2onnx", "onnx"}
    program = f"""
import sys
import numpy as np
import kerasdeconv
predictor = kerasdeconv.runtime.open({str(files[name])!r})
answer = predictor.predict(np.zeros((32, 32, 3), np.uint8))
assert answer.shape == (32, 32, 1), answer.shape
predictor.predict_tiled(np.zeros((40, 40, 3), np.uint8))
kerasdeconv.runtime.read_metadata({str(files[name])!r})
print(sorted({heavy!r} & {{module.split(".")[0] for module in sys.modules}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
