"""Parameters, multiply-accumulates and memory: known networks, TensorFlow's profiler, by hand."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from kerasdeconv import layers, models
from kerasdeconv.analysis import costs
from kerasdeconv.errors import ExportError, LoweringError

L = keras.layers


def profiled(model: keras.Model) -> int:
    """Multiply-accumulates by TensorFlow's own profiler: half the operations of its products."""
    (image,) = model.inputs
    specs = [tf.TensorSpec((1, *image.shape[1:]), image.dtype)]
    function = tf.function(lambda x: model(x, training=False), input_signature=specs)
    frozen = convert_variables_to_constants_v2(function.get_concrete_function())
    options = (
        tf.compat.v1.profiler.ProfileOptionBuilder(
            tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
        )
        .with_empty_output()
        .build()
    )
    node = tf.compat.v1.profiler.profile(frozen.graph, cmd="op", options=options)
    total, seen = 0, []
    while node.children:  # each kind of operation holds the next one
        (node,) = node.children
        if any(word in node.name for word in ("Conv", "MatMul")):
            total += node.float_ops
            seen.append(node.name)
    assert seen
    return total // 2


@pytest.mark.parametrize(
    "layer",
    [
        L.Conv2D(6, (3, 5), strides=2, padding="same"),
        L.Conv2D(6, 3, padding="valid", dilation_rate=2),
        L.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
        L.SeparableConv2D(6, 3, padding="same"),
        L.Dense(5),
        keras.Sequential([L.Flatten(), L.Dense(5)]),
        layers.RepeatChannels(3),  # a 1 x 1 convolution inside
    ],
)
def test_layers_against_the_profiler(layer: Any) -> None:
    inputs = keras.Input((12, 10, 4))
    model = keras.Model(inputs, layer(inputs))
    assert costs(model).macs == profiled(model)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
