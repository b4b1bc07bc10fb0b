"""Receptive fields: every end against impulses through real networks."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from kerasdeconv import layers, models, zoo
from kerasdeconv.analysis import receptive_field
from kerasdeconv.analysis.intervals import Reach
from kerasdeconv.analysis.propagation import follow
from kerasdeconv.errors import AnalysisError, LoweringError

L = keras.layers
ONES = {"kernel_initializer": "ones", "use_bias": False}


def impulses(model: keras.Model) -> np.ndarray:
    """Which output rows answer to which input rows of a network without biases: rows x rows.

    Zeros give zeros, and weights are positive, so that nothing cancels out.
    """
    side, *others = model.input_shape[1:]
    images = np.zeros((side, side, *others), np.float32)
    images[np.arange(side), np.arange(side)] = 1
    answer = np.asarray(keras.ops.convert_to_numpy(model(images)))
    # Above what float32 makes of a neighbour's weight of zero in a resize; real ones are > 1e-3.
    return np.abs(answer.reshape(*answer.shape[:2], -1)).max(axis=-1) > 1e-5


def check(model: keras.Model, *, exact: bool = True) -> None:
    """Compares what every output row depends on with the impulses.

    They are never more. Both ends are equal where no border is near, that of an inner map included:
    in the middle third.
    """
    seen = impulses(model)
    flow = follow(model)
    (reach, *_) = flow.states[flow.graph.outputs[0]][0]
    assert isinstance(reach, Reach)
    first, last = reach.at(np.arange(seen.shape[1]))
    sizes = []
    for row, (low, high) in enumerate(zip(first, last, strict=True)):
        hits = np.flatnonzero(seen[:, row])
        inside = seen.shape[1] <= 3 * row < 2 * seen.shape[1]
        if len(hits):
            assert low <= hits[0]
            assert hits[-1] <= high
        if exact and inside:
            assert (len(hits) == 0) == (low > high)
            if len(hits):
                assert (low, high) == (hits[0], hits[-1])
                sizes.append(high - low + 1)
    field = receptive_field(model).outputs[0]
    if len(sizes) >= reach.period:  # every phase was there
        assert field.size[0] == max(sizes)


@st.composite
def stages(draw: st.DrawFn) -> list[tuple[str, dict[str, Any]]]:
    """Layers of a random 1D network, strides and paddings of all kinds."""
    small = st.integers(1, 3)
    padding = st.sampled_from(["same", "valid"])
    found: list[tuple[str, dict[str, Any]]] = []
    for _ in range(draw(st.integers(1, 5))):
        kind = draw(st.sampled_from(["conv", "pool", "transpose", "upsample", "move", "residual"]))
        options: dict[str, Any] = {}
        if kind == "conv":
            strides = draw(small)
            options = {
                "kernel_size": draw(st.integers(1, 5)),
                "strides": strides,
                "padding": draw(st.sampled_from(["same", "valid", "causal"])),
                "dilation_rate": draw(small) if strides == 1 else 1,
            }
        elif kind == "pool":
            options = {
                "kind": draw(st.sampled_from(["Max", "Average"])),
                "pool_size": draw(small),
                "strides": draw(small),
                "padding": draw(padding),
            }
        elif kind == "transpose":
            size, strides, pad = draw(st.integers(1, 5)), draw(small), draw(padding)
            odd = size % 2 if pad == "same" else 0
            extra = range(1 - odd, strides - odd + 1) if pad == "same" else range(strides)
            options = {
                "kernel_size": size,
                "strides": strides,
                "padding": pad,
                # Not dilated: TensorFlow runs that on some processors alone.
                "output_padding": draw(st.sampled_from([None, *(e for e in extra if e < strides)])),
            }
        elif kind == "upsample":
            options = {"size": draw(small)}
        elif kind == "move":
            options = {"front": draw(st.integers(-2, 2)), "back": draw(st.integers(-2, 2))}
        found.append((kind, options))
    return found


def apply(x: Any, kind: str, options: dict[str, Any]) -> Any:
    if kind == "conv":
        return L.Conv1D(1, **options, **ONES)(x)
    if kind == "pool":
        options = dict(options)
        return getattr(L, f"{options.pop('kind')}Pooling1D")(**options)(x)
    if kind == "transpose":
        return L.Conv1DTranspose(1, **options, **ONES)(x)
    if kind == "upsample":
        return L.UpSampling1D(**options)(x)
    if kind == "move":
        front, back = options["front"], options["back"]
        x = L.ZeroPadding1D((max(front, 0), max(back, 0)))(x)
        return L.Cropping1D((max(-front, 0), max(-back, 0)))(x)
    wide = L.Conv1D(1, 3, padding="same", dilation_rate=2, **ONES)(x)
    return L.Add()([x, wide])


# Networks are built in each example, which takes a while.
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(stages=stages(), side=st.integers(180, 221))
def test_random_networks(stages: list[tuple[str, dict[str, Any]]], side: int) -> None:
    x = inputs = keras.Input((side, 1))
    assume(np.prod([o.get("strides", 1) for k, o in stages if k in ("conv", "pool")]) <= 8)
    for kind, options in stages:
        if kind == "move":
            assume(x.shape[1] + min(options["front"], 0) + min(options["back"], 0) > 0)
        reach = (options.get("kernel_size") or options.get("pool_size") or 1) - 1
        assume(x.shape[1] > reach * options.get("dilation_rate", 1))
        x = apply(x, kind, options)
        assume(0 < x.shape[1] < 800)
    check(keras.Model(inputs, x))


def one(layer: Any, side: int = 24) -> keras.Model:
    """A network of one layer, and a convolution behind it so that phases meet."""
    inputs = keras.Input((side, 6, 4))
    x = layer(inputs)
    return keras.Model(inputs, L.Conv2D(1, (2, 1), padding="same", **ONES)(x))


class Blur(L.Layer):
    """A custom layer made of operations: strided slices, a pad, a product with its weights."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(input_shape[-1], 2), initializer="ones")

    def call(self, x):
        x = keras.ops.pad(x, [(0, 0), (2, 2), (0, 0), (0, 0)])
        x = keras.ops.maximum(x[:, ::2], x[:, 1::2])
        return keras.ops.relu(keras.ops.conv(x, keras.ops.ones((3, 1, 4, 2)), padding="same"))


