"""Golden numbers and promises of the networks for depth, normals, flow and disparity."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from export_models import random_weights

from kerasdeconv import analysis, export, layers, losses, models, runtime, zoo
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.data.synthetic_inputs import synthetic_inputs
from kerasdeconv.errors import ExportError
from kerasdeconv.metrics import angular_errors

SMALL = {"encoder": "small", "encoder_width": 4, "width": 4}
BOTH = pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])


class TestFlowNetS:
    def test_the_papers_network(self):
        model = models.FlowNetS((384, 512, 6))
        assert model.count_params() == 38_675_536
        assert model.output_shape == (None, 96, 128, 2)
        joins = [x for x in model.layers if isinstance(x, keras.layers.Concatenate)]
        assert [x.output.shape[-1] for x in joins] == [1026, 770, 386, 194]
        biased = [x.name for x in model.layers if getattr(x, "use_bias", False)]
        assert len(biased) == 10
        assert all(name.startswith("encoder_") for name in biased)
        strides = [model.get_layer(f"encoder_{i}_0_conv").strides[0] for i in range(1, 7)]
        assert strides == [2] * 6
        slopes = {x.negative_slope for x in model.layers if isinstance(x, keras.layers.LeakyReLU)}
        assert slopes == {0.1}

    def test_levels_have_the_same_weights(self):
        alone, all_levels = (
            models.FlowNetS((64, 128, 6), width=2, multiscale=levels) for levels in (False, True)
        )
        assert [v.path for v in alone.weights] == [v.path for v in all_levels.weights]
        assert all_levels.output_names == [f"flow_{level}" for level in range(2, 7)]
        random_weights(all_levels)
        alone.set_weights(all_levels.get_weights())
        x = np.random.default_rng(0).uniform(0, 255, (1, 64, 128, 6)).astype(np.float32)
        np.testing.assert_allclose(alone(x), all_levels(x)[0], rtol=1e-5, atol=1e-5)

    def test_the_unit_scales_answers_alone(self):
        one, twenty = (models.FlowNetS((64, 64, 6), width=2, unit=unit) for unit in (1.0, 20.0))
        twenty.set_weights(one.get_weights())
        x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 6)).astype(np.float32)
        np.testing.assert_allclose(20 * one(x).numpy(), twenty(x), rtol=1e-5, atol=1e-6)

    def test_starts_near_no_motion(self):
        x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 6)).astype(np.float32)
        keras.utils.set_random_seed(0)
        assert 0 < np.abs(models.FlowNetS((64, 64, 6), width=16)(x)).mean() < 8


class TestDispNet:
    def test_the_papers_network(self):
        model = models.DispNet((384, 768, 6))
        assert model.count_params() == 42_322_374
        assert model.output_shape == (None, 192, 384, 1)
        joins = [x for x in model.layers if isinstance(x, keras.layers.Concatenate)]
        assert [x.output.shape[-1] for x in joins] == [1025, 769, 385, 193, 97]

    def test_levels_finest_first(self):
        model = models.DispNet((64, 128, 6), width=2, multiscale=True)
        assert model.output_names == [f"disparity_{level}" for level in range(1, 7)]
        assert [x.shape[1:3] for x in model.outputs] == [(64 >> i, 128 >> i) for i in range(1, 7)]


class TestDepthNet:
    def test_fast_depths_decoder(self):
        """Halved channels from block to block, depthwise 5 x 5 convolutions, three skips."""
        model = models.DepthNet((224, 224, 3))
        depthwise = [
            x
            for x in model.layers
            if isinstance(x, keras.layers.DepthwiseConv2D) and x.name.startswith("decoder_")
        ]
        assert {x.kernel_size for x in depthwise} == {(5, 5)}
        assert [x.input.shape[1:] for x in depthwise] == [
            (7, 7, 1280), (14, 14, 512), (28, 28, 256), (56, 56, 128), (112, 112, 64),
        ]  # fmt: skip
        adds = [x for x in model.layers if x.name.endswith("_add") and "decoder" in x.name]
        assert [x.output.shape[1:] for x in adds] == [(28, 28, 256), (56, 56, 128), (112, 112, 64)]
        # Encoder; depthwise and 1 x 1 kernels with their norms; skips; head.
        widths = [1280, 512, 256, 128, 64, 32]
        blocks = sum(27 * a + a * b + 2 * b for a, b in itertools.pairwise(widths))
        skips = sum(a * b + b for a, b in ((192, 256), (144, 128), (96, 64)))
        assert analysis.costs(model).trainable == 2_223_872 + blocks + skips + 33

    def test_skips_of_the_decoders_own_width_are_added_as_they_are(self):
        model = models.DepthNet((64, 64, 3), encoder="small", encoder_width=4, width=4)
        assert not [x.name for x in model.layers if x.name.endswith("_skip")]

    @pytest.mark.parametrize("separable", [True, False])
    def test_transposed_kernels(self, separable):
        model = models.DepthNet((64, 64, 3), upsample="transpose", separable=separable, **SMALL)
        kind = layers.DepthwiseConvTranspose if separable else keras.layers.Conv2DTranspose
        assert len([x for x in model.layers if isinstance(x, kind)]) == 5

    def test_pixels_in_either_range(self):
        pixels = models.DepthNet((32, 32, 3), **SMALL)
        units = models.DepthNet((32, 32, 3), include_rescaling=False, **SMALL)
        random_weights(pixels)
        units.set_weights(pixels.get_weights())
        x = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
        np.testing.assert_allclose(pixels(x), units(x / 255), rtol=1e-4, atol=1e-4)

    def test_starts_in_front_of_the_camera(self):
        x = np.random.default_rng(0).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
        assert np.mean(models.DepthNet((64, 64, 3), **SMALL)(x) > 0) > 0.5


class TestSurfaceNormals:
    def test_unknown_normals_teach_nothing(self):
        loss, rng = losses.CosineDistance(), np.random.default_rng(0)
        truth, guess = (rng.normal(size=(2, 5, 6, 3)).astype(np.float32) for _ in range(2))
        truth[:, :2] = 0
        changed = guess.copy()
        changed[:, :2] *= -1
        assert loss(truth, guess) == loss(truth, changed)
        assert loss(truth, guess) != loss(truth, -guess)

    def test_unit_vectors_in_the_direction_of_the_others(self):
        x = np.random.default_rng(0).uniform(0, 255, (1, 32, 64, 3)).astype(np.float32)
        unit, free = (
            models.SurfaceNormals((32, 64, 3), head_activation=head, **SMALL)
            for head in ("unit", None)
        )
        random_weights(unit)
        free.set_weights(unit.get_weights())
        vectors, raw = unit(x).numpy(), free(x).numpy()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, rtol=1e-5)
        lengths = np.linalg.norm(raw, axis=-1, keepdims=True)
        np.testing.assert_allclose(vectors * lengths, raw, rtol=1e-4, atol=1e-5)

    def test_a_vector_without_length_stays(self):
        x = np.array([[0, 0, 0], [0, 3, -4]], np.float32)
        np.testing.assert_allclose(layers.UnitVectors()(x), [[0, 0, 0], [0, 0.6, -0.8]], rtol=1e-6)

    @BOTH
    def test_int8(self, target, tmp_path):
        """By one operator of integers in TFLite, by name in float in ONNX."""
        model = models.SurfaceNormals((32, 32, 3), **SMALL)
        random_weights(model)
        samples = [np.float32(x)[None] for x in synthetic_samples("rooms", 4, (32, 32))]
        options = {"target": target, "precision": "int8", "calibration": samples, "tune": False}
        if target == "onnxruntime-cpu":
            with pytest.raises(ExportError, match=r"allow_float=\['head_activation'\]"):
                export.export(model, tmp_path, **options)
            assert not list(tmp_path.iterdir())
            options["allow_float"] = ["head_activation"]
        report = export.export(model, tmp_path, **options)
        assert ("L2_NORMALIZATION" in report.operators) == (target == "android-cpu")
        predictor = runtime.open(report.artifact)
        found = np.concatenate([predictor.run(x)[0] for x in samples])
        # 8 bits hold a unit vector to 1 in 128; the layers before add some degrees at most.
        assert np.abs(np.linalg.norm(found, axis=-1) - 1).max() < 0.05
        expected = np.concatenate([model(x) for x in samples])
        assert angular_errors(expected, found).mean() < 3


@BOTH
@pytest.mark.parametrize(
    ("builder", "arguments", "kind"),
    [
        ("FlowNetS", {"width": 2}, "pairs"),
        ("DispNet", {"width": 2}, "pairs"),
        ("DepthNet", SMALL, "rooms"),
    ],
)
def test_int8_throughout(builder, arguments, kind, target, tmp_path):
    channels = 6 if kind == "pairs" else 3
    model = getattr(models, builder)((64, 64, channels), **arguments)
    random_weights(model)
    if kind == "pairs":
        samples = [x for (x,) in synthetic_inputs("picture_pairs", 4, [(64, 64, 6)])]
    else:
        samples = [np.float32(x) for x in synthetic_samples(kind, 4, (64, 64))]
    report = export.export(
        model,
        tmp_path,
        target=target,
        precision="int8",
        calibration=[x[None] for x in samples],
        tune=False,
    )
    spread = np.ptp([model(x[None]) for x in samples])
    # Random weights leave nothing out: a tenth of the range is a layer's rounding, times its depth.
    assert report.verification["mean_abs_error"] < 0.1 * spread


def test_cards():
    assert zoo.load("flownet_s", weights=None, width=2).name == "flownet_s"
    assert zoo.load("dispnet", weights=None, width=2).name == "dispnet"
    demonstration = zoo.card("depthnet.room")
    assert demonstration.use is not None and "one room" in demonstration.use.limits
