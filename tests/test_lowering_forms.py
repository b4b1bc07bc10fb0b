"""Forms: each computes what Keras computes, and what the definition says, for any geometry."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from export_models import answers, random_weights
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kerasdeconv import layers
from kerasdeconv.export.lowering import forms, lower_to_form
from kerasdeconv.export.lowering.rewrites import least_work

L = keras.layers
# 36 taps of a few channels around 1: a few float32 roundings of 6e-8 each, on sums up to 40.
CLOSE = 1e-5
few = settings(deadline=None, max_examples=30)

sides = st.tuples(st.integers(1, 5), st.integers(1, 5))
kernels = st.tuples(st.integers(1, 6), st.integers(1, 6))
strides = st.tuples(st.integers(1, 4), st.integers(1, 4)).filter(lambda s: s != (1, 1))
paddings = st.sampled_from(["same", "valid"])
channels = st.tuples(st.integers(1, 3), st.integers(1, 3))
phased = st.sampled_from(["joint", "split", "rows"])


def spread(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, int]) -> np.ndarray:
    """A transposed convolution by its definition: every pixel adds its kernel; nothing cropped."""
    height, width = (
        (n - 1) * s + k for n, s, k in zip(x.shape[1:3], strides, kernel.shape[:2], strict=True)
    )
    result = np.zeros((len(x), height, width, kernel.shape[2]))
    for row, column in np.ndindex(*x.shape[1:3]):
        for i, j in np.ndindex(*kernel.shape[:2]):
            place = (slice(None), row * strides[0] + i, column * strides[1] + j)
            result[place] += x[:, row, column] @ kernel[i, j].T
    return result


def correlate(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """A convolution without padding by its definition."""
    height, width = (n - k + 1 for n, k in zip(x.shape[1:3], kernel.shape[:2], strict=True))
    result = np.zeros((len(x), height, width, kernel.shape[-1]))
    for row, column in np.ndindex(height, width):
        for i, j in np.ndindex(*kernel.shape[:2]):
            result[:, row, column] += x[:, row + i, column + j] @ kernel[i, j]
    return result


def single(layer: Any, shape: tuple[int, ...], seed: int = 0) -> keras.Model:
    image = keras.Input(shape)
    return random_weights(keras.Model(image, layer(image)), seed)


def check(model: keras.Model, form: str, gone: type | None) -> keras.Model:
    """Lowers a model to a form and compares; `gone` must not be in it any more."""
    x = np.random.default_rng(1).normal(size=(2, *model.inputs[0].shape[1:])).astype(np.float32)
    lowered, _ = lower_to_form(model, [x.shape], form=form)
    for expected, got in zip(answers(model, x), answers(lowered, x), strict=True):
        assert got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE)
    if gone is not None:
        assert not any(type(layer) is gone for layer in lowered.layers)
    return lowered


def kinds(model: keras.Model) -> list[str]:
    return [type(layer).__name__ for layer in model.layers[1:]]


class TestTransposed:
    @few
    @given(kernels, strides, paddings, sides, channels, phased, st.integers(0, 99))
    def test_against_keras_and_the_definition(
        self, kernel, strides, padding, sides, channels, form, seed
    ):
        layer = L.Conv2DTranspose(channels[1], kernel, strides, padding=padding)
        model = single(layer, (*sides, channels[0]), seed)
        lowered = check(model, form, L.Conv2DTranspose)
        x = np.random.default_rng(2).normal(size=(1, *sides, channels[0]))
        weights, bias = layer.get_weights()
        whole = spread(x, weights, strides)
        before = [
            max(k - s, 0) // 2 if padding == "same" else 0
            for k, s in zip(kernel, strides, strict=True)
        ]
        (got,) = answers(lowered, x.astype(np.float32))
        # A kernel smaller than its stride leaves rows that nothing reaches: they are the bias.
        expected = np.zeros(got.shape) + bias
        cut = whole[:, before[0] :, before[1] :][:, : got.shape[1], : got.shape[2]]
        expected[:, : cut.shape[1], : cut.shape[2]] += cut
        np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE)

    @few
    @given(kernels, strides, paddings, sides, phased, st.data())
    def test_output_padding(self, kernel, strides, padding, sides, form, data):
        extra = tuple(data.draw(st.integers(0, s - 1)) for s in strides)
        for n, k, s, more in zip(sides, kernel, strides, extra, strict=True):
            grown = (n - 1) * s + k - (2 * (k // 2) if padding == "same" else 0) + more
            # TensorFlow refuses an output from which its convolution would not come back to n.
            assume(padding == "valid" or -(-grown // s) == n)
        layer = L.Conv2DTranspose(2, kernel, strides, padding=padding, output_padding=extra)
        check(single(layer, (*sides, 2)), form, L.Conv2DTranspose)

    @pytest.mark.parametrize("form", ["joint", "split", "rows"])
    @pytest.mark.parametrize("activation", ["relu", "softmax", "sigmoid"])
    def test_activations(self, form, activation):
        layer = L.Conv2DTranspose(4, 3, 2, padding="same", activation=activation)
        lowered = check(single(layer, (4, 5, 3)), form, L.Conv2DTranspose)
        # One that looks across channels comes behind the interleave.
        assert (kinds(lowered)[-1] == "Activation") == (activation == "softmax")

    def test_split_multiplies_no_zeros(self):
        phases = forms.of_transposed(np.ones((3, 3, 2, 5)), (2, 2), [forms.Reach(8, 0)] * 2)
        assert [part.kernel.shape for part in forms.split(phases)] == [
            (2, 2, 5, 2),
            (2, 1, 5, 2),
            (1, 2, 5, 2),
            (1, 1, 5, 2),
        ]
        assert [part.kernel.shape for part in forms.rows(phases)] == [(2, 2, 5, 4), (1, 2, 5, 4)]
        assert forms.joint(phases).kernel.shape == (2, 2, 5, 8)

    def test_rows_have_four_axes_and_no_shuffle(self):
        layer = L.Conv2DTranspose(4, 4, 2, padding="same")
        lowered = check(single(layer, (4, 5, 3)), "rows", L.Conv2DTranspose)
        assert "DepthToSpace" not in kinds(lowered)
        assert max(len(x.output.shape) for x in lowered.layers) == 4

    def test_a_dilated_one_is_kept_and_said_to_be(self):
        layer = L.Conv2DTranspose(4, 3, 1, padding="same", dilation_rate=2, name="wide")
        image = keras.Input((5, 6, 3))
        _, rewrites = lower_to_form(keras.Model(image, layer(image)), [(1, 5, 6, 3)], form="split")
        assert "wide: kept, it is dilated" in rewrites


class TestNearest:
    @few
    @given(
        kernels,
        strides,
        paddings,
        sides,
        phased,
        st.sampled_from([1, 2, (1, 3)]),
        st.integers(0, 99),
    )
    def test_before_a_convolution(self, kernel, factors, padding, sides, form, dilation, seed):
        image = keras.Input((*sides, 2))
        rates = (dilation, dilation) if isinstance(dilation, int) else dilation
        reach = [(k - 1) * r for k, r in zip(kernel, rates, strict=True)]
        assume(
            padding == "same"
            or all(n * s > r for n, s, r in zip(sides, factors, reach, strict=True))
        )
        x = L.UpSampling2D(factors)(image)
        convolution = L.Conv2D(3, kernel, padding=padding, dilation_rate=dilation)
        model = random_weights(keras.Model(image, convolution(x)), seed)
        lowered = check(model, form, L.UpSampling2D)
        if rates == (1, 1):
            x = np.random.default_rng(2).normal(size=(1, *sides, 2))
            large = x.repeat(factors[0], axis=1).repeat(factors[1], axis=2)
            if padding == "same":
                margins = [((k - 1) // 2, k - 1 - (k - 1) // 2) for k in kernel]
                large = np.pad(large, [(0, 0), *margins, (0, 0)])
            weights, bias = convolution.get_weights()
            (got,) = answers(lowered, x.astype(np.float32))
            np.testing.assert_allclose(got, correlate(large, weights) + bias, rtol=0, atol=CLOSE)

    def test_three_by_three_at_two_is_four_of_two_by_two(self):
        phases = forms.of_nearest(np.ones((3, 3, 2, 5)), (2, 2), (4, 4), "same")
        assert {part.kernel.shape for part in forms.split(phases)} == {(2, 2, 2, 5)}
        corner = forms.split(phases)[0].kernel[..., 0, 0]
        np.testing.assert_array_equal(corner, [[1, 2], [2, 4]])  # one tap, two, and four

    @pytest.mark.parametrize("form", ["concat", "resize"])
    @pytest.mark.parametrize("factors", [(2, 2), (1, 3), (3, 1), (2, 3)])
    def test_standing(self, form, factors):
        check(single(L.UpSampling2D(factors), (3, 4, 2)), form, L.UpSampling2D)

    def test_bilinear_stays(self):
        image = keras.Input((3, 4, 2))
        x = L.UpSampling2D(2, interpolation="bilinear")(image)
        model = random_weights(keras.Model(image, L.Conv2D(2, 3)(x)))
        for form in ("joint", "concat"):
            assert kinds(check(model, form, None)) == ["UpSampling2D", "Conv2D"]

    @pytest.mark.parametrize("convolution", [L.Conv2D(2, 3, strides=2), L.Conv2D(2, 3, groups=2)])
    def test_what_does_not_fold(self, convolution):
        image = keras.Input((3, 4, 2))
        model = random_weights(keras.Model(image, convolution(L.UpSampling2D(2)(image))))
        assert kinds(check(model, "split", None)) == ["UpSampling2D", "Conv2D"]

    def test_not_where_others_read_the_large_map(self):
        image = keras.Input((3, 4, 2))
        x = L.UpSampling2D(2)(image)
        model = keras.Model(image, L.Add()([x, L.Conv2D(2, 3, padding="same")(x)]))
        assert "UpSampling2D" in kinds(check(random_weights(model), "split", None))


class TestDepthwise:
    @few
    @given(kernels, strides, sides, st.sampled_from(["split", "rows"]), st.integers(0, 99))
    def test_separable_transposed(self, kernel, strides, sides, form, seed):
        layer = layers.DepthwiseConvTranspose(kernel, strides)
        check(single(layer, (*sides, 3), seed), form, layers.DepthwiseConvTranspose)

    @few
    @given(
        kernel=kernels,
        strides=strides,
        padding=paddings,
        sides=sides,
        product=st.booleans(),
        bias=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_diagonal(self, kernel, strides, padding, sides, product, bias, seed):
        layer = L.Conv2DTranspose(3, kernel, strides, padding=padding, use_bias=bias)
        model = single(layer, (*sides, 3), seed)
        weights = layer.get_weights()
        if product:
            column, row = weights[0][:, :1, 0, :], weights[0][:1, :, 1, :]
            weights[0] = (column * row)[..., None] * np.ones(3)
        weights[0] = weights[0] * np.eye(3)
        layer.set_weights(weights)
        lowered = check(model, "diagonal", L.Conv2DTranspose)
        assert "Conv2D" not in kinds(lowered)

    def test_a_product_goes_along_one_axis_after_the_other(self):
        layer = L.Conv2DTranspose(3, 16, 8, kernel_initializer=layers.BilinearKernel())
        image = keras.Input((3, 4, 3))
        lowered = check(keras.Model(image, layer(image)), "diagonal", L.Conv2DTranspose)
        assert kinds(lowered).count("DepthwiseConv2D") == 16  # not 64

    def test_channels_that_are_mixed(self):
        layer = L.Conv2DTranspose(3, 4, 2)
        assert kinds(check(single(layer, (3, 4, 3)), "diagonal", None)) == ["Conv2DTranspose"]

    @pytest.mark.parametrize(("margin", "resized"), [(8, True), (9, True), (7, False)])
    def test_bilinear_with_its_borders_cropped_is_a_resize(self, margin, resized):
        layer = L.Conv2DTranspose(3, 16, 8, kernel_initializer=layers.BilinearKernel())
        image = keras.Input((4, 5, 3))
        model = keras.Model(image, L.Cropping2D(margin)(layer(image)))
        gone = L.Conv2DTranspose if resized else None
        assert kinds(check(model, "resize", gone))[0] == (
            "UpSampling2D" if resized else "Conv2DTranspose"
        )

    def test_another_kernel_is_no_resize(self):
        layer = L.Conv2DTranspose(1, 16, 8)
        image = keras.Input((4, 5, 1))
        model = random_weights(keras.Model(image, L.Cropping2D(8)(layer(image))))
        assert kinds(check(model, "resize", None))[0] == "Conv2DTranspose"


class TestShuffle:
    blocks = pytest.mark.parametrize("block", [(2, 2), (3, 1), (1, 3), (2, 3)])

    @blocks
    @pytest.mark.parametrize("form", ["rows", "transposed"])
    @pytest.mark.parametrize("convolved", [True, False])
    def test_against_keras(self, block, form, convolved):
        image = keras.Input((4, 5, 12))
        x = L.Conv2D(12, 3, activation="relu")(image) if convolved else image
        model = random_weights(keras.Model(image, layers.DepthToSpace(block)(x)))
        lowered = check(model, form, layers.DepthToSpace)
        assert max(len(x.output.shape) for x in lowered.layers) == 4
        assert "SliceChannels" not in kinds(lowered) or not convolved

    def test_a_convolution_that_others_read_is_not_cut(self):
        image = keras.Input((4, 5, 12))
        x = L.Conv2D(12, 3, name="read")(image)
        model = random_weights(keras.Model(image, [layers.DepthToSpace(2)(x), x]))
        lowered = check(model, "rows", layers.DepthToSpace)
        assert kinds(lowered).count("Conv2D") == 1


class TestLeastWork:
    @pytest.mark.parametrize(
        ("layer", "form"),
        [
            (L.Conv2DTranspose(32, 2, 2), "joint"),  # all phases read one pixel
            (
                L.Conv2DTranspose(32, 3, 2, padding="same"),
                "split",
            ),  # joint: 16/9 of the multiplications
            (L.Conv2DTranspose(1, 9, 3), "joint"),  # nine phases fit one tile
        ],
    )
    def test_picks(self, layer, form):
        from kerasdeconv.export.lowering import FAMILIES, fix_shapes
        from kerasdeconv.export.lowering.rewrites import choose
        from kerasdeconv.graph import read

        image = keras.Input((8, 8, 16))
        graph = read(keras.Model(image, layer(image)))
        fix_shapes(graph, [(1, 8, 8, 16)])
        picked = []

        def pick(site):
            picked.append(least_work(16)(site))
            return picked[-1]

        choose(graph, FAMILIES, lambda family, node: ("joint", "split", "keep"), pick)
        assert picked[0] == form
