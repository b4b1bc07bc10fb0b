"""DiffusionUNet: tells the noise in a picture, from which a picture is made of noise, in steps.

Ho, Jain and Abbeel, "Denoising diffusion probabilistic models" (NeurIPS 2020),
https://arxiv.org/abs/2006.11239, appendix B: a U-Net of residual blocks with group normalization,
which are told the step by its embedding, and self-attention where the map is small. The defaults
are its network for CIFAR-10. Groups have 8 channels at least here, the paper's always 32 groups.

`kerasdeconv.data.NoisedPictures` trains it, `kerasdeconv.runtime.diffusion` samples from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of


def DiffusionUNet(
    input_shape: tuple[int | None, int | None, int] = (32, 32, 3),
    steps: int = 1000,
    *,
    width: int = 128,
    multipliers: Sequence[int] = (1, 2, 2, 2),
    blocks: int = 2,
    attention: Sequence[int] = (1,),
    dropout: float = 0.1,
    norm: str | None = "group",
    activation: str = "silu",
    upsample: str = "resize_nearest",
    name: str = "diffusion_unet",
) -> keras.Model:
    """Builds a diffusion U-Net.

    Its inputs are named "input" and "step": N x H x W x C, a noised picture that was in [-1, 1],
    and N x 1 int32, the step at which it is noised, from 0 (the least noise) to steps - 1.

    Args:
        input_shape: Height, width (None for any valid size) and channels.
        steps: Steps from a picture to noise.
        width: Channels of the first level.
        multipliers: How many times as many each level has, the finest first; each level but the
            first halves the sides.
        blocks: Residual blocks a level on the way down; there is one more on the way up.
        attention: Levels whose blocks are each followed by self-attention, 0 for the finest. The
            coarsest map has one in any case.
        dropout: Share of values that each residual block drops in training.
        norm: None, "batch", "group" or "instance".
        activation: Activation of the hidden layers.
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        name: Name of the model.

    Returns:
        A model from `[input, step]` to N x H x W x C: the noise in the picture, or whatever else it
        is trained to tell.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 2^(levels - 1); the
            message names the nearest.

    Example:
        >>> DiffusionUNet((28, 28, 1), width=16, multipliers=(1, 2, 4)).output_shape
        (None, 28, 28, 1)
    """
    check_input_shape(input_shape, (2,))
    _check_levels(width, multipliers, blocks, attention)
    check_sides("diffusion U-Net", input_shape[:-1], multiple_of(2 ** (len(multipliers) - 1)))
    inputs = keras.Input(input_shape, name="input")
    step = keras.Input((1,), dtype="int32", name="step")
    parts = _Parts(norm, activation, dropout, _embed(step, steps, width, activation))
    widths = [width * each for each in multipliers]

    x = keras.layers.Conv2D(width, 3, padding="same", name="start")(inputs)
    skips = [x]
    for level, filters in enumerate(widths):
        for i in range(blocks):
            x = parts.block(x, filters, level in attention, f"down_{level}_{i}")
            skips.append(x)
        if level + 1 < len(widths):
            halve = keras.layers.Conv2D(
                filters, 3, strides=2, padding="same", name=f"down_{level}_halve"
            )
            x = halve(x)
            skips.append(x)
    x = parts.block(x, widths[-1], True, "middle_0")
    x = parts.block(x, widths[-1], False, "middle_1")
    for level, filters in reversed(list(enumerate(widths))):
        for i in range(blocks + 1):
            x = keras.layers.Concatenate(name=f"up_{level}_{i}_skip")([x, skips.pop()])
            x = parts.block(x, filters, level in attention, f"up_{level}_{i}")
        if level:
            x = layers.upsample(x, filters, method=upsample, name=f"up_{level}_double")
    x = parts.normalized(x, "head")
    x = keras.layers.Conv2D(
        input_shape[-1], 3, padding="same", kernel_initializer=_nearly_zero(), name="head"
    )(x)
    return keras.Model([inputs, step], x, name=name)


def _check_levels(
    width: int, multipliers: Sequence[int], blocks: int, attention: Sequence[int]
) -> None:
    """Refuses levels that make no network.

    Raises:
        ValueError: A number is out of range, or there is attention at a level that there is not.
    """
    if not multipliers or min(width, blocks, *multipliers) < 1:
        raise ValueError(
            "width, blocks and each of one or more multipliers must be 1 or more. "
            f"Received: {width}, {blocks}, {tuple(multipliers)}"
        )
    if wrong := [level for level in attention if level not in range(len(multipliers))]:
        raise ValueError(
            f"attention must name levels in 0..{len(multipliers) - 1}. Received: {wrong[0]}"
        )


def _embed(step: Any, steps: int, width: int, activation: str) -> Any:
    """Turns the step into what all blocks are told of it."""
    x = layers.StepEmbedding(steps, width, name="step_waves")(step)
    for i in range(2):
        x = keras.layers.Dense(4 * width, name=f"step_{i}")(x)
        x = layers.activate(x, activation, f"step_{i}_act")
    return x


@dataclasses.dataclass(frozen=True)
class _Parts:
    """The parts of one network.

    Attributes:
        norm: See `DiffusionUNet`.
        activation: See `DiffusionUNet`.
        dropout: See `DiffusionUNet`.
        when: What the blocks are told of the step, N x 4 * width.
    """

    norm: str | None
    activation: str
    dropout: float
    when: Any

    def block(self, x: Any, filters: int, attention: bool, name: str) -> Any:
        """A residual block that is told the step, and self-attention behind it if asked for."""
        shortcut = x
        if x.shape[-1] != filters:
            shortcut = keras.layers.Conv2D(filters, 1, name=f"{name}_shortcut")(x)
        x = self.normalized(x, f"{name}_0")
        x = keras.layers.Conv2D(filters, 3, padding="same", name=f"{name}_0_conv")(x)
        told = keras.layers.Dense(filters, name=f"{name}_step")(self.when)
        told = keras.layers.Reshape((1, 1, filters), name=f"{name}_step_map")(told)
        # In this order: Keras takes a vector that is added to a map for a bias, of which tf2onnx
        # allows a convolution but one.
        x = keras.layers.Add(name=f"{name}_told")([told, x])
        x = self.normalized(x, f"{name}_1")
        if self.dropout:
            x = keras.layers.Dropout(self.dropout, name=f"{name}_dropout")(x)
        last = keras.layers.Conv2D(
            filters, 3, padding="same", kernel_initializer=_nearly_zero(), name=f"{name}_1_conv"
        )
        x = keras.layers.Add(name=f"{name}_add")([last(x), shortcut])
        return self._attended(x, f"{name}_attention") if attention else x

    def normalized(self, x: Any, name: str) -> Any:
        """Normalizes and activates a map."""
        x = layers.normalize(x, self.norm, f"{name}_norm")
        return layers.activate(x, self.activation, f"{name}_act")

    def _attended(self, x: Any, name: str) -> Any:
        """Adds to every pixel what it reads from all."""
        read = layers.normalize(x, self.norm, f"{name}_norm")
        read = layers.pixel_attention(read, kernel_initializer=_nearly_zero(), name=name)
        return keras.layers.Add(name=f"{name}_add")([x, read])


def _nearly_zero() -> keras.initializers.Initializer:
    """The paper starts what is added to a shortcut, and the head, at next to nothing."""
    return keras.initializers.VarianceScaling(1e-10, "fan_avg", "uniform")