@pytest.mark.parametrize(
    "layer",
    [
        L.DepthwiseConv2D(3, depthwise_initializer="ones", padding="same"),
        L.SeparableConv2D(
            3, (4, 3), depthwise_initializer="ones", pointwise_initializer="ones", strides=2
        ),
        L.UpSampling2D(3, interpolation="bilinear"),
        L.UpSampling2D(2, interpolation="bilinear"),
        L.UpSampling2D(2, interpolation="nearest"),
        L.Resizing(36, 6),
        L.Resizing(17, 6),
        L.Resizing(31, 6, interpolation="nearest"),
        L.Cropping2D(((3, 1), (0, 0))),
        L.ZeroPadding2D(((3, 1), (0, 0))),
        layers.LinearUpsampling(3),
        layers.CubicUpsampling(2),
        layers.DepthToSpace(2),
        layers.DepthToSpace((4, 1)),
        layers.DepthwiseConvTranspose(5, 3, kernel_initializer="ones"),
        layers.DepthwiseConvTranspose((4, 3), (2, 1), kernel_initializer="ones"),
        lambda x: layers.CropLike()([x, L.Cropping2D(((5, 1), (0, 0)))(x)]),
        lambda x: layers.ResizeLike()([L.AveragePooling2D((4, 1))(x), x]),
        lambda x: layers.CropLike(offset=2)([x, L.Cropping2D(((5, 1), (4, 0)))(x)]),
        lambda x: keras.ops.pad(x, [(0, 0), (3, 2), (0, 0), (0, 0)]),
        lambda x: x[:, 3:-2:2],
        lambda x: x[..., 4:, :, :],
        lambda x: keras.ops.image.resize(x, (40, 6)),
        lambda x: keras.ops.average_pool(x, (3, 1), strides=2, padding="same"),
        lambda x: keras.ops.repeat(x, 3, axis=1),
        lambda x: keras.ops.mean(x, axis=-1, keepdims=True),
        lambda x: keras.ops.concatenate([x, L.Conv2D(1, 5, padding="same", **ONES)(x)], axis=-1),
        lambda x: L.Dense(2, kernel_initializer="ones")(L.Reshape((24, 6, 2, 2))(x))[..., 0],
        L.EinsumDense("abcd,de->abce", (None, 6, 3), kernel_initializer="ones"),
        keras.Sequential([L.Conv2D(1, 3, strides=2, **ONES), L.UpSampling2D(2)]),
        Blur(),
    ],
)
def test_layers_and_operations(layer: Any) -> None:
    check(one(layer))


