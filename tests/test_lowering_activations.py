"""Activations: fused where a convolution can take them, rewritten where integers make them slow."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import answers, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import layers, models
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, operator_counts, read_artifact
from kerasdeconv.export.lowering import lower, lower_to_form
from kerasdeconv.export.tflite import to_tflite

L = keras.layers
# A few products in another order, of numbers around 1.
CLOSE = 2e-6
slopes = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)


def check(model: keras.Model, form: str = "keep") -> list[str]:
    """Lowers, compares, and names the classes of the layers."""
    x = np.random.default_rng(1).normal(size=(2, *model.inputs[0].shape[1:])).astype(np.float32)
    lowered, _ = lower_to_form(model, [x.shape], form=form)
    for expected, got in zip(answers(model, x), answers(lowered, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * max(1, abs(expected).max()))
    return [type(layer).__name__ for layer in lowered.layers[1:]]


def prelu(alpha: list[float]) -> keras.Model:
    image = keras.Input((4, 5, len(alpha)))
    layer = L.PReLU(shared_axes=[1, 2])
    model = keras.Model(image, layer(image))
    layer.set_weights([np.reshape(alpha, (1, 1, -1))])
    return model


class TestPReLU:
    def between(self, before: L.Layer, alpha: list[float], after: L.Layer) -> keras.Model:
        image = keras.Input((6, 5, 2))
        slopes = L.PReLU(shared_axes=[1, 2])
        model = random_weights(keras.Model(image, after(slopes(before(image)))))
        slopes.set_weights([np.reshape(alpha, (1, 1, -1))])
        return model

    @settings(deadline=None, max_examples=30)
    @given(slopes, st.sampled_from(["sum", "depthwise"]))
    def test_sum(self, alpha, form):
        assert "PReLU" not in check(prelu(alpha), form)

    @settings(deadline=None, max_examples=30)
    @given(slopes)
    def test_halves(self, alpha):
        model = self.between(L.Conv2D(3, 3), alpha, L.Conv2D(4, 2, strides=2, padding="same"))
        assert check(model, "halves") == ["Conv2D", "Conv2D"]

    def test_channels_without_a_half_below_zero_have_none(self):
        model = self.between(L.Conv2D(3, 3), [0.5, 0.0, -0.5], L.Conv2D(4, 1))
        lowered, _ = lower_to_form(model, [(1, 6, 5, 2)], form="halves")
        assert [layer.filters for layer in lowered.layers[1:]] == [5, 4]

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (L.Conv2D(3, 3, activation="tanh"), L.Conv2D(4, 1)),
            (L.Conv2D(3, 3), L.Conv2D(3, 3, groups=3)),
            (L.Conv2D(3, 3), L.DepthwiseConv2D(3)),
            (L.DepthwiseConv2D(3, depth_multiplier=2), L.Conv2D(4, 1)),
            (L.Conv2D(3, 3), L.MaxPooling2D()),
        ],
    )
    def test_neighbours_that_cannot_take_the_halves(self, before, after):
        channels = before.compute_output_shape((1, 6, 5, 2))[-1]
        assert "PReLU" in check(self.between(before, [0.25] * channels, after), "halves")

    def test_two_readers_keep_it(self):
        image = keras.Input((6, 5, 2))
        x = L.PReLU(shared_axes=[1, 2])(L.Conv2D(3, 3)(image))
        model = random_weights(keras.Model(image, [L.Conv2D(2, 1)(x), x]))
        assert "PReLU" in check(model, "halves")

    @pytest.mark.parametrize("slope", [0.0, 0.25, 2.0])
    def test_leaky(self, slope):
        assert check(prelu([slope] * 3), "leaky") == ["LeakyReLU"]

    @pytest.mark.parametrize("alpha", [[0.25, 0.5], [-0.5, -0.5]])
    def test_slopes_that_a_leaky_relu_has_not(self, alpha):
        assert check(prelu(alpha), "leaky") == ["PReLU"]

    @pytest.mark.parametrize("form", ["sum", "depthwise", "leaky"])
    def test_slopes_by_place_stay(self, form):
        image = keras.Input((4, 5, 3))
        model = random_weights(keras.Model(image, L.PReLU()(image)))
        assert check(model, form) == ["PReLU"]


class TestHardSwish:
    def network(self, *behind: keras.layers.Layer) -> keras.Model:
        x = image = keras.Input((6, 7, 3))
        for layer in (L.Conv2D(4, 3), L.Activation("hard_swish"), *behind):
            x = layer(x)
        return random_weights(keras.Model(image, x))

    @pytest.mark.parametrize(
        "layer", [L.Conv2D(2, 3), L.DepthwiseConv2D(3, padding="same"), L.Conv2DTranspose(2, 2, 2)]
    )
    def test_product(self, layer):
        kinds = check(self.network(layer), "product")
        assert "Activation" not in kinds
        assert "Multiply" in kinds

    @pytest.mark.parametrize("behind", [(), (L.MaxPooling2D(2), L.Conv2D(2, 1))])
    def test_nothing_to_take_the_factor(self, behind):
        assert "Activation" in check(self.network(*behind), "product")


class TestTanh:
    """In integers ONNX Runtime has a sigmoid alone."""

    @pytest.mark.parametrize(
        "layer",
        [
            L.Conv2D(4, 3, activation="tanh"),
            L.Conv2DTranspose(2, 4, 2, padding="same", activation="tanh"),
        ],
    )
    @pytest.mark.parametrize("behind", [[], [L.Rescaling(127.5, 127.5)], [L.Conv2D(2, 3)]])
    def test_sigmoid(self, layer, behind):
        x = image = keras.Input((6, 7, 3))
        for part in (layer, *behind):
            x = part.__class__.from_config(part.get_config())(x)
        model = random_weights(keras.Model(image, x))
        lowered, _ = lower_to_form(model, [(1, 6, 7, 3)], form="sigmoid")
        kinds = check(model, "sigmoid")
        assert kinds[0] == type(layer).__name__ and kinds.count("Rescaling") == 1
        assert keras.activations.tanh not in [
            getattr(part, "activation", None) for part in lowered.layers
        ]
        if [type(part) for part in behind] == [L.Rescaling]:
            spread = lowered.layers[-1]
            assert (spread.scale, spread.offset) == (255, 0)

    def test_standing(self):
        image = keras.Input((6, 7, 3))
        pooled = L.AveragePooling2D(2)(image)
        model = keras.Model(image, L.Activation("tanh")(pooled))
        assert check(model, "sigmoid")[1:] == ["Rescaling", "Activation", "Rescaling"]

    def test_a_rescaling_that_another_layer_reads_stays(self):
        image = keras.Input((6, 7, 3))
        x = L.Conv2D(4, 3, activation="tanh")(image)
        model = random_weights(keras.Model(image, [L.Rescaling(3.0, 1.0)(x), x]))
        assert check(model, "sigmoid").count("Rescaling") == 2


class TestFusing:
    """A ReLU finds its convolution through what only moves values about."""

    @pytest.mark.parametrize(
        "between",
        [
            L.Cropping2D(1),
            L.ZeroPadding2D(1),
            layers.DepthToSpace(2),
            L.UpSampling2D(2),
            layers.ReflectPadding(1),
        ],
    )
    @pytest.mark.parametrize("activation", [L.ReLU(), L.ReLU(6.0), L.Activation("tanh")])
    def test_through_moves(self, between, activation):
        image = keras.Input((6, 7, 3))
        x = activation(between(L.Conv2D(8, 3)(image)))
        model = random_weights(keras.Model(image, x))
        assert check(model) == ["Conv2D", type(between).__name__]

    def test_a_sigmoid_is_not_zero_of_zero(self):
        image = keras.Input((6, 7, 3))
        x = L.Activation("sigmoid")(L.ZeroPadding2D(1)(L.Conv2D(8, 3)(image)))
        assert check(random_weights(keras.Model(image, x)))[-1] == "Activation"

    def branches(self, second: keras.layers.Layer) -> keras.Model:
        image = keras.Input((6, 7, 3))
        x = L.Concatenate()([L.Conv2D(4, 3)(image), second(image)])
        return random_weights(keras.Model(image, L.ReLU()(x)))

    def test_into_branches(self):
        assert check(self.branches(L.Conv2D(2, 3))) == ["Conv2D", "Conv2D", "Concatenate"]

    @pytest.mark.parametrize(
        "second", [L.Conv2D(2, 3, activation="tanh"), L.AveragePooling2D(3, 1)]
    )
    def test_not_into_a_branch_that_cannot_take_it(self, second):
        assert check(self.branches(second))[-1] == "ReLU"

    def test_not_into_a_branch_that_others_read(self):
        image = keras.Input((6, 7, 3))
        x = L.Conv2D(4, 3)(image)
        joined = L.ReLU()(L.Concatenate()([x, L.Conv2D(2, 3)(image)]))
        assert "ReLU" in check(random_weights(keras.Model(image, [joined, x])))


def standing() -> keras.Model:
    """A ReLU behind a concatenation with something that is no convolution."""
    image = keras.Input((16, 16, 4))
    x = L.Conv2D(8, 3, padding="same", name="conv")(image)
    x = L.ReLU(name="stands")(L.Concatenate(name="join")([x, image]))
    return random_weights(keras.Model(image, L.Conv2D(4, 3, padding="same", name="out")(x)))


SAMPLES = [np.random.default_rng(i).normal(size=(1, 16, 16, 4)).astype("f4") for i in range(8)]


class TestClamp:
    def test_same_function(self):
        assert "MaxPooling2D" in check(standing(), "clamp")

    @pytest.mark.parametrize("form", ["keep", "clamp"])
    def test_what_the_file_holds(self, form, tmp_path):
        """A pooling takes the ReLU in; otherwise it stands, which XNNPACK leaves to others."""
        lowered, _ = lower_to_form(standing(), [(1, 16, 16, 4)], form=form)
        path = tmp_path / "file.tflite"
        path.write_bytes(to_tflite(lowered, precision="int8", samples=SAMPLES))
        operators = operator_counts(read_artifact(path))
        assert ("RELU" in operators) == (form == "keep")
        assert float_operators(read_artifact(path), "int8") == []

    @pytest.mark.parametrize("before", [L.Add(), L.Multiply()])
    def test_what_the_converter_fuses_stays(self, before):
        image = keras.Input((4, 5, 3))
        x = L.ReLU()(before([L.Conv2D(3, 3, padding="same")(image), image]))
        assert check(random_weights(keras.Model(image, x)), "clamp")[-1] == "ReLU"


def test_the_profile_has_them_in_int8_alone():
    kinds = {
        precision: [
            type(layer).__name__
            for layer in lower(standing(), "android-cpu", precision=precision).layers
        ]
        for precision in ("float32", "int8")
    }
    assert "MaxPooling2D" not in kinds["float32"]
    assert "MaxPooling2D" in kinds["int8"]


@pytest.mark.parametrize("target", ["android-cpu", "onnxruntime-cpu"])
def test_fsrcnn_in_int8(target, tmp_path):
    """PReLU between all convolutions: no operator of integers, or a slow one."""
    model = random_weights(models.FSRCNN((16, 16, 1), 2, width=8, bottleneck=4, depth=1))
    samples = np.random.default_rng(0).uniform(0, 255, (8, 16, 16, 1)).astype(np.float32)
    report = export(
        model, tmp_path, target=target, precision="int8", calibration=samples, tune=False
    )
    assert not {"PRELU", "PRelu"} & set(report.operators)
    assert report.float_operators == []
