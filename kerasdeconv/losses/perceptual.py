"""Losses that compare pictures by what a classifier sees in them: contents and style.

Johnson, Alahi and Fei-Fei, "Perceptual losses for real-time style transfer and super-resolution"
(ECCV 2016), section 3, on features of VGG16.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import closest
from kerasdeconv.losses.base import DenseLoss, named

# Outputs of Keras' VGG16: relu3_3, and relu1_2, relu2_2, relu3_3 and relu4_3 in the paper.
CONTENT_LAYERS = ("block3_conv3",)
STYLE_LAYERS = ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3")
# What VGG16 was trained with, BGR: `keras.applications.vgg16.preprocess_input`.
_MEAN = (103.939, 116.779, 123.68)


@named("perceptual")
class Perceptual(DenseLoss):
    """How far a picture's contents are from those of another, and its style from a third one's.

    Contents are features, and style is their Gram matrices; both are compared by their mean squared
    error, as in the authors' code, whose weights are the defaults.

    Args:
        style: The picture whose style is wanted: an array H x W x 3 in [0, 255], or the path of a
            file; None for contents alone.
        content_weight: Weight of the contents.
        style_weight: Weight of the style; 0 without a picture.
        weights: Of VGG16: "imagenet", which Keras downloads once; the path of a file of
            `keras.applications`, or None for random ones.
        content_layers: Layers of Keras' VGG16 whose features are contents.
        style_layers: Layers whose Gram matrices are style.
        **kwargs: See `DenseLoss`.

    Pictures are RGB in [0, 255]. Pixel weights have nothing to weigh here; those of samples do.

    Raises:
        ValueError: An argument is out of range, or VGG16 has no such layer.

    Example:
        >>> loss = Perceptual("wave.jpg", style_weight=5.0) + 0.1 * TotalVariation()
        >>> model.compile("adam", loss)
        >>> model.fit(photographs, photographs, batch_size=4)
    """

    def __init__(
        self,
        style: Any = None,
        *,
        content_weight: float = 1.0,
        style_weight: float = 5.0,
        weights: str | Path | None = "imagenet",
        content_layers: Sequence[str] = CONTENT_LAYERS,
        style_layers: Sequence[str] = STYLE_LAYERS,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(content_weight, style_weight) < 0:
            raise ValueError(
                "Weights must be 0 or more. "
                f"Received: content_weight={content_weight}, style_weight={style_weight}"
            )
        self.style, self.weights = style, None if weights is None else str(weights)
        self.content_weight, self.style_weight = content_weight, style_weight
        self.content_layers, self.style_layers = tuple(content_layers), tuple(style_layers)
        layers = dict.fromkeys(
            [*self.content_layers, *(self.style_layers if style is not None else ())]
        )
        self.features = vgg_features(tuple(layers), self.weights)
        self.wanted = {} if style is None else self._style_of(style)

    def _style_of(self, style: Any) -> dict[str, np.ndarray]:
        """Gram matrices of the picture, layer by layer."""
        if isinstance(style, str | Path):
            from kerasdeconv.imaging import read_image

            style = read_image(Path(style), "RGB")
        picture = np.asarray(style, np.float32)
        if picture.ndim != 3 or picture.shape[-1] != 3:
            raise ValueError(f"The style must be H x W x 3. Received: {picture.shape}")
        features = self.features(picture[None], training=False)
        return {
            layer: keras.ops.convert_to_numpy(gram_matrix(features[layer]))[0]
            for layer in self.style_layers
        }

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        """The loss of each sample."""
        ops = keras.ops
        made = self.features(y_pred, training=False)
        contents = self.features(y_true, training=False)
        total = 0.0
        for layer in self.content_layers:
            error = made[layer] - contents[layer]
            total = total + self.content_weight * ops.mean(error * error, axis=(1, 2, 3))
        for layer, wanted in self.wanted.items():
            error = gram_matrix(made[layer]) - wanted
            total = total + self.style_weight * ops.mean(error * error, axis=(1, 2))
        return total if weights is None else total * ops.mean(weights, axis=(1, 2))

    def get_config(self) -> dict[str, Any]:
        path = isinstance(self.style, str | Path)
        style = str(self.style) if path or self.style is None else np.asarray(self.style).tolist()
        return super().get_config() | {
            "style": None if self.style is None else style,
            "content_weight": self.content_weight,
            "style_weight": self.style_weight,
            "weights": self.weights,
            "content_layers": self.content_layers,
            "style_layers": self.style_layers,
        }


@named("total_variation")
class TotalVariation(DenseLoss):
    """How rough an answer is: the mean square of the steps between neighbouring pixels.

    Mahendran and Vedaldi, "Understanding deep image representations by inverting them" (CVPR 2015),
    section 2, with an exponent of 2. What is wanted does not count; neither do pixel weights but by
    their mean.

    Args:
        **kwargs: See `DenseLoss`.
    """

    def call(self, y_true: Any, y_pred: Any, weights: Any = None) -> Any:
        """The loss of each sample."""
        ops = keras.ops
        total = 0.0
        for axis in range(1, len(y_pred.shape) - 1):
            whole = [slice(None)] * len(y_pred.shape)
            later, earlier = list(whole), list(whole)
            later[axis], earlier[axis] = slice(1, None), slice(None, -1)
            step = y_pred[tuple(later)] - y_pred[tuple(earlier)]
            total = total + ops.mean(step * step, axis=tuple(range(1, len(step.shape))))
        if weights is None:
            return total
        return total * ops.mean(weights, axis=tuple(range(1, len(weights.shape))))


def gram_matrix(features: Any) -> Any:
    """How often features are seen together: `F' F / (H W C)`, equation 3 of Johnson et al.

    Args:
        features: batch x H x W x C.

    Returns:
        batch x C x C.
    """
    ops = keras.ops
    _, height, width, channels = ops.shape(features)
    flat = ops.reshape(features, (-1, height * width, channels))
    together = ops.matmul(ops.transpose(flat, (0, 2, 1)), flat)
    return together / ops.cast(height * width * channels, features.dtype)


def vgg_features(layers: Sequence[str], weights: str | Path | None) -> keras.Model:
    """Builds the part of VGG16 that computes features, frozen.

    Args:
        layers: Names of layers of Keras' VGG16.
        weights: See `Perceptual`.

    Returns:
        A model from RGB in [0, 255] to a table of features by layer.

    Raises:
        ValueError: There is no such layer.
    """
    network = keras.applications.VGG16(
        include_top=False, weights=None if weights is None else str(weights)
    )
    known = [layer.name for layer in network.layers[1:]]
    for name in layers:
        if name not in known:
            raise ValueError(f"VGG16 has no such layer. {closest(name, known)} Received: {name!r}")
    inner = keras.Model(network.input, {name: network.get_layer(name).output for name in layers})
    inputs = keras.Input((None, None, 3), name="input")
    turned = keras.ops.flip(inputs, axis=-1)
    shifted = keras.layers.Rescaling(1.0, offset=[-mean for mean in _MEAN], name="center")(turned)
    model = keras.Model(inputs, inner(shifted), name="vgg_features")
    model.trainable = False
    return model
