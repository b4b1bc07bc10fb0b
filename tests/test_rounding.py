"""Rounding of weights that makes up for its errors: by definition, and in whole networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import pictures, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv.export import export
from kerasdeconv.export.quantization.rounding import round_weights
from kerasdeconv.export.quantization.weights import _patches, fitted_kernels, with_kernels
from kerasdeconv.export.saturation import PAIR_LIMIT, pair_sums, weight_scales

L = keras.layers


def problem(inputs: int, outputs: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights, and what they read: neighbours that are alike, as pixels are."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(inputs, outputs))
    common = rng.uniform(0, 255, (400, 1))
    return weights, (common + rng.normal(size=(400, inputs)) * 20).astype(np.float32)


class TestRoundWeights:
    def test_products_that_are_not_symmetric(self):
        """As some BLAS make them, only more so: of one example, whose energy has no inverse."""

        class Skewed(np.ndarray):
            def __matmul__(self, other):
                product = np.asarray(self) @ np.asarray(other)
                return product + np.triu(np.full_like(product, 1e-5 * product.max()), 1)

        seen = np.random.default_rng(0).uniform(1, 2, (1, 64)).astype(np.float32)
        weights = np.random.default_rng(1).normal(size=(64, 3))
        scales = np.abs(weights).max(axis=0) / 127
        skewed = round_weights(weights, seen.view(Skewed), scales)
        np.testing.assert_array_equal(skewed, round_weights(weights, seen, scales))

    @settings(deadline=None, max_examples=30)
    @given(
        inputs=st.sampled_from([1, 2, 9, 25, 127, 128, 129, 300]),
        outputs=st.integers(1, 8),
        paired=st.booleans(),
        seed=st.integers(0, 99),
    )
    def test_what_it_promises(self, inputs, outputs, paired, seed):
        weights, seen = problem(inputs, outputs, seed)
        largest = np.abs(weights).max(axis=0) / 127
        scales = weight_scales(weights.T) if paired else largest
        rounded = round_weights(weights, seen, scales, paired=paired)
        np.testing.assert_array_equal(rounded, np.rint(rounded))
        assert np.abs(rounded).max() <= 127
        again = (rounded * scales).T
        found = weight_scales(again) if paired else np.abs(again).max(axis=1) / 127
        np.testing.assert_allclose(found, scales, rtol=1e-6)  # float32
        if paired:
            assert pair_sums(rounded.T).max() <= PAIR_LIMIT

    @pytest.mark.parametrize("inputs", [75, 300])  # 300 are three blocks
    @pytest.mark.parametrize("paired", [False, True])
    def test_less_is_lost_than_by_rounding_to_the_nearest(self, paired, inputs):
        weights, seen = problem(inputs, 16, 0)
        scales = weight_scales(weights.T) if paired else np.abs(weights).max(axis=0) / 127
        rounded = round_weights(weights, seen, scales, paired=paired) * scales
        nearest = np.rint(weights / scales) * scales
        lost = [np.square(seen @ (w - weights)).mean() for w in (rounded, nearest)]
        assert lost[0] < lost[1] / 10  # 1/21 to 1/78 were measured

    def test_inputs_that_were_never_seen_are_rounded_to_the_nearest(self):
        weights, seen = problem(6, 3, 0)
        seen[:, 2] = 0
        scales = np.abs(weights).max(axis=0) / 127
        rounded = round_weights(weights, seen, scales)
        np.testing.assert_array_equal(rounded[2], np.rint(weights[2] / scales))


def network() -> keras.Model:
    image = keras.Input((12, 12, 3))
    x = L.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="strided")(image)
    x = L.DepthwiseConv2D(3, dilation_rate=2, padding="same", depth_multiplier=2, name="deep")(x)
    x = L.Conv2D(8, 3, groups=2, name="grouped")(x)
    x = L.Dense(5, name="dense")(L.ReLU()(x))
    return random_weights(keras.Model(image, x))


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(3, 3, padding="same"),
        L.Conv2D(3, (2, 5), strides=2, padding="same"),
        L.Conv2D(3, 3, dilation_rate=2),
        L.Conv2D(3, 3, dilation_rate=(1, 3), padding="same"),
        L.Conv2D(3, 4, strides=3),
        L.Dense(3),
    ],
)
def test_examples_are_what_outputs_are_computed_from(layer):
    values = np.random.default_rng(0).normal(size=(2, 9, 12, 4)).astype(np.float32)
    outputs = np.asarray(layer(values)).reshape(-1, 3)
    seen = _patches(layer, values, 50, np.random.default_rng(1)).reshape(50, -1)
    made = seen @ np.asarray(layer.kernel).reshape(-1, 3) + np.asarray(layer.bias)
    distances = np.abs(made[:, None] - outputs[None]).max(axis=2)
    assert distances.min(axis=1).max() < 1e-4  # float32
    assert len(np.unique(distances.argmin(axis=1))) > 8  # all over the map: 12 is the smallest


class TestFittedKernels:
    @pytest.mark.parametrize("form", ["tflite", "onnx"])
    def test_each_layer_loses_less(self, form):
        """By what each computes from its own inputs, at all places and not a few."""
        model, samples = network(), pictures((12, 12, 3), 16)
        kernels = fitted_kernels(model, samples, format=form)
        assert sorted(kernels) == ["deep", "dense", "grouped", "strided"]
        for name, kernel in kernels.items():
            layer = model.get_layer(name)
            probe = keras.Model(model.input, layer.input)
            seen = np.concatenate([probe(sample) for sample in samples])
            meant, own = np.asarray(layer(seen)), np.asarray(layer.kernel)
            scales = np.abs(own).max(axis=(0, 1) if own.ndim == 4 else 0, keepdims=True) / 127
            if own.ndim == 4 and name != "deep":
                scales = scales.max(axis=2, keepdims=True)
            lost = []
            for tried in (kernel, np.rint(own / scales) * scales):
                with with_kernels(model, {name: tried}):
                    lost.append(np.square(np.asarray(layer(seen)) - meant).mean())
            np.testing.assert_array_equal(np.asarray(layer.kernel), own)  # it has its own back
            # Steps for ONNX may be twice as wide.
            assert lost[0] < lost[1] * (0.8 if form == "tflite" else 2), name

    def test_the_report_says_what_was_rounded_how(self, tmp_path):
        image = keras.Input((41, 41, 3))
        x = L.Flatten()(L.Conv2D(3, 1, name="conv")(image))
        model = random_weights(keras.Model(image, L.Dense(2, name="wide")(x)))  # of 5043 inputs
        report = export(
            model, tmp_path, target="android-cpu", precision="int8", tune=False,
            calibration=[p / 255 for p in pictures((41, 41, 3), 8)],
        )  # fmt: skip
        said = [line for line in report.rewrites if "weights rounded" in line]
        assert said == [
            "conv: weights rounded to fit 8 samples",
            "wide: weights rounded to the nearest",
        ]

    def test_the_same_seed_the_same_kernels(self):
        made = [fitted_kernels(network(), pictures((12, 12, 3), 4), format="tflite", seed=s)
                for s in (0, 0, 1)]  # fmt: skip
        np.testing.assert_array_equal(made[0]["strided"], made[1]["strided"])
        assert any(not np.array_equal(made[0][name], made[2][name]) for name in made[0])

    def test_a_shared_layer_fits_all_that_it_reads(self):
        left, right = keras.Input((8, 8, 2), name="left"), keras.Input((8, 8, 2), name="right")
        shared = L.Conv2D(4, 3, name="shared")
        model = random_weights(keras.Model([left, right], [shared(left), shared(right)]))
        rng = np.random.default_rng(0)
        samples = [
            [rng.uniform(a, a + 1, (1, 8, 8, 2)).astype(np.float32) for a in (0, 5)]
            for _ in range(8)
        ]
        kernel = fitted_kernels(model, samples, format="tflite")["shared"]
        meant = [np.asarray(answer) for answer in model(samples[0])]
        with with_kernels(model, {"shared": kernel}):
            for answer, expected in zip(model(samples[0]), meant, strict=True):
                # Half a step of each of 18 weights times inputs of up to 6 would be 0.5.
                assert np.abs(np.asarray(answer) - expected).max() < 0.2
