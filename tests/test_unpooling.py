"""Max pooling with indices and max unpooling against NumPy, TensorFlow, and each other."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdeconv.layers import MaxPoolingWithIndices, MaxUnpooling

# Shape of a map and of its windows.
CASES = [
    ((2, 6, 8, 3), (2, 2)),
    ((2, 6, 9, 3), (3, 3)),
    ((1, 4, 9, 2), (2, 3)),
    ((2, 4, 8, 1), (1, 4)),
    ((1, 5, 5, 2), (1, 1)),
    ((2, 4, 6, 8, 3), (2, 2, 2)),
    ((1, 3, 4, 6, 2), (1, 2, 3)),
]
every_case = pytest.mark.parametrize(("shape", "window"), CASES)


def normal(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def tied(shape: tuple[int, ...]) -> np.ndarray:
    """What a ReLU puts out: most windows have several zeros, some two maxima."""
    return np.random.default_rng(0).integers(-3, 3, shape).clip(0).astype(np.float32)


def pooled_slowly(x: np.ndarray, window: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Window by window; NumPy's argmax takes the first."""
    small = [n // s for n, s in zip(x.shape[1:-1], window, strict=True)]
    shape = (len(x), *small, x.shape[-1])
    values, indices = np.zeros(shape, x.dtype), np.zeros(shape, np.int64)
    for place in np.ndindex(*shape):
        begin = [p * s for p, s in zip(place[1:-1], window, strict=True)]
        cut = tuple(slice(b, b + s) for b, s in zip(begin, window, strict=True))
        pixels = x[(place[0], *cut, place[-1])].ravel()
        indices[place] = pixels.argmax()
        values[place] = pixels.max()
    return values, indices


def unpooled_slowly(x: np.ndarray, indices: np.ndarray, window: tuple[int, ...]) -> np.ndarray:
    sides = [n * s for n, s in zip(x.shape[1:-1], window, strict=True)]
    result = np.zeros((len(x), *sides, x.shape[-1]), x.dtype)
    for place in np.ndindex(*x.shape):
        pixel = np.unravel_index(indices[place], window)
        target = [p * s + o for p, s, o in zip(place[1:-1], window, pixel, strict=True)]
        result[(place[0], *target, place[-1])] = x[place]
    return result


@every_case
@pytest.mark.parametrize("make", [normal, tied])
def test_pooling(make, shape, window):
    x = make(shape)
    pooled, indices = MaxPoolingWithIndices(window)(x)
    expected, places = pooled_slowly(x, window)
    np.testing.assert_array_equal(pooled, expected)
    np.testing.assert_array_equal(indices, places)
    assert keras.backend.standardize_dtype(indices.dtype) == "int32"


@pytest.mark.parametrize("make", [normal, tied])
def test_pooling_agrees_with_tensorflow(make):
    """Whose indices are flat addresses in a picture of a batch."""
    x = make((2, 6, 8, 3))
    pooled, indices = MaxPoolingWithIndices(2)(x)
    expected, flat = tf.nn.max_pool_with_argmax(x, 2, 2, "VALID")
    np.testing.assert_array_equal(pooled, expected)
    rows, columns, channels = np.meshgrid(*map(np.arange, (3, 4, 3)), indexing="ij")
    row, column = 2 * rows + indices // 2, 2 * columns + indices % 2
    np.testing.assert_array_equal((row * 8 + column) * 3 + channels, flat)


@every_case
def test_unpooling(shape, window):
    small = (shape[0], *(n // s for n, s in zip(shape[1:-1], window, strict=True)), shape[-1])
    x = normal(small)
    indices = np.random.default_rng(1).integers(0, np.prod(window), small).astype(np.int32)
    np.testing.assert_array_equal(
        MaxUnpooling(window)([x, indices]), unpooled_slowly(x, indices, window)
    )


@every_case
def test_they_are_inverse(shape, window):
    """Positive, so that the maximum stays one among the zeros."""
    x = np.abs(normal(shape)) + 1
    pooled, indices = MaxPoolingWithIndices(window)(x)
    there = MaxUnpooling(window)([pooled, indices])
    np.testing.assert_array_equal(there, np.where(there, x, 0))
    again, places = MaxPoolingWithIndices(window)(there)
    np.testing.assert_array_equal(again, pooled)
    np.testing.assert_array_equal(places, indices)


@pytest.mark.parametrize("make", [normal, tied])
@every_case
def test_gradients(shape, window, make):
    """The pooled map's goes to the first maximum alone; the unpooled map's comes from there."""
    x = tf.constant(make(shape))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        pooled, indices = MaxPoolingWithIndices(window)(x)
        tape.watch(pooled)
        unpooled = MaxUnpooling(window)([pooled, indices])
    upstream = normal(tuple(pooled.shape), seed=1)
    np.testing.assert_array_equal(
        tape.gradient(pooled, x, upstream), unpooled_slowly(upstream, indices.numpy(), window)
    )
    upstream = normal(shape, seed=2)
    chosen = unpooled_slowly(np.ones(pooled.shape), indices.numpy(), window)
    expected, _ = pooled_slowly(np.where(chosen, upstream, -np.inf), window)
    np.testing.assert_array_equal(tape.gradient(unpooled, pooled, upstream), expected)


@pytest.mark.parametrize("rank", [2, 3])
def test_free_sides(rank):
    inputs = keras.Input((*[None] * rank, 2))
    pooled, indices = MaxPoolingWithIndices(2)(inputs)
    assert pooled.shape == indices.shape == (None, *[None] * rank, 2)
    assert (pooled.dtype, indices.dtype) == ("float32", "int32")
    model = keras.Model(inputs, MaxUnpooling(2)([pooled, indices]))
    assert model.output_shape == (None, *[None] * rank, 2)
    for sides in ([4, 6, 8], [2, 8, 4]):  # the second time Keras runs one graph for all sizes
        x = normal((1, *sides[:rank], 2))
        expected = unpooled_slowly(*pooled_slowly(x, (2,) * rank), (2,) * rank)
        np.testing.assert_array_equal(model.predict(x, verbose=0), expected)
    for side in (1, 3, 5):
        with pytest.raises(Exception, match=r"(?i)divisible|reshape|multiple"):
            model.predict(normal((1, *[side] * rank, 2)), verbose=0)


class TestMistakes:
    def test_odd_sides(self):
        layer = MaxPoolingWithIndices(2)
        for x in (normal((1, 4, 5, 1)), keras.Input((4, 5, 1)), keras.Input((None, 5, 1))):
            with pytest.raises(ValueError, match=r"multiples of \(2, 2\).*Received: \(.*5\)"):
                layer(x)

    def test_another_shape(self):
        x = normal((1, 2, 2, 1))
        with pytest.raises(ValueError, match=r"one shape. Received: \(1, 2, 2, 1\) and \(1, 2, 4"):
            MaxUnpooling(2)([x, np.zeros((1, 2, 4, 1), np.int32)])

    def test_a_window_of_another_rank(self):
        with pytest.raises(ValueError, match=r"3, one for each axis. Received: \(2, 2\)"):
            MaxPoolingWithIndices((2, 2))(normal((1, 4, 4, 4, 1)))


@pytest.mark.parametrize("window", [2, (1, 2, 2)])
def test_round_trip(window):
    for layer in (MaxPoolingWithIndices(window, name="a"), MaxUnpooling(window, name="a")):
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
        assert type(copy) is type(layer)
        assert copy.get_config() == layer.get_config()
        assert copy.pool_size == window


@pytest.mark.parametrize("rank", [2, 3])
def test_mixed_precision(rank):
    inputs = keras.Input((*[4] * rank, 2))
    pooled, indices = MaxPoolingWithIndices(2, dtype="mixed_float16")(inputs)
    output = MaxUnpooling(2, dtype="mixed_float16")([pooled, indices])
    assert (pooled.dtype, indices.dtype, output.dtype) == ("float16", "int32", "float16")
    x = normal((1, *[4] * rank, 2)).astype(np.float16)
    answers = keras.Model(inputs, [pooled, indices, output])(x)
    expected, places = pooled_slowly(x, (2,) * rank)
    unpooled = unpooled_slowly(expected, places, (2,) * rank)
    for answer, wanted in zip(answers, (expected, places, unpooled), strict=True):
        np.testing.assert_array_equal(answer, wanted)
    assert [answer.dtype.name for answer in answers] == ["float16", "int32", "float16"]