def test_pooling_that_remembers() -> None:
    inputs = keras.Input((24, 4, 1))
    pooled, indices = layers.MaxPoolingWithIndices((3, 2))(inputs)
    x = L.Conv2D(1, (3, 1), padding="same", **ONES)(pooled)
    x = layers.MaxUnpooling((3, 2))([x, indices])
    # A pixel shows only where the maximum was: impulses find no more than what is there.
    check(keras.Model(inputs, x), exact=False)
    field = receptive_field(keras.Model(inputs, x)).outputs[0]
    assert field.size[0] == 9
    assert field.before[0] == field.behind[0] == 5


def test_reflected_borders_are_the_interior_s() -> None:
    # Beyond its own margin a mirror image reads what lies inside, so only the interior compares.
    model = one(layers.ReflectPadding(2))
    seen = impulses(model)
    field = receptive_field(model).outputs[0]
    rows = np.flatnonzero(seen[12])
    assert (field.size[0], len(rows)) == (2, 2)
    assert (field.before[0], field.behind[0]) == (0, 1)  # it grows by 2 in front, and reads there


def test_axes_are_apart() -> None:
    x = inputs = keras.Input((None, None, None, 2))
    x = L.Conv3D(2, (1, 3, 5), strides=(1, 1, 2), padding="same")(x)
    x = L.MaxPooling3D((1, 2, 2))(x)
    x = L.Conv3DTranspose(2, (2, 2, 1), strides=(2, 2, 1))(x)
    (field,) = receptive_field(keras.Model(inputs, x)).outputs
    assert field.size == (1, 4, 7)
    assert field.stride == (Fraction(1, 2), 1, 4)
    assert field.halo == 2


def test_known_networks() -> None:
    """Araujo, Norris and Sim 2019: 212 for VGG-16, 483 for ResNet-50 (v1), before pooling."""
    shape = {"weights": None, "include_top": False, "input_shape": (None, None, 3)}
    vgg = keras.applications.VGG16(**shape)
    assert receptive_field(vgg).outputs[0].size == (212, 212)
    assert receptive_field(vgg).outputs[0].stride == (32, 32)
    mobile = keras.applications.MobileNet(**shape, alpha=0.25)
    assert receptive_field(mobile).outputs[0].size == (315, 315)


@pytest.mark.slow
def test_resnet() -> None:
    resnet = keras.applications.ResNet50(
        weights=None, include_top=False, input_shape=(None, None, 3)
    )
    assert receptive_field(resnet).outputs[0].size == (483, 483)


def vnet(rank: int, side: int | None = None) -> keras.Model:
    """V-Net's stack: kernels of 5, down and up by 2 with kernels of 2, 1, 2, 3, 3, 3 and back."""
    conv, up = getattr(L, f"Conv{rank}D"), getattr(L, f"Conv{rank}DTranspose")
    x = inputs = keras.Input((*[side] * rank, 1))
    skips = []
    for level, count in enumerate((1, 2, 3, 3, 3)):
        for number in range(count):
            x = conv(1, 5, padding="same", name=f"left_{level}_{number}", **ONES)(x)
        if level < 4:
            skips.append(x)
            x = conv(1, 2, strides=2, name=f"down_{level}", **ONES)(x)
    for level, count in zip((3, 2, 1, 0), (3, 3, 2, 1), strict=True):
        x = up(1, 2, strides=2, name=f"up_{level}", **ONES)(x)
        x = L.Add(name=f"join_{level}")([x, skips[level]])
        for number in range(count):
            x = conv(1, 5, padding="same", name=f"right_{level}_{number}", **ONES)(x)
    return keras.Model(inputs, x)


