"""FCN's golden numbers (Long et al. 2015), its crops, and its other encoders."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from kerasdeconv import layers, models, zoo

BUILDERS = {32: models.FCN32s, 16: models.FCN16s, 8: models.FCN8s}
every_stride = pytest.mark.parametrize("stride", BUILDERS)

# 21 classes: all parameters, counted layer by layer, and those of the last transposed convolution,
# which the paper does not train.
PARAMETERS = {32: (136_152_917, 64), 16: (134_815_994, 32), 8: (134_489_759, 16)}


def weightless(stride: int, *args, **kwargs) -> keras.Model:
    """A network whose variables have shapes and no values: full size costs nothing."""
    with keras.StatelessScope(initialize_variables=False):
        return BUILDERS[stride](*args, **kwargs)


def narrow(stride: int, *args, **kwargs) -> keras.Model:
    return BUILDERS[stride](*args, **{"width": 4, "fc_width": 8, **kwargs})


def count(weights: list) -> int:
    return sum(math.prod(v.shape) for v in weights)


def crops(model: keras.Model) -> list[int | None]:
    return [layer.offset for layer in model.layers if isinstance(layer, layers.CropLike)]


class TestThePapersNetwork:
    @every_stride
    def test_parameters(self, stride):
        total, kernel = PARAMETERS[stride]
        model = weightless(stride)
        assert count(model.weights) == total
        assert count(model.trainable_weights) == total - kernel**2 * 21**2
        assert count(weightless(stride, train_upsampling=True).trainable_weights) == total
        fixed = weightless(stride, train_upsampling=False)
        transposed = [v for v in model.weights if "upsample" in v.path]
        assert count(fixed.trainable_weights) == total - count(transposed)

    @every_stride
    def test_convolutions(self, stride):
        model = weightless(stride)
        kinds = keras.layers.Conv2D, keras.layers.Conv2DTranspose
        convolutions = [x for x in model.layers if isinstance(x, keras.layers.Conv2D)]
        assert [(x.filters, *x.kernel_size, x.padding) for x in convolutions[:16]] == [
            *[(n, 3, 3, "same") for n in (64, 64, 128, 128, 256, 256, 256, *[512] * 6)],
            (4096, 7, 7, "valid"),
            (4096, 1, 1, "valid"),
            (21, 1, 1, "valid"),
        ]
        assert {(x.filters, x.kernel_size) for x in convolutions[15:]} == {(21, (1, 1))}
        transposed = [x for x in model.layers if isinstance(x, kinds[1])]
        assert [(*x.kernel_size, *x.strides) for x in transposed] == {
            32: [(64, 64, 32, 32)],
            16: [(4, 4, 2, 2), (32, 32, 16, 16)],
            8: [(4, 4, 2, 2), (4, 4, 2, 2), (16, 16, 8, 8)],
        }[stride]
        assert not any(x.use_bias or x.padding == "same" for x in transposed)
        dropped = [x.rate for x in model.layers if isinstance(x, keras.layers.Dropout)]
        assert dropped == [0.5, 0.5]

    @every_stride
    def test_crops(self, stride):
        assert crops(weightless(stride)) == {32: [19], 16: [5, 27], 8: [5, 9, 31]}[stride]

    @pytest.mark.parametrize("side", [1, 26, 27, 100, 224, 375, 500, 511])
    def test_sizes_of_caffe(self, side):
        """Caffe's rules: 100 pixels of padding, poolings that round up, the crops."""
        model = weightless(8, (side, 2 * side, 3), width=2, fc_width=2)
        expected = side + 2 * 100 - 2
        for level in range(5):
            expected = math.ceil(expected / 2)
            pool = model.get_layer(f"encoder_{level}_pool").output
            assert pool.shape[1] == expected, level
        score = expected - 6
        assert model.get_layer("score_32").output.shape[1] == score
        finer = 2 * score + 2
        assert model.get_layer("upsample_16").output.shape[1] == finer
        assert model.get_layer("upsample_8").output.shape[1] == 2 * finer + 2
        assert model.get_layer("upsample_1").output.shape[1] == 8 * (2 * finer + 2) + 8
        assert model.output_shape == (None, side, 2 * side, 21)

    @every_stride
    @pytest.mark.parametrize("upsample", ["transpose", "resize_nearest", "resize_bilinear"])
    def test_a_mirrored_network_sees_mirrored_pictures(self, stride, upsample):
        """So padding, poolings and crops lie evenly about a picture, where poolings drop nothing.

        A crop that is one pixel off breaks it. 26 + 198 is a multiple of 32.
        """
        # The start of the scores hides all but the coarsest: give each a weight of its own.
        model = narrow(stride, (26, 58, 3), 2, upsample=upsample, head_activation=None)
        mirror = keras.models.clone_model(model)
        rng = np.random.default_rng(0)
        for variable, mirrored in zip(model.weights, mirror.weights, strict=True):
            fans = math.prod(variable.shape[:-1]) if len(variable.shape) == 4 else 1
            value = rng.normal(size=variable.shape) * math.sqrt(2 / fans)
            variable.assign(value)
            mirrored.assign(value[::-1, ::-1] if value.ndim == 4 else value)
        x = rng.uniform(0, 255, (1, 26, 58, 3)).astype(np.float32)
        answer = model(x).numpy()
        assert np.ptp(answer) > 0
        # The same products in another order of sums, over some twenty layers.
        np.testing.assert_allclose(
            mirror(x[:, ::-1, ::-1])[:, ::-1, ::-1], answer, rtol=0, atol=1e-4 * np.ptp(answer)
        )

    def test_starts_as_bilinear_interpolation_of_the_scores(self):
        model = narrow(32, (90, 90, 3), 3, head_activation=None)
        scores = keras.Model(model.input, model.get_layer("score_32").output)
        x = np.random.default_rng(0).uniform(0, 255, (1, 90, 90, 3)).astype(np.float32)
        coarse = scores(x)
        assert coarse.shape == (1, 3, 3, 3)
        # Pixel p of the whole map is 19 more in the uncropped one and 3 more in the resized one.
        resized = keras.layers.UpSampling2D(32, interpolation="bilinear")(coarse).numpy()
        inner = slice(13, 77)  # between the centres of the first and the last score
        np.testing.assert_allclose(
            model(x)[:, inner, inner], resized[:, 16:80, 16:80], rtol=1e-4, atol=1e-5
        )

    def test_pixels_lose_imagenets_mean_before_the_padding(self):
        """So the padding is the mean colour, as in the paper."""
        model = narrow(8, (4, 4, 3))
        padded = keras.Model(model.input, model.get_layer("pad").output)
        grey = np.full((1, 4, 4, 3), (123.68, 116.779, 103.939), np.float32)
        np.testing.assert_allclose(padded(grey), np.zeros((1, 202, 202, 3)), atol=1e-4)

    @pytest.mark.slow
    @every_stride
    def test_it_runs(self, stride):
        model = BUILDERS[stride]((224, 224, 3))
        assert model.count_params() == PARAMETERS[stride][0]
        answer = model.predict(np.zeros((1, 224, 224, 3), np.float32), verbose=0)
        np.testing.assert_allclose(answer.sum(axis=-1), 1.0, atol=1e-5)


