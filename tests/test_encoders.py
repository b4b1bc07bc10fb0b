"""Encoders against keras.applications: every map, with the same weights, and their counts."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasdeconv import export, models, zoo
from kerasdeconv.errors import WeightsError
from kerasdeconv.models.encoders import ENCODERS, encode
from kerasdeconv.models.encoders.published import PUBLISHED

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

# Channels by stride, of the papers' and keras.applications' layers that the module's table names.
CHANNELS = {
    "small": {1: 16, 2: 32, 4: 64, 8: 128, 16: 256, 32: 512},
    "vgg16": {1: 64, 2: 128, 4: 256, 8: 512, 16: 512, 32: 512},
    "resnet50": {2: 64, 4: 256, 8: 512, 16: 1024, 32: 2048},
    "mobilenet_v2": {2: 96, 4: 144, 8: 192, 16: 576, 32: 1280},
    "mobilenet_v3_small": {2: 16, 4: 72, 8: 96, 16: 288, 32: 576},
    "mobilenet_v3_large": {2: 64, 4: 72, 8: 240, 16: 672, 32: 960},
    "efficientnet_b0": {2: 96, 4: 144, 8: 240, 16: 672, 32: 1280},
    "efficientnet_v2_b0": {2: 16, 4: 32, 8: 192, 16: 672, 32: 1280},
}
# Of keras.applications without their tops, statistics of BatchNorm included.
PARAMETERS = {
    "vgg16": 14_714_688,
    "resnet50": 23_587_712,
    "mobilenet_v2": 2_257_984,
    "mobilenet_v3_small": 939_120,
    "mobilenet_v3_large": 2_996_352,
    "efficientnet_b0": 4_049_571,
    "efficientnet_v2_b0": 5_919_312,
}
MODULES = {
    "resnet50": "resnet",
    "mobilenet_v3_small": "mobilenet_v3",
    "mobilenet_v3_large": "mobilenet_v3",
    "efficientnet_b0": "efficientnet",
    "efficientnet_v2_b0": "efficientnet_v2",
}
QUICK = ("small", "mobilenet_v2", "mobilenet_v3_small")


def each(*names: str, quick: tuple[str, ...] = QUICK) -> Any:
    """Encoders as parameters; those that take their time are left to the slow suite."""
    return pytest.mark.parametrize(
        "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in quick)) for n in names]
    )


every_encoder = each(*ENCODERS)
every_application = each(*PARAMETERS)


def encoder(name: str, channels: int = 3, **options: Any) -> keras.Model:
    """An encoder as a model of all its maps, the finest first."""
    inputs = keras.Input((None, None, channels), name="input")
    return keras.Model(inputs, list(encode(name, inputs, **options).values()))


def maps_of(model: keras.Model, picture: np.ndarray) -> list[np.ndarray]:
    return [np.asarray(y) for y in model(picture)]


def pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


@functools.cache
def application(name: str) -> keras.Model:
    """The network of keras.applications, as trained as a few random numbers can make it.

    Every BatchNorm has the statistics of what reaches it, so that no map is all zeros or all the
    same, and a gain and shift of its own, so that no two channels may be confused.
    """
    keras.utils.set_random_seed(0)
    builder = "VGG16" if name == "vgg16" else PUBLISHED[name].builder
    model = getattr(keras.applications, builder)(
        include_top=False, weights=None, input_shape=(None, None, 3)
    )
    rng = np.random.default_rng(0)
    norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.gamma.assign(rng.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(rng.uniform(-0.5, 0.5, norm.beta.shape))
        momentum, norm.momentum = norm.momentum, 0.0
    if norms:
        model(preprocessed(name, pictures(2, 96, 96, 3)), training=True)
    for norm in norms:
        norm.momentum = momentum
    return model


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Files of the applications' weights, as Keras 3 writes them, by name."""
    folder = tmp_path_factory.mktemp("applications")

    @functools.cache
    def save(name: str) -> Path:
        application(name).save_weights(path := folder / f"{name}.weights.h5")
        return path

    return save


