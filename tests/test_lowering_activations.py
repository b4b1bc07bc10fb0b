"""Activations: fused where a convolution can take them, rewritten where integers make them slow."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from export_models import answers, random_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from kerasdeconv import layers, models, runtime
from kerasdeconv.export import export
from kerasdeconv.export.artifact import float_operators, operator_counts, read_artifact
from kerasdeconv.export.lowering import (
    activations,
    apply_foldings,
    fix_shapes,
    lower,
    lower_to_form,
)
from kerasdeconv.export.onnx import to_onnx
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.graph import build, read

L = keras.layers
# A few hundred products in another order, of numbers around 1: some units in the last place.
CLOSE = 5e-6
slopes = st.lists(st.floats(-2, 2, width=32), min_size=3, max_size=3)


def agree(model: keras.Model, lowered: keras.Model) -> list[str]:
    """Compares, and names the classes of the layers."""
    shape = (2, *model.inputs[0].shape[1:])
    x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    for expected, got in zip(answers(model, x), answers(lowered, x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=0, atol=CLOSE * max(1, abs(expected).max()))
    return [type(layer).__name__ for layer in lowered.layers[1:]]


def check(model: keras.Model, form: str = "keep") -> list[str]:
    """Lowers, compares, and names the classes of the layers."""
    return agree(model, lower_to_form(model, [(2, *model.inputs[0].shape[1:])], form=form)[0])


def moved(model: keras.Model) -> list[str]:
    """Moves activations up after all foldings, compares, and names the classes of the layers."""
    graph, shapes = read(model), [(2, *model.inputs[0].shape[1:])]
    fix_shapes(graph, shapes)
    apply_foldings(graph)
    apply_foldings(graph, [activations.move_activation_up])
    return agree(model, build(graph, shapes, "moved"))


def chain(*chained: keras.layers.Layer, shape: tuple[int, ...] = (7, 8, 3)) -> keras.Model:
    """Layers behind each other, with weights in which nothing is zero."""
    x = image = keras.Input(shape)
    for layer in chained:
        x = layer(x)
    return random_weights(keras.Model(image, x))


def with_slopes(model: keras.Model, alpha: list[float]) -> keras.Model:
    """Sets the slopes of all its PReLUs."""
    for layer in model.layers:
        if type(layer) is L.PReLU:
            layer.set_weights([np.resize(alpha, layer.alpha.shape)])
    return model


def prelu(alpha: list[float]) -> keras.Model:
    return with_slopes(chain(L.PReLU(shared_axes=[1, 2]), shape=(4, 5, len(alpha))), alpha)


SIDES = (16, 16, 4)
SAMPLES = [np.random.default_rng(i).normal(size=(1, *SIDES)).astype("f4") for i in range(8)]


class Int8:
    """A model in int8, in one form.

    Args:
        model: It takes `SIDES`.
        form: For all operators.
        path: The file to write; its suffix says which runtime.
    """

    def __init__(self, model: keras.Model, form: str, path: Path) -> None:
        lowered, _ = lower_to_form(model, [(1, *SIDES)], form=form)
        convert = to_tflite if path.suffix == ".tflite" else to_onnx
        path.write_bytes(convert(lowered, precision="int8", samples=SAMPLES))
        self.operators = operator_counts(read_artifact(path))
        self.floats = float_operators(read_artifact(path), "int8")
        predictor = runtime.open(path)
        errors = [predictor.run(x)[0] - answers(model, x)[0] for x in SAMPLES]
        self.error = float(np.sqrt(np.mean(np.square(errors))))


class TestPReLU:
    @pytest.mark.parametrize("form", ["sum", "depthwise"])
    @settings(deadline=None, max_examples=25)
    @given(alpha=slopes)
    def test_sums(self, form, alpha):
        assert "PReLU" not in check(prelu(alpha), form)

    @pytest.mark.parametrize("slope", [0.0, 0.25, 2.0])
    def test_leaky(self, slope):
        assert check(prelu([slope] * 3), "leaky") == ["LeakyReLU"]

    @pytest.mark.parametrize("alpha", [[0.25, 0.5], [-0.5, -0.5]])
    def test_slopes_that_a_leaky_relu_has_not(self, alpha):
        assert check(prelu(alpha), "leaky") == ["PReLU"]

    @pytest.mark.parametrize("form", ["leaky", "sum", "depthwise", "pair"])
    def test_one_slope_for_all_channels(self, form):
        model = chain(L.Conv2D(4, 3), L.PReLU(shared_axes=[1, 2, 3]), L.Conv2D(2, 1))
        assert "PReLU" not in check(with_slopes(model, [0.3]), form)

    @pytest.mark.parametrize("form", ["leaky", "sum", "depthwise", "pair"])
    def test_slopes_by_place_stay(self, form):
        assert "PReLU" in check(chain(L.Conv2D(4, 3), L.PReLU(), L.Conv2D(2, 3)), form)


BETWEEN: dict[str, Callable[[], list[keras.layers.Layer]]] = {
    "nothing": lambda: [],
    "zeros": lambda: [L.ZeroPadding2D(((1, 0), (2, 1)))],
    "crop": lambda: [L.Cropping2D(((1, 0), (0, 1)))],
    "reflect": lambda: [layers.ReflectPadding(1)],
    "copies": lambda: [L.UpSampling2D(2)],
    "several": lambda: [L.ZeroPadding2D(1), L.UpSampling2D((1, 2)), L.Cropping2D(1)],
}


class TestPair:
    @settings(deadline=None, max_examples=30)
    @given(
        alpha=slopes,
        kernel=st.integers(1, 3),
        stride=st.integers(1, 2),
        padding=st.sampled_from(["same", "valid"]),
        between=st.sampled_from(sorted(BETWEEN)),
        kinds=st.tuples(*[st.sampled_from([L.Conv2D, L.Conv2DTranspose])] * 2),
        biased=st.booleans(),
    )
    def test_same_function(self, alpha, kernel, stride, padding, between, kinds, biased):
        first = kinds[0](3, kernel, strides=stride, padding=padding, use_bias=biased)
        second = kinds[1](2, kernel, strides=stride, padding=padding, activation="relu")
        model = chain(first, L.PReLU(shared_axes=[1, 2]), *BETWEEN[between](), second)
        kept = [type(layer).__name__ for layer in model.layers[1:]]
        kept.remove("PReLU")
        assert check(with_slopes(model, alpha), "pair") == kept

    def test_several_in_a_row(self):
        stages = [(L.Conv2D(4, 3), L.PReLU(shared_axes=[1, 2])) for _ in range(3)]
        model = chain(*[layer for stage in stages for layer in stage], L.Conv2D(2, 1))
        lowered, _ = lower_to_form(model, [(2, 7, 8, 3)], form="pair")
        assert agree(model, lowered) == ["Conv2D"] * 4
        assert [layer.filters for layer in lowered.layers[1:]] == [8, 8, 8, 2]

    @pytest.mark.parametrize(
        ("first", "behind"),
        [
            (L.Conv2D(4, 3, activation="tanh"), [L.Conv2D(2, 3)]),
            (L.Conv2D(4, 3), [L.Conv2D(4, 3, groups=2)]),
            (L.DepthwiseConv2D(3), [L.Conv2D(4, 3)]),
            (L.Conv2D(4, 3), [L.DepthwiseConv2D(3)]),
            (L.Conv2D(4, 3), [L.MaxPooling2D(2), L.Conv2D(2, 1)]),
            (L.Conv2D(4, 3), []),
            (L.MaxPooling2D(2), [L.Conv2D(2, 1)]),
        ],
    )
    def test_neighbours_that_cannot_take_it(self, first, behind):
        assert "PReLU" in check(chain(first, L.PReLU(shared_axes=[1, 2]), *behind), "pair")

    @pytest.mark.parametrize("shown", ["before", "behind"])
    def test_not_where_others_read(self, shown):
        image = keras.Input((7, 8, 3))
        before = L.Conv2D(4, 3)(image)
        behind = L.PReLU(shared_axes=[1, 2])(before)
        other = {"before": before, "behind": behind}[shown]
        model = keras.Model(image, [L.Conv2D(2, 3)(behind), other])
        assert "PReLU" in check(random_weights(model), "pair")


class TestPReLUInInt8:
    @pytest.fixture(scope="class")
    def model(self) -> keras.Model:
        first, second = L.Conv2D(8, 3, padding="same"), L.Conv2D(4, 3, padding="same")
        model = chain(first, L.PReLU(shared_axes=[1, 2]), second, shape=SIDES)
        return with_slopes(model, list(np.linspace(-0.3, 0.9, 8)))

    # A sum rounds its two parts besides the whole: up to sqrt(2) of the error of one rounding, of
    # several that there are. Two convolutions round nothing on the way.
    @pytest.mark.parametrize(("form", "most"), [("sum", 1.3), ("depthwise", 1.3), ("pair", 1.0)])
    def test_what_the_file_holds(self, form, most, model, tmp_path):
        kept = Int8(model, "keep", tmp_path / "keep.tflite")
        made = Int8(model, form, tmp_path / f"{form}.tflite")
        assert kept.operators["PRELU"] == 1
        assert not {"PRELU", "RELU", "NEG"} & set(made.operators)
        assert made.floats == []
        assert made.error <= most * kept.error

    @pytest.mark.parametrize("form", ["keep", "sum", "depthwise", "pair"])
    def test_onnx_runtime_runs_integers(self, form, model, tmp_path):
        """What tf2onnx writes for a PReLU has a negation, which runs in float."""
        assert bool(Int8(model, form, tmp_path / "file.onnx").floats) == (form == "keep")


def squeezed(x: Any, *, both: bool = False) -> Any:
    """Squeeze-and-excite, as MobileNetV3 has it, or with a gate that is the map itself."""
    gate = L.GlobalAveragePooling2D(keepdims=True)(x)
    gate = L.Conv2D(2, 1, activation="relu")(gate)
    gate = L.Conv2D(x.shape[-1], 1, activation="sigmoid")(gate)
    return L.Multiply()([x, x if both else gate])


class TestHardSwish:
    def network(self, *behind: keras.layers.Layer) -> keras.Model:
        return chain(L.Conv2D(4, 3), L.Activation("hard_swish"), *behind)

    def excited(self, **options: bool) -> keras.Model:
        image = keras.Input(SIDES)
        x = L.Activation("hard_swish", name="swish")(L.Conv2D(6, 3, padding="same")(image))
        return random_weights(keras.Model(image, L.Conv2D(4, 1)(squeezed(x, **options))))

    @pytest.mark.parametrize(
        "behind",
        [
            [L.Conv2D(2, 3, activation="hard_swish")],
            [L.DepthwiseConv2D(3, padding="same")],
            [L.Conv2DTranspose(2, 2, 2)],
            [L.ZeroPadding2D(1), L.DepthwiseConv2D(3)],
            [L.MaxPooling2D(2), layers.DepthToSpace(2), L.Conv2D(2, 1)],
            [L.UpSampling2D(2, interpolation="bilinear"), L.Conv2D(2, 1)],
            [L.GlobalAveragePooling2D(), L.Dense(3)],
        ],
    )
    def test_product(self, behind):
        model = self.network(*behind)
        lowered, _ = lower_to_form(model, [(2, 7, 8, 3)], form="product")
        kinds = agree(model, lowered)
        assert "Activation" not in kinds
        assert "Multiply" in kinds

    def test_inside_a_convolution(self):
        model = chain(L.Conv2D(4, 3, activation="hard_swish"), L.Conv2D(2, 3))
        kinds = check(model, "product")
        assert kinds == ["Conv2D", "Rescaling", "ReLU", "Multiply", "Conv2D"]

    def test_through_squeeze_and_excite(self):
        kinds = check(self.excited(), "product")
        assert "Activation" not in kinds
        assert kinds.count("Multiply") == 2

    def test_a_square_would_square_the_factor(self):
        assert "Activation" in check(self.excited(both=True), "product")

    @pytest.mark.parametrize(
        "behind",
        [
            [],
            [L.MaxPooling2D(2)],
            [L.Activation("tanh"), L.Conv2D(2, 1)],
            [L.BatchNormalization(), L.ReLU()],
        ],
    )
    def test_nothing_to_take_the_factor(self, behind):
        assert "Activation" in check(self.network(*behind), "product")

    def test_not_where_an_output_or_a_sum_reads_it(self):
        image = keras.Input((7, 8, 3))
        x = L.Activation("hard_swish")(L.Conv2D(4, 3, padding="same")(image))
        y = L.Conv2D(4, 3, padding="same")(x)
        shown = random_weights(keras.Model(image, [x, y]))
        summed = random_weights(keras.Model(image, L.Conv2D(2, 1)(L.Add()([x, y]))))
        for model in (shown, summed):
            assert "Activation" in check(model, "product")

    def test_branches_beside_it_keep_their_order(self):
        """What comes between the map and its gate, and does not depend on them."""
        image = keras.Input((7, 8, 3))
        x = L.Activation("hard_swish")(L.Conv2D(4, 3, padding="same")(image))
        beside = L.Conv2D(4, 1, activation="relu")(image)
        y = L.Conv2D(4, 1)(L.Concatenate()([L.Conv2D(2, 1)(squeezed(x)), beside]))
        model = random_weights(keras.Model(image, [y, L.MaxPooling2D(2)(beside)]))
        assert "Activation" not in check(model, "product")

    def test_what_the_file_holds(self, tmp_path):
        """The converter does not find the operator again."""
        kept = Int8(self.excited(), "keep", tmp_path / "keep.tflite")
        made = Int8(self.excited(), "product", tmp_path / "product.tflite")
        assert kept.operators["HARD_SWISH"] == 1
        assert not {"HARD_SWISH", "RELU6"} & set(made.operators)
        assert made.floats == []
        # The gate is rounded besides the product.
        assert made.error <= 1.3 * kept.error

    def test_mobilenet_v3(self):
        """All of its 18 but the last, which is the output."""
        backbone = keras.applications.MobileNetV3Small(
            (32, 32, 3), weights=None, include_top=False, include_preprocessing=False
        )
        lowered, _ = lower_to_form(random_weights(backbone), [(1, 32, 32, 3)], form="product")
        left = [layer for layer in lowered.layers if type(layer) is L.Activation]
        assert [layer.output for layer in left] == lowered.outputs
        x = np.random.default_rng(1).normal(size=(1, 32, 32, 3)).astype(np.float32)
        expected, got = answers(backbone, x)[0], answers(lowered, x)[0]
        # Rounding grows by some units in the last place from layer to layer, of which there are 50.
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * abs(expected).max())


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
        model = chain(L.Conv2D(8, 3), between, activation)
        assert check(model) == ["Conv2D", type(between).__name__]

    def test_a_sigmoid_is_not_zero_of_zero(self):
        model = chain(L.Conv2D(8, 3), L.ZeroPadding2D(1), L.Activation("sigmoid"))
        assert check(model)[-1] == "Activation"

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
        assert moved(self.branches(second))[-1] == "ReLU"

    def test_not_into_a_branch_that_others_read(self):
        image = keras.Input((6, 7, 3))
        x = L.Conv2D(4, 3)(image)
        joined = L.ReLU()(L.Concatenate()([x, L.Conv2D(2, 3)(image)]))
        model = random_weights(keras.Model(image, [joined, x]))
        assert "ReLU" in check(model)
        assert "ReLU" in moved(model)


CHOOSING: dict[str, Callable[[], list[keras.layers.Layer]]] = {
    "pool": lambda: [L.MaxPooling2D(2, padding="same")],
    "pool, zeros": lambda: [L.MaxPooling2D(3, 1), L.ZeroPadding2D(1)],
    "reshape": lambda: [L.Reshape((-1, 10, 4))],
    "shuffle, pool": lambda: [layers.DepthToSpace(2), L.MaxPooling2D(2), L.Cropping2D(1)],
}


class TestMovingUp:
    """An activation goes above all that chooses values, if convolutions are there."""

    @pytest.mark.parametrize("between", sorted(CHOOSING))
    @pytest.mark.parametrize("activation", ["relu", "relu6", "tanh"])
    def test_through_what_chooses(self, between, activation):
        model = chain(L.Conv2D(8, 3), *CHOOSING[between](), L.Activation(activation))
        kinds = [type(layer).__name__ for layer in model.layers[1:-1]]
        assert moved(model) == kinds

    def test_a_sigmoid_through_a_pooling_alone(self):
        pooled = chain(L.Conv2D(8, 3), L.MaxPooling2D(2), L.Activation("sigmoid"))
        assert moved(pooled) == ["Conv2D", "MaxPooling2D"]
        padded = chain(
            L.Conv2D(8, 3), L.MaxPooling2D(2), L.ZeroPadding2D(1), L.Activation("sigmoid")
        )
        assert moved(padded)[-1] == "Activation"

    @pytest.mark.parametrize(
        "between",
        [
            L.AveragePooling2D(2),
            L.UpSampling2D(2, interpolation="bilinear"),
            L.MaxPooling2D(2, data_format="channels_first"),
        ],
    )
    def test_not_through_what_mixes(self, between):
        model = chain(L.Conv2D(8, 3), between, L.ReLU())
        if between.data_format == "channels_first":  # TensorFlow on the CPU cannot run it
            graph = read(model)
            relu = graph.nodes[-1]
            assert not activations.move_activation_up(graph, relu)
        else:
            assert moved(model)[-1] == "ReLU"

    def test_not_twice(self):
        model = chain(L.Conv2D(8, 3, activation="tanh"), L.MaxPooling2D(2), L.ReLU())
        assert moved(model)[-1] == "ReLU"

    def test_joins_in_joins(self):
        image = keras.Input((6, 7, 3))
        one, two, three = (L.Conv2D(2, 3, padding="same")(image) for _ in range(3))
        inner = L.Concatenate()([L.MaxPooling2D(3, 1, padding="same")(one), two])
        x = L.ReLU()(
            L.Concatenate(axis=2)([inner, L.Concatenate()([three, L.Conv2D(2, 1)(image)])])
        )
        model = random_weights(keras.Model(image, L.Conv2D(2, 1)(x)))
        assert "ReLU" not in moved(model)

    @pytest.mark.parametrize("shown", ["convolution", "pooling"])
    def test_not_where_others_read(self, shown):
        image = keras.Input((6, 7, 3))
        x = L.Conv2D(4, 3)(image)
        y = L.MaxPooling2D(2)(x)
        other = {"convolution": x, "pooling": y}[shown]
        model = random_weights(keras.Model(image, [L.ReLU()(y), other]))
        assert "ReLU" in moved(model)


def conv(x: Any, filters: int = 4) -> Any:
    return L.Conv2D(filters, 3, padding="same")(x)


def preactivated(x: Any) -> Any:
    """A sum that goes on without the ReLU, too."""
    total = L.Add()([conv(x), x])
    return L.Add()([total, conv(L.ReLU()(total))])


def two_readers(x: Any) -> Any:
    y = conv(x)
    return L.Add()([conv(L.ReLU()(y)), y])


STANDING: dict[str, Callable[[Any], Any]] = {
    "join": lambda x: L.ReLU()(L.Concatenate()([conv(x), x])),
    "resize": lambda x: L.ReLU(6.0)(L.UpSampling2D(2, interpolation="bilinear")(conv(x))),
    "mean": lambda x: L.ReLU()(L.GlobalAveragePooling2D(keepdims=True)(conv(x))),
    "tanh": lambda x: L.ReLU()(L.Activation("tanh")(conv(x))),
    "input": lambda x: L.ReLU()(x),
    "sum with two readers": preactivated,
    "convolution with two readers": two_readers,
}
FUSED: dict[str, Callable[[Any], Any]] = {
    "sum": lambda x: L.ReLU()(L.Add()([conv(x), x])),
    "product": lambda x: L.ReLU(6.0)(L.Multiply()([conv(x), x])),
    "difference": lambda x: L.ReLU()(L.Subtract()([conv(x), x])),
    "operations": lambda x: L.ReLU()(conv(x) * x + x),
    "pooling": lambda x: L.ReLU()(L.MaxPooling2D(2)(L.AveragePooling2D(2)(x))),
    "norm": lambda x: L.ReLU()(L.BatchNormalization()(L.Concatenate()([conv(x), x]))),
    "group norm": lambda x: L.ReLU()(L.GroupNormalization(2)(conv(x))),
    "layer norm": lambda x: L.ReLU()(L.LayerNormalization()(conv(x))),
    "scale": lambda x: L.ReLU()(L.Rescaling(0.5, 0.1)(L.MaxPooling2D(2)(x))),
}


class TestClamp:
    def network(self, middle: Callable[[Any], Any]) -> keras.Model:
        image = keras.Input(SIDES)
        return random_weights(keras.Model(image, conv(middle(image))))

    @pytest.mark.parametrize("place", sorted(STANDING))
    def test_what_stands(self, place, tmp_path):
        """A pooling takes the ReLU in; otherwise it stands, which XNNPACK leaves to others."""
        model = self.network(STANDING[place])
        assert "MaxPooling2D" in check(model, "clamp")
        kept = Int8(model, "keep", tmp_path / "keep.tflite")
        made = Int8(model, "clamp", tmp_path / "clamp.tflite")
        assert {"RELU", "RELU6"} & set(kept.operators)
        assert not {"RELU", "RELU6"} & set(made.operators)
        assert made.floats == []
        # A pooling keeps the scale of what it reads; a ReLU may round once more, to a finer one.
        assert made.error <= 1.1 * kept.error

    @pytest.mark.parametrize("place", sorted(FUSED))
    def test_what_the_converter_fuses_stays(self, place, tmp_path):
        model = self.network(FUSED[place])
        assert check(model, "clamp") == check(model)
        kept = Int8(model, "keep", tmp_path / "keep.tflite")
        assert not {"RELU", "RELU6"} & set(kept.operators)


def standing() -> keras.Model:
    """A ReLU behind a concatenation with something that is no convolution."""
    image = keras.Input(SIDES)
    return random_weights(keras.Model(image, conv(STANDING["join"](image))))


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
