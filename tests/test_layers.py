"""Building blocks against slow NumPy oracles, Keras, and TensorFlow."""

from __future__ import annotations

import itertools
import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import layers
from kerasdeconv.layers.polyphase import phase_kernels, phase_taps, same_crop

# Sums of a few hundred products of numbers around 1 in float32: errors of some 1e-6.
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def numpy(tensor) -> np.ndarray:
    return keras.ops.convert_to_numpy(tensor)


def reloaded(layer, x):
    """The layer as a saved model brings it back, with its weights."""
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    if not copy.built:
        copy.build(x.shape)
    copy.set_weights(layer.get_weights())
    return copy


def scattered(x: np.ndarray, kernel: np.ndarray, strides: tuple[int, ...]) -> np.ndarray:
    """Transposed convolution by definition: each input pixel stamps the kernel on the output.

    x: N x sides x in; kernel: k1 x ... x out x in. Nothing is cropped.
    """
    rank = len(strides)
    sizes, outputs = kernel.shape[:rank], kernel.shape[rank]
    sides = [(n - 1) * s + k for n, s, k in zip(x.shape[1:-1], strides, sizes, strict=True)]
    result = np.zeros((len(x), *sides, outputs))
    for place in np.ndindex(*x.shape[1:-1]):
        stamp = np.einsum("...oi,ni->n...o", kernel, x[(slice(None), *place)])
        window = [slice(p * s, p * s + k) for p, s, k in zip(place, strides, sizes, strict=True)]
        result[(slice(None), *window)] += stamp
    return result


def cropped(full: np.ndarray, before: list[int], sides: list[int]) -> np.ndarray:
    """Cuts an output; where "same" asks for more than there is (kernel < stride), zeros follow."""
    margins = [max(b + s - n, 0) for b, s, n in zip(before, sides, full.shape[1:-1], strict=True)]
    full = np.pad(full, [(0, 0), *((0, m) for m in margins), (0, 0)])
    window = tuple(slice(b, b + s) for b, s in zip(before, sides, strict=True))
    return full[(slice(None), *window)]


def by_phases(
    x: np.ndarray, kernel: np.ndarray, strides: tuple[int, ...], before: list[int], sides: list[int]
) -> np.ndarray:
    """The same by `polyphase`: one ordinary convolution a phase, results interleaved."""
    rank = len(strides)
    axes = [phase_taps(*a) for a in zip(kernel.shape, strides, before, strict=False)]
    kernels = phase_kernels(kernel, axes)
    supports = kernels.shape[rank : 2 * rank]
    blocks = [math.ceil(n / s) for n, s in zip(sides, strides, strict=True)]
    # Input q + first + j is at place q + j when `first` more zeros stand in front.
    margin = 2 * max(kernel.shape[:rank])
    padded = np.pad(x, [(0, 0), *[(margin, margin + n) for n in blocks], (0, 0)])
    whole = [n * s for n, s in zip(blocks, strides, strict=True)]
    result = np.zeros((len(x), *whole, kernel.shape[rank]))
    for phase in np.ndindex(*strides):
        part = 0.0
        for tap in np.ndindex(*supports):
            begin = [margin + a.first + t for a, t in zip(axes, tap, strict=True)]
            window = tuple(slice(b, b + n) for b, n in zip(begin, blocks, strict=True))
            part = part + padded[(slice(None), *window)] @ kernels[(*phase, *tap)].T
        places = tuple(slice(p, None, s) for p, s in zip(phase, strides, strict=True))
        result[(slice(None), *places)] = part
    return result[(slice(None), *(slice(n) for n in sides))]


@st.composite
def transposed(draw: st.DrawFn, ranks: tuple[int, ...] = (1, 2, 3)) -> tuple:
    """An input, a kernel and strides; kernels smaller than the stride and unequal ones too."""
    rank = draw(st.sampled_from(ranks))
    most = {1: (7, 5, 6), 2: (5, 4, 4), 3: (4, 3, 3)}[rank]
    kernel, strides, sides = (
        tuple(draw(st.integers(1, limit)) for _ in range(rank)) for limit in most
    )
    seed = draw(st.integers(0, 2**16))
    return normal(2, *sides, 3, seed=seed), normal(*kernel, 2, 3, seed=seed + 1), strides


