"""Checkerboard patterns: known strengths, and whole networks against large images."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import layers, models
from kerasdeconv.analysis import checkerboard
from kerasdeconv.errors import LoweringError

L = keras.layers


def transposed(rank: int = 2, channels: int = 3, **options: Any) -> keras.Model:
    inputs = keras.Input((*[None] * rank, channels))
    options = {"padding": "same", "name": "up", **options}
    return keras.Model(inputs, getattr(L, f"Conv{rank}DTranspose")(**options)(inputs))


class TestLayers:
    @pytest.mark.parametrize("rank", [1, 2, 3])
    def test_uneven_overlap(self, rank: int) -> None:
        """With ones, a phase answers with its number of taps: 2 and 1 along each axis."""
        model = transposed(rank, filters=4, kernel_size=3, strides=2, kernel_initializer="ones")
        (layer,) = checkerboard(model).layers
        taps = np.array([2.0, 1.0])
        for _ in range(rank - 1):
            taps = np.multiply.outer(taps, [2.0, 1.0])
        assert layer.uneven == (True,) * rank
        # Sums of a few small numbers in float64.
        assert layer.strength == pytest.approx(taps.std() / np.sqrt((taps**2).mean()), rel=1e-12)
        assert "kernel 3 is not divisible by stride 2: use kernel 4" in layer.remedy
        assert "resize_nearest" in layer.remedy

    def test_each_axis(self) -> None:
        model = transposed(filters=2, kernel_size=(4, 3), strides=(2, 1))
        assert checkerboard(model).layers[0].uneven == (False, False)
        model = transposed(filters=2, kernel_size=(5, 1), strides=(3, 2))
        (layer,) = checkerboard(model).layers
        assert layer.uneven == (True, True)
        assert "kernel 5 x 1 is not divisible by stride 3 x 2: use kernel 6 x 2" in layer.remedy

    @pytest.mark.parametrize("size", [2, 4, 6])
    def test_linear_upsampling_has_none(self, size: int) -> None:
        model = transposed(
            filters=3,
            kernel_size=size,
            strides=size // 2 or 1,
            kernel_initializer=layers.BilinearKernel(),
        )
        (layer,) = checkerboard(model).layers
        assert not any(layer.uneven)
        assert layer.strength < 1e-7  # the initializer gives float32
        assert layer.remedy == ""

    def test_no_common_part(self) -> None:
        kernel = np.zeros((2, 2, 1, 1))
        kernel[0, 0] = 1
        model = transposed(channels=1, filters=1, kernel_size=2, strides=2, use_bias=False)
        model.set_weights([kernel])
        (layer,) = checkerboard(model).layers
        # One of four phases answers: mean 1/4, variance 3/16, mean square 1/4.
        assert layer.strength == pytest.approx(np.sqrt(3 / 16) / np.sqrt(1 / 4), rel=1e-12)
        assert "BilinearKernel" in layer.remedy
        model.set_weights([0 * kernel])
        assert checkerboard(model).layers[0].strength == 0

    def test_the_scale_does_not_matter(self) -> None:
        model = random_weights(transposed(filters=4, kernel_size=3, strides=2))
        before = checkerboard(model).layers[0].strength
        assert 0.1 < before < 1
        model.set_weights([1000 * weight for weight in model.get_weights()])
        # Weights are scaled in float32.
        assert checkerboard(model).layers[0].strength == pytest.approx(before, rel=1e-6)

    def test_it_is_the_mean_over_constant_inputs(self) -> None:
        """The definition, as root mean squares over many random constants."""
        model = random_weights(transposed(filters=4, kernel_size=3, strides=2, use_bias=False))
        constants = np.random.default_rng(0).normal(size=(20000, 1, 1, 3))
        maps = np.broadcast_to(constants, (20000, 4, 4, 3)).astype(np.float32)
        answer = np.asarray(keras.ops.convert_to_numpy(model(maps)))[:, 2:6, 2:6]
        deviation = answer - answer.mean(axis=(1, 2), keepdims=True)
        measured = np.sqrt((deviation**2).mean() / (answer**2).mean())
        # 20,000 draws of 3 numbers: one percent.
        assert checkerboard(model).layers[0].strength == pytest.approx(measured, rel=0.02)

    def test_dilation_covers_phases(self) -> None:
        layer = layers.DepthwiseConvTranspose(3, 2, kernel_initializer="ones")
        inputs = keras.Input((None, None, 2))
        (found,) = checkerboard(keras.Model(inputs, layer(inputs))).layers
        assert found.uneven == (True, True)
        assert found.kind == "DepthwiseConvTranspose"
        assert found.strength == pytest.approx(np.sqrt(1 - 1 / (10 / 9) ** 2), rel=1e-6)

    @pytest.mark.parametrize("blocks", [2, 3, (1, 2), (2, 1, 2)])
    def test_subpixel_start(self, blocks: Any) -> None:
        axes = (blocks, blocks) if isinstance(blocks, int) else blocks
        count = int(np.prod(axes))
        for start in ("he_normal", layers.ICNR(count)):
            x = inputs = keras.Input((*[None] * len(axes), 4))
            conv = getattr(L, f"Conv{len(axes)}D")
            x = conv(5 * count, 3, padding="same", name="sub", kernel_initializer=start)(x)
            x = L.ReLU()(x)
            model = keras.Model(inputs, layers.DepthToSpace(blocks)(x))
            (layer,) = checkerboard(model).layers
            assert (layer.name, layer.strides) == ("sub", axes)
            if start == "he_normal":
                assert layer.strength > 0.5
                assert f"ICNR({count})" in layer.remedy
            else:
                assert layer.strength < 1e-7  # equal float32 numbers, averaged
                assert layer.remedy == ""

    def test_gains_between_convolution_and_shuffle(self) -> None:
        x = inputs = keras.Input((None, None, 2))
        x = L.Conv2D(4, 1, kernel_initializer="ones", use_bias=False)(x)
        x = L.BatchNormalization(epsilon=0.0, name="norm")(x)
        model = keras.Model(inputs, layers.DepthToSpace(2)(x))
        assert checkerboard(model).layers[0].strength == 0
        gamma, beta, mean, variance = model.get_layer("norm").get_weights()
        variance = np.array([1, 1, 1, 1 / 9])  # the last phase gets three times the gain
        model.get_layer("norm").set_weights([gamma, beta, mean, variance])
        gains = np.array([1, 1, 1, 3])
        expected = gains.std() / np.sqrt((gains**2).mean())
        assert checkerboard(model).layers[0].strength == pytest.approx(expected, rel=1e-6)

    def test_what_makes_no_pattern_is_left_out(self) -> None:
        x = inputs = keras.Input((None, None, 4))
        x = L.UpSampling2D(2)(layers.DepthToSpace(2)(x))
        assert checkerboard(keras.Model(inputs, L.Conv2D(1, 3)(x))).layers == ()


def repeated(model: keras.Model, side: int, period: int, value: float) -> list[np.ndarray]:
    """One period from the middle of the answers to a large constant image."""
    rank = len(model.inputs[0].shape) - 2
    shape = (1, *[side] * rank, model.inputs[0].shape[-1])
    answers = model(np.full(shape, value, np.float32), training=False)
    parts = []
    for answer in keras.tree.flatten(answers):
        scale = answer.shape[1] / side
        length, middle = round(period * scale), round(side // 2 // period * period * scale)
        cut = (slice(None), *[slice(middle, middle + length)] * rank)
        parts.append(np.asarray(keras.ops.convert_to_numpy(answer))[cut].astype(float))
    return parts


def measured(answer: np.ndarray) -> tuple[float, float]:
    places = tuple(range(1, answer.ndim - 1))
    deviation = np.sqrt(((answer - answer.mean(axis=places, keepdims=True)) ** 2).mean())
    return deviation / np.sqrt((answer**2).mean()), deviation


class TestNetworks:
    @pytest.mark.parametrize("upsample", layers.UPSAMPLING_METHODS)
    def test_unet(self, upsample: str) -> None:
        model = models.UNet(
            (None, None, 3), width=4, depth=2, padding="same", norm="batch", upsample=upsample,
            attention=True, head_activation=None,
        )  # fmt: skip
        (pattern,) = checkerboard(random_weights(model)).outputs
        strength, deviation = measured(repeated(model, 96, 4, 127.5)[0])
        assert pattern.period == (4, 4)
        # Two float32 runs of the same network: 1e-5 of the answer.
        assert pattern.strength == pytest.approx(strength, abs=1e-5)
        assert pattern.deviation == pytest.approx(deviation, rel=1e-3, abs=1e-2)
        assert (pattern.strength < 1e-5) == upsample.startswith("resize")

    def test_volumes_and_poolings_by_convolution(self) -> None:
        options = {"width": 4, "depth": 2, "padding": "same", "pooling": "conv"}
        model = models.UNet(
            (None, None, None, 1), head_activation=None, activation="leaky_relu", **options
        )
        (pattern,) = checkerboard(random_weights(model), value=3.0).outputs
        strength, _ = measured(repeated(model, 52, 4, 3.0)[0])
        assert pattern.period == (4, 4, 4)
        assert pattern.strength == pytest.approx(strength, abs=1e-5)  # as above
        assert pattern.strength > 1e-3

    def test_superresolution(self) -> None:
        model = random_weights(models.ESPCN(scale=3))
        found = checkerboard(model, value=50.0)
        strength, deviation = measured(repeated(model, 30, 1, 50.0)[0])
        (pattern,) = found.outputs
        assert pattern.period == (3, 3)
        assert pattern.strength == pytest.approx(strength, abs=1e-5)  # as above
        assert pattern.deviation == pytest.approx(deviation, rel=1e-4)
        assert found.layers[0].remedy

    def test_unpadded(self) -> None:
        """Crops shift skips; their alignment shows in the pattern only through their own."""
        model = models.UNet(width=2, depth=2, head_activation=None)
        (pattern,) = checkerboard(random_weights(model)).outputs
        answer = model(np.full((1, 132, 132, 1), 127.5, np.float32))
        strength, _ = measured(np.asarray(keras.ops.convert_to_numpy(answer))[:, 44:48, 44:48])
        assert pattern.strength == pytest.approx(strength, abs=1e-5)  # as above

    def test_layers_that_shift_and_resize(self) -> None:
        x = inputs = keras.Input((None, None, 2))
        x = L.Conv2DTranspose(3, 3, strides=2, padding="valid")(x)
        y = L.ZeroPadding2D(((2, 0), (1, 0)))(L.Conv2D(3, 3, padding="valid")(x))
        x = L.Add()([L.Cropping2D(((1, 0), (0, 0)))(L.ZeroPadding2D(((1, 0), (0, 1)))(x)),
                     L.ZeroPadding2D(((0, 0), (0, 2)))(y)])  # fmt: skip
        x = keras.ops.pad(x, [(0, 0), (1, 0), (0, 1), (0, 0)])[:, 1:, :-1]
        x = layers.ReflectPadding(2)(x)
        x = L.DepthwiseConv2D(5)(L.UpSampling2D(2, interpolation="bilinear")(x))
        model = random_weights(keras.Model(inputs, layers.LinearUpsampling(3)(x)))
        (pattern,) = checkerboard(model).outputs
        answer = model(np.full((1, 20, 20, 2), 127.5, np.float32))
        middle = np.asarray(keras.ops.convert_to_numpy(answer))[:, 96:108, 96:108]
        assert pattern.period == (12, 12)
        assert pattern.strength == pytest.approx(measured(middle)[0], abs=1e-5)  # as above
        assert pattern.strength > 1e-2

    def test_statistics_of_whole_maps(self) -> None:
        """Squeeze-and-excitation and group norms see one period as they see the whole image."""
        x = inputs = keras.Input((None, None, 3))
        x = L.Conv2D(8, 3, strides=2, padding="same")(x)
        x = L.Conv2DTranspose(8, 3, strides=2, padding="same")(x)
        x = L.GroupNormalization(2)(x)
        squeezed = L.GlobalAveragePooling2D(keepdims=True)(x)
        x = L.Multiply()([x, L.Conv2D(8, 1, activation="sigmoid")(squeezed)])
        model = random_weights(keras.Model(inputs, L.Conv2D(2, 3, padding="same")(x)))
        (pattern,) = checkerboard(model).outputs
        assert pattern.period == (2, 2)
        # Borders weigh in the statistics of a real image: less, the larger it is.
        strength, _ = measured(repeated(model, 1024, 2, 127.5)[0])
        assert pattern.strength == pytest.approx(strength, rel=2e-2)

    def test_pooling_with_indices(self) -> None:
        x = inputs = keras.Input((None, None, 2))
        x, indices = layers.MaxPoolingWithIndices(2)(L.Conv2D(2, 3, padding="same")(x))
        x = layers.MaxUnpooling(2)([x, indices])
        model = random_weights(keras.Model(inputs, x))
        (pattern,) = checkerboard(model).outputs
        # One pixel of four is not zero.
        assert pattern.strength == pytest.approx(np.sqrt(3) / 2, rel=1e-6)

    def test_several_outputs(self) -> None:
        x = inputs = keras.Input((None, None, 1))
        up = L.Conv2DTranspose(1, 2, strides=2, name="up")(x)
        model = random_weights(keras.Model(inputs, [up, L.Conv2D(1, 3, name="plain")(x)]))
        first, second = checkerboard(model).outputs
        assert (first.period, second.period) == ((2, 2), (1, 1))
        assert first.strength > 1e-2
        assert second.strength == 0

    def test_an_even_layer_is_let_be_where_nothing_shows(self) -> None:
        x = inputs = keras.Input((None, None, 1))
        x = L.Conv2DTranspose(2, 2, strides=2, name="up")(x)
        x = L.Conv2DTranspose(2, 3, strides=2, padding="same", name="bad")(x)
        x = L.AveragePooling2D(4)(x)
        found = checkerboard(random_weights(keras.Model(inputs, x)))
        assert found.outputs[0].strength == 0
        assert [bool(layer.remedy) for layer in found.layers] == [False, True]

    def test_what_cannot_be_measured(self) -> None:
        x = inputs = keras.Input((8, 8, 1))
        x = L.Dense(16)(L.Flatten(name="flat")(L.Conv2D(1, 3, strides=2, padding="same")(x)))
        x = L.Conv2DTranspose(1, 3, strides=2, name="up")(L.Reshape((4, 4, 1))(x))
        found = checkerboard(keras.Model(inputs, x))
        assert found.outputs == ()
        assert "one size" in found.reason
        assert "Received: Dense" in found.reason
        assert found.layers[0].uneven == (True, True)
        code = keras.Input((1, 1, 4), name="code")
        made = L.Conv2DTranspose(1, 4, name="make")(code)
        assert "Received: 'code'" in checkerboard(keras.Model(code, made)).reason
        flipped = keras.Model(inputs, keras.ops.flip(inputs, axis=1))
        assert "Received: Flip" in checkerboard(flipped).reason

    def test_subclassed(self) -> None:
        class Subclassed(keras.Model):
            def call(self, x):
                return x

        with pytest.raises(LoweringError, match="subclassed"):
            checkerboard(Subclassed())
