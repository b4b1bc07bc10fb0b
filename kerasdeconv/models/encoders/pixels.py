"""What the published networks make of pixels first."""

from __future__ import annotations

from typing import Any

import keras

# ImageNet's mean by channel, red, green and blue. That of Caffe's networks, for pixels in [0, 255]:
_CAFFE_MEAN = (123.68, 116.779, 103.939)
# And that of the others, with its standard deviation, for pixels in [0, 1].
_MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def prepare(x: Any, kind: str, include_rescaling: bool) -> Any:
    """Turns pixels into what a published network takes, in one Rescaling named "rescale".

    Args:
        x: A picture, in [0, 255] or [0, 1].
        kind: "unit" for [0, 1], "signed" for [-1, 1], "caffe" for pixels minus ImageNet's mean,
            "standard" for ImageNet's mean 0 and deviation 1.
        include_rescaling: Whether the picture is in [0, 255].
    """
    channels = x.shape[-1]
    white = 255.0 if include_rescaling else 1.0
    scale: float | list[float]
    offset: float | list[float]
    if kind == "unit":
        scale, offset = 1 / white, 0.0
    elif kind == "signed":
        scale, offset = 2 / white, -1.0
    elif kind == "caffe":
        scale, offset = 255 / white, [-mean for mean in _by_channel(_CAFFE_MEAN, channels)]
    else:
        means, deviations = _by_channel(_MEAN, channels), _by_channel(DEVIATION, channels)
        scale = [1 / (white * deviation) for deviation in deviations]
        offset = [-mean / dev for mean, dev in zip(means, deviations, strict=True)]
    return keras.layers.Rescaling(scale, offset, name="rescale")(x)


def _by_channel(rgb: tuple[float, ...], channels: int) -> list[float]:
    return list(rgb) if channels == 3 else [sum(rgb) / 3] * channels