class TestPolyphase:
    @settings(deadline=None, max_examples=60)
    @given(case=transposed(), data=st.data())
    def test_any_crop_against_the_definition(self, case, data):
        x, kernel, strides = case
        full = scattered(x, kernel, strides)
        before = [data.draw(st.integers(0, k - 1)) for k in kernel.shape[: len(strides)]]
        sides = [n - b for n, b in zip(full.shape[1:-1], before, strict=True)]
        got = by_phases(x, kernel, strides, before, sides)
        np.testing.assert_allclose(got, cropped(full, before, sides), **CLOSE)

    @pytest.mark.parametrize("padding", ["same", "valid"])
    @settings(deadline=None, max_examples=40)
    @given(case=transposed((2, 3)))
    def test_against_keras(self, padding, case):
        x, kernel, strides = case
        expected = numpy(keras.ops.conv_transpose(x, kernel, strides, padding))
        sizes = kernel.shape[: len(strides)]
        before = [0] * len(strides)
        if padding == "same":
            before = [same_crop(k, s) for k, s in zip(sizes, strides, strict=True)]
        sides = list(expected.shape[1:-1])
        np.testing.assert_allclose(by_phases(x, kernel, strides, before, sides), expected, **CLOSE)
        full = cropped(scattered(x, kernel, strides), before, sides)
        np.testing.assert_allclose(full, expected, **CLOSE)

    def test_every_tap_is_used_once(self):
        for kernel, stride in itertools.product(range(1, 12), range(1, 6)):
            for before in range(kernel):
                taps = phase_taps(kernel, stride, before).taps
                assert sorted(taps[taps < kernel]) == list(range(kernel))
                # No offset is there in vain.
                assert (taps < kernel).any(axis=0)[[0, -1]].all() or kernel < stride

    def test_known_taps(self):
        """Kernel 4, stride 2, "same": the two phases that every textbook draws."""
        taps, first = phase_taps(4, 2, same_crop(4, 2))
        assert first == -1
        np.testing.assert_array_equal(taps, [[3, 1, 4], [4, 2, 0]])  # 4 stands for none


class TestDepthwiseConvTranspose:
    @settings(deadline=None, max_examples=40)
    @given(case=transposed((2, 3)))
    def test_is_a_transposed_convolution_with_a_diagonal_kernel(self, case):
        x, kernel, strides = case
        layer = layers.DepthwiseConvTranspose(kernel.shape[:-2], strides)
        layer.build(x.shape)
        layer.kernel.assign(kernel[..., 0, :])
        full = kernel[..., :1, :] * np.eye(3, dtype=np.float32)  # k1 x ... x out x in
        expected = numpy(keras.ops.conv_transpose(x, full, strides, "same"))
        got = layer(x)
        assert layer.compute_output_shape(x.shape) == expected.shape
        np.testing.assert_allclose(numpy(got), expected, **CLOSE)

    @pytest.mark.parametrize("sides", [(5, 4), (3, 5, 4)], ids=["2d", "3d"])
    def test_free_sides_and_serialization(self, sides):
        free = keras.Input((*[None] * len(sides), 3))
        layer = layers.DepthwiseConvTranspose(4, 2, "he_normal", name="up")
        model = keras.Model(free, layer(free))
        assert model.output_shape == (None, *[None] * len(sides), 3)
        x = normal(2, *sides, 3)
        expected = numpy(layer(x))
        np.testing.assert_allclose(model.predict(x, verbose=0), expected, **CLOSE)
        copy = reloaded(layer, x)
        assert copy.get_config() == layer.get_config()
        np.testing.assert_array_equal(numpy(copy(x)), expected)

    def test_wrong_number_of_strides(self):
        with pytest.raises(ValueError, match=r"Give one number, or 2.*Received: \(2, 2, 2\)$"):
            layers.DepthwiseConvTranspose(4, (2, 2, 2)).build((None, 8, 8, 3))


