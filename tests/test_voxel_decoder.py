"""The voxel decoder: 3D-GAN's generator (Wu et al. 2016), its sides, and codes from pictures."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import export, layers, models, zoo

# 4^3 * (200 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64) + 1 and two numbers of BatchNorm for
# each of 512 + 256 + 128 + 64 channels.
PARAMETERS = 17_569_665


def layers_of(model: keras.Model, *kinds: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def count(weights: list) -> int:
    return sum(int(np.prod(v.shape)) for v in weights)


@pytest.fixture(scope="module")
def paper() -> keras.Model:
    return models.VoxelDecoder()


class TestThePapersGenerator:
    def test_200_numbers_to_64_x_64_x_64(self, paper):
        assert paper.input_shape == (None, 200)
        assert paper.output_shape == (None, 64, 64, 64, 1)
        assert paper.get_layer("start_map").output.shape == (None, 4, 4, 4, 512)

    def test_transposed_convolutions(self, paper):
        up = layers_of(paper, keras.layers.Conv3DTranspose)
        assert [layer.filters for layer in up] == [256, 128, 64, 1]
        assert {(layer.kernel_size, layer.strides) for layer in up} == {((4,) * 3, (2,) * 3)}
        norms = layers_of(paper, keras.layers.BatchNormalization)
        assert [norm.gamma.shape[0] for norm in norms] == [512, 256, 128, 64]
        assert paper.layers[-1].activation is keras.activations.sigmoid

    def test_parameters(self, paper):
        assert count(paper.trainable_weights) == PARAMETERS

    def test_the_dense_layer_is_a_transposed_convolution_of_one_voxel(self):
        model = models.VoxelDecoder((6,), 8, width=3, norm=None)
        kernel, bias = model.get_layer("start").get_weights()
        assert not bias.any()
        whole = keras.layers.Conv3DTranspose(3, 4, use_bias=False)
        whole.build((None, 1, 1, 1, 6))
        whole.set_weights([kernel.T.reshape(4, 4, 4, 3, 6)])
        code = np.random.default_rng(0).normal(size=(2, 6)).astype(np.float32)
        start = keras.Model(model.input, model.get_layer("start_map").output)
        # Sums of six float32 products in another order.
        expected = whole(code.reshape(2, 1, 1, 1, 6))
        np.testing.assert_allclose(start(code), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("side", [8, 16, 32, 128])
@pytest.mark.parametrize("method", ["transpose", "subpixel"])
def test_sides_and_widths(side, method):
    model = models.VoxelDecoder((7,), side, width=1, upsample=method)
    assert model.output_shape == (None, side, side, side, 1)
    assert model.get_layer("start_map").output.shape == (None, 4, 4, 4, side // 8)


class TestMethods:
    @pytest.mark.parametrize("method", layers.UPSAMPLING_METHODS)
    def test_no_checkerboard_to_start_with(self, method):
        """Kernels are multiples of the stride, or follow a resize."""
        model = models.VoxelDecoder((7,), 16, width=2, upsample=method)
        for layer in layers_of(model, keras.layers.Conv3DTranspose, layers.DepthwiseConvTranspose):
            assert layer.kernel_size in (4, (4, 4, 4))
        assert model.output_shape == (None, 16, 16, 16, 1)


class TestPictures:
    def test_an_encoder_in_front_of_the_same_decoder(self):
        picture = models.VoxelDecoder((64, 32, 3), 32, width=2, encoder_width=2, code=7)
        code = models.VoxelDecoder((7,), 32, width=2)
        assert picture.get_layer("code").output.shape == (None, 7)
        shapes = [(v.path, v.shape) for v in picture.weights]
        decoder = [(v.path, v.shape) for v in code.weights]
        assert shapes[-len(decoder) :] == decoder

    def test_pixels_are_scaled_and_codes_are_not(self):
        pixels = models.VoxelDecoder((32, 32, 3), 8, width=2, encoder_width=2)
        units = models.VoxelDecoder(
            (32, 32, 3), 8, width=2, encoder_width=2, include_rescaling=False
        )
        units.set_weights(pixels.get_weights())
        picture = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
        # A division by 255 that is rounded once more.
        np.testing.assert_allclose(pixels(picture), units(picture / 255), atol=1e-5)
        assert not layers_of(models.VoxelDecoder((7,), 8, width=2), keras.layers.Rescaling)

    def test_any_multiple_of_32(self):
        model = models.VoxelDecoder((None, None, 1), 8, width=2, encoder_width=2)
        for sides in [(32, 96), (64, 32)]:
            assert model(np.zeros((1, *sides, 1), np.float32)).shape == (1, 8, 8, 8, 1)


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
@pytest.mark.parametrize(("name", "side"), [("voxel_decoder", 64), ("voxel_decoder.image", 32)])
def test_cards_export_at_their_size(name, side, target, tmp_path):
    narrow = {"width": 2} | ({"encoder_width": 2} if "image" in name else {})
    model = zoo.load(name, weights=None, **narrow)
    report = export.export(model, tmp_path, target=target, tune=False)
    assert tuple(report.input["shape"])[1:] == (
        (200,) if name == "voxel_decoder" else (128, 128, 3)
    )
    assert tuple(report.outputs[0]["shape"]) == (1, side, side, side, 1)


def test_names_are_stable():
    """Weights files are keyed by them."""
    model = models.VoxelDecoder((7,), 16, width=2)
    assert [layer.name for layer in model.layers if layer.weights] == [
        "start", "start_norm", "up_0", "up_0_norm", "head",
    ]  # fmt: skip
