"""Encoders of keras.applications, copied layer by layer into the graph of a network.

Copied, because their layers must have stable names of their own (`encoder_...`), and because
convolutions change for another output stride.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, NamedTuple

import keras

from kerasdeconv.models.encoders.pixels import prepare

# Layers that keras.applications leaves to number themselves, over all models of a process.
_NUMBERED = re.compile(r"(activation|re_lu)(_\d+)?")


@dataclasses.dataclass(frozen=True)
class Published:
    """A network of keras.applications.

    Attributes:
        builder: Its name there.
        taps: The layers whose maps have strides 2, 4, 8, 16 and 32.
        pixels: What it takes, see `prepare`.
        options: Arguments of the builder, so that it does nothing to the pixels itself.
    """

    builder: str
    taps: tuple[str, str, str, str, str]
    pixels: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)


PUBLISHED = {
    "resnet50": Published(
        "ResNet50",
        (
            "conv1_relu",
            "conv2_block3_out",
            "conv3_block4_out",
            "conv4_block6_out",
            "conv5_block3_out",
        ),
        "caffe",
    ),
    "mobilenet_v2": Published(
        "MobileNetV2",
        (
            "block_1_expand_relu",
            "block_3_expand_relu",
            "block_6_expand_relu",
            "block_13_expand_relu",
            "out_relu",
        ),
        "signed",
    ),
    "mobilenet_v3_small": Published(
        "MobileNetV3Small",
        (
            "conv_act",
            "expanded_conv_1_expand_act",
            "expanded_conv_3_expand_act",
            "expanded_conv_8_expand_act",
            "conv_1_act",
        ),
        "signed",
        {"include_preprocessing": False},
    ),
    "mobilenet_v3_large": Published(
        "MobileNetV3Large",
        (
            "expanded_conv_1_expand_act",
            "expanded_conv_3_expand_act",
            "expanded_conv_6_expand_act",
            "expanded_conv_12_expand_act",
            "conv_1_act",
        ),
        "signed",
        {"include_preprocessing": False},
    ),
    "efficientnet_b0": Published(
        "EfficientNetB0",
        (
            "block2a_expand_activation",
            "block3a_expand_activation",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        "unit",
    ),
    "efficientnet_v2_b0": Published(
        "EfficientNetV2B0",
        (
            "block1a_project_activation",
            "block2b_add",
            "block4a_expand_activation",
            "block6a_expand_activation",
            "top_activation",
        ),
        "standard",
        {"include_preprocessing": False},
    ),
}


def original(name: str, channels: int = 3, weights: str | None = None) -> keras.Model:
    """Builds the network as keras.applications has it, for a picture of any size.

    Args:
        name: One of `PUBLISHED`.
        channels: Channels of the picture.
        weights: None or "imagenet", which looks for a download.
    """
    network = PUBLISHED[name]
    # keras.applications warns of a shape without 1 or 3 channels, but not of such a tensor; and of
    # weights for another size than ImageNet's, which do not depend on the size.
    picture: dict[str, Any] = {"input_tensor": keras.Input((None, None, channels))}
    if weights:
        picture = {"input_shape": (224, 224, 3)}
    builder = getattr(keras.applications, network.builder)
    return builder(include_top=False, weights=weights, **picture, **network.options)


def encode_published(
    name: str, x: Any, width: int | None, output_stride: int, include_rescaling: bool
) -> dict[int, Any]:
    """Applies one of `PUBLISHED`. Arguments and result are those of `encode`."""
    if width is not None:
        raise ValueError(
            f"The encoder {name!r} has a width of its own: leave width out. Received: {width}"
        )
    network, model = PUBLISHED[name], original(name, x.shape[-1])
    picture = prepare(x, network.pixels, include_rescaling)
    maps = {id(model.inputs[0]): _Map(picture, 1, "")}
    named = {}
    for operation in model.operations[1:]:  # behind the input
        sources = [maps[id(tensor)] for tensor in keras.tree.flatten(operation.input)]
        made = _copy(operation, sources, output_stride)
        maps[id(operation.output)] = named[made.name] = made
    pyramid = {2 ** (level + 1): named[tap].tensor for level, tap in enumerate(network.taps)}
    return {stride: map for stride, map in pyramid.items() if stride < output_stride} | {
        output_stride: named[network.taps[-1]].tensor
    }


class _Map(NamedTuple):
    """A map of the copy.

    Attributes:
        tensor: The map.
        stride: Its stride in the original.
        name: The original's layer that makes it.
        before: Rows of zeros that the convolution to come is to put before the map: the original
            has a layer for them, the copy does not.
    """

    tensor: Any
    stride: int
    name: str
    before: int | None = None


def _copy(operation: Any, sources: list[_Map], output_stride: int) -> _Map:
    """Copies one layer and applies it."""
    source, x = sources[0], [source.tensor for source in sources]
    if not isinstance(operation, keras.layers.Layer) or source.name.endswith("_gate"):
        return _hard_sigmoid(source)
    if isinstance(operation, keras.layers.Rescaling):
        return source  # `prepare` has done it
    if isinstance(operation, keras.layers.Normalization):
        return _normalize(source)
    name = operation.name
    if _NUMBERED.fullmatch(name):
        name = f"{source.name.removesuffix('_bn')}_act"
    config = operation.get_config() | {"name": f"encoder_{name}"}
    kernel = getattr(operation, "kernel_size", getattr(operation, "pool_size", (1,)))[0]
    step = getattr(operation, "strides", (1,))[0]
    rate = max(1, source.stride // output_stride)
    if source.stride >= output_stride and isinstance(operation, keras.layers.ZeroPadding2D):
        # All of these networks pad by a layer only before a strided convolution.
        return source._replace(before=operation.padding[0][0])
    if step > 1 and source.stride >= output_stride:
        config |= {"strides": 1, "dilation_rate": rate, "padding": "valid"}
        x = [_pad(source, kernel, rate, f"{config['name']}_pad")]
    elif rate > 1 and kernel > 1:
        config["dilation_rate"] = rate
    layer = type(operation).from_config(config)
    return _Map(layer(x[0] if len(x) == 1 else x), source.stride * step, name)


def _pad(source: _Map, kernel: int, rate: int, name: str) -> Any:
    """Pads a map for a convolution that lost its stride of 2, so that it keeps its size.

    It begins where the strided one begins: "same" padding has (kernel - 2) / 2 rows of zeros
    before a map with an even number of rows, less than the half that it has without a stride.
    """
    if kernel == 1:
        return source.tensor
    before = (kernel - 2) // 2 if source.before is None else source.before
    rows = (before * rate, (kernel - 1 - before) * rate)
    return keras.layers.ZeroPadding2D((rows, rows), name=name)(source.tensor)


def _hard_sigmoid(source: _Map) -> _Map:
    """MobileNetV3 has a hard sigmoid as x + 3, ReLU6 and x / 6, the first and last without names.

    It is put in the place of the first; at the second and third nothing is left to do.
    """
    if source.name.endswith("_gate"):
        return source
    name = f"{source.name}_gate"
    layer = keras.layers.Activation("hard_sigmoid", name=f"encoder_{name}")
    return source._replace(tensor=layer(source.tensor), name=name)


def _normalize(source: _Map) -> _Map:
    """EfficientNetB0's mean and variance of the pixels are weights: 0 and 1 without trained ones.

    They are a BatchNorm's here that always runs as in inference: a Normalization computes with
    copies of its weights that not every way to load them renews.
    """
    layer = keras.layers.BatchNormalization(
        center=False, scale=False, epsilon=0.0, name="encoder_normalization"
    )
    return _Map(layer(source.tensor, training=False), source.stride, "normalization")