def linear(x: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    """Linear upsampling by definition: pixel centres at half integers, borders repeated."""
    for axis, factor in enumerate(factors, start=1):
        length = x.shape[axis]
        place = np.clip((np.arange(length * factor) + 0.5) / factor - 0.5, 0, length - 1)
        below = np.floor(place).astype(int)
        above = np.minimum(below + 1, length - 1)
        share = (place - below).reshape([-1 if a == axis else 1 for a in range(x.ndim)])
        x = np.take(x, below, axis) * (1 - share) + np.take(x, above, axis) * share
    return x


class TestLinearUpsampling:
    @settings(deadline=None, max_examples=40)
    @given(
        axes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 4)), min_size=2, max_size=3),
        seed=st.integers(0, 99),
    )
    def test_against_the_definition(self, axes, seed):
        sides, factors = zip(*axes, strict=True)
        x = normal(2, *sides, 3, seed=seed)
        got = numpy(layers.LinearUpsampling(factors)(x))
        np.testing.assert_allclose(got, linear(x, factors), **CLOSE)

    @pytest.mark.parametrize("factors", [2, 3, (2, 3), (4, 1)])
    def test_is_bilinear_in_2d(self, factors):
        x = normal(2, 4, 5, 3)
        expected = keras.layers.UpSampling2D(factors, interpolation="bilinear")(x)
        got = layers.LinearUpsampling(factors)(x)
        np.testing.assert_allclose(numpy(got), numpy(expected), **CLOSE)

    def test_keras_own_layer_in_2d_ours_in_3d(self):
        for sides, kind in [
            ((4, 4), keras.layers.UpSampling2D),
            ((4, 4, 4), layers.LinearUpsampling),
        ]:
            x = keras.Input((*sides, 3))
            model = keras.Model(x, layers.linear_upsample(x, 2, name="up"))
            assert type(model.get_layer("up")) is kind
            values = normal(1, *sides, 3)
            expected = linear(values, (2,) * len(sides))
            np.testing.assert_allclose(model.predict(values, verbose=0), expected, **CLOSE)

    def test_free_sides_and_serialization(self):
        layer = layers.LinearUpsampling((1, 2, 3))
        free = keras.Input((None, None, None, 2))
        assert layer(free).shape == (None, None, None, None, 2)
        x = normal(1, 2, 3, 4, 2)
        assert layer.compute_output_shape(x.shape) == layer(x).shape == (1, 2, 6, 12, 2)
        np.testing.assert_array_equal(numpy(reloaded(layer, x)(x)), numpy(layer(x)))


def interleaved(x: np.ndarray, block: tuple[int, ...]) -> np.ndarray:
    """Depth to space by definition: channel (phase, c) goes to that phase's pixels."""
    channels = x.shape[-1] // math.prod(block)
    sides = [n * s for n, s in zip(x.shape[1:-1], block, strict=True)]
    result = np.zeros((len(x), *sides, channels), x.dtype)
    for number, phase in enumerate(np.ndindex(*block)):
        pixels = tuple(slice(p, None, s) for p, s in zip(phase, block, strict=True))
        part = x[..., number * channels : (number + 1) * channels]
        result[(slice(None), *pixels)] = part
    return result


class TestDepthToSpace:
    @pytest.mark.parametrize(
        "block", [(2, 2), (3, 3), (1, 1), (1, 2), (3, 2), (2, 2, 2), (1, 2, 3), (2, 1, 1)]
    )
    def test_against_the_definition(self, block):
        x = normal(2, *range(3, 3 + len(block)), 2 * math.prod(block))
        layer = layers.DepthToSpace(block)
        expected = interleaved(x, block)
        assert layer.compute_output_shape(x.shape) == expected.shape
        np.testing.assert_array_equal(numpy(layer(x)), expected)
        np.testing.assert_array_equal(numpy(reloaded(layer, x)(x)), expected)

    @pytest.mark.parametrize("block", [2, 3])
    def test_is_tensorflows(self, block):
        x = normal(2, 3, 4, 2 * block**2)
        expected = tf.nn.depth_to_space(x, block).numpy()
        np.testing.assert_array_equal(numpy(layers.DepthToSpace(block)(x)), expected)

    def test_free_sides(self):
        x = keras.Input((None, None, None, 16))
        model = keras.Model(x, layers.DepthToSpace(2)(x))
        assert model.output_shape == (None, None, None, None, 2)
        values = normal(1, 2, 3, 4, 16)
        expected = interleaved(values, (2, 2, 2))
        np.testing.assert_array_equal(model.predict(values, verbose=0), expected)

    def test_channels_that_do_not_divide(self):
        with pytest.raises(ValueError, match=r"must be a multiple of 4\. Received: 6$"):
            layers.DepthToSpace(2).compute_output_shape((None, 4, 4, 6))
        with pytest.raises(ValueError, match="multiple of 8"):
            layers.DepthToSpace(2)(keras.Input((4, 4, 4, 12)))