def preprocessed(name: str, picture: np.ndarray) -> np.ndarray:
    module = getattr(keras.applications, MODULES.get(name, name))
    return np.asarray(module.preprocess_input(picture.copy()))


def tapped(name: str, model: keras.Model) -> keras.Model:
    """The application's own maps at the layers that the table names."""
    if name == "vgg16":
        names = [f"block{i}_conv{n}" for i, n in enumerate((2, 2, 3, 3, 3), 1)] + ["block5_pool"]
        return keras.Model(model.inputs[0], [model.get_layer(n).output for n in names])
    outputs = []
    for tap in PUBLISHED[name].taps:
        if tap.endswith("_act"):  # a nameless layer, which follows the BatchNorm
            before = model.get_layer(tap.replace("_act", "_bn")).output
            outputs.append(next(x.output for x in model.layers[1:] if x.input is before))
        else:
            outputs.append(model.get_layer(tap).output)
    return keras.Model(model.inputs[0], outputs)


def assert_close(got: list[np.ndarray], expected: list[np.ndarray], digits: float) -> None:
    assert len(got) == len(expected)
    for ours, theirs in zip(got, expected, strict=True):
        assert theirs.std(axis=(1, 2)).max() > 0.01 * np.abs(theirs).max()  # it is not a constant
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=digits * np.abs(theirs).max())