class TestUpsampling:
    @pytest.mark.parametrize(
        ("trained", "expected"),
        [
            ("intermediate", [True, True, False]),
            (True, [True, True, True]),
            (False, [False, False, False]),
        ],
    )
    def test_what_is_trained(self, trained, expected):
        model = weightless(8, train_upsampling=trained)
        names = ["upsample_16", "upsample_8", "upsample_1"]
        assert [model.get_layer(name).trainable for name in names] == expected
        inner = weightless(8, train_upsampling=trained, encoder="small")
        assert [inner.get_layer(name).trainable for name in names] == expected

    @every_stride
    @pytest.mark.parametrize("upsample", layers.UPSAMPLING_METHODS[1:])
    def test_any_other_method_keeps_the_size(self, stride, upsample):
        model = weightless(stride, (45, 77, 3), 2, upsample=upsample, width=2, fc_width=2)
        assert model.output_shape == (None, 45, 77, 2)
        assert crops(model) == {32: [3], 16: [6, 3], 8: [6, 12, 3]}[stride]


class TestOtherEncoders:
    @every_stride
    @pytest.mark.parametrize("encoder", ["small", "mobilenet_v2", "resnet50"])
    def test_heads(self, stride, encoder):
        model = weightless(stride, (64, 96, 3), 5, encoder=encoder, fc_width=2)
        assert model.output_shape == (None, 64, 96, 5)
        assert crops(model) == []
        for finer in (s for s in (32, 16, 8) if s >= stride):
            score = model.get_layer(f"score_{finer}").output
            assert score.shape == (None, 64 // finer, 96 // finer, 5)
        assert (
            len(
                [
                    x
                    for x in model.layers
                    if isinstance(x, keras.layers.Add) and x.name.startswith("add_")
                ]
            )
            == {
                32: 0,
                16: 1,
                8: 2,
            }[stride]
        )

    def test_sides_are_multiples_of_32(self):
        with pytest.raises(ValueError, match=r"nearest are 96 and 128\. Received: 100$"):
            narrow(8, (100, 96, 3), encoder="small")

    @pytest.mark.parametrize("encoder", ["vgg16", "small"])
    def test_trained_weights(self, encoder, tmp_path):
        trained = narrow(8, encoder=encoder)
        path = zoo.save_weights(trained, tmp_path / "trained.npz")
        keras.utils.set_random_seed(1)
        model = narrow(32, classes=3, encoder=encoder, encoder_weights=path)
        for layer in model.layers:
            if layer.name.startswith("encoder_"):
                for got, wanted in zip(
                    layer.get_weights(), trained.get_layer(layer.name).get_weights(), strict=True
                ):
                    # The file keeps 11 bits.
                    np.testing.assert_array_equal(got, wanted.astype(np.float16))


def test_names_are_stable():
    """Weights files are keyed by them."""
    model = weightless(8, width=1, fc_width=1)
    stages = [
        f"encoder_{level}_{i}_conv" for level, n in enumerate((2, 2, 3, 3, 3)) for i in range(n)
    ]
    assert [layer.name for layer in model.layers if layer.weights] == [
        *stages, "fc6_conv", "fc7_conv", "score_32",
        "score_16", "upsample_16", "score_8", "upsample_8", "upsample_1",
    ]  # fmt: skip
