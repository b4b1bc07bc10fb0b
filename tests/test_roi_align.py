"""ROIAlign against a slow oracle, ONNX Runtime's own operator, and values known by hand."""

from __future__ import annotations

import math

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from kerasdeconv.layers import BatchToInstances, InstancesToBatch, ROIAlign

# Some hundred products of numbers around 1 in float32.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def random_boxes(count: int, sides: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Boxes of all sizes, some of which reach far out of the picture: 2 x count x 4."""
    rng = np.random.default_rng(seed)
    starts = rng.uniform(-0.4, 0.9, (2, count, 2)) * sides
    extents = rng.uniform(0.02, 0.9, (2, count, 2)) * sides
    return np.concatenate([starts, starts + extents], axis=-1).astype(np.float32)


def interpolated(x: np.ndarray, row: float, column: float) -> np.ndarray:
    """A map, H x W x C, at a point between the centres of its pixels."""
    height, width, channels = x.shape
    if not (-1 <= row <= height and -1 <= column <= width):
        return np.zeros(channels)
    row, column = min(max(row, 0), height - 1), min(max(column, 0), width - 1)
    top, left = int(row), int(column)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    down, across = row - top, column - left
    upper = (1 - across) * x[top, left] + across * x[top, right]
    lower = (1 - across) * x[bottom, left] + across * x[bottom, right]
    return (1 - down) * upper + down * lower


def aligned(
    x: np.ndarray, box: np.ndarray, size: int, ratio: int, stride: int, half_pixel: bool = True
) -> np.ndarray:
    """ROIAlign of one box by its definition, point by point."""
    y0, x0, y1, x1 = (float(edge) / stride - (0.5 if half_pixel else 0.0) for edge in box)
    height, width = y1 - y0, x1 - x0
    if not half_pixel:
        height, width = max(height, 1.0), max(width, 1.0)
    answer = np.zeros((size, size, x.shape[-1]))
    for i, j in np.ndindex(size, size):
        for a, b in np.ndindex(ratio, ratio):
            row = y0 + height * (i + (a + 0.5) / ratio) / size
            column = x0 + width * (j + (b + 0.5) / ratio) / size
            answer[i, j] += interpolated(x, row, column) / ratio**2
    return answer


def of_onnx_runtime(
    x: np.ndarray, boxes: np.ndarray, size: int, ratio: int, stride: int, half_pixel: bool
) -> np.ndarray:
    """The operator RoiAlign, whose boxes are x0, y0, x1, y1 and whose maps are channels first."""
    node = onnx.helper.make_node(
        "RoiAlign",
        ["x", "rois", "batch"],
        ["y"],
        output_height=size,
        output_width=size,
        sampling_ratio=ratio,
        spatial_scale=1 / stride,
        coordinate_transformation_mode="half_pixel" if half_pixel else "output_half_pixel",
    )
    values = [
        onnx.helper.make_tensor_value_info(name, kind, None)
        for name, kind in (("x", 1), ("rois", 1), ("batch", 7), ("y", 1))
    ]
    graph = onnx.helper.make_graph([node], "roi", values[:3], values[3:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 16)])
    model.ir_version = 8
    session = onnxruntime.InferenceSession(model.SerializeToString())
    feed = {
        "x": x.transpose(0, 3, 1, 2),
        "rois": boxes.reshape(-1, 4)[:, [1, 0, 3, 2]],
        "batch": np.repeat(np.arange(len(boxes)), boxes.shape[1]),
    }
    (answer,) = session.run(None, feed)
    return answer.transpose(0, 2, 3, 1).reshape(*boxes.shape[:2], size, size, -1)


@pytest.mark.parametrize("half_pixel", [True, False])
@pytest.mark.parametrize(("size", "ratio", "stride"), [(3, 1, 1), (4, 2, 4), (2, 3, 8), (1, 2, 2)])
class TestOneMap:
    def test_by_definition(self, size, ratio, stride, half_pixel):
        x, boxes = normal(2, 9, 13, 3), random_boxes(6, (9 * stride, 13 * stride))
        layer = ROIAlign(size, sampling_ratio=ratio, stride=stride, aligned=half_pixel)
        got = layer([x, boxes]).numpy()
        assert got.shape == layer.compute_output_shape([x.shape, boxes.shape])
        for place in np.ndindex(2, 6):
            expected = aligned(x[place[0]], boxes[place], size, ratio, stride, half_pixel)
            np.testing.assert_allclose(got[place], expected, **CLOSE)

    def test_against_onnx_runtime(self, size, ratio, stride, half_pixel):
        x, boxes = normal(2, 9, 13, 3), random_boxes(40, (9 * stride, 13 * stride), seed=1)
        layer = ROIAlign(size, sampling_ratio=ratio, stride=stride, aligned=half_pixel)
        expected = of_onnx_runtime(x, boxes, size, ratio, stride, half_pixel)
        np.testing.assert_allclose(layer([x, boxes]), expected, **CLOSE)


