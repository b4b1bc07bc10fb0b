"""BinPooling and ResizeLike against their definitions, with fixed and free sizes."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdeconv.layers import BinPooling, ResizeLike


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


class TestBinPooling:
    @pytest.mark.parametrize(("bins", "sides"), [(1, (5, 7)), (2, (4, 10)), (3, (3, 12))])
    def test_averages_parts(self, bins, sides):
        x = normal(2, *sides, 3)
        expected = x.reshape(2, bins, sides[0] // bins, bins, sides[1] // bins, 3).mean(axis=(2, 4))
        np.testing.assert_allclose(BinPooling(bins)(x), expected, rtol=0, atol=1e-6)

    def test_free_sides(self):
        image = keras.Input((None, None, 2))
        model = keras.Model(image, BinPooling(2)(image))
        assert model.output_shape == (None, 2, 2, 2)
        run = tf.function(model, input_signature=[tf.TensorSpec((None, None, None, 2))])
        x = normal(1, 4, 6, 2)
        np.testing.assert_allclose(run(x), BinPooling(2)(x), rtol=0, atol=1e-6)
        with pytest.raises(tf.errors.InvalidArgumentError):
            run(normal(1, 4, 5, 2))

    def test_half_precision_does_not_overflow(self):
        x = np.full((1, 40, 40, 1), 60.0, np.float16)  # 96,000 in all; float16 ends at 65,504
        assert float(BinPooling(1, dtype="float16")(x)[0, 0, 0, 0]) == 60.0

    @pytest.mark.parametrize("sides", [(4, 5), (5, 4), (1, 2)])
    def test_refuses_unequal_parts(self, sides):
        message = rf"^Sides must be multiples of 2.*Received: \({sides[0]}, {sides[1]}\)$"
        with pytest.raises(ValueError, match=message):
            BinPooling(2).compute_output_shape((None, *sides, 1))

    def test_no_bins(self):
        with pytest.raises(ValueError, match=r"1 or more\. Received: 0$"):
            BinPooling(0)

    def test_serialization(self):
        assert BinPooling.from_config(BinPooling(3, name="bins").get_config()).bins == 3


class TestResizeLike:
    @pytest.mark.parametrize("factors", [(2, 2), (3, 4), (1, 5)])
    def test_is_bilinear_upsampling(self, factors):
        x = normal(2, 3, 4, 2)
        like = normal(2, 3 * factors[0], 4 * factors[1], 1)
        expected = keras.layers.UpSampling2D(factors, interpolation="bilinear")(x)
        np.testing.assert_allclose(ResizeLike()([x, like]), expected, rtol=0, atol=1e-6)

    def test_one_pixel_is_spread(self):
        x = normal(1, 1, 1, 3)
        got = ResizeLike()([x, normal(1, 4, 7, 2)])
        np.testing.assert_allclose(got, np.broadcast_to(x, (1, 4, 7, 3)), rtol=1e-6)

    def test_free_sides(self):
        x, like = keras.Input((None, None, 3)), keras.Input((None, None, 1))
        model = keras.Model([x, like], ResizeLike()([x, like]))
        assert model.output_shape == (None, None, None, 3)
        free = [tf.TensorSpec((None, None, None, channels)) for channels in (3, 1)]
        run = tf.function(model, input_signature=[free])
        for sides in ((4, 9), (3, 3), (7, 5)):
            arrays = [normal(2, 2, 3, 3), normal(2, *sides, 1)]
            np.testing.assert_allclose(run(arrays), model(arrays), rtol=0, atol=1e-6)
