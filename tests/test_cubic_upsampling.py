"""The bicubic layer against MATLAB's resize as `kerasdeconv.imaging` has it."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import skimage.data

from kerasdeconv import layers
from kerasdeconv.imaging import resize_bicubic

PICTURE = skimage.data.astronaut()[100:123, 200:217]


def enlarged(x: np.ndarray, factor: int) -> np.ndarray:
    return layers.CubicUpsampling(factor)(x.astype("float32")).numpy()


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_is_matlabs_resize_borders_included(factor, channels):
    picture = PICTURE[..., :channels]
    expected = resize_bicubic(picture, factor)
    # float32 sums of 25 products of up to 255.
    np.testing.assert_allclose(enlarged(picture[None], factor)[0], expected, atol=2e-4)


@pytest.mark.parametrize("sides", [(2, 2), (2, 7), (3, 2)])
def test_the_smallest_pictures(sides):
    picture = PICTURE[: sides[0], : sides[1]]
    expected = resize_bicubic(picture, 3)
    np.testing.assert_allclose(enlarged(picture[None], 3)[0], expected, atol=2e-4)


def test_volumes():
    """The kernel is separable: along each axis the volume is multiplied by one matrix."""

    def matrix(length: int) -> np.ndarray:
        units = (np.tile(unit[:, None], (1, 4)) for unit in np.eye(length))
        return np.stack([resize_bicubic(unit, 2)[:, 0] for unit in units], axis=1)

    volume = np.random.default_rng(0).uniform(0, 255, (4, 5, 6))
    expected = np.einsum("az,by,cx,zyx->abc", *map(matrix, volume.shape), volume)
    got = enlarged(volume[None, ..., None], 2)[0, ..., 0]
    np.testing.assert_allclose(got, expected, atol=5e-4)  # sums of 125 products


def test_known_weights():
    """A step from 0 to 1, doubled: Keys' weights by hand at distances of 0.25, 0.75, 1.25, 1.75."""
    step = np.zeros((1, 8, 8, 1))
    step[:, :, 4:] = 1
    w25, w75, w125, w175 = 0.8671875, 0.2265625, -0.0703125, -0.0234375
    expected = [0, w175, w125, w75 + w175, w25 + w125, 1 - w125, 1 - w175, 1]
    np.testing.assert_allclose(enlarged(step, 2)[0, 8, 4:12, 0], expected, atol=1e-6)


def test_constants_stay():
    np.testing.assert_allclose(enlarged(np.full((1, 5, 6, 2), 200.0), 3), 200, atol=1e-4)


def test_configuration_and_shapes():
    layer = layers.CubicUpsampling(3, name="big")
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert (copy.factor, copy.name) == (3, "big")
    assert layer.compute_output_shape((None, None, 5, 2)) == (None, None, 15, 2)
    assert layer(keras.Input((None, 5, 2))).shape == (None, None, 15, 2)
    assert not layer.weights
    half = layers.CubicUpsampling(2, dtype="mixed_float16")
    assert half(np.ones((1, 4, 4, 1), np.float32)).dtype == "float16"


def test_mistakes():
    with pytest.raises(ValueError, match=r"factor must be 1 or more\. Received: 0$"):
        layers.CubicUpsampling(0)
    with pytest.raises(ValueError, match=r"2 or more to be mirrored\. Received: \(1, 5\)"):
        layers.CubicUpsampling(2).compute_output_shape((None, 1, 5, 1))
    with pytest.raises(ValueError, match="2 or more to be mirrored"):
        layers.CubicUpsampling(2)(np.ones((1, 5, 1, 1), np.float32))