def test_vnet() -> None:
    """Table 1 of Milletari et al. 2016: 5, 22, 72, 172, 372, and 476, 528, 546, 551 on the way up.

    The paper counts each kernel of 2 going up as one more pixel of the finer map. None is seen
    more: with a stride of 2, such a kernel reads one pixel. What is seen more is by phase.
    """
    rows = {f.name: f for (f, *_) in receptive_field(vnet(3)).layers}
    down = [f"left_{level}_{count - 1}" for level, count in enumerate((1, 2, 3, 3, 3))]
    assert [rows[name].size[0] for name in down] == [5, 22, 72, 172, 372]
    up = [rows[name].size[0] for name in ("right_3_2", "right_2_2", "right_1_1", "right_0_0")]
    paper, strides = [372], (8, 4, 2, 1)
    for stride, count in zip(strides, (3, 3, 2, 1), strict=True):
        paper.append(paper[-1] + stride + 4 * stride * count)
    assert paper[1:] == [476, 528, 546, 551]
    assert up == [468, 516, 532, 548]
    check(vnet(1, 16 * 60))


def test_padded_unet_of_depth_four() -> None:
    model = models.UNet((None, None, 3), width=1, padding="same")
    assert receptive_field(model).halo == 107
    # Unpadded, an output pixel lies over the middle of what it sees.
    assert receptive_field(models.UNet(width=1)).outputs[0].size == (204, 204)


@pytest.mark.parametrize(
    "name",
    [n for n in zoo.list_models() if zoo.card(n).convention.halo and zoo.card(n).parameters < 2e6],
)
def test_halos_of_the_cards(name: str) -> None:
    assert receptive_field(zoo.load(name, weights=None)).halo == zoo.card(name).convention.halo


def test_several_inputs_and_outputs() -> None:
    fine, coarse = keras.Input((32, 32, 1), name="fine"), keras.Input((16, 16, 1), name="coarse")
    a = L.Conv2D(2, 3, padding="same", name="a")(fine)
    b = L.UpSampling2D(2, name="b")(L.Conv2D(2, 5, padding="same")(coarse))
    both = L.Add(name="both")([a, b])
    model = keras.Model([fine, coarse], {"one": a, "two": both})
    found = {(f.name, f.input): f for f in receptive_field(model).outputs}
    assert set(found) == {("a", "fine"), ("both", "fine"), ("both", "coarse")} or set(found) == {
        ("one", "fine"),
        ("two", "fine"),
        ("two", "coarse"),
    }
    by_input = {key[1]: field for key, field in found.items() if key[0] in ("both", "two")}
    assert by_input["coarse"].size == (5, 5)
    assert by_input["coarse"].stride == (Fraction(1, 2), Fraction(1, 2))
    assert by_input["fine"].halo == 1


def test_what_sees_everything_is_named() -> None:
    x = inputs = keras.Input((None, None, 8))
    x = L.Conv2D(8, 3, padding="same")(x)
    pooled = L.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = L.Multiply()([x, L.Conv2D(8, 1, activation="sigmoid")(pooled)])
    x = L.GroupNormalization(2, name="norm")(x)
    model = keras.Model(inputs, L.Conv2D(1, 3, padding="same")(x))
    found = receptive_field(model)
    assert found.halo is None
    (field,) = found.outputs
    assert field.size == field.stride == field.before == (None, None)
    assert field.whole == ("squeeze",)  # what follows adds nothing
    local = receptive_field(model, local=True)
    assert local.halo == 2
    assert local.outputs[0].size == (5, 5)


def test_dense_heads_see_everything() -> None:
    model = keras.applications.MobileNetV3Small((64, 64, 3), weights=None, classes=3)
    found = receptive_field(model)
    assert found.halo is None
    assert found.outputs[0].whole == ("expanded_conv_squeeze_excite_avg_pool",)