def ramp(height: int, width: int) -> np.ndarray:
    """Its value at a pixel is 10 times the row and once the column of its centre."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return (10 * rows + columns)[None, ..., None].astype(np.float32)


class TestKnownValues:
    @pytest.mark.parametrize(
        ("half_pixel", "first"), [(True, [4.5, 5.0, 5.5, 6.0]), (False, [7.5, 8.0, 8.5, 9.0])]
    )
    def test_numbers_0_to_24(self, half_pixel, first):
        """By hand: a bin of half a pixel is worth 0.5 a column and 2.5 a row."""
        x = np.arange(25, dtype=np.float32).reshape(1, 5, 5, 1)
        layer = ROIAlign(4, sampling_ratio=1, stride=1, aligned=half_pixel)
        got = layer([x, np.float32([[[1, 1, 3, 3]]])]).numpy()[0, 0, ..., 0]
        expected = np.array(first) + 2.5 * np.arange(4)[:, None]
        np.testing.assert_allclose(got, expected, **CLOSE)

    def test_the_whole_map_is_itself(self):
        x = normal(1, 7, 7, 4)
        layer = ROIAlign(7, sampling_ratio=1, stride=4)
        np.testing.assert_allclose(layer([x, np.float32([[[0, 0, 28, 28]]])])[0], x, **CLOSE)

    def test_a_constant_stays(self):
        x = np.full((1, 8, 8, 2), 3.5, np.float32)
        boxes = np.float32([[[0, 0, 32, 32], [3.3, 9.1, 17.8, 31.9], [8, 8, 8.1, 8.1]]])
        np.testing.assert_allclose(ROIAlign(5, stride=4)([x, boxes]), 3.5, **CLOSE)

    @pytest.mark.parametrize("ratio", [1, 2, 5])
    def test_a_ramp_gives_the_centres_of_the_bins(self, ratio):
        stride, box = 2, np.float32([3.3, 4.1, 17.7, 24.5])
        layer = ROIAlign(6, sampling_ratio=ratio, stride=stride)
        got = layer([ramp(10, 14), box[None, None]]).numpy()[0, 0, ..., 0]
        centres = (np.arange(6) + 0.5) / 6
        rows = (box[0] + centres * (box[2] - box[0])) / stride
        columns = (box[1] + centres * (box[3] - box[1])) / stride
        np.testing.assert_allclose(got, 10 * rows[:, None] + columns, rtol=1e-5)

    def test_outside(self):
        """Up to one map pixel outside the border goes on, beyond there is nothing."""
        x = np.ones((1, 4, 4, 1), np.float32)
        layer = ROIAlign(1, sampling_ratio=1, stride=1)
        # Centres at -0.4 and -0.6 of the picture are at -0.9 and -1.1 of the map.
        boxes = np.float32(
            [[[-0.9, 1, 0.1, 2], [-1.1, 1, -0.1, 2], [1, 3.9, 2, 4.9], [1, 4.1, 2, 5.1]]]
        )
        np.testing.assert_allclose(layer([x, boxes])[0, :, 0, 0, 0], [1, 0, 1, 0], **CLOSE)


class TestLevels:
    STRIDES = (4, 8, 16, 32)

    def levels(self, sides: np.ndarray, **options) -> np.ndarray:
        """Which level each box, of these heights and widths, is sampled from."""
        maps = [np.full((1, 64 // s, 64 // s, 1), s, np.float32) for s in self.STRIDES]
        starts = np.full(sides.shape, 10.0)
        boxes = np.concatenate([starts, starts + sides], axis=-1).astype(np.float32)
        answer = ROIAlign(1, stride=self.STRIDES, **options)([*maps, boxes[None]]).numpy()
        return np.log2(answer.reshape(-1))

    def test_equation_1(self):
        """k = floor(4 + log2(sqrt(w h) / 224)), kept within 2 to 5."""
        rng = np.random.default_rng(0)
        sides = np.exp(rng.uniform(np.log(2), np.log(50), (300, 2)))
        expected = [
            min(max(math.floor(4 + math.log2(math.sqrt(h * w) / 16)), 2), 5) for h, w in sides
        ]
        assert set(expected) == {2, 3, 4, 5}
        np.testing.assert_allclose(self.levels(sides, canonical_size=16), expected, **CLOSE)

    def test_limits(self):
        sides = np.array([(111.9, 112), (112, 112), (223.9, 224), (224, 224), (448, 448), (1, 1)])
        maps = [np.full((1, 512 // s, 512 // s, 1), s, np.float32) for s in self.STRIDES]
        boxes = np.concatenate([np.zeros_like(sides), sides], axis=-1).astype(np.float32)
        answer = ROIAlign(1, stride=self.STRIDES)([*maps, boxes[None]]).numpy()
        assert answer.reshape(-1).tolist() == [4, 8, 8, 16, 32, 4]

    def test_each_box_as_from_its_map_alone(self):
        maps = [normal(2, 64 // s, 96 // s, 3, seed=s) for s in (4, 8)]
        boxes = random_boxes(8, (64, 96))
        got = ROIAlign(5, stride=(4, 8), canonical_size=70)([*maps, boxes]).numpy()
        alone = [
            ROIAlign(5, stride=s)([x, boxes]).numpy() for x, s in zip(maps, (4, 8), strict=True)
        ]
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        coarse = (np.sqrt(areas) >= 35)[..., None, None, None]
        assert 0 < coarse.sum() < coarse.size
        np.testing.assert_allclose(got, np.where(coarse, alone[1], alone[0]), **CLOSE)


def test_gradients():
    """To the map those of the weights that its pixels have; to the boxes none."""
    x, boxes, weight = (
        tf.Variable(normal(1, 4, 5, 1)),
        random_boxes(3, (16, 20))[:1],
        normal(3, 2, 2),
    )
    corners = tf.Variable(boxes)
    layer = ROIAlign(2, stride=4)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer([x, corners])[0, ..., 0] * weight)
    to_map, to_boxes = tape.gradient(value, [x, corners])
    assert to_boxes is None
    expected = np.zeros((4, 5))
    for place in np.ndindex(4, 5):
        unit = np.zeros((4, 5, 1))
        unit[place] = 1
        answers = np.stack([aligned(unit, box, 2, 2, 4) for box in boxes[0]])
        expected[place] = (answers[..., 0] * weight).sum()
    assert expected.any()
    np.testing.assert_allclose(to_map[0, ..., 0], expected, **CLOSE)


def test_free_sides_and_any_number_of_boxes():
    inputs = [keras.Input((None, None, 3)), keras.Input((None, 4))]
    layer = ROIAlign(4, stride=2)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, 4, 4, 3)
    for count, sides in ((1, (5, 7)), (3, (8, 4))):
        x, boxes = normal(2, *sides, 3), random_boxes(count, (2 * sides[0], 2 * sides[1]))
        np.testing.assert_allclose(model([x, boxes]), layer([x, boxes]), **CLOSE)
        np.testing.assert_allclose(model.predict_on_batch([x, boxes]), layer([x, boxes]), **CLOSE)


def test_boxes_stay_exact_under_mixed_precision():
    """In float16 the edges 3001 and 3004 would be 3000 and 3004: half a pixel off."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        inputs = [keras.Input((1, 512, 1)), keras.Input((1, 4), name="boxes")]
        model = keras.Model(inputs, ROIAlign(1, stride=8)(inputs))
    finally:
        keras.config.set_dtype_policy(before)
    x = np.arange(-375, 137, dtype=np.float32).reshape(1, 1, 512, 1)
    answer = model([x, np.float32([[[0, 3001, 8, 3004]]])])
    assert answer.dtype == "float16"
    # float16 has steps of 2^-12 here; half a pixel of the picture would be 1/16.
    np.testing.assert_allclose(np.ravel(answer), 3002.5 / 8 - 0.5 - 375, atol=2**-11)


