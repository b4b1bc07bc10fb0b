"""U-Net's golden numbers (Ronneberger et al. 2015) and its sizes."""

from __future__ import annotations

import itertools
import re

import keras
import numpy as np
import pytest

from kerasdeconv import layers, models

# (input channels, classes): trainable parameters at width 64, counted layer by layer.
PARAMETERS = {
    (1, 1): 31_030_593,
    (1, 2): 31_030_658,
    (3, 1): 31_031_745,
    (3, 21): 31_033_045,
}


def layers_of(model: keras.Model, *kinds: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kinds)]


@pytest.fixture(scope="module")
def paper() -> keras.Model:
    return models.UNet((572, 572, 1))


class TestThePapersNetwork:
    def test_23_convolutions(self, paper):
        convolutions = layers_of(paper, keras.layers.Conv2D, keras.layers.Conv2DTranspose)
        assert len(convolutions) == 23
        up = layers_of(paper, keras.layers.Conv2DTranspose)
        assert [layer.filters for layer in up] == [512, 256, 128, 64]
        assert {(layer.kernel_size, layer.strides) for layer in up} == {((2, 2), (2, 2))}
        assert [c.filters for c in convolutions if c.kernel_size == (3, 3)] == [
            64, 64, 128, 128, 256, 256, 512, 512, 1024, 1024,
            512, 512, 256, 256, 128, 128, 64, 64,
        ]  # fmt: skip
        assert all(layer.use_bias for layer in convolutions)
        assert len(layers_of(paper, keras.layers.MaxPooling2D)) == 4

    def test_572_to_388(self, paper):
        assert paper.output_shape == (None, 388, 388, 2)
        assert paper.count_params() == PARAMETERS[1, 2]

    def test_crops_deepest_first(self, paper):
        crops = layers_of(paper, layers.CropLike)
        margins = []
        for crop in crops:
            source, like = crop.input
            margins.append((source.shape[1] - like.shape[1]) // 2)
        assert margins == [4, 16, 40, 88]

    @pytest.mark.slow
    def test_it_runs(self, paper):
        answer = paper.predict(np.zeros((1, 572, 572, 1), np.float32), verbose=0)
        np.testing.assert_allclose(answer.sum(axis=-1), 1.0, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "classes", "padding"),
    [(1, 1, "valid"), (3, 1, "valid"), (3, 21, "valid"), (1, 2, "same")],
)
def test_parameters(channels, classes, padding):
    model = models.UNet((None, None, channels), classes, padding=padding)
    assert model.count_params() == PARAMETERS[channels, classes]


@pytest.mark.parametrize(("side", "output"), [(572, 388), (188, 4), (204, 20), (252, 68)])
def test_output_is_184_smaller(side, output):
    model = models.UNet((side, side + 16, 1), width=1)
    assert model.output_shape == (None, output, output + 16, 2)


