"""Trained weights of encoders: published ones, files of keras.applications, and our own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import WeightsError
from kerasdeconv.models.encoders.pixels import DEVIATION
from kerasdeconv.models.encoders.published import PUBLISHED, original
from kerasdeconv.weights import load_weights

# Caffe's networks take blue, green and red: their first convolutions.
_BGR = ("conv1_conv", "block1_conv1")
_NAMED = 3  # how many layers a message names
_LONGEST = 200  # characters of another package's message in ours


def check_weights(name: str, weights: str | Path) -> None:
    """Refuses weights that an encoder cannot have, before it is built.

    Args:
        name: One of `ENCODERS`.
        weights: See `encode`.

    Raises:
        WeightsError: There is no such file, or it is of a kind that the encoder does not take.
    """
    path = Path(weights)
    if weights != "imagenet" and not path.is_file():
        raise WeightsError(f"No such weights file. Received: {str(path)!r}")
    if weights != "imagenet" and path.suffix not in (".npz", ".h5"):
        raise WeightsError(
            "An encoder's weights are an .npz file, or an .h5 file of keras.applications. "
            f"Received: {str(path)!r}"
        )
    if path.suffix != ".npz" and name != "vgg16" and name not in PUBLISHED:
        raise WeightsError(
            f"The encoder {name!r} is not of keras.applications: its weights are .npz files. "
            f"Received: {str(weights)!r}"
        )


def load_encoder_weights(name: str, x: Any, pyramid: dict[int, Any], weights: str | Path) -> None:
    """Puts trained weights into an encoder.

    Args:
        name: One of `ENCODERS`.
        x: The picture that it was applied to.
        pyramid: What `encode` made of it.
        weights: What `check_weights` let pass.

    Raises:
        WeightsError: The weights are damaged, unreachable, or of another network.
    """
    encoder = keras.Model(x, list(pyramid.values()), name=name)
    if weights == "imagenet":
        _take(encoder, _download(name), weights, published=True)
    elif Path(weights).suffix == ".npz":
        _load_own(encoder, Path(weights))
    else:
        _take(encoder, _read(name, Path(weights)), str(weights))


def _load_own(encoder: keras.Model, path: Path) -> None:
    """Reads a file of `save_weights`, which may hold more than the encoder."""
    missing = load_weights(encoder, path, partial=True)
    if missing:
        more = f" (and {len(missing) - _NAMED} more)" if len(missing) > _NAMED else ""
        raise WeightsError(
            f"The weights file lacks layers of the encoder {encoder.name!r}, or has them in "
            f"another shape: {', '.join(missing[:_NAMED])}{more}. Received: {str(path)!r}"
        )


def _original(name: str, weights: str | None = None) -> keras.Model:
    if name == "vgg16":
        return keras.applications.VGG16(
            include_top=False, weights=weights, input_shape=(None, None, 3)
        )
    return original(name, weights=weights)


def _download(name: str) -> keras.Model:
    """Has keras.applications fetch the weights, or find them where it has put them before."""
    try:
        return _original(name, "imagenet")
    except Exception as error:  # Keras raises no class of its own for what went wrong
        raise WeightsError(
            f"Cannot get the ImageNet weights of {name!r} ({_short(error)}). Pass the path of a "
            "file, or None for an untrained encoder. Received: 'imagenet'"
        ) from None


def _read(name: str, path: Path) -> keras.Model:
    network = _original(name)
    try:
        network.load_weights(path)
    except Exception as error:  # whatever HDF5 and Keras make of a damaged file
        raise WeightsError(
            f"Not a file of the weights of keras.applications' {name!r} without its top "
            f"({_short(error)}). Received: {str(path)!r}"
        ) from None
    return network


def _take(
    encoder: keras.Model, network: keras.Model, received: str, published: bool = False
) -> None:
    """Copies the weights of a network of keras.applications, layer by layer."""
    trained = {_ours(layer.name): layer for layer in network.layers if layer.weights}
    for layer in encoder.layers:
        if not layer.weights:
            continue
        theirs = trained.pop(layer.name)
        values = theirs.get_weights()
        if isinstance(theirs, keras.layers.Normalization):
            values = _statistics(values[0], values[1], published)
        elif theirs.name in _BGR:
            values[0] = values[0][:, :, ::-1]
        if [value.shape for value in values] != [tuple(v.shape) for v in layer.weights]:
            raise WeightsError(
                f"The weights of keras.applications fit {encoder.name!r} at its own width alone. "
                f"Received: {received!r}"
            )
        layer.set_weights(values)
    if trained:
        raise WeightsError(
            f"keras.applications has layers that the encoder {encoder.name!r} lacks: "
            f"{', '.join(trained)}. Received: {received!r}"
        )


def _ours(name: str) -> str:
    """Our name of a layer of keras.applications."""
    if found := re.fullmatch(r"block(\d)_conv(\d)", name):  # VGG16
        stage, number = (int(digit) - 1 for digit in found.groups())
        return f"encoder_{stage}_{number}_conv"
    if re.fullmatch(r"normalization(_\d+)?", name):  # Keras numbers it
        return "encoder_normalization"
    return f"encoder_{name}"


def _statistics(mean: np.ndarray, variance: np.ndarray, published: bool) -> list[np.ndarray]:
    """Mean and variance of the pixels for EfficientNetB0.

    The published file has standard deviations in the place of variances. keras.applications makes
    up for it by a second division by their roots, but only for weights="imagenet", not when that
    file is given by its path; here it is the same file either way.
    """
    mean, variance = mean.reshape(-1), variance.reshape(-1)
    if published or np.allclose(variance, DEVIATION, atol=1e-6):
        variance = variance * np.array(DEVIATION, variance.dtype)
    return [mean, variance]


def _short(error: Exception) -> str:
    """Another package's message on one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