class TestPyramid:
    @every_encoder
    def test_strides_and_channels(self, name):
        for side in (None, 64):
            maps = encode(name, keras.Input((side, 2 * side if side else None, 3)))
            assert {stride: x.shape[-1] for stride, x in maps.items()} == CHANNELS[name]
            assert list(maps) == sorted(maps)
            if side:
                assert all(x.shape[1:3] == (64 // s, 128 // s) for s, x in maps.items())

    @every_application
    def test_parameters(self, name):
        # EfficientNetB0 also counts, as a weight, how many pictures its statistics are from.
        count = encoder(name).count_params() + (name == "efficientnet_b0")
        assert count == PARAMETERS[name]

    @pytest.mark.parametrize("name", ["small", "vgg16"])
    def test_width(self, name):
        maps = encode(name, keras.Input((None, None, 3)), width=4)
        scale = CHANNELS[name][1] // 4
        assert {s: scale * x.shape[-1] for s, x in maps.items()} == CHANNELS[name]

    @each("small", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0", "resnet50")
    def test_names(self, name):
        """Freezing by `encoder_*` and stored weights go by them."""
        built = encoder(name), encoder(name), encoder(name, output_stride=16)
        first, second, dilated = ([v.path for v in model.weights] for model in built)
        assert first == second
        assert set(first) == set(dilated)
        assert [v.shape for v in built[0].weights] == [v.shape for v in built[2].weights]
        for model in built:
            names = {layer.name for layer in model.layers}
            assert all(n.startswith("encoder_") for n in names - {"input", "rescale"})

    @pytest.mark.parametrize("channels", [1, 4])
    @pytest.mark.parametrize("name", ["small", "vgg16", "mobilenet_v2"])
    def test_other_channels(self, name, channels):
        width = None if name == "mobilenet_v2" else 4
        model = encoder(name, channels, width=width)
        maps = maps_of(model, pictures(1, 32, 32, channels))
        assert all(np.isfinite(x).all() and np.ptp(x) > 0 for x in maps)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "efficientnet_v2_b0"])
    def test_gray_is_centred_like_colours(self, name):
        rescale = encoder(name, 1).get_layer("rescale")
        colours = encoder(name).get_layer("rescale")
        assert np.mean(colours.scale) == pytest.approx(np.mean(rescale.scale), rel=0.01)
        assert np.mean(colours.offset) == pytest.approx(np.mean(rescale.offset), rel=0.01)


class TestPixels:
    @every_encoder
    def test_unit_pixels_are_multiplied_by_255(self, name):
        pixels, units = encoder(name), encoder(name, include_rescaling=False)
        units.set_weights(pixels.get_weights())
        x = pictures(1, 32, 64, 3)
        # Two roundings of the pixels, followed by up to 80 layers.
        assert_close_anyway(maps_of(units, x / 255), maps_of(pixels, x), 1e-4)

    @pytest.mark.parametrize(
        ("name", "black", "white"),
        [
            ("mobilenet_v2", [-1, -1, -1], [1, 1, 1]),
            ("vgg16", [-123.68, -116.779, -103.939], [131.32, 138.221, 151.061]),
        ],
    )
    def test_range(self, name, black, white):
        for scaled in (True, False):
            model = encoder(name, include_rescaling=scaled)
            rescale = model.get_layer("rescale")
            for value, expected in ((0.0, black), (255.0 if scaled else 1.0, white)):
                got = np.asarray(rescale(np.full((1, 1, 1, 3), value, np.float32)))
                np.testing.assert_allclose(got.reshape(-1), expected, rtol=1e-6)


def assert_close_anyway(got: list[np.ndarray], expected: list[np.ndarray], digits: float) -> None:
    for ours, theirs in zip(got, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=digits * np.abs(theirs).max())


class TestAgainstTheOriginal:
    @each(*PARAMETERS, quick=("vgg16", *QUICK))
    def test_every_map(self, name, saved):
        theirs, ours = application(name), encoder(name, weights=saved(name))
        picture = pictures(1, 64, 96, 3)
        expected = maps_of(tapped(name, theirs), preprocessed(name, picture))
        # The same operations, but that pixels are scaled in another way, which rounds on its own
        # (2^-24 of the largest), and that a kernel sums the colours in another order. With a
        # BatchNorm a layer that grows over up to 80 layers: to 2.5e-5 as measured.
        assert_close(maps_of(ours, picture), expected, 1e-4)

    def test_a_file_of_keras_2(self, tmp_path):
        """In which the published weights come."""
        theirs = application("mobilenet_v3_small")
        theirs.save(path := tmp_path / "saved.h5")
        ours = encoder("mobilenet_v3_small", weights=str(path))
        picture = pictures(1, 64, 64, 3)
        expected = maps_of(tapped("mobilenet_v3_small", theirs), picture)
        assert_close(maps_of(ours, picture), expected, 1e-4)  # as above

    @pytest.mark.slow
    @pytest.mark.parametrize("published", [True, False])
    def test_efficientnet_b0_statistics(self, published, tmp_path):
        """With the published file pixels get ImageNet's mean 0 and deviation 1, as in training."""
        mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        other = [0.01, 0.02, 0.03]
        theirs = keras.models.clone_model(application("efficientnet_b0"))
        norm = next(x for x in theirs.layers if isinstance(x, keras.layers.Normalization))
        norm.set_weights([np.array(mean), np.array(deviation if published else other), np.array(0)])
        theirs.save_weights(path := tmp_path / "saved.weights.h5")
        ours = encoder("efficientnet_b0", weights=path)
        x = pictures(1, 2, 2, 3)
        got = ours.get_layer("encoder_normalization")(ours.get_layer("rescale")(x), training=False)
        scale = deviation if published else np.sqrt(other)
        np.testing.assert_allclose(got, (x / 255 - mean) / scale, rtol=1e-5, atol=1e-5)


class TestOutputStride:
    """The dilated map has the strided one in every second or fourth row and column."""

    @pytest.mark.parametrize(
        ("name", "stride"),
        [
            ("small", 16),
            ("vgg16", 16),
            ("mobilenet_v2", 16),
            ("mobilenet_v2", 8),
            pytest.param("resnet50", 16, marks=pytest.mark.slow),
            pytest.param("resnet50", 8, marks=pytest.mark.slow),
        ],
    )
    def test_is_exact(self, name, stride, saved):
        narrow = name in ("small", "vgg16")
        options = {"width": 4} if narrow else {"weights": saved(name)}
        strided = encoder(name, **options)
        dilated = encoder(name, output_stride=stride, **options)
        dilated.set_weights(strided.get_weights())
        picture = pictures(1, 64, 96, 3)
        expected, got = maps_of(strided, picture), maps_of(dilated, picture)
        step = 32 // stride
        coarsest = got.pop()
        assert coarsest.shape[1:3] == (64 // stride, 96 // stride)
        assert_close([coarsest[:, ::step, ::step]], [expected.pop()], 1e-5)  # sums' order
        assert_close(got, expected[: len(got)], 1e-6)

    @each("mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "efficientnet_v2_b0")
    def test_is_exact_but_for_squeeze_and_excite(self, name, monkeypatch):
        """With the gates held open; what they see is a mean over other positions."""

        def opened(self: Any, inputs: Any) -> Any:
            mean = real(self, inputs)
            return keras.ops.zeros_like(mean)

        real = keras.layers.GlobalAveragePooling2D.call
        monkeypatch.setattr(keras.layers.GlobalAveragePooling2D, "call", opened)
        strided = encoder(name)
        picture = pictures(1, 64, 96, 3)
        expected = maps_of(strided, picture)[-1]
        for stride in (16, 8):
            dilated = encoder(name, output_stride=stride)
            dilated.set_weights(strided.get_weights())
            got = maps_of(dilated, picture)[-1][:, :: 32 // stride, :: 32 // stride]
            # The order of sums; untrained networks have next to constant maps.
            spread = np.ptp(expected, axis=(1, 2)).max()
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-3 * spread)

    @pytest.mark.parametrize(("stride", "strides"), [(16, [2, 4, 8, 16]), (8, [2, 4, 8])])
    def test_keys(self, stride, strides):
        maps = encode("mobilenet_v2", keras.Input((64, 64, 3)), output_stride=stride)
        assert list(maps) == strides
        assert maps[stride].shape == (None, 64 // stride, 64 // stride, 1280)

    @pytest.mark.parametrize("name", ["small", "vgg16"])
    def test_dilated_pooling(self, name):
        with pytest.raises(ValueError, match=r"must be 16 or 32\. Received: 8$"):
            encode(name, keras.Input((64, 64, 3)), output_stride=8)

    def test_a_dilated_encoder_learns(self):
        model = encoder("mobilenet_v3_small", output_stride=8)
        with tf.GradientTape() as tape:
            loss = sum(tf.reduce_mean(y**2) for y in model(pictures(2, 32, 64, 3), training=True))
        for gradient in tape.gradient(loss, [v.value for v in model.trainable_weights]):
            assert np.isfinite(gradient).all()


class TestWeights:
    def test_of_another_trained_network(self, tmp_path):
        options: dict[str, Any] = {"padding": "same", "width": 2, "depth": 5}
        first = models.UNet((None, None, 3), encoder="mobilenet_v3_small", **options)
        path = zoo.save_weights(first, tmp_path / "unet.npz")
        second = models.UNet(
            (None, None, 3), 5, encoder="mobilenet_v3_small", encoder_weights=path, **options
        )
        theirs = {v.path: v.numpy() for v in first.weights if v.path.startswith("encoder_")}
        assert len(theirs) == len(encoder("mobilenet_v3_small").weights)
        for variable in second.weights:
            if variable.path in theirs:
                # Kernels are stored with 11 bits of each tensor's largest number.
                wanted = theirs[variable.path]
                atol = 2**-11 * np.abs(wanted).max()
                np.testing.assert_allclose(variable, wanted, rtol=0, atol=atol)

    def test_download(self, tmp_path, monkeypatch, saved):
        """keras.applications' own mechanism, which takes a file from its cache."""
        monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
        file = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
        (tmp_path / "models").mkdir()
        application("mobilenet_v2").save(tmp_path / "models" / file)
        ours = encoder("mobilenet_v2", weights="imagenet")
        expected = encoder("mobilenet_v2", weights=saved("mobilenet_v2"))
        for one, other in zip(ours.get_weights(), expected.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_no_network(self, tmp_path, monkeypatch):
        monkeypatch.setattr(keras.src.utils.file_utils.config, "keras_home", lambda: str(tmp_path))
        for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(variable, "http://127.0.0.1:9")  # where nothing answers
        for variable in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(variable, raising=False)
        with pytest.raises(
            WeightsError,
            match=r"^Cannot get the ImageNet weights of 'mobilenet_v2' \(.*Received: 'imagenet'$",
        ):
            encode("mobilenet_v2", keras.Input((None, None, 3)), weights="imagenet")

    @pytest.mark.parametrize(
        ("name", "file", "message"),
        [
            ("mobilenet_v2", "absent.weights.h5", r"No such weights file"),
            ("mobilenet_v2", "damaged.weights.h5", r"Not a file of the weights .*'mobilenet_v2'"),
            ("mobilenet_v2", "damaged.h5", r"Not a file of the weights .*'mobilenet_v2'"),
            ("mobilenet_v2", "other.weights.h5", r"Not a file of the weights .*'mobilenet_v2'"),
            ("mobilenet_v2", "other.h5", r"Not a file of the weights .*'mobilenet_v2'"),
            ("mobilenet_v2", "other.keras", r"an \.npz file, or an \.h5 file"),
            ("mobilenet_v2", "damaged.npz", r"Not a readable \.npz"),
            ("mobilenet_v2", "other.npz", r"it is of another network"),
            ("small", "wider.npz", r"'small': it is of another network"),
            ("small", "other.h5", r"'small' is not of keras\.applications"),
        ],
    )
    def test_files_that_do_not_fit(self, name, file, message, tmp_path):
        path = tmp_path / file
        if file == "wider.npz":
            zoo.save_weights(encoder("small", width=8), path)
        elif file.startswith("damaged"):
            path.write_bytes(b"\x89HDF\r\n\x1a\n and no more")
        elif file == "other.npz":
            zoo.save_weights(models.UNet(width=1, depth=1), path)
        elif file.startswith("other"):
            inputs = keras.Input((8, 8, 3))
            other = keras.Model(inputs, keras.layers.Conv2D(4, 3)(inputs))
            other.save_weights(path) if "weights" in file else other.save(path)
        width = {"width": 4} if file == "wider.npz" else {}
        with pytest.raises(WeightsError, match=rf"^[^\n]*{message}[^\n]*Received: '[^\n]*'$"):
            encode(name, keras.Input((None, None, 3)), weights=path, **width)

    def test_only_some_layers_fit(self, tmp_path):
        """A file that would leave random weights anywhere is refused."""
        model = encoder("small", width=4)
        path = zoo.save_weights(
            keras.Model(model.inputs[0], model.outputs[2]), tmp_path / "half.npz"
        )
        with pytest.raises(WeightsError, match=r"lacks layers.*encoder_3_0_conv.* more\)"):
            encode("small", keras.Input((None, None, 3)), width=4, weights=path)

    def test_imagenet_for_small(self):
        with pytest.raises(WeightsError, match=r"not of keras\.applications.*'imagenet'$"):
            encode("small", keras.Input((None, None, 3)), weights="imagenet")

    @pytest.mark.slow
    def test_vgg16_of_another_width(self, saved):
        with pytest.raises(WeightsError, match=r"at its own width alone\. Received: "):
            encode("vgg16", keras.Input((None, None, 3)), width=32, weights=saved("vgg16"))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("mobilenet_v4", {}, r"Did you mean 'mobilenet_v2'.*Received: 'mobilenet_v4'"),
        ("mobilenet_v2", {"width": 32}, r"leave width out\. Received: 32"),
        ("small", {"width": 0}, r"1 or more\. Received: 0"),
        ("mobilenet_v2", {"output_stride": 4}, r"8, 16 or 32\. Received: 4"),
        (
            "mobilenet_v2",
            {"shape": (8, 8, 8, 1)},
            r"N x H x W x C\. Received: \(None, 8, 8, 8, 1\)",
        ),
        (
            "mobilenet_v2",
            {"shape": (None, None, 1), "weights": "imagenet"},
            r"need weights=None\. Received: 1 channels",
        ),
    ],
)
def test_mistakes(name, options, message):
    shape = options.pop("shape", (None, None, 3))
    with pytest.raises(ValueError, match=rf"^[^\n]*{message}$"):
        encode(name, keras.Input(shape), **options)


class TestUNet:
    def test_decoder(self):
        model = models.UNet(
            (64, 96, 3), 4, encoder="mobilenet_v2", padding="same", width=8, norm="batch"
        )
        assert model.output_shape == (None, 64, 96, 4)
        joined = [x.name for x in model.layers if isinstance(x, keras.layers.Concatenate)]
        assert joined == [f"decoder_{level}_concat" for level in (3, 2, 1)]
        for level in range(4):
            assert model.get_layer(f"decoder_{level}_1_conv").filters == 8 * 2**level
        # Stride 16 is the bottom: nothing coarser is in the network.
        assert model.get_layer("decoder_3_up").input.shape[1:] == (4, 6, 576)
        assert "encoder_block_13_depthwise" not in {x.name for x in model.layers}

    def test_a_map_of_the_pictures_size_is_a_skip(self):
        model = models.UNet(encoder="small", padding="same", width=2, depth=2)
        assert model.get_layer("decoder_0_concat").input[0].shape[-1] == 16

    def test_freezing(self):
        model = models.UNet(
            (None, None, 3), encoder="mobilenet_v3_small", padding="same", width=2, depth=5
        )
        frozen = zoo.freeze(model, "encoder_*")
        heavy = {x.name for x in model.layers if x.weights}
        assert heavy - set(frozen) == {
            *(f"decoder_{n}_{i}_conv" for n in range(5) for i in range(2)),
            *(f"decoder_{n}_up" for n in range(5)),
            "head",
        }
        before = {x.name: x.get_weights() for x in model.layers if x.weights}
        model.compile("sgd", "sparse_categorical_crossentropy", run_eagerly=True)
        model.fit(pictures(2, 32, 32, 3), np.ones((2, 32, 32), int), verbose=0)
        for layer in model.layers:
            if layer.name in frozen and layer.weights:
                for old, new in zip(before[layer.name], layer.get_weights(), strict=True):
                    np.testing.assert_array_equal(old, new)
        assert not np.array_equal(before["head"][0], model.get_layer("head").get_weights()[0])

    @pytest.mark.slow
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    @pytest.mark.parametrize("name", ENCODERS)
    def test_exports_in_float32(self, name, target, tmp_path):
        model = models.UNet(
            (64, 96, 3), 3, encoder=name, padding="same", norm="batch", width=4, depth=5
        )
        export.export(
            model, tmp_path, target=target, calibration=[pictures(1, 64, 96, 3)], tune=False
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    @pytest.mark.parametrize("name", ["mobilenet_v2", "resnet50"])
    def test_dilated_exports_in_float32(self, name, target, tmp_path):
        inputs = keras.Input((64, 96, 3), name="input")
        maps = encode(name, inputs, output_stride=8)
        model = keras.Model(inputs, keras.layers.Conv2D(2, 1, name="head")(maps[8]), name="dilated")
        export.export(
            model, tmp_path, target=target, calibration=[pictures(1, 64, 96, 3)], tune=False
        )

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ENCODERS)
    def test_reloads(self, name, tmp_path):
        model = models.UNet((None, None, 3), encoder=name, padding="same", width=2, depth=5)
        model.save(tmp_path / "model.keras")
        reloaded = keras.models.load_model(tmp_path / "model.keras")
        picture = pictures(1, 32, 64, 3)
        np.testing.assert_allclose(reloaded(picture), model(picture), atol=1e-6)  # probabilities
        zoo.save_weights(model, tmp_path / "model.npz")
        zoo.load_weights(
            models.UNet((None, None, 3), encoder=name, padding="same", width=2, depth=5),
            tmp_path / "model.npz",
        )