@pytest.mark.parametrize("axis", [1, (1, 2)])
def test_norms_over_space(axis: Any) -> None:
    inputs = keras.Input((8, 9, 2))
    (field,) = receptive_field(keras.Model(inputs, L.LayerNormalization(axis=axis)(inputs))).outputs
    assert field.size == ((None, 1) if axis == 1 else (None, None))


def test_sizes_that_strides_do_not_divide() -> None:
    """With "same" padding and a stride, the padding in front depends on the side."""
    fields = []
    for side in (16, 17):
        inputs = keras.Input((side, side, 1))
        model = keras.Model(inputs, L.Conv2D(1, 3, strides=2, padding="same")(inputs))
        fields.append(receptive_field(model).outputs[0])
        free = keras.Input((None, None, 1))
        model = keras.Model(free, L.Conv2D(1, 3, strides=2, padding="same")(free))
        assert receptive_field(model, (side, side)).outputs[0].before == fields[-1].before
    assert [f.before[0] for f in fields] == [0, 1]
    assert [f.behind[0] for f in fields] == [1, 0]


class Unknown(L.Layer):
    """A custom layer that nobody can look into."""

    def call(self, x):
        return keras.ops.convert_to_tensor(np.asarray(x))

    def compute_output_shape(self, input_shape):
        return input_shape


def test_an_unknown_layer_is_named() -> None:
    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, Unknown(name="mine")(inputs))
    with pytest.raises(AnalysisError, match=r"not known.*Received: Unknown 'mine'"):
        receptive_field(model)
    # It does no harm where everything is seen anyway.
    pooled = L.GlobalAveragePooling2D(name="pool")(inputs)
    model = keras.Model(inputs, Unknown()(pooled))
    assert receptive_field(model).outputs[0].whole == ("pool",)


@pytest.mark.parametrize(
    "layer",
    [
        L.Permute((2, 1, 3)),
        L.Conv2D(1, 3, data_format="channels_first", padding="same"),
        L.Concatenate(axis=1),
        L.Resizing(4, 4, antialias=True),
        lambda x: keras.ops.flip(x, axis=1),
        lambda x: keras.ops.mean(x, axis=1),
        lambda x: x[:, 0],
    ],
)
def test_what_is_not_known_is_not_guessed(layer: Any) -> None:
    inputs = keras.Input((8, 8, 8))
    x = layer([inputs, inputs]) if isinstance(layer, L.Concatenate) else layer(inputs)
    with pytest.raises(AnalysisError, match="Received: "):
        receptive_field(keras.Model(inputs, x))


def test_subclassed() -> None:
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(LoweringError, match="subclassed"):
        receptive_field(Subclassed())


def test_looking_into_layers_leaves_no_trace() -> None:
    inner = L.Conv2D(1, 3)

    class Holder(L.Layer):
        def build(self, shape):
            inner.build(shape)

        def call(self, x):
            return inner(x)

    inputs = keras.Input((8, 8, 1))
    model = keras.Model(inputs, Holder()(inputs))
    before = len(inner._inbound_nodes)
    assert receptive_field(model).outputs[0].size == (3, 3)
    assert len(inner._inbound_nodes) == before


def test_attention_gates_and_every_upsampling() -> None:
    for method in layers.UPSAMPLING_METHODS:
        model = models.UNet(
            (32, 32, 1), width=1, depth=2, padding="same", upsample=method, attention=True
        )
        rng = np.random.default_rng(0)
        model.set_weights([rng.uniform(0.1, 0.2, w.shape) for w in model.get_weights()])
        field = receptive_field(model).outputs[0]
        base = rng.uniform(0, 1, (1, 32, 32, 1)).astype(np.float32)
        answer = np.asarray(keras.ops.convert_to_numpy(model(base)))
        before = behind = 0
        for row in range(14, 18):
            changed = base.copy()
            changed[:, row] += 200
            moved = np.asarray(keras.ops.convert_to_numpy(model(changed))) != answer
            rows = np.flatnonzero(moved.any(axis=(0, 2, 3)))
            before, behind = max(before, rows.max() - row), max(behind, row - rows.min())
        assert before <= field.before[0]
        assert behind <= field.behind[0]
