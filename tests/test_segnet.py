"""SegNet's golden numbers (Badrinarayanan et al. 2017) and its mirror image."""

from __future__ import annotations

import math

import keras
import numpy as np
import pytest

from kerasdeconv import export, layers, models
from kerasdeconv.convention import Convention
from kerasdeconv.errors import VerificationError
from kerasdeconv.export.lowering import lower_to_form
from kerasdeconv.export.metadata import write_metadata
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.export.verification import verify

# Classes: parameters of the convolutions at width 64, counted layer by layer.
CONVOLUTIONS = {11: 29_433_483, 12: 29_434_060, 21: 29_439_253}
SCALES_AND_OFFSETS = 15_872  # of the BatchNorms


def weightless(*args, **kwargs) -> keras.Model:
    """A network whose variables have shapes and no values: full size costs nothing."""
    with keras.StatelessScope(initialize_variables=False):
        return models.SegNet(*args, **kwargs)


def of_kind(model: keras.Model, kind: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kind)]


@pytest.mark.parametrize("classes", CONVOLUTIONS)
def test_parameters(classes):
    assert weightless(classes=classes, norm=None).count_params() == CONVOLUTIONS[classes]
    trainable = weightless(classes=classes).trainable_weights
    total = sum(math.prod(v.shape) for v in trainable)
    assert total == CONVOLUTIONS[classes] + SCALES_AND_OFFSETS


class TestThePapersNetwork:
    def test_convolutions(self):
        convolutions = of_kind(weightless(), keras.layers.Conv2D)
        assert [x.filters for x in convolutions] == [
            64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512,
            512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64, 64, 11,
        ]  # fmt: skip
        assert {(*x.kernel_size, x.padding, x.use_bias) for x in convolutions} == {
            (3, 3, "same", True)
        }

    def test_every_convolution_but_the_last_is_normalized(self):
        model = weightless()
        assert len(of_kind(model, keras.layers.BatchNormalization)) == 25
        assert model.get_layer("head").output.shape[-1] == 11
        assert model.get_layer("head_activation").input is model.get_layer("head").output

    def test_unpooling_uses_the_mirrored_poolings_indices(self):
        model = weightless((64, 96, 3))
        assert len(of_kind(model, layers.MaxUnpooling)) == 5
        for level in range(5):
            _, indices = model.get_layer(f"encoder_{level}_pool").output
            _, used = model.get_layer(f"decoder_{level}_up").input
            assert used is indices
            assert indices.shape[1:3] == (64 // 2 ** (level + 1), 96 // 2 ** (level + 1))

    def test_there_are_no_other_skips(self):
        model = weightless()
        assert not of_kind(model, keras.layers.Concatenate) + of_kind(model, keras.layers.Add)


@pytest.mark.parametrize("upsample", layers.UPSAMPLING_METHODS)
def test_the_twin_without_indices(upsample):
    model = weightless((64, 96, 3), width=2, upsample=upsample)
    assert model.output_shape == (None, 64, 96, 11)
    assert not of_kind(model, layers.MaxUnpooling) + of_kind(model, layers.MaxPoolingWithIndices)
    assert len(of_kind(model, keras.layers.MaxPooling2D)) == 5
    for level in range(5):
        up = model.get_layer(f"decoder_{level}_up")
        if upsample != "subpixel":
            assert up.output.shape[-1] == up.filters == 2 * min(2**level, 8)


def test_the_answer_depends_on_the_indices():
    """What is below alone would not tell a picture from one shifted within the pooled windows."""
    x = np.zeros((1, 32, 32, 3), np.float32)
    x[:, ::2, ::2] = 255.0
    model = models.SegNet(width=4, classes=2, head_activation=None)
    pooling = keras.Model(model.input, model.get_layer("encoder_0_pool").output)
    values, indices = pooling(x)
    shifted_values, shifted_indices = pooling(np.roll(x, 1, axis=2))
    inner = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(values[inner], shifted_values[inner], rtol=1e-5)
    assert (indices[inner] != shifted_indices[inner]).numpy().any()


def test_sides_are_multiples_of_32():
    with pytest.raises(ValueError, match=r"nearest are 352 and 384\. Received: 360$"):
        weightless((360, 480, 3))
    assert weightless((352, 480, 3)).output_shape == (None, 352, 480, 11)


def test_volumes():
    model = weightless((32, 64, 32, 1), 4, width=2)
    assert model.output_shape == (None, 32, 64, 32, 4)
    assert len(of_kind(model, keras.layers.Conv3D)) == 26


def test_names_are_stable():
    """Weights files are keyed by them."""
    names = [layer.name for layer in weightless(width=1).layers if layer.weights]
    counts = (2, 2, 3, 3, 3)
    encoder = [f"encoder_{level}_{i}" for level, n in enumerate(counts) for i in range(n)]
    decoder = [
        f"decoder_{level}_{i}"
        for level in (4, 3, 2, 1, 0)
        for i in range(counts[level] - (not level))
    ]
    parts = [f"{name}_{part}" for name in encoder + decoder for part in ("conv", "norm")]
    assert names == [*parts, "head"]


class TestExport:
    """Where two pixels of a window tie but for rounding, a file may put the maximum elsewhere."""

    @staticmethod
    def unpooled(kernel: tuple[float, float]) -> keras.Model:
        inputs = keras.Input((64, 64, 2), name="input")
        x = keras.layers.Conv2D(1, 1, name="mix")(inputs)
        pooled, indices = layers.MaxPoolingWithIndices(2, name="pool")(x)
        model = keras.Model(inputs, layers.MaxUnpooling(2, name="unpool")([pooled, indices]))
        model.get_layer("mix").set_weights([np.reshape(kernel, (1, 1, 2, 1)), np.zeros(1)])
        return model

    @staticmethod
    def picture() -> np.ndarray:
        """Any two pixels are far apart, but in one window, where the second channel decides."""
        x = np.zeros((1, 64, 64, 2), np.float32)
        x[0, :, :, 0] = np.random.default_rng(0).permutation(64 * 64).reshape(64, 64) / 4096
        x[0, 10:12, 20:22] = [[[0.02, 0], [0.019999, 1]], [[0, 0], [0, 0]]]
        return x

    def written(self, path, kernel) -> None:
        low, _ = lower_to_form(self.unpooled(kernel), [(1, 64, 64, 2)])
        path.write_bytes(to_tflite(low, precision="float32"))
        convention = Convention(output="probabilities").to_dict()
        write_metadata(path, {"schema": 1, "convention": convention})

    def test_a_tie_that_turns_is_no_mistake(self, tmp_path):
        self.written(tmp_path / "a.tflite", (1, 2e-6))
        result = verify(self.unpooled((1, 0)), tmp_path / "a.tflite", [self.picture()])
        assert result.max_abs_error == pytest.approx(0.02, rel=1e-3)

    def test_other_numbers_are_one(self, tmp_path):
        self.written(tmp_path / "a.tflite", (1.01, 0))
        with pytest.raises(VerificationError, match="a PSNR of 60 dB is needed"):
            verify(self.unpooled((1, 0)), tmp_path / "a.tflite", [self.picture()])

    @pytest.mark.slow
    @pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
    def test_full_size(self, target, tmp_path):
        model = models.SegNet((352, 480, 3))
        pictures = np.random.default_rng(0).uniform(0, 255, (1, 1, 352, 480, 3)).astype(np.float32)
        export.export(
            model,
            tmp_path,
            target=target,
            calibration=list(pictures),
            tune=False,
            convention=Convention(output="probabilities"),
        )