def unpadded(side: int, depth: int) -> int | None:
    """Walks a side through an unpadded U-Net; None where it does not fit."""
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
    @pytest.mark.parametrize("depth", [1, 2, 3])
    def test_takes_just_what_fits(self, depth):
        fits = [side for side in range(1, 300) if unpadded(side, depth)]
        for side in (*range(fits[0] - 3, fits[0] + 3), *range(fits[4] - 2, fits[4] + 2)):
            if side in fits:
                shape = models.UNet((side, side, 1), width=1, depth=depth).output_shape
                assert shape[1:3] == (unpadded(side, depth),) * 2
            else:
                with pytest.raises(ValueError, match=rf"Received: {side}$") as error:
                    models.UNet((side, side, 1), width=1, depth=depth)
                (named,) = re.findall(r"the nearest are (\d+) and (\d+)", str(error.value))
                nearest = sorted(fits, key=lambda fit, side=side: abs(fit - side))
                assert nearest[0] in map(int, named) and set(map(int, named)) <= set(fits)

    def test_unpadded_sides_are_12_mod_16(self):
        fits = [side for side in range(1, 600) if unpadded(side, 4)]
        assert fits == list(range(188, 600, 16))
        assert all(unpadded(side, 4) == side - 184 for side in fits)

    @pytest.mark.parametrize(
        ("shape", "padding", "nearest"),
        [
            ((573, 572, 1), "valid", "572 and 588"),
            ((572, 560, 1), "valid", "556 and 572"),
            ((64, 64, 1), "valid", "188 and 204"),
            ((100, 96, 1), "same", "96 and 112"),
            ((96, 8, 1), "same", "16 and 32"),
        ],
    )
    def test_names_the_nearest(self, shape, padding, nearest):
        wrong = next(s for s in shape if s in (573, 560, 64, 100, 8))
        with pytest.raises(ValueError, match=rf"the nearest are {nearest}\. Received: {wrong}$"):
            models.UNet(shape, width=1, padding=padding)

    @pytest.mark.parametrize("padding", ["valid", "same"])
    def test_a_size_met_at_run_time_is_not_cropped_askew(self, padding):
        """After two sizes Keras runs one graph for all; the wrong size must still be refused."""
        model = models.UNet((None, None, 1), width=1, depth=2, padding=padding)
        fits = [44, 48, 52]
        sizes = {side: model.predict(np.zeros((1, side, side, 1)), verbose=0) for side in fits}
        outputs = {side: answer.shape[1] for side, answer in sizes.items()}
        expected = {s: unpadded(s, 2) if padding == "valid" else s for s in fits}
        assert outputs == expected
        for wrong in (45, 46):
            with pytest.raises(Exception, match=r"(?i)concat|CropLike"):
                model.predict(np.zeros((1, wrong, wrong, 1)), verbose=0)

    def test_padded_output_is_as_large_as_the_input(self):
        for side, depth in itertools.product((16, 48), (1, 3)):
            model = models.UNet((side, 2 * side, 3), width=1, depth=depth, padding="same")
            assert model.output_shape == (None, side, 2 * side, 2)

    def test_volumes(self):
        model = models.UNet((16, 32, 48, 1), 3, width=2, padding="same", norm="batch")
        assert model.output_shape == (None, 16, 32, 48, 3)
        unpadded_model = models.UNet((44, 52, 60, 1), width=1, depth=2)
        assert unpadded_model.output_shape == (None, 4, 12, 20, 2)


class TestVariants:
    def test_default_head(self):
        for classes, expected in [(1, "sigmoid"), (4, "softmax")]:
            model = models.UNet(classes=classes, width=1)
            assert model.get_layer("head_activation").activation.__name__ == expected
            assert model.output_shape[-1] == classes

    def test_logits_and_probabilities_differ_by_the_activation(self):
        model = models.UNet((16, 16, 1), 3, width=2, padding="same")
        logits = models.UNet((16, 16, 1), 3, width=2, padding="same", head_activation=None)
        logits.set_weights(model.get_weights())
        x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 1)).astype(np.float32)
        expected = keras.ops.softmax(logits(x))
        np.testing.assert_allclose(model(x), expected, atol=1e-6)

    def test_pixels_are_scaled_without_an_offset(self):
        pixels = models.UNet((16, 16, 1), width=2, padding="same")
        units = models.UNet((16, 16, 1), width=2, padding="same", include_rescaling=False)
        units.set_weights(pixels.get_weights())
        x = np.random.default_rng(0).uniform(0, 255, (1, 16, 16, 1)).astype(np.float32)
        np.testing.assert_allclose(pixels(x), units(x / 255), atol=1e-6)

    def test_norms(self):
        for norm, kind in [
            ("batch", keras.layers.BatchNormalization),
            ("group", keras.layers.GroupNormalization),
            ("instance", keras.layers.GroupNormalization),
        ]:
            model = models.UNet(width=2, padding="same", norm=norm)
            assert len(layers_of(model, kind)) == 18
        assert not layers_of(models.UNet(width=2), keras.layers.BatchNormalization)

    def test_attention_gates_and_residual_blocks(self):
        model = models.UNet(width=2, padding="same", block="residual", attention=True)
        assert len(layers_of(model, keras.layers.Multiply)) == 4
        # One in each of nine blocks, one in each gate.
        assert len(layers_of(model, keras.layers.Add)) == 9 + 4

    def test_names_are_stable(self):
        """Weights files are keyed by them."""
        model = models.UNet(width=2, depth=1, padding="same", norm="batch")
        assert [layer.name for layer in model.layers if layer.weights] == [
            "encoder_0_0_conv", "encoder_0_0_norm", "encoder_0_1_conv", "encoder_0_1_norm",
            "bottom_0_conv", "bottom_0_norm", "bottom_1_conv", "bottom_1_norm",
            "decoder_0_up",
            "decoder_0_0_conv", "decoder_0_0_norm", "decoder_0_1_conv", "decoder_0_1_norm",
            "head",
        ]  # fmt: skip
