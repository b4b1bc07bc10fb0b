"""Generator and discriminator that grow: learned at a small size, then doubled, again and again.

Karras, Aila, Laine and Lehtinen, "Progressive growing of GANs for improved quality, stability, and
variation" (ICLR 2018), https://arxiv.org/abs/1710.10196: the networks of table 2. A network of
twice the size has all layers of the smaller one, and two convolutions more; its picture is faded in
from the smaller one's, enlarged (figure 2).

    small = ProgressiveGenerator(size=8)
    larger = grow(small, ProgressiveGenerator(size=16, fade=0.0))  # makes the same, enlarged
    final = grow(larger, ProgressiveGenerator(size=16))  # once it is faded in

Departures: weights start by He's rule instead of being scaled while they run (equalized learning
rate), and there is no standard deviation over the batch in the discriminator.
"""

from __future__ import annotations

import math
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import activate_scores, check_input_shape, check_sides

_START = 4  # side of the first map


def ProgressiveGenerator(
    input_shape: tuple[int, ...] = (512,),
    size: int = 8,
    *,
    channels: int = 3,
    width: int = 512,
    capacity: int = 16384,
    activation: str = "leaky_relu",
    upsample: str = "resize_nearest",
    fade: float | None = None,
    include_rescaling: bool = True,
    name: str = "progressive_generator",
) -> keras.Model:
    """Builds the generator at one of its sizes.

    Args:
        input_shape: Length of a code, `(512,)`, whose numbers training draws from N(0, 1).
        size: Side of the picture: 4, 8, 16 or any larger power of two.
        channels: Channels of the picture: 1 for gray, 3 for RGB.
        width: Channels of a map at most.
        capacity: Channels of a map times its side at most.
        activation: Activation; Keras' "leaky_relu" has the paper's slope of 0.2.
        upsample: How it upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        fade: How far the picture is faded in from that of half the size, in [0, 1]; None for a
            network that makes it alone.
        include_rescaling: Whether pixels are in [0, 255], instead of in [-1, 1]. Nothing is
            clipped.
        name: Name of the model.

    Returns:
        A model from N x code to N x size x size x channels.

    Raises:
        ValueError: An argument is out of range; for a size, the message names the nearest.
    """
    check_input_shape(input_shape, (0,))
    _check(size, channels, width, capacity, fade)
    inputs = keras.Input(input_shape, name="input")
    first = min(width, capacity // _START)
    x = _pixel_norm(inputs, "input_norm")
    x = keras.layers.Reshape((1, 1, input_shape[-1]), name="start_map")(x)
    x = keras.layers.Conv2DTranspose(first, _START, kernel_initializer="he_normal", name="start")(x)
    x = _pixel_norm(layers.activate(x, activation, "start_act"), "start_norm")
    x = _pixel_norm(_conv(x, first, activation, "start_conv"), "start_conv_norm")
    half = x
    for side in _sides(size):
        half, filters = x, min(width, capacity // side)
        x = layers.upsample(x, filters, method=upsample, name=f"up_{side}")
        x = _pixel_norm(layers.activate(x, activation, f"up_{side}_act"), f"up_{side}_norm")
        x = _pixel_norm(_conv(x, filters, activation, f"conv_{side}"), f"conv_{side}_norm")
    picture = _to_picture(x, channels, size)
    if fade is not None:
        old = keras.layers.UpSampling2D(2, name="enlarge")(_to_picture(half, channels, size // 2))
        picture = layers.FadeIn(fade, name="fade")([old, picture])
    if include_rescaling:
        picture = keras.layers.Rescaling(127.5, offset=127.5, dtype="float32", name="to_pixels")(
            picture
        )
    return keras.Model(inputs, picture, name=name)


def ProgressiveDiscriminator(
    input_shape: tuple[int, ...] = (8, 8, 3),
    *,
    width: int = 512,
    capacity: int = 16384,
    activation: str = "leaky_relu",
    fade: float | None = None,
    head_activation: str | None = None,
    include_rescaling: bool = True,
    name: str = "progressive_discriminator",
) -> keras.Model:
    """Builds the discriminator at one of its sizes.

    Args:
        input_shape: Height and width, which are a power of two, 4 or more, and channels.
        width: Channels of a map at most.
        capacity: Channels of a map times its side at most.
        activation: Activation; Keras' "leaky_relu" has the paper's slope of 0.2.
        fade: How far the layers for this size are faded in, in [0, 1], beside those for half of it,
            which see the picture shrunk; None for a network with the former alone.
        head_activation: None for logits, as training takes them; "probabilities" for a sigmoid.
        include_rescaling: Whether pixels are in [0, 255], instead of in [-1, 1].
        name: Name of the model.

    Returns:
        A model from N x size x size x channels to N x 1, how real a picture seems.

    Raises:
        ValueError: An argument is out of range; for a size, the message names the nearest.
    """
    check_input_shape(input_shape, (2,))
    size = input_shape[0] or 0
    _check(size, input_shape[-1], width, capacity, fade)
    if size != input_shape[1]:
        raise ValueError(f"Pictures must be square. Received: {size} x {input_shape[1]}")
    inputs = picture = keras.Input(input_shape, name="input")
    if include_rescaling:
        picture = keras.layers.Rescaling(1 / 127.5, offset=-1.0, name="rescale")(picture)

    def filters(side: int) -> int:
        return min(width, capacity // side)

    x = _from_picture(picture, filters(size), activation, size)
    for side in reversed(_sides(size)):
        x = _conv(x, filters(side), activation, f"conv_{side}")
        x = _conv(x, filters(side // 2), activation, f"down_{side}")
        x = keras.layers.AveragePooling2D(2, name=f"down_{side}_pool")(x)
        if fade is not None and side == size:
            shrunk = keras.layers.AveragePooling2D(2, name="shrink")(picture)
            old = _from_picture(shrunk, filters(side // 2), activation, side // 2)
            x = layers.FadeIn(fade, name="fade")([old, x])
    x = keras.layers.Flatten(name="flatten")(_conv(x, filters(_START), activation, "end_conv"))
    x = keras.layers.Dense(filters(_START), kernel_initializer="he_normal", name="end")(x)
    x = keras.layers.Dense(1, name="head")(layers.activate(x, activation, "end_act"))
    return keras.Model(inputs, activate_scores(x, head_activation), name=name)


def grow(model: keras.Model, larger: keras.Model) -> keras.Model:
    """Moves what a network has learned into one with more layers, or into one with some less.

    Args:
        model: What has learned.
        larger: Where it goes to: every layer of the same name gets its weights.

    Returns:
        `larger`.

    Raises:
        ValueError: No layer has the same name, or one that has takes other weights.
    """
    known = {layer.name: layer for layer in model.layers if layer.weights}
    shared = [layer for layer in larger.layers if layer.name in known and layer.weights]
    if not shared:
        raise ValueError(
            f"The networks have no layer in common. Received: {model.name!r} and {larger.name!r}"
        )
    for layer in shared:
        have, want = ([v.shape for v in x.weights] for x in (known[layer.name], layer))
        if have != want:
            raise ValueError(f"The layer {layer.name!r} has weights {want}. Received: {have}")
    for layer in shared:
        if not isinstance(layer, layers.FadeIn):
            layer.set_weights(known[layer.name].get_weights())
    return larger


def _check(size: int, channels: int, width: int, capacity: int, fade: float | None) -> None:
    least = _START if fade is None else 2 * _START
    check_sides(
        "progressive network", [size], lambda side, axis: side >= least and not side & (side - 1)
    )
    if min(channels, width) < 1 or capacity < size:
        raise ValueError(
            "channels and width must be 1 or more, capacity no less than the size. "
            f"Received: {channels}, {width}, {capacity}"
        )


def _sides(size: int) -> list[int]:
    """The sides beyond the first map's."""
    return [_START << i for i in range(1, (size // _START).bit_length())]


def _conv(x: Any, filters: int, activation: str, name: str, kernel_size: int = 3) -> Any:
    x = keras.layers.Conv2D(
        filters, kernel_size, padding="same", kernel_initializer="he_normal", name=name
    )(x)
    return layers.activate(x, activation, f"{name}_act")


def _to_picture(x: Any, channels: int, side: int) -> Any:
    return keras.layers.Conv2D(channels, 1, name=f"to_picture_{side}")(x)


def _from_picture(x: Any, filters: int, activation: str, side: int) -> Any:
    return _conv(x, filters, activation, f"from_picture_{side}", kernel_size=1)


def _pixel_norm(x: Any, name: str) -> Any:
    """Gives the numbers of each pixel, or of a code, a mean square of 1 (section 4.2).

    In float32 also under mixed precision: squares go beyond float16.
    """
    x = keras.layers.UnitNormalization(name=name, dtype="float32")(x)
    gain = math.sqrt(x.shape[-1])
    return keras.layers.Rescaling(gain, name=f"{name}_gain", dtype="float32")(x)