@pytest.mark.parametrize("stride", [8, (2, 4)])
def test_config(stride):
    layer = ROIAlign(
        5, sampling_ratio=3, stride=stride, aligned=False, canonical_size=100.0, name="cut"
    )
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert copy.get_config() == layer.get_config()
    assert {"size": 5, "sampling_ratio": 3, "aligned": False}.items() <= copy.get_config().items()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, r"1 or more.*Received: 0, 2, 224"),
        ({"sampling_ratio": 0}, r"1 or more.*Received: 14, 0, 224"),
        ({"canonical_size": -1}, r"positive\. Received: 14, 2, -1"),
        ({"stride": 0}, r"stride must be 1 or more.*Received: 0"),
        ({"stride": (8, 4)}, r"several of them rise\. Received: \(8, 4\)"),
        ({"stride": ()}, r"Received: \(\)"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        ROIAlign(**arguments)


@pytest.mark.parametrize(
    "shapes",
    [
        [(2, 8, 8, 3), (2, 5, 4)],
        [(2, 8, 8, 3), (2, 4, 4, 5), (2, 5, 4)],
        [(2, 8, 8, 3), (2, 4, 4, 3), (2, 5, 5)],
        [(2, 8, 8, 3), (2, 4, 4, 3), (5, 4)],
        [(2, 8, 8), (2, 4, 4), (2, 5, 4)],
    ],
)
def test_wrong_inputs(shapes):
    with pytest.raises(ValueError, match=r"takes 2 maps \(N, H, W, C\) and boxes \(N, K, 4\)"):
        ROIAlign(stride=(4, 8))([keras.KerasTensor(shape) for shape in shapes])


def test_instances_to_a_batch_and_back():
    x = normal(2, 3, 4, 5, 6)
    batch = InstancesToBatch()(x)
    np.testing.assert_array_equal(batch, x.reshape(6, 4, 5, 6))
    np.testing.assert_array_equal(BatchToInstances()([batch, np.zeros((2, 3, 4))]), x)
    free = InstancesToBatch()(keras.KerasTensor((None, 3, 4, 5)))
    assert free.shape == (None, 4, 5)
    assert BatchToInstances()([free, keras.KerasTensor((None, 3, 4))]).shape == (None, 3, 4, 5)
    assert InstancesToBatch()(keras.KerasTensor((2, None, 4))).shape == (None, 4)