def test_convolutions_by_hand(rank: int, padding: str) -> None:
    sides = (9, 8, 7)[:rank]
    inputs = keras.Input((*sides, 4))
    conv = getattr(L, f"Conv{rank}D")(6, 3, strides=2, padding=padding, groups=2)
    outputs = [math.ceil(n / 2) if padding == "same" else (n - 3) // 2 + 1 for n in sides]
    found = costs(keras.Model(inputs, conv(inputs)))
    assert found.macs == math.prod(outputs) * 3**rank * (4 // 2) * 6
    assert found.parameters == 3**rank * 2 * 6 + 6
    # Transposed: every input pixel with the whole kernel, whatever is cropped.
    up = getattr(L, f"Conv{rank}DTranspose")(6, 3, strides=2, padding=padding, use_bias=False)
    found = costs(keras.Model(inputs, up(inputs)))
    assert found.macs == math.prod(sides) * 3**rank * 4 * 6
    assert found.parameters == 3**rank * 4 * 6


def test_our_layers() -> None:
    inputs = keras.Input((8, 8, 4))
    model = keras.Model(inputs, layers.DepthwiseConvTranspose(4, 2)(inputs))
    assert costs(model).macs == 8 * 8 * 16 * 4
    free = keras.Model(inputs, layers.DepthToSpace(2)(layers.LinearUpsampling(2)(inputs)))
    assert costs(free).macs == 0


def paper_unet() -> tuple[int, int]:
    """Multiply-accumulates and parameters of the paper's figure 1, convolution by convolution."""
    macs = parameters = 0
    side, channels = 572, 1

    def convolve(width: int) -> None:
        nonlocal macs, parameters, side, channels
        side -= 2
        macs += side**2 * 9 * channels * width
        parameters += 9 * channels * width + width
        channels = width

    for width in (64, 128, 256, 512, 1024):
        convolve(width)
        convolve(width)
        if width < 1024:
            side //= 2
    assert side == 28
    for width in (512, 256, 128, 64):
        macs += side**2 * 4 * channels * width
        parameters += 4 * channels * width + width
        side, channels = 2 * side, 2 * width  # after the concatenation
        convolve(width)
        convolve(width)
    assert side == 388
    return macs + side**2 * 64 * 2, parameters + 64 * 2 + 2


def test_the_paper_s_unet() -> None:
    macs, parameters = paper_unet()
    found = costs(models.UNet(), size=(572, 572))
    assert (found.macs, found.parameters) == (macs, parameters)
    assert parameters == 31_030_658
    # At the deepest join the skips of the three levels above wait, and the map that is made holds
    # the cropped skip and the upsampled one, which are still there.
    waiting = 568**2 * 64 + 280**2 * 128 + 136**2 * 256
    assert found.peak_bytes == 4 * (waiting + 56**2 * (512 + 512 + 1024))
    assert found.peak_layer == "decoder_3_concat"


def test_mobilenet_v2() -> None:
    model = keras.applications.MobileNetV2(weights=None)
    found = costs(model)
    assert found.macs == 300_774_272  # the paper says 300 M
    assert found.macs == profiled(model)
    assert found.parameters == model.count_params() == 3_538_984
    assert found.trainable == 3_504_872


@pytest.mark.slow
@pytest.mark.parametrize(
    ("build", "macs", "parameters", "profile"),
    [
        ("ResNet50", 3_857_973_248, 25_636_712, True),
        ("EfficientNetB0", 385_814_752, 5_330_571, True),
        ("MobileNetV3Small", 56_510_400, 2_554_968, True),
        ("VGG16", 15_470_264_320, 138_357_544, False),  # freezing it takes 9 GB
        # The profiler leaves out the convolutions in groups, whose shapes it does not see.
        ("ConvNeXtTiny", 4_455_531_264, 28_589_128, False),
    ],
)
def test_known_networks(build: str, macs: int, parameters: int, profile: bool) -> None:
    model = getattr(keras.applications, build)((224, 224, 3), weights=None)
    found = costs(model)
    assert (found.macs, found.parameters) == (macs, parameters)
    assert found.unknown == ()
    if profile:
        assert found.macs == profiled(model)


def test_shared_and_nested_layers() -> None:
    shared = L.Conv2D(4, 3, padding="same", name="shared")
    inner_input = keras.Input((8, 8, 4))
    inner = keras.Sequential([inner_input, shared, L.BatchNormalization(name="norm")], name="inner")
    first, second = keras.Input((8, 8, 4), name="first"), keras.Input((8, 8, 4), name="second")
    x = L.Add(name="add")([inner(first), inner(second)])
    model = keras.Model([first, second], shared(x))
    found = costs(model)
    assert found.parameters == model.count_params() == 9 * 16 + 4 + 16
    assert found.macs == 3 * 64 * 9 * 16
    uses = [row for row in found.layers if row.name == "shared"]
    assert [row.parameters for row in uses] == [148, 0, 0]
    assert [row.macs for row in uses] == [64 * 9 * 16] * 3


def test_frozen_parameters() -> None:
    inputs = keras.Input((4,))
    frozen = L.Dense(3, name="frozen")
    frozen.trainable = False
    found = costs(keras.Model(inputs, L.BatchNormalization()(frozen(inputs))))
    assert (found.trainable, found.non_trainable) == (6, 15 + 6)


def test_batch_and_size() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, L.Conv2D(5, 3, padding="same")(inputs))
    found = costs(model, size=(6, 8), batch=2)
    assert found.macs == 2 * 48 * 9 * 15
    assert found.layers[0].shape == (2, 6, 8, 5)
    assert found.input_shapes == ((2, 6, 8, 3),)
    with pytest.raises(ExportError, match="give size="):
        costs(model)
    with pytest.raises(ValueError, match="bytes_per_value"):
        costs(model, size=(6, 8), bytes_per_value=0)


def test_a_vector_beside_an_image() -> None:
    image, code = keras.Input((None, None, 3), name="image"), keras.Input((8,), name="code")
    weights = L.Reshape((1, 1, 3))(L.Dense(3)(code))
    found = costs(keras.Model([image, code], L.Multiply()([image, weights])), size=(4, 4))
    assert found.input_shapes == ((1, 4, 4, 3), (1, 8))
    assert found.macs == 24


def test_products_of_matrices() -> None:
    x = keras.Input((16, 32))
    for output, macs in (
        (L.EinsumDense("abc,cde->abde", (None, 4, 8))(x), 16 * 32 * 32),
        (L.EinsumDense("...c,cd->...d", 5)(x), 16 * 32 * 5),
        (keras.ops.einsum("bij,bkj->bik", x, x), 16 * 16 * 32),
        (keras.ops.matmul(x, keras.ops.transpose(x, (0, 2, 1))), 16 * 16 * 32),
        (L.Dot(axes=2)([x, x]), 16 * 16 * 32),
        (L.Attention()([x, x]), 2 * 16 * 16 * 32),
        (L.MultiHeadAttention(4, 8)(x, x), 16 * 32 * 32 * 4 + 2 * 4 * 16 * 16 * 8),
        (L.TimeDistributed(L.Dense(3))(x), 16 * 32 * 3),
        (keras.ops.softmax(x + 1), 0),
    ):
        assert costs(keras.Model(x, output)).macs == macs


class Mixer(L.Layer):
    """A custom layer made of operations."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(input_shape[-1], 7))
        self.dense = L.Dense(3)
        self.dense.build((None, 7))

    def call(self, x):
        return self.dense(keras.ops.relu(keras.ops.matmul(x, self.weight)))


class Secret(L.Layer):
    """A custom layer that nobody can look into."""

    def build(self, input_shape):
        self.weight = self.add_weight(shape=(input_shape[-1], input_shape[-1]))

    def call(self, x):
        return keras.ops.convert_to_tensor(np.asarray(x) @ np.asarray(self.weight))

    def compute_output_shape(self, input_shape):
        return input_shape


class Halved(L.Conv2D):
    """Not what its base class computes."""

    def call(self, x):
        return super().call(x[:, ::2])

    def compute_output_shape(self, input_shape):
        return super().compute_output_shape((input_shape[0], input_shape[1] // 2, *input_shape[2:]))


def test_custom_layers() -> None:
    inputs = keras.Input((8, 8, 4))
    assert costs(keras.Model(inputs, Mixer()(inputs))).macs == 64 * (4 * 7 + 7 * 3)
    halved = keras.Model(inputs, Halved(5, 3, padding="same")(inputs))
    assert costs(halved).macs == 4 * 8 * 9 * 4 * 5
    secret = Secret(name="secret")(L.Conv2D(4, 1)(inputs))
    found = costs(keras.Model(inputs, secret))
    assert found.macs is None
    assert found.unknown == ("secret",)
    assert found.known_macs == 64 * 16
    assert found.parameters == 20 + 16
    recurrent = keras.Input((5, 4))
    assert costs(keras.Model(recurrent, L.LSTM(3, name="lstm")(recurrent))).unknown == ("lstm",)


def test_peak_memory_by_hand() -> None:
    """A skip of 4 x 4 x 8 stays alive over a wide detour."""
    inputs = keras.Input((4, 4, 2), name="image")  # 32 values
    skip = L.Conv2D(8, 1, name="skip")(inputs)  # 128
    small = L.MaxPooling2D(2, name="small")(skip)  # 32
    wide = L.Conv2D(50, 1, name="wide")(small)  # 200
    back = L.UpSampling2D(2, name="back")(wide)  # 800
    joined = L.Concatenate(name="joined")([skip, back])  # 928
    model = keras.Model(inputs, [joined, small])
    found = costs(model)
    live = {row.name: row.live_bytes // 4 for row in found.layers}
    assert live == {
        "skip": 32 + 128,
        "small": 128 + 32,
        "wide": 128 + 32 + 200,
        "back": 128 + 32 + 200 + 800,  # `small` is an output: it stays
        "joined": 128 + 32 + 800 + 928,
    }
    assert (found.peak_bytes, found.peak_layer) == (4 * 1888, "joined")
    assert costs(model, bytes_per_value=1).peak_bytes == 1888
    assert found.layers[-1].activation_bytes == 4 * 928


def test_nothing_is_computed_and_nothing_is_left() -> None:
    model = models.UNet((None, None, 1), width=2, depth=2, padding="same")
    before = [len(layer._inbound_nodes) for layer in model.layers]
    found = costs(model, size=(2**16, 2**16))  # 34 GB a map and channel pair
    assert found.peak_bytes > 2**36
    assert [len(layer._inbound_nodes) for layer in model.layers] == before


def test_errors() -> None:
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(LoweringError, match="subclassed"):
        costs(Subclassed())
    with pytest.raises(ValueError, match=r"nearest are.*Received: 30 x 30"):
        costs(models.UNet((None, None, 1), width=1, depth=3, padding="same"), size=(30, 30))
