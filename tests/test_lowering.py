"""Lowering: rewritten models compute what they computed, and each rule knows where it ends."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from export_models import answers, autoencoder, random_weights, unet

from kerasdeconv import models
from kerasdeconv.errors import ExportError, LoweringError, TargetError
from kerasdeconv.export.lowering import lower, lower_to_form, with_head
from kerasdeconv.layers import UPSAMPLING_METHODS, CropLike, DepthToSpace, ReflectPadding

# Sums of a few hundred float32 products in another order, on outputs of a few layers: some 1e-6 of
# the largest value.
CLOSE = 1e-5
L = keras.layers


def inputs_of(model: keras.Model, batch: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [
        rng.uniform(0, 9, (batch, *tensor.shape[1:])).astype(tensor.dtype)
        for tensor in model.inputs
    ]


def lowered(model: keras.Model, form: str = "joint", **options) -> keras.Model:
    """Lowers a model, checks that it computes the same, and returns it."""
    inputs = inputs_of(model)
    result, _ = lower_to_form(model, [x.shape for x in inputs], form=form, **options)
    for expected, got in zip(answers(model, *inputs), answers(result, *inputs), strict=True):
        assert np.ptp(expected) > 0.01  # not a constant that anything would meet
        np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * np.abs(expected).max())
    return result


def kinds(model: keras.Model) -> list[str]:
    """Classes of a model's layers, without its inputs."""
    return [type(x).__name__ for x in model.layers if not isinstance(x, L.InputLayer)]


def chain(*layers: keras.layers.Layer, shape: tuple[int, ...] = (5, 6, 3)) -> keras.Model:
    x = image = keras.Input(shape)
    for layer in layers:
        x = layer(x)
    return random_weights(keras.Model(image, x))


class TestTransposedConvolution:
    def test_keep_keeps(self):
        result = lowered(chain(L.Conv2DTranspose(4, 3, 2, padding="same")), form="keep")
        assert kinds(result) == ["Conv2DTranspose"]

    def test_joint_is_one_convolution_and_an_interleave(self):
        result = lowered(chain(L.Conv2DTranspose(4, 2, 2, padding="same", name="up")))
        assert kinds(result) == ["Conv2D", "DepthToSpace"]
        convolution = result.get_layer("up")
        assert convolution.kernel.shape == (1, 1, 3, 16)

    def test_volumes_stay(self):
        layer = L.Conv3DTranspose(3, 3, 2, padding="same", activation="relu")
        assert kinds(lowered(chain(layer, shape=(3, 4, 2, 2)))) == ["Conv3DTranspose"]

    @pytest.mark.parametrize("activation", ["softmax", "log_softmax", "sparsemax"])
    def test_an_activation_across_channels_comes_after_the_interleave(self, activation):
        layer = L.Conv2DTranspose(4, 4, 2, padding="same", activation=activation)
        assert kinds(lowered(chain(layer))) == ["Conv2D", "DepthToSpace", "Activation"]

    def test_a_users_activation_comes_after_the_interleave(self):
        layer = L.Conv2DTranspose(4, 4, 2, padding="same", activation=tanh)
        assert kinds(lowered(chain(layer)))[-1] == "Activation"

    def test_without_a_bias(self):
        layer = L.Conv2DTranspose(4, 4, 2, padding="same", use_bias=False)
        assert kinds(lowered(chain(layer))) == ["Conv2D", "DepthToSpace"]


@keras.saving.register_keras_serializable("test_lowering")
def tanh(x):
    """Anything but the hyperbolic tangent."""
    return x * keras.ops.flip(x, -1)


