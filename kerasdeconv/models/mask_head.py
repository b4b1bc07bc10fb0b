"""MaskHead: the mask branch of Mask R-CNN, from the features of a box to its mask.

He et al., "Mask R-CNN" (ICCV 2017), https://arxiv.org/abs/1703.06870, figure 4 (right), the branch
on a feature pyramid: four convolutions, one upsampling, one score a class. Classes do not compete:
each has a sigmoid of its own, and the box says which class counts.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import activate_scores, check_input_shape, classify


def mask_branch(
    x: Any,
    *,
    width: int = 256,
    depth: int = 4,
    norm: str | None = None,
    activation: str = "relu",
    use_bias: bool | None = None,
    upsample: str = "transpose",
) -> Any:
    """Applies the branch up to its upsampled features.

    Args:
        x: Features of boxes, N x H x W x C.
        width: Channels of every layer.
        depth: Number of 3 x 3 convolutions.
        norm: Normalization after each of them.
        activation: Activation of the hidden layers.
        use_bias: Whether they have biases; by default where no normalization follows.
        upsample: One of `kerasdeconv.layers.UPSAMPLING_METHODS`.

    Returns:
        N x 2H x 2W x width.

    Raises:
        ValueError: An argument is out of range.
    """
    if width < 1 or depth < 0:
        raise ValueError(f"width must be 1 or more and depth 0 or more. Received: {width}, {depth}")
    for i in range(depth):
        x = layers.conv_norm_activation(
            x, width, norm=norm, activation=activation, use_bias=use_bias, name=f"mask_{i}"
        )
    return layers.upsample(x, width, method=upsample, activation=activation, name="mask_up")


def activate_masks(x: Any, head_activation: str | None) -> Any:
    """Turns scores into masks: a sigmoid for each class, unless another activation is asked for."""
    return activate_scores(x, "sigmoid" if head_activation == "probabilities" else head_activation)


def MaskHead(
    input_shape: tuple[int | None, int | None, int] = (14, 14, 256),
    classes: int = 80,
    *,
    width: int = 256,
    depth: int = 4,
    norm: str | None = None,
    activation: str = "relu",
    use_bias: bool | None = None,
    upsample: str = "transpose",
    head_activation: str | None = "probabilities",
    name: str = "mask_head",
) -> keras.Model:
    """Builds the mask head, for features that ROIAlign has cut out already.

    Args:
        input_shape: Height and width of a box's features (None for any), and their channels.
        classes: Number of classes K.
        width: Channels of every layer but the last.
        depth: Number of 3 x 3 convolutions.
        norm: None as published, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        use_bias: Whether the 3 x 3 convolutions have biases; by default where no normalization
            follows.
        upsample: How the features are upsampled, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        head_activation: "probabilities" (one sigmoid a class), None for logits, or a Keras
            activation.
        name: Name of the model.

    Returns:
        A model from N x H x W x C to N x 2H x 2W x K, N being boxes.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> MaskHead(classes=80).count_params()
        2643280
    """
    check_input_shape(input_shape, (2,))
    inputs = keras.Input(input_shape, name="input")
    x = mask_branch(
        inputs,
        width=width,
        depth=depth,
        norm=norm,
        activation=activation,
        use_bias=use_bias,
        upsample=upsample,
    )
    x = classify(x, classes, None)
    return keras.Model(inputs, activate_masks(x, head_activation), name=name)