class TestInitializers:
    @pytest.mark.parametrize("sides", [(4, 5), (3, 4, 5)], ids=["2d", "3d"])
    def test_icnr_starts_as_nearest_neighbour(self, sides):
        x = keras.Input((*sides, 3))
        model = keras.Model(x, layers.upsample(x, 4, factor=2, method="subpixel", name="up"))
        y = model.predict(normal(2, *sides, 3), verbose=0)
        corner = y[(slice(None), *[slice(None, None, 2)] * len(sides))]
        nearest = corner
        for axis in range(1, 1 + len(sides)):
            nearest = nearest.repeat(2, axis=axis)
        assert np.ptp(corner) > 0.1
        np.testing.assert_allclose(y, nearest, **CLOSE)

    def test_icnr_keeps_the_distinct_kernels_start(self):
        keras.utils.set_random_seed(0)
        kernel = numpy(layers.ICNR(4, "he_normal")((3, 3, 64, 4 * 32)))
        np.testing.assert_array_equal(kernel[..., :32], kernel[..., 96:])
        # 3 x 3 x 64 inputs; 18,432 draws give the deviation to half a percent.
        assert kernel.std() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.03)

    def test_icnr_with_other_channels(self):
        with pytest.raises(ValueError, match=r"multiple of 4\. Received: 6$"):
            layers.ICNR(4)((3, 3, 2, 6))

    @pytest.mark.parametrize(
        ("size", "tent"),
        [
            (2, [0.5, 0.5]),
            (3, [0.5, 1.0, 0.5]),
            (4, [0.25, 0.75, 0.75, 0.25]),
            (6, np.array([1, 3, 5, 5, 3, 1]) / 6),
        ],
    )
    def test_bilinear_values(self, size, tent):
        kernel = numpy(layers.BilinearKernel()((size, size, 2, 2)))
        np.testing.assert_allclose(kernel[..., 0, 0], np.outer(tent, tent), atol=1e-7)
        np.testing.assert_array_equal(kernel[..., 0, 0], kernel[..., 1, 1])
        assert not kernel[..., 0, 1].any() and not kernel[..., 1, 0].any()

    @pytest.mark.parametrize("rank", [2, 3])
    @pytest.mark.parametrize("stride", [2, 3, 4])
    def test_bilinear_is_linear_upsampling_inside(self, rank, stride):
        size = 2 * stride - stride % 2  # Long et al.'s kernel for a factor
        sides = (5,) * rank
        layer = layers.of_rank("Conv{}DTranspose", rank)(
            2, size, stride, "same", use_bias=False, kernel_initializer=layers.BilinearKernel()
        )
        inside = (slice(None), *[slice(stride, -stride)] * rank)
        constant = numpy(layer(np.ones((1, *sides, 2), np.float32)))
        np.testing.assert_allclose(constant[inside], 1.0, atol=1e-6)
        x = normal(1, *sides, 2)
        np.testing.assert_allclose(
            numpy(layer(x))[inside], linear(x, (stride,) * rank)[inside], **CLOSE
        )

    @pytest.mark.parametrize("initializer", [layers.ICNR(4, "zeros"), layers.BilinearKernel()])
    def test_serialization(self, initializer):
        config = keras.initializers.serialize(initializer)
        copy = keras.initializers.get(config)
        assert type(copy) is type(initializer)
        shape = (4, 4, 4, 4)
        np.testing.assert_array_equal(numpy(copy(shape)), numpy(initializer(shape)))