@keras.saving.register_keras_serializable("test_lowering")
class Standardized(keras.layers.Conv2D):
    """Weight standardization: a gain on the kernel would be divided out again."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel / keras.ops.std(kernel))


CONVOLUTIONS = [
    (L.Conv2D, (5, 6, 3)),
    (L.Conv2DTranspose, (4, 3, 3)),
    (L.Conv3D, (4, 5, 3, 3)),
    (L.Conv3DTranspose, (3, 2, 3, 3)),
]


class TestBatchNorm:
    @pytest.mark.parametrize(("kind", "shape"), CONVOLUTIONS)
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(("scale", "center"), [(True, True), (False, True), (True, False)])
    def test_folds(self, kind, shape, bias, scale, center):
        norm = L.BatchNormalization(scale=scale, center=center, epsilon=0.01)
        convolution = kind(4, 2, strides=2, use_bias=bias, padding="same", name="conv")
        result = lowered(chain(convolution, norm, shape=shape), form="keep")
        assert kinds(result) == [kind.__name__]
        assert result.get_layer("conv").use_bias

    def test_neither_scale_nor_center(self):
        norm = L.BatchNormalization(scale=False, center=False)
        assert kinds(lowered(chain(L.Conv2D(4, 3), norm))) == ["Conv2D"]

    def test_groups(self):
        model = chain(L.Conv2D(8, 3, groups=2), L.BatchNormalization(), shape=(5, 5, 4))
        assert kinds(lowered(model)) == ["Conv2D"]

    def test_with_low_rank_changes(self):
        convolution = L.Conv2D(4, 3, name="conv")
        model = chain(convolution, L.BatchNormalization())
        convolution.enable_lora(2)
        random_weights(model)
        assert kinds(lowered(model)) == ["Conv2D"]

    def test_then_the_activation(self):
        layers = (L.Conv2DTranspose(4, 2, 2, use_bias=False), L.BatchNormalization(), L.ReLU())
        result = lowered(chain(*layers), form="keep")
        assert kinds(result) == ["Conv2DTranspose"]
        assert result.layers[-1].activation is keras.activations.relu

    @pytest.mark.parametrize(
        "layers",
        [
            (L.Conv2D(4, 3, activation="relu"), L.BatchNormalization()),
            (L.Conv2D(4, 3), L.ReLU(negative_slope=0.1), L.BatchNormalization()),
            (L.Conv2D(4, 3), L.BatchNormalization(axis=1)),
            (Standardized(4, 3), L.BatchNormalization()),
            (L.BatchNormalization(), L.Conv2D(4, 3, padding="same")),
        ],
    )
    def test_what_must_stay(self, layers):
        assert "BatchNormalization" in kinds(lowered(chain(*layers)))

    def test_a_convolution_that_others_read(self):
        image = keras.Input((5, 6, 3))
        x = L.Conv2D(4, 3)(image)
        both = L.Add()([L.BatchNormalization()(x), x])
        assert "BatchNormalization" in kinds(lowered(random_weights(keras.Model(image, both))))

    def test_a_convolution_that_is_an_output(self):
        image = keras.Input((5, 6, 3))
        x = L.Conv2D(4, 3)(image)
        model = random_weights(keras.Model(image, [L.BatchNormalization()(x), x]))
        assert "BatchNormalization" in kinds(lowered(model))


class TestRescaling:
    @pytest.mark.parametrize(("kind", "shape"), CONVOLUTIONS)
    def test_a_factor_folds_into_the_next_convolution(self, kind, shape):
        model = chain(L.Rescaling(0.3), kind(4, 3, padding="same"), shape=shape)
        assert kinds(lowered(model, form="keep")) == [kind.__name__]

    def test_an_offset_is_not_in_the_padding(self):
        model = chain(L.Rescaling(0.3, offset=-0.5), L.Conv2D(4, 3, padding="same"))
        assert kinds(lowered(model)) == ["Rescaling", "Conv2D"]

    @pytest.mark.parametrize("layer", [L.Conv2D(4, 3, strides=2), L.Conv2D(6, 3, groups=3)])
    def test_an_offset_folds_where_there_is_no_padding(self, layer):
        assert kinds(lowered(chain(L.Rescaling(0.3, offset=-0.5), layer))) == ["Conv2D"]

    def test_an_offset_before_a_transposed_convolution_stays(self):
        model = chain(L.Rescaling(0.3, offset=-0.5), L.Conv2DTranspose(4, 3, 2, padding="valid"))
        assert kinds(lowered(model, form="keep")) == ["Rescaling", "Conv2DTranspose"]

    def test_behind_a_reflection_that_others_read(self):
        image = keras.Input((5, 6, 3))
        x = ReflectPadding(1)(L.Rescaling(0.3, offset=-0.5)(image))
        model = keras.Model(image, [L.Conv2D(4, 3)(x), x])
        assert "Rescaling" in kinds(lowered(random_weights(model)))

    def test_behind_a_reflection(self):
        model = chain(L.Rescaling(0.3, offset=-0.5), ReflectPadding(2), L.Conv2D(4, 3))
        assert kinds(lowered(model)) == ["ReflectPadding", "Conv2D"]

    @pytest.mark.parametrize("reflected", [False, True])
    def test_a_factor_for_each_row_stays(self, reflected):
        rows = np.arange(5.0).reshape(5, 1, 1).tolist()
        between = (ReflectPadding(2),) if reflected else ()
        model = chain(L.Rescaling(rows), *between, L.Conv2D(4, 3))
        assert kinds(lowered(model))[0] == "Rescaling"

    @pytest.mark.parametrize(("kind", "shape"), CONVOLUTIONS)
    def test_factor_and_offset_fold_into_the_convolution_before(self, kind, shape):
        model = chain(kind(4, 3, padding="same"), L.Rescaling(0.3, offset=0.7), shape=shape)
        assert kinds(lowered(model, form="keep")) == [kind.__name__]

    def test_through_an_interleave(self):
        model = chain(L.Conv2D(8, 3), DepthToSpace(2), L.Rescaling(255.0, offset=127.5))
        assert kinds(lowered(model)) == ["Conv2D", "DepthToSpace"]

    def test_not_through_an_interleave_that_others_read(self):
        image = keras.Input((5, 6, 3))
        x = DepthToSpace(2)(L.Conv2D(8, 3)(image))
        model = keras.Model(image, L.Add()([x, L.Rescaling(2.0, offset=1.0)(x)]))
        assert "Rescaling" in kinds(lowered(random_weights(model)))

    def test_not_through_an_activation(self):
        model = chain(L.Conv2D(8, 3, activation="relu"), L.Rescaling(2.0, offset=-1.0))
        assert kinds(lowered(model)) == ["Conv2D", "Rescaling"]

    @pytest.mark.parametrize(("kind", "shape"), CONVOLUTIONS)
    def test_a_factor_for_each_channel_folds(self, kind, shape):
        model = chain(L.Rescaling([1.0, 2.0, 3.0]), kind(4, 3, padding="same"), shape=shape)
        assert kinds(lowered(model, form="keep")) == [kind.__name__]

    def test_not_where_others_read_it(self):
        image = keras.Input((5, 6, 3))
        x = L.Rescaling(0.3)(image)
        model = keras.Model(image, L.Add()([L.Conv2D(3, 3, padding="same")(x), x]))
        assert "Rescaling" in kinds(lowered(random_weights(model)))

    def test_bytes_are_not_what_a_convolution_takes(self):
        image = keras.Input((5, 6, 3), dtype="uint8")
        x = L.Conv2D(4, 3)(L.Rescaling(1 / 9)(image))
        assert kinds(lowered(random_weights(keras.Model(image, x)))) == ["Rescaling", "Conv2D"]


class TestActivations:
    @pytest.mark.parametrize(
        ("layer", "name"),
        [
            (L.ReLU(), "relu"),
            (L.ReLU(max_value=6.0), "relu6"),
            (L.Activation("relu"), "relu"),
            (L.Activation("relu6"), "relu6"),
            (L.Activation("tanh"), "tanh"),
            (L.Activation("sigmoid"), "sigmoid"),
        ],
    )
    def test_fused(self, layer, name):
        result = lowered(chain(L.Conv2D(4, 3), layer))
        assert kinds(result) == ["Conv2D"]
        assert result.layers[-1].activation is getattr(keras.activations, name)

    @pytest.mark.parametrize(
        "layer",
        [
            L.ReLU(max_value=0.5),
            L.ReLU(negative_slope=0.1),
            L.ReLU(threshold=0.2),
            L.LeakyReLU(),
            L.PReLU(),
            L.Softmax(),
            L.Activation("softmax"),
            L.Activation("gelu"),
            L.Activation(tanh),
        ],
    )
    def test_standing(self, layer):
        assert kinds(lowered(chain(L.Conv2D(4, 3), layer))) == ["Conv2D", type(layer).__name__]

    def test_one_after_the_other(self):
        model = chain(L.Conv2D(4, 3, activation="tanh"), L.ReLU())
        assert kinds(lowered(model)) == ["Conv2D", "ReLU"]

    def test_not_where_others_read_the_convolution(self):
        image = keras.Input((5, 6, 3))
        x = L.Conv2D(4, 3)(image)
        model = keras.Model(image, L.Concatenate()([L.ReLU()(x), x]))
        assert "ReLU" in kinds(lowered(random_weights(model)))


@pytest.mark.parametrize(("kind", "shape"), CONVOLUTIONS)
def test_a_bias_everywhere(kind, shape):
    result = lowered(chain(kind(4, 3, use_bias=False, name="c"), shape=shape), form="keep")
    layer = result.get_layer("c")
    assert layer.use_bias
    np.testing.assert_array_equal(layer.get_weights()[1], np.zeros(4))


class TestGraphs:
    def test_a_shared_layer_that_is_rewritten(self):
        shared = L.Conv2DTranspose(3, 2, 2, padding="same", use_bias=False, name="shared")
        result = lowered(chain(shared, shared))
        assert kinds(result) == ["Conv2D", "DepthToSpace"] * 2

    def test_a_shared_convolution_with_one_batch_norm(self):
        shared = L.Conv2D(3, 3, padding="same", name="shared")
        result = lowered(chain(shared, L.BatchNormalization(), shared))
        assert kinds(result) == ["Conv2D", "Conv2D"]
        assert {layer.name for layer in result.layers[1:]} == {"shared", "shared_1"}

    def test_a_shared_layer_that_stays_is_one_layer(self):
        shared = L.Conv2D(3, 3, padding="same", name="shared")
        result = lowered(chain(shared, L.LeakyReLU(), shared))
        assert kinds(result).count("Conv2D") == 1

    def test_a_shared_batch_norm(self):
        shared = L.BatchNormalization()
        model = chain(L.Conv2D(3, 1), shared, L.Conv2D(3, 1), shared)
        assert kinds(lowered(model)) == ["Conv2D", "Conv2D"]

    def test_nested_models_with_the_same_names_inside(self):
        def encoder(name):
            image = keras.Input((5, 6, 3), name="image")
            x = L.Conv2D(3, 3, padding="same", name="conv")(image)
            return keras.Model(image, keras.ops.tanh(L.BatchNormalization()(x)), name=name)

        result = lowered(chain(encoder("first"), encoder("second")))
        assert [layer.name for layer in result.layers if isinstance(layer, L.Conv2D)] == [
            "conv",
            "conv_1",
        ]

    def test_a_nested_model_called_twice(self):
        inner = keras.Sequential(
            [keras.Input((5, 6, 3)), L.Conv2D(3, 3, padding="same", activation="relu")]
        )
        image = keras.Input((5, 6, 3))
        model = keras.Model(image, L.Add()([inner(image), inner(inner(image))]))
        assert kinds(lowered(random_weights(model))).count("Conv2D") == 1

    def test_sequential(self):
        assert kinds(lowered(autoencoder())) == ["Conv2D", "Conv2D", "DepthToSpace", "Conv2D"]

    def test_several_inputs_and_outputs_by_name(self):
        left, right = keras.Input((4, 4, 1), name="left"), keras.Input((4, 4, 2), name="right")
        outputs = {"b": L.Conv2D(3, 1, name="from_right")(right), "a": L.Conv2D(2, 1)(left)}
        lowered(random_weights(keras.Model({"right": right, "left": left}, outputs)))

    def test_operations(self):
        image = keras.Input((5, 6, 3))
        x = L.Conv2D(4, 3)(2 * image + 1)
        x = keras.ops.concatenate([x[:, 1:], keras.ops.relu(x)[:, :-1]], axis=-1)
        lowered(random_weights(keras.Model(image, x)))

    def test_an_input_that_is_an_output(self):
        image = keras.Input((5, 6, 3))
        lowered(random_weights(keras.Model(image, [L.Conv2D(3, 1)(image), image])))

    def test_training_only_layers(self):
        lowered(chain(L.GaussianNoise(1.0), L.Conv2D(3, 3), L.Dropout(0.5)))

    def test_layers_keep_their_names(self):
        model = unet(padding="same", norm=None)
        kept = {layer.name for layer in lowered(model).layers}
        assert {x.name for x in model.layers if x.weights} <= kept

    def test_shapes_are_static(self):
        model = models.UNet((None, None, 3), width=2, depth=1, padding="same", norm="batch")
        result = lower(model, "android-cpu", (6, 8), batch=3)
        assert result.input_shape == (3, 6, 8, 3)
        assert result.output_shape == (3, 6, 8, 2)

    def test_mixed_precision_becomes_float32(self):
        policy = keras.dtype_policies.DTypePolicy("mixed_float16")
        image = keras.Input((5, 6, 3))
        x = L.Conv2D(8, 3, use_bias=False, dtype=policy)(L.Rescaling(0.1, dtype=policy)(image))
        x = L.ReLU(dtype=policy)(L.BatchNormalization(dtype=policy)(x))
        x = L.Conv2DTranspose(4, 2, 2, padding="same", dtype=policy)(x)
        x = L.Activation("sigmoid", dtype="float32")(L.LeakyReLU(dtype=policy)(x))
        model = random_weights(keras.Model(image, x))
        inputs = inputs_of(model)
        result, _ = lower_to_form(model, [x.shape for x in inputs], form="joint")
        assert {layer.compute_dtype for layer in result.layers} == {"float32"}
        # float16 has 11 bits; the weights are the same float32 ones.
        for expected, got in zip(answers(model, *inputs), answers(result, *inputs), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=3e-3)

    @pytest.mark.parametrize("upsample", UPSAMPLING_METHODS)
    @pytest.mark.parametrize("form", ["keep", "joint"])
    def test_unet(self, upsample, form):
        result = lowered(unet(2, upsample=upsample, attention=True), form)
        assert not {"BatchNormalization", "Rescaling"} & set(kinds(result))

    def test_residual_unet(self):
        result = lowered(unet(2, block="residual"))
        assert "BatchNormalization" not in kinds(result)

    def test_unpadded_unet(self):
        model = models.UNet((44, 48, 1), width=2, depth=2)
        assert "Conv2DTranspose" not in kinds(lowered(random_weights(model)))

    @pytest.mark.parametrize("scale", [2, 3])
    def test_espcn(self, scale):
        result = lowered(random_weights(models.ESPCN((6, 7, 1), scale, activation="relu")))
        # Its offsets are in the biases: before the first convolution the borders are reflected.
        assert kinds(result) == ["ReflectPadding", "Conv2D", "Conv2D", "Conv2D", "DepthToSpace"]


@pytest.mark.parametrize("head", [None, "logits", "labels"])
def test_the_original_is_left_as_it_was(head):
    image = keras.Input((5, 6, 3))
    x = L.BatchNormalization()(L.Conv2D(4, 3, use_bias=False)(L.Rescaling(0.1)(2 * image)))
    x = L.Conv2DTranspose(3, 2, 2, padding="same", activation="softmax")(L.ReLU()(x))
    model = random_weights(keras.Model(image, x))
    inputs = inputs_of(model)

    def state():
        nodes = [(o.name, len(o._inbound_nodes), len(o._outbound_nodes)) for o in model.operations]
        return nodes, model.to_json()

    before, weights, expected = state(), model.get_weights(), answers(model, *inputs)
    result, _ = lower_to_form(model, [x.shape for x in inputs], form="joint", head=head)
    with_head(model, head)
    result.set_weights([np.zeros_like(weight) for weight in result.get_weights()])
    assert state() == before
    for kept, weight in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(kept, weight)
    np.testing.assert_array_equal(answers(model, *inputs)[0], expected[0])


def classifier(*last: keras.layers.Layer) -> keras.Model:
    return chain(L.Conv2D(4, 3, activation="relu", name="features"), *last)


HEADS = {
    "softmax after": (L.Conv2D(3, 1, name="head"), L.Activation("softmax", name="soft")),
    "softmax layer": (L.Conv2D(3, 1, name="head"), L.Softmax(name="soft")),
    "softmax inside": (L.Conv2D(3, 1, activation="softmax", name="head"),),
    "softmax upsampled": (
        L.Conv2DTranspose(3, 2, 2, padding="same", activation="softmax", name="head"),
    ),
    "sigmoid after": (L.Conv2D(1, 1, name="head"), L.Activation("sigmoid", name="soft")),
    "sigmoid inside": (L.Conv2D(1, 1, activation="sigmoid", name="head"),),
}


class TestHead:
    @pytest.mark.parametrize("form", ["keep", "joint"])
    @pytest.mark.parametrize("last", HEADS)
    def test_logits_and_labels(self, last, form):
        model = classifier(*HEADS[last])
        inputs = inputs_of(model)
        (probabilities,) = answers(model, *inputs)
        shapes = [x.shape for x in inputs]
        logits, labels = (
            [
                answers(with_head(model, head), *inputs)[0],
                answers(lower_to_form(model, shapes, form=form, head=head)[0], *inputs)[0],
            ]
            for head in ("logits", "labels")
        )
        activate = keras.activations.softmax if "softmax" in last else keras.activations.sigmoid
        if "softmax" in last:
            expected = probabilities.argmax(axis=-1)
        else:
            expected = (probabilities > 0.5)[..., 0]
        assert 0 < expected.mean() < 2
        for got in logits:
            np.testing.assert_allclose(activate(got), probabilities, rtol=0, atol=1e-6)
        for got in labels:
            assert got.dtype == np.int32
            np.testing.assert_array_equal(got, expected)

    def test_probabilities_are_what_there_is(self):
        model = classifier(*HEADS["softmax inside"])
        assert kinds(lowered(model, head="probabilities")) == ["Conv2D", "Conv2D"]
        assert with_head(model, None) is model

    @pytest.mark.parametrize("last", ["softmax after", "softmax inside"])
    def test_what_else_reads_the_probabilities_still_does(self, last):
        image = keras.Input((5, 6, 3))
        x = image
        for layer in HEADS[last]:
            x = type(layer).from_config(layer.get_config())(x)
        model = random_weights(keras.Model(image, [x, L.Conv2D(2, 1, name="more")(x), x]))
        inputs = inputs_of(model)
        probabilities, more, _ = answers(model, *inputs)
        got = answers(with_head(model, "logits"), *inputs)
        np.testing.assert_allclose(keras.activations.softmax(got[0]), probabilities, atol=1e-6)
        np.testing.assert_allclose(got[1], more, atol=1e-6)
        np.testing.assert_allclose(got[2], probabilities, atol=1e-6)

    def test_a_shared_last_layer(self):
        image = keras.Input((5, 6, 3))
        shared = L.Conv2D(3, 1, activation="softmax", name="head")
        model = random_weights(keras.Model(image, [shared(image), shared(2 * image)]))
        inputs = inputs_of(model)
        first, second = answers(model, *inputs)
        got = answers(with_head(model, "logits"), *inputs)
        np.testing.assert_allclose(keras.activations.softmax(got[0]), first, atol=1e-6)
        np.testing.assert_allclose(got[1], second, atol=1e-6)

    @pytest.mark.parametrize("head", ["probabilities", "logits", "labels"])
    def test_a_network_that_does_not_classify(self, head):
        model = chain(L.Conv2D(4, 3, name="plain"))
        with pytest.raises(ExportError, match=r"ends in softmax or sigmoid. Received: 'plain'"):
            with_head(model, head)
        across = chain(L.Conv2D(4, 3), L.Softmax(axis=1))
        with pytest.raises(ExportError, match="ends in softmax"):
            with_head(across, head)

    def test_no_such_head(self):
        with pytest.raises(ValueError, match=r"'logits'.*Received: 'logit'"):
            with_head(classifier(*HEADS["softmax inside"]), "logit")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.inner = L.Conv2D(3, 1)

    def call(self, inputs):
        return self.inner(inputs)


class Careless(keras.layers.Layer):
    """Its configuration says too little to copy it."""

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {}


class TestRefusals:
    def test_subclassed(self):
        model = Subclassed()
        model(np.zeros((1, 5, 6, 3), np.float32))
        with pytest.raises(LoweringError, match=r"subclassed.*Received: Subclassed"):
            lower(model, "android-cpu", (5, 6))

    def test_subclassed_inside(self):
        with pytest.raises(LoweringError, match="Received: Subclassed"):
            lower(chain(Subclassed()), "android-cpu")

    def test_never_built(self):
        model = keras.Sequential([L.Conv2D(3, 1)], name="unbuilt")
        with pytest.raises(LoweringError, match=r"never built.*Received: 'unbuilt'"):
            lower(model, "android-cpu", (5, 6))

    def test_a_layer_that_cannot_be_copied(self):
        with pytest.raises(LoweringError, match=r"get_config. Received: Careless"):
            lower(chain(Careless(2.0)), "android-cpu")

    def test_no_such_target(self):
        with pytest.raises(TargetError, match="'android-cpu'"):
            lower(autoencoder(), "andriod-cpu")


def test_the_target_chooses_the_form():
    model = autoencoder()
    assert "Conv2DTranspose" not in kinds(lower(model, "android-cpu"))
    assert "Conv2DTranspose" in kinds(lower(model, "onnxruntime-cpu"))
    assert "Conv2DTranspose" not in kinds(lower(model, "onnxruntime-cpu", precision="int8"))
    # DEPTH_TO_SPACE has no kernel of 16 bits.
    kept = kinds(lower(model, "android-cpu", precision="int16x8"))
    assert not {"Conv2DTranspose", "DepthToSpace"} & set(kept)


class TestMoves:
    """BatchNorm finds its convolution through what only moves values about."""

    @pytest.mark.parametrize(
        "between",
        [
            (L.Cropping2D(1),),
            (DepthToSpace(2),),
            (L.UpSampling2D(2),),
            (ReflectPadding(1), L.Cropping2D(((0, 1), (1, 0)))),
        ],
    )
    def test_up(self, between):
        model = chain(L.Conv2D(8, 3), *between, L.BatchNormalization(), L.ReLU(), shape=(7, 8, 3))
        assert "BatchNormalization" not in kinds(lowered(model, form="keep"))

    def test_up_to_a_dense_layer(self):
        model = chain(L.Dense(6), L.BatchNormalization(), shape=(4,))
        assert kinds(lowered(model)) == ["Dense"]

    def test_through_zeros_the_shift_stays_behind(self):
        """Zeros around a map become the shift: only the gain folds, the shift goes on."""
        layers = (L.Conv2D(4, 3), L.ZeroPadding2D(1), L.BatchNormalization())
        result = lowered(chain(*layers), form="keep")
        assert kinds(result) == ["Conv2D", "ZeroPadding2D", "Rescaling"]
        assert np.size(result.layers[-1].scale) == 1
        result = lowered(chain(*layers, L.Conv2D(2, 2)), form="keep")
        assert kinds(result) == ["Conv2D", "ZeroPadding2D", "Conv2D"]

    def test_the_shift_behind_zeros_has_the_channels_that_are_there(self):
        """Not those of the convolution, four times as many."""
        between = (DepthToSpace(2), L.ZeroPadding2D(1))
        model = chain(L.Conv2D(8, 3), *between, L.BatchNormalization())
        result = lowered(model, form="keep")
        assert kinds(result) == ["Conv2D", "DepthToSpace", "ZeroPadding2D", "Rescaling"]

    def test_down_through_zeros_goes_a_gain_alone(self):
        model = chain(L.Rescaling([1.0, 2.0, 3.0]), L.ZeroPadding2D(1), L.Conv2D(4, 3))
        assert kinds(lowered(model)) == ["ZeroPadding2D", "Conv2D"]
        model = chain(L.Rescaling(2.0, 1.0), L.ZeroPadding2D(1), L.Conv2D(4, 3))
        assert kinds(lowered(model)) == ["Rescaling", "ZeroPadding2D", "Conv2D"]

    @pytest.mark.parametrize(
        "layer",
        [L.Conv2D(4, 2), L.Conv2D(6, 2, groups=3), L.DepthwiseConv2D(2, depth_multiplier=2)],
    )
    def test_a_shift_for_each_channel_folds_into_an_unpadded_convolution(self, layer):
        model = chain(L.ReLU(), L.BatchNormalization(), layer)
        assert "BatchNormalization" not in kinds(lowered(model))

    def test_a_gain_for_each_channel_of_a_group(self):
        model = chain(L.ReLU(), L.BatchNormalization(), L.Conv2D(6, 2, groups=2), shape=(5, 6, 4))
        assert kinds(lowered(model)) == ["ReLU", "Conv2D"]

    def test_not_across_channels_that_move(self):
        """Flipped channels meet another channel's gain."""
        model = chain(L.Conv2D(4, 3), L.Permute((2, 1, 3)), L.BatchNormalization())
        assert "BatchNormalization" in kinds(lowered(model))


class TestSeparable:
    def test_taken_apart_and_folded(self):
        model = chain(
            L.SeparableConv2D(5, 3, depth_multiplier=2, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.ReLU(max_value=6.0),
        )
        assert kinds(lowered(model)) == ["DepthwiseConv2D", "Conv2D"]

    def test_depthwise(self):
        model = chain(L.DepthwiseConv2D(3, depth_multiplier=2), L.BatchNormalization(), L.ReLU())
        assert kinds(lowered(model)) == ["DepthwiseConv2D"]


def test_crops_by_numbers():
    image = keras.Input((8, 9, 3))
    small = L.Conv2D(3, 3)(image)
    model = random_weights(keras.Model(image, L.Add()([CropLike()([image, small]), small])))
    assert "CropLike" not in kinds(lowered(model))


def test_what_no_rule_knows_is_kept_and_said_to_be():
    image = keras.Input((5, 6, 3))
    model = keras.Model(image, Standardized(4, 3, name="own")(image))
    _, rewrites = lower_to_form(model, [(1, 5, 6, 3)])
    assert "own: kept, no rule knows Standardized" in rewrites
