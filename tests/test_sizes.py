"""Input sizes: what models take, and the nearest that they would."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import autoencoder, unet

from kerasdeconv import models
from kerasdeconv.errors import ExportError, LoweringError
from kerasdeconv.sizes import accepts, input_shapes, nearest_sizes

L = keras.layers


def padded(depth: int = 2) -> keras.Model:
    return models.UNet((None, None, 3), width=2, depth=depth, padding="same")


def valid(depth: int = 2) -> keras.Model:
    return models.UNet((None, None, 1), width=2, depth=depth)


def really_takes(model: keras.Model, sides: tuple[int, ...]) -> bool:
    """What happens if one just tries."""
    try:
        model(np.zeros((1, *sides, model.input_shape[-1]), np.float32))
        return True
    except (ValueError, tf.errors.InvalidArgumentError):
        return False


class TestAccepts:
    @pytest.mark.parametrize("make", [padded, valid])
    def test_what_runs(self, make):
        model = make()
        for height in (44, 46, 47, 48, 52):
            for width in (44, 45, 48):
                sides = (height, width)
                assert accepts(model, [(1, *sides, model.input_shape[-1])]) == (
                    really_takes(model, sides)
                ), sides

    def test_a_side_without_pixels_is_no_answer(self):
        model = keras.Sequential([keras.Input((None, None, 1)), L.MaxPooling2D(4)])
        assert accepts(model, [(1, 4, 8, 1)])
        assert not accepts(model, [(1, 3, 8, 1)])
        image = keras.Input((None, None, 1))
        assert accepts(keras.Model(image, image[:, 3:]), [(1, 4, 8, 1)])
        assert not accepts(keras.Model(image, image[:, 3:]), [(1, 3, 8, 1)])
        assert not accepts(valid(), [(1, 40, 44, 1)])  # its last map would have no row

    def test_asking_leaves_no_trace(self):
        model = padded()
        before = [(len(o._inbound_nodes), len(o._outbound_nodes)) for o in model.operations]
        accepts(model, [(1, 9, 9, 3)])
        nearest_sizes(model, (9, 9))
        after = [(len(o._inbound_nodes), len(o._outbound_nodes)) for o in model.operations]
        assert after == before


class TestInputShapes:
    def test_free_sides_and_batch(self):
        assert input_shapes(padded(), (8, 12), 4) == [(4, 8, 12, 3)]

    def test_fixed_sides(self):
        assert input_shapes(unet()) == [(1, 16, 24, 3)]
        assert input_shapes(unet(), (16, 24)) == [(1, 16, 24, 3)]
        with pytest.raises(ValueError, match=r"size \(16, 24\) alone. Received: \(24, 16\)"):
            input_shapes(unet(), (24, 16))

    def test_one_side_fixed(self):
        model = models.ESPCN((16, None, 1))
        assert input_shapes(model, (16, 5)) == [(1, 16, 5, 1)]
        with pytest.raises(ValueError, match=r"\(16, None\) alone"):
            input_shapes(model, (5, 16))

    def test_volumes_and_vectors(self):
        volume = keras.Sequential([keras.Input((None, None, None, 2)), L.Conv3D(1, 3)])
        assert input_shapes(volume, (4, 5, 6)) == [(1, 4, 5, 6, 2)]
        code = keras.Sequential([keras.Input((7,)), L.Dense(3)])
        assert input_shapes(code, batch=2) == [(2, 7)]

    def test_no_size(self):
        with pytest.raises(ExportError, match=r"'input' leaves its size open: give size="):
            input_shapes(padded())

    @pytest.mark.parametrize("size", [(8,), (8, 8, 8), (0, 8), (8, -8)])
    def test_no_sides_of_a_picture(self, size):
        with pytest.raises(ValueError, match="size must be 2 positive numbers"):
            input_shapes(padded(), size)

    @pytest.mark.parametrize("batch", [0, -1])
    def test_no_batch(self, batch):
        with pytest.raises(ValueError, match=f"batch must be 1 or more. Received: {batch}"):
            input_shapes(padded(), (8, 8), batch)

    @pytest.mark.parametrize(
        ("model", "size", "nearest"),
        [
            (padded(), (10, 12), "are 8 x 12 and 12 x 12"),
            (padded(), (17, 30), "are 16 x 28 and 20 x 32"),
            (padded(), (3, 8), "is 4 x 8"),
            (padded(4), (250, 259), "are 240 x 256 and 256 x 272"),
            (valid(), (57, 60), "are 56 x 60 and 60 x 60"),
            (valid(), (10, 60), "is 44 x 60"),
            (valid(4), (572, 575), "are 572 x 572 and 572 x 588"),
        ],
    )
    def test_the_nearest_are_named_and_taken(self, model, size, nearest):
        said = " x ".join(map(str, size))
        with pytest.raises(ValueError, match=f"the nearest {nearest}. Received: {said}$"):
            input_shapes(model, size)
        for sides in nearest_sizes(model, size):
            assert accepts(model, [(1, *sides, model.input_shape[-1])])

    def test_of_several_inputs(self):
        left, right = keras.Input((None, None, 3)), keras.Input((None, None, 1))
        halved = L.UpSampling2D(2)(L.MaxPooling2D(2)(left))
        model = keras.Model([left, right], L.Concatenate()([halved, right]), name="two")
        assert input_shapes(model, (8, 6)) == [(1, 8, 6, 3), (1, 8, 6, 1)]
        with pytest.raises(ValueError, match=r"'two' .* are 6 x 8 and 8 x 8. Received: 7 x 8"):
            input_shapes(model, (7, 8))

    def test_models_that_cannot_be_read(self):
        with pytest.raises(LoweringError, match="never built"):
            input_shapes(keras.Sequential([L.Conv2D(1, 1)]), (8, 8))


class TestNearestSizes:
    def test_a_size_that_fits_is_its_own_nearest(self):
        assert nearest_sizes(padded(), (8, 12)) == [(8, 12)]

    def test_volumes(self):
        model = models.UNet((None, None, None, 1), width=2, depth=1, padding="same")
        assert nearest_sizes(model, (3, 4, 5)) == [(2, 4, 4), (4, 4, 6)]

    def test_beside_an_input_of_fixed_size(self):
        left, code = keras.Input((None, None, 3)), keras.Input((2, 5, 1))
        halved = L.UpSampling2D(2)(L.MaxPooling2D(2)(left))
        model = keras.Model([left, code], [L.Add()([halved, left]), L.Reshape((5, 2))(code)])
        assert nearest_sizes(model, (7, 8)) == [(6, 8), (8, 8)]

    def test_a_network_that_takes_no_size(self):
        image = keras.Input((None, None, 1))
        smaller = L.Conv2D(1, 3)(image)
        model = keras.Model(image, L.Concatenate()([smaller, image]), name="never")
        assert nearest_sizes(model, (8, 8)) == []
        with pytest.raises(ValueError, match=r"cannot take this size. Received: 8 x 8"):
            input_shapes(model, (8, 8))

    def test_fixed_sizes_stay(self):
        assert nearest_sizes(autoencoder(), (16, 16)) == [(16, 16)]
