"""A small convolutional classifier of pictures, whose features also measure generators.

In the manner of LeCun et al., "Gradient-based learning applied to document recognition" (1998):
convolutions and poolings, then dense layers, with ReLU, dropout and a softmax in place of what was
known then. Its penultimate layer gives the features of FID.
"""

from __future__ import annotations

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import (
    activate_scores,
    check_classes,
    check_input_shape,
    check_sides,
    multiple_of,
    rescale_pixels,
)


def Classifier(
    input_shape: tuple[int | None, ...] = (28, 28, 1),
    classes: int = 10,
    *,
    width: int = 32,
    depth: int = 2,
    features: int = 128,
    norm: str | None = None,
    activation: str = "relu",
    dropout: float = 0.5,
    head_activation: str | None = "probabilities",
    include_rescaling: bool = True,
    name: str = "classifier",
) -> keras.Model:
    """Builds a classifier of whole pictures.

    Args:
        input_shape: Height, width (multiples of 2^depth) and channels.
        classes: Number of classes; 1 for a binary classifier.
        width: Channels of the first convolution; each level has twice as many.
        depth: Levels, each a 3 x 3 convolution and a max pooling of 2.
        features: Length of the penultimate layer.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        dropout: Share of the features that training leaves out.
        head_activation: "probabilities" (softmax; sigmoid for one class), None for logits, or a
            Keras activation.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x classes.

    Raises:
        ValueError: An argument is out of range; for a side, the message names the nearest.

    Example:
        >>> Classifier().output_shape
        (None, 10)
    """
    check_input_shape(input_shape, (2,))
    check_classes(classes)
    if min(width, depth, features) < 1:
        raise ValueError(
            f"width, depth and features must be 1 or more. Received: {width}, {depth}, {features}"
        )
    if None in input_shape:
        raise ValueError(f"A classifier needs the sides of its pictures. Received: {input_shape}")
    check_sides("classifier", input_shape[:-1], multiple_of(2**depth))
    inputs = keras.Input(input_shape, name="input")
    x = rescale_pixels(inputs, include_rescaling)
    for level in range(depth):
        x = layers.conv_norm_activation(
            x, width * 2**level, norm=norm, activation=activation, name=f"level_{level}"
        )
        x = keras.layers.MaxPooling2D(2, name=f"level_{level}_pool")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(features, kernel_initializer="he_normal", name="features")(x)
    x = layers.activate(x, activation, "features_act")
    x = keras.layers.Dropout(dropout, name="dropout")(x)
    x = keras.layers.Dense(classes, name="head")(x)
    return keras.Model(inputs, activate_scores(x, head_activation), name=name)