class TestCropLike:
    @pytest.mark.parametrize(("sides", "target"), [((9, 8), (5, 8)), ((6, 7, 8), (2, 1, 4))])
    def test_takes_the_middle(self, sides, target):
        x = normal(2, *sides, 3)
        got = layers.CropLike()([x, normal(2, *target, 5)])
        window = [slice((a - b) // 2, (a + b) // 2) for a, b in zip(sides, target, strict=True)]
        np.testing.assert_array_equal(numpy(got), x[(slice(None), *window)])

    @pytest.mark.parametrize("target", [(7, 8), (12, 8), (10, 9)])
    def test_refuses_what_is_uneven_or_too_small(self, target):
        layer = layers.CropLike(name="crop")
        message = rf"A map of \(10, 8\) cannot be cropped evenly to \({target[0]}, {target[1]}\)"
        with pytest.raises(ValueError, match=rf"^{message}.*Received: crop$"):
            layer.compute_output_shape([(None, 10, 8, 1), (None, *target, 1)])
        with pytest.raises(ValueError, match=message):  # Keras adds lines of its own
            layer([normal(1, 10, 8, 1), normal(1, *target, 1)])

    def test_free_sides(self):
        """What is uneven at run time must not be cropped half a pixel off in silence."""
        sources, likes = keras.Input((None, None, 2)), keras.Input((None, None, 1))
        cropped_ = layers.CropLike(name="crop")([sources, likes])
        model = keras.Model([sources, likes], keras.layers.Concatenate()([cropped_, likes]))
        run = tf.function(model, input_signature=[[
            tf.TensorSpec((None, None, None, channels)) for channels in (2, 1)
        ]])  # fmt: skip
        x, y = normal(1, 10, 9, 2), normal(1, 6, 3, 1)
        np.testing.assert_array_equal(run([x, y])[..., :2], x[:, 2:-2, 3:-3])
        with pytest.raises(tf.errors.InvalidArgumentError):
            run([x, normal(1, 6, 4, 1)])

    def test_serialization(self):
        layer = layers.CropLike(name="crop")
        assert layers.CropLike.from_config(layer.get_config()).name == "crop"


METHODS = layers.UPSAMPLING_METHODS


class TestUpsample:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize(
        ("sides", "factor"),
        [((4, 6), 2), ((4, 6), (1, 3)), ((4, 6), 4), ((2, 3, 4), 2), ((2, 3, 4), (1, 2, 2))],
        ids=str,
    )
    def test_shape_bias_activation_and_serialization(self, method, sides, factor):
        x = keras.Input((*[None] * len(sides), 3))
        y = layers.upsample(x, 5, factor=factor, method=method, activation="relu", name="up")
        model = keras.Model(x, y)
        values = normal(2, *sides, 3)
        got = numpy(model(values))
        factors = layers.per_axis(factor, len(sides))
        grown = tuple(n * s for n, s in zip(sides, factors, strict=True))
        assert got.shape == (2, *grown, 5)
        assert got.min() == 0.0 < got.max()
        assert all(layer.name.startswith("up") for layer in model.layers[1:])
        assert sum("bias" in v.path for v in model.weights) == 1
        copy = keras.Model.from_config(model.get_config())
        copy.set_weights(model.get_weights())
        np.testing.assert_array_equal(numpy(copy(values)), got)

    @pytest.mark.parametrize(
        ("method", "kernel"),
        [
            ("transpose", (2, 3, 4, 3)),
            ("separable_transpose", (4, 6, 3)),
            ("resize_nearest", (3, 3, 3, 4)),
            ("resize_bilinear", (3, 3, 3, 4)),
            ("subpixel", (3, 3, 3, 4 * 6)),
        ],
    )
    def test_default_kernels(self, method, kernel):
        x = keras.Input((4, 4, 3))
        y = layers.upsample(x, 4, factor=(2, 3), method=method, use_bias=False, name="up")
        shapes = [tuple(v.shape) for v in keras.Model(x, y).weights]
        assert shapes[0] == kernel
        assert shapes[1:] == ([(1, 1, 3, 4)] if method == "separable_transpose" else [])

    @pytest.mark.parametrize("method", METHODS)
    def test_own_kernel_and_initializer(self, method):
        x = keras.Input((4, 4, 3))
        y = layers.upsample(
            x, 4, method=method, kernel_size=5, kernel_initializer="ones", name="up"
        )
        kernels = [v for v in keras.Model(x, y).weights if "kernel" in v.path]
        assert tuple(kernels[0].shape[:2]) == (5, 5)
        np.testing.assert_array_equal(kernels[-1].numpy(), 1.0)

    def test_methods_do_what_their_names_say(self):
        """With a kernel that passes the middle through, resize-convolutions are the resizes."""
        x = normal(1, 4, 5, 1)
        for method, expected in [
            ("resize_nearest", x.repeat(2, 1).repeat(2, 2)),
            ("resize_bilinear", linear(x, (2, 2))),
        ]:
            free = keras.Input((4, 5, 1))
            y = layers.upsample(
                free, 1, method=method, kernel_size=1, kernel_initializer="ones", name="up"
            )
            np.testing.assert_allclose(numpy(keras.Model(free, y)(x)), expected, **CLOSE)

    def test_mistakes(self):
        x = keras.Input((4, 4, 3))
        with pytest.raises(ValueError, match=r"Did you mean 'subpixel'\? Received: 'subpixels'$"):
            layers.upsample(x, 4, method="subpixels", name="up")
        with pytest.raises(ValueError, match=r"2, one for each axis\. Received: \(2, 2, 2\)$"):
            layers.upsample(x, 4, factor=(2, 2, 2), name="up")


class TestBlocks:
    @pytest.mark.parametrize(("channels", "groups"), [(64, 8), (256, 32), (24, 3), (12, 1), (7, 1)])
    def test_groups_have_8_channels_or_more(self, channels, groups):
        x = keras.Input((4, 4, channels))
        model = keras.Model(x, layers.normalize(x, "group", "norm"))
        assert model.get_layer("norm").groups == groups

    @pytest.mark.parametrize("sides", [(6, 8), (4, 6, 8)], ids=["2d", "3d"])
    def test_instance_norm_is_per_picture_and_channel(self, sides):
        x = keras.Input((*sides, 4))
        y = keras.Model(x, layers.normalize(x, "instance", "norm")).predict(
            3 + 5 * normal(2, *sides, 4), verbose=0
        )
        axes = tuple(range(1, 1 + len(sides)))
        np.testing.assert_allclose(y.mean(axis=axes), 0, atol=1e-4)
        np.testing.assert_allclose(y.std(axis=axes), 1, atol=1e-3)

    def test_unknown_norm(self):
        with pytest.raises(
            ValueError, match=r"'batch', 'group', 'instance'\)\. Received: 'layer'$"
        ):
            layers.normalize(keras.Input((4, 4, 3)), "layer", "norm")

    @pytest.mark.parametrize("norm", [None, "batch"])
    def test_bias_only_without_a_norm(self, norm):
        x = keras.Input((4, 4, 3))
        model = keras.Model(x, layers.conv_norm_activation(x, 4, norm=norm, name="a"))
        assert model.get_layer("a_conv").use_bias is (norm is None)

    def test_residual_block_with_zero_weights_is_its_shortcut(self):
        x = keras.Input((6, 6, 4))
        y = layers.residual_block(x, 4, padding="same", norm=None, activation="relu", name="block")
        model = keras.Model(x, y)
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        values = normal(1, 6, 6, 4)
        np.testing.assert_array_equal(model.predict(values, verbose=0), np.maximum(values, 0))

    @pytest.mark.parametrize("sides", [(8, 6), (4, 8, 6)], ids=["2d", "3d"])
    def test_attention_gate_weighs_each_position(self, sides):
        skip = keras.Input((*sides, 4))
        gate = keras.Input((*[n // 2 for n in sides], 6))
        model = keras.Model([skip, gate], layers.attention_gate(skip, gate, name="gate"))
        a, b = normal(1, *sides, 4), normal(1, *[n // 2 for n in sides], 6, seed=1)
        share = model.predict([a, b], verbose=0) / a
        np.testing.assert_allclose(share, np.broadcast_to(share[..., :1], a.shape), rtol=1e-4)
        assert 0 < share.min() < share.max() < 1
        # Weights of zero let half of everything through.
        model.set_weights([np.zeros_like(w) for w in model.get_weights()])
        np.testing.assert_allclose(model.predict([a, b], verbose=0), a / 2, **CLOSE)


class TestRanks:
    def test_names(self):
        assert layers.of_rank("Conv{}DTranspose", 3) is keras.layers.Conv3DTranspose

    def test_per_axis(self):
        assert layers.per_axis(2, 3) == (2, 2, 2)
        assert layers.per_axis((1, 2), 2) == (1, 2)
        with pytest.raises(ValueError, match=r"or 3, one for each axis\. Received: \(1, 2\)$"):
            layers.per_axis((1, 2), 3)


class TestReflectPadding:
    @pytest.mark.parametrize("sides", [(5, 6), (4, 5, 6)])
    def test_against_numpy(self, sides):
        maps = np.random.default_rng(0).normal(size=(2, *sides, 3)).astype(np.float32)
        margins = [(0, 0), *[(3, 3)] * len(sides), (0, 0)]
        padded = layers.ReflectPadding(3)(maps).numpy()
        np.testing.assert_array_equal(padded, np.pad(maps, margins, mode="reflect"))

    def test_a_map_that_is_too_small(self):
        with pytest.raises(ValueError, match=r"Sides must be more than 4 .* Received: \(4, 9\)"):
            layers.ReflectPadding(4)(np.zeros((1, 4, 9, 1)))
