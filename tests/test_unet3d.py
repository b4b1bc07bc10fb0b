"""3D U-Net's golden numbers (Cicek et al. 2016), its sizes and its options."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from receptive_field import halo, right_reach

from kerasdeconv import export, layers, models, zoo

PARAMETERS = 19_069_955  # as the paper counts: biases of the convolutions, nothing of BatchNorm
GAMMA_AND_BETA = 4_672


def layers_of(model: keras.Model, *kinds: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def count(weights: list) -> int:
    return sum(int(np.prod(v.shape)) for v in weights)


def narrow(sides: tuple[int | None, ...] = (None,) * 3, **arguments) -> keras.Model:
    return models.UNet3D((*sides, 1), **{"width": 1, **arguments})


@pytest.fixture(scope="module")
def paper() -> keras.Model:
    # The paper's tile is 132 x 132 x 116 voxels in x, y and z; z comes first here.
    return models.UNet3D((116, 132, 132, 3))


class TestThePapersNetwork:
    def test_parameters(self, paper):
        norms = layers_of(paper, keras.layers.BatchNormalization)
        assert count(paper.trainable_weights) == PARAMETERS + GAMMA_AND_BETA
        assert sum(count(norm.trainable_weights) for norm in norms) == GAMMA_AND_BETA
        assert count(models.UNet3D(norm=None).trainable_weights) == PARAMETERS

    def test_44_x_44_x_28(self, paper):
        assert paper.output_shape == (None, 28, 44, 44, 3)

    def test_widths(self, paper):
        convolutions = layers_of(paper, keras.layers.Conv3D)
        threes = [c for c in convolutions if c.kernel_size == (3, 3, 3)]
        assert [c.filters for c in threes if not isinstance(c, keras.layers.Conv3DTranspose)] == [
            32, 64, 64, 128, 128, 256, 256, 512,
            256, 256, 128, 128, 64, 64,
        ]  # fmt: skip
        up = layers_of(paper, keras.layers.Conv3DTranspose)
        assert [layer.filters for layer in up] == [512, 256, 128]
        assert {(layer.kernel_size, layer.strides) for layer in up} == {((2,) * 3, (2,) * 3)}
        concatenated = [x.output.shape[-1] for x in layers_of(paper, keras.layers.Concatenate)]
        assert concatenated == [256 + 512, 128 + 256, 64 + 128]
        assert len(layers_of(paper, keras.layers.MaxPooling3D)) == 3

    def test_biases(self, paper):
        """In every convolution, although BatchNorm follows; in no upsampling."""
        convolutions = layers_of(paper, keras.layers.Conv3D)
        assert len(convolutions) == 15 and all(layer.use_bias for layer in convolutions)
        up = layers_of(paper, keras.layers.Conv3DTranspose)
        assert len(up) == 3 and not any(layer.use_bias for layer in up)

    def test_batch_norm_before_relu(self, paper):
        for norm in layers_of(paper, keras.layers.BatchNormalization):
            (before,) = norm._inbound_nodes[0].parent_nodes
            (behind,) = norm._outbound_nodes
            assert isinstance(before.operation, keras.layers.Conv3D)
            assert before.operation.activation is keras.activations.linear
            assert behind.operation.activation is keras.activations.relu
        assert len(layers_of(paper, keras.layers.BatchNormalization)) == 14

    @pytest.mark.slow
    def test_it_runs(self, paper):
        volume = np.random.default_rng(0).normal(size=(1, 116, 132, 132, 3)).astype(np.float32)
        answer = np.asarray(paper(volume))
        assert answer.shape == (1, 28, 44, 44, 3)
        # Three float32 numbers that were divided by their sum: a few units in the last place.
        np.testing.assert_allclose(answer.sum(axis=-1), 1.0, atol=1e-6)


def unpadded(side: int, depth: int = 3) -> int | None:
    """Walks a side through an unpadded 3D U-Net; None where it does not fit."""
    skips = []
    for _ in range(depth):
        side -= 4
        skips.append(side)
        if side < 2 or side % 2:
            return None
        side //= 2
    side -= 4
    for skip in reversed(skips):
        if side < 1:
            return None
        side = 2 * side
        assert skip >= side and (skip - side) % 2 == 0
        side -= 4
    return side if side > 0 else None


class TestSizes:
    def test_unpadded_sides_are_4_mod_8_and_88_larger(self):
        fits = [side for side in range(1, 300) if unpadded(side)]
        assert fits == list(range(92, 300, 8))
        assert all(unpadded(side) == side - 88 for side in fits)

    @pytest.mark.parametrize("sides", [(92, 100, 108), (132, 116, 92)])
    def test_output_is_88_smaller(self, sides):
        assert narrow(sides).output_shape[1:-1] == tuple(side - 88 for side in sides)

    @pytest.mark.parametrize("side", [*range(90, 101), 131, 136])
    def test_takes_just_what_fits(self, side):
        if unpadded(side):
            assert narrow((side, 92, 92)).output_shape[1] == side - 88
            return
        with pytest.raises(ValueError, match=rf"Received: {side}$") as error:
            narrow((92, side, 92))
        (named,) = re.findall(r"the nearest are (\d+) and (\d+)", str(error.value))
        nearest = min(range(92, 150, 8), key=lambda fit: abs(fit - side))
        assert nearest in map(int, named) and all(unpadded(int(name)) for name in named)

    def test_padded(self):
        assert narrow((8, 24, 40), padding="same").output_shape[1:-1] == (8, 24, 40)
        with pytest.raises(ValueError, match=r"the nearest are 32 and 40\. Received: 36"):
            narrow((8, 36, 40), padding="same")

    def test_anisotropic(self):
        thin = {"padding": "same", "strides": [(1, 2, 2), (1, 2, 2), 2]}
        assert narrow((6, 24, 40), **thin).output_shape[1:-1] == (6, 24, 40)
        with pytest.raises(ValueError, match=r"the nearest are 6 and 8\. Received: 7"):
            narrow((7, 24, 40), **thin)


class TestVariants:
    def test_strided_convolutions_instead_of_poolings(self):
        model = narrow(pooling="conv", padding="same")
        assert not layers_of(model, keras.layers.MaxPooling3D)
        strided = [c for c in layers_of(model, keras.layers.Conv3D) if max(c.strides) > 1]
        up = layers_of(model, keras.layers.Conv3DTranspose)
        assert [c.filters for c in strided if c not in up] == [2, 4, 8]

    def test_residual_blocks_and_gates(self):
        model = narrow(padding="same", block="residual", attention=True)
        assert len(layers_of(model, keras.layers.Add)) == 7 + 3
        assert len(layers_of(model, keras.layers.Multiply)) == 3

    @pytest.mark.parametrize("method", layers.UPSAMPLING_METHODS)
    def test_upsampling_keeps_the_channels(self, method):
        model = narrow((92, 92, 92), upsample=method)
        concatenated = [x.output.shape[-1] for x in layers_of(model, keras.layers.Concatenate)]
        assert concatenated == [8 + 16, 4 + 8, 2 + 4]
        assert model.output_shape[1:-1] == (4, 4, 4)

    def test_takes_intensities_as_they_are(self):
        assert not layers_of(narrow(), keras.layers.Rescaling)

    def test_halo_of_the_padded_one(self):
        model = zoo.load("unet3d.padded", weights=None, width=1, input_shape=(160, 8, 8, 1))
        for variable in model.weights:  # along the first axis alone, and nothing cancels
            value = np.zeros(variable.shape, np.float32)
            if value.ndim == 5:
                middle = [slice((n - 1) // 2, n // 2 + 1) for n in value.shape[1:3]]
                value[:, middle[0], middle[1]] = 1 / value[:, middle[0], middle[1], 0].size
            elif "variance" in variable.path or "gamma" in variable.path:
                value[...] = 1
            variable.assign(value)
        part = keras.Model(model.input, model.get_layer("decoder_0_1_act").output)
        expected = [right_reach([2] * 4, 0, place) for place in range(80, 88)]
        volume = tf.ones((1, 160, 8, 8, 1))
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(volume)
            answer = part(volume)
            voxels = [tf.reduce_sum(answer[0, place, 4, 4]) for place in range(80, 88)]
        for voxel, (first, last) in zip(voxels, expected, strict=True):
            gradient = tape.gradient(voxel, volume).numpy()
            reached = np.flatnonzero(gradient.any(axis=(0, 2, 3, 4)))
            assert (reached[0], reached[-1]) == (first, last)
        assert zoo.card("unet3d.padded").convention.halo == halo([2] * 4) == 51

    @pytest.mark.slow
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    def test_exports_at_the_cards_size(self, target, tmp_path):
        model = zoo.load("unet3d.padded", weights=None, width=2)
        report = export.export(model, tmp_path, target=target, tune=False)
        assert tuple(report.input["shape"]) == (1, 64, 64, 64, 1)
        assert tuple(report.outputs[0]["shape"]) == (1, 64, 64, 64, 2)

    def test_names_are_stable(self):
        """Weights files are keyed by them."""
        model = narrow(depth=1, pooling="conv")
        assert [layer.name for layer in model.layers if layer.weights] == [
            "encoder_0_0_conv", "encoder_0_0_norm", "encoder_0_1_conv", "encoder_0_1_norm",
            "encoder_0_pool",
            "bottom_0_conv", "bottom_0_norm", "bottom_1_conv", "bottom_1_norm",
            "decoder_0_up",
            "decoder_0_0_conv", "decoder_0_0_norm", "decoder_0_1_conv", "decoder_0_1_norm",
            "head",
        ]  # fmt: skip
