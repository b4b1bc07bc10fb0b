"""Video prediction: some frames to those that follow.

An encoder turns each frame into a small map, a translator the maps of all frames into those of the
frames that follow, and a decoder with transposed convolutions each of these into a frame. Encoder
and decoder treat each frame alone, with one set of weights: frames are folded into the batch.

The translator is one of two:

- Convolutional, after Gao et al., "SimVP: simpler yet better video prediction" (CVPR 2022),
  https://arxiv.org/abs/2206.05099: the maps of all frames side by side as channels, and
  convolutions. Here they are residual blocks of 3 x 3 kernels instead of groups of kernels up to
  11 x 11, which integer runtimes have no fast operator for; and the decoder has no skip connection,
  which would tie each frame that comes out to one that goes in.
- Recurrent: ConvLSTM cells of Shi et al., "Convolutional LSTM network" (NIPS 2015),
  https://arxiv.org/abs/1506.04214, without peepholes, in an encoder and a forecaster that starts
  from its states and gets no input of its own (Srivastava et al., "Unsupervised learning of video
  representations using LSTMs", ICML 2015, https://arxiv.org/abs/1502.04681). Its steps are
  unrolled, so that it exports with the operators of any network. Shi et al. cut frames into patches
  of 4 x 4 pixels instead of encoding them by convolutions.

A frame ends in a sigmoid, so that it is pixels whatever the network does; SimVP ends without.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.models.heads import check_input_shape, check_sides, multiple_of, rescale_pixels


def VideoPredictor(
    input_shape: tuple[int | None, ...] = (10, 64, 64, 1),
    horizon: int = 10,
    *,
    recurrent: bool = False,
    width: int = 16,
    levels: int = 2,
    hidden: int = 96,
    depth: int = 4,
    norm: str | None = "batch",
    activation: str = "relu",
    upsample: str = "transpose",
    include_rescaling: bool = True,
    name: str = "video_predictor",
) -> keras.Model:
    """Builds a network from frames to the frames that follow.

    Args:
        input_shape: Frames that are seen, height, width (multiples of 2^levels, or None) and
            channels.
        horizon: Frames that are predicted.
        recurrent: Whether the translator is of ConvLSTM cells, instead of convolutions.
        width: Channels of a frame's finest map; each coarser one has twice as many.
        levels: Halvings of a frame's sides.
        hidden: Channels of the translator; of each of its cells.
        depth: Residual blocks of the translator, of two convolutions each; or its layers of cells,
            in the encoder and in the forecaster.
        norm: None, "batch", "group" or "instance"; cells have none.
        activation: Activation of the hidden layers; cells have those of the paper.
        upsample: How the decoder upsamples, one of `kerasdeconv.layers.UPSAMPLING_METHODS`.
        include_rescaling: Whether pixels are in [0, 255], instead of [0, 1].
        name: Name of the model.

    Returns:
        A model from N x frames x H x W x C to N x horizon x H x W x C, pixels in the range of the
        input.

    Raises:
        ValueError: An argument is out of range, or a side is no multiple of 2^levels; the message
            names the nearest.

    Example:
        >>> VideoPredictor((10, 64, 64, 1), horizon=5).output_shape
        (None, 5, 64, 64, 1)
    """
    check_input_shape(input_shape, (3,))
    frames, *sides, channels = input_shape
    if frames is None or min(frames, horizon) < 1:
        raise ValueError(f"frames and horizon must be 1 or more. Received: {frames}, {horizon}")
    if min(width, levels, hidden, depth) < 1:
        raise ValueError(
            "width, levels, hidden and depth must be 1 or more. "
            f"Received: {width}, {levels}, {hidden}, {depth}"
        )
    check_sides("VideoPredictor", sides, multiple_of(2**levels))
    options: dict[str, Any] = {"norm": norm, "activation": activation}
    widths = [width * 2**level for level in range(levels)]

    inputs = keras.Input(input_shape, name="input")
    x = layers.folded.FoldDepth(name="frames_to_batch")(inputs)
    # Behind the folding, so that lowering finds the convolution that takes the factor up.
    x = rescale_pixels(x, include_rescaling)
    for level, filters in enumerate(widths):
        x = layers.conv_norm_activation(x, filters, name=f"encoder_{level}_0", **options)
        x = layers.conv_norm_activation(x, filters, strides=2, name=f"encoder_{level}_1", **options)
    x = layers.folded.UnfoldDepth(frames, name="frames_seen")(x)
    x = layers.DepthToChannels(name="frames_to_channels")(x)
    if recurrent:
        x = _unrolled(x, frames, horizon, hidden, depth)
    else:
        x = _convolutional(x, hidden, depth, **options)
    x = layers.conv_norm_activation(
        x, horizon * widths[-1], kernel_size=1, name="translator_out", **options
    )
    x = layers.ChannelsToDepth(horizon, name="channels_to_frames")(x)
    x = layers.folded.FoldDepth(name="predicted_to_batch")(x)
    for level in reversed(range(levels)):
        x = _double(x, widths[level], upsample, f"decoder_{level}", **options)
    x = keras.layers.Conv2D(channels, 3, padding="same", name="head")(x)
    # Pixels stay float32 under mixed precision.
    kind = "float32" if include_rescaling else None
    x = keras.layers.Activation("sigmoid", dtype=kind, name="head_activation")(x)
    if include_rescaling:
        x = keras.layers.Rescaling(255.0, dtype=kind, name="to_pixels")(x)
    x = layers.folded.UnfoldDepth(horizon, dtype=kind, name="predicted")(x)
    return keras.Model(inputs, x, name=name)


def _double(x: Any, filters: int, method: str, name: str, **options: Any) -> Any:
    """Doubles the sides of each frame."""
    norm, activation = options["norm"], options["activation"]
    x = layers.upsample(
        x,
        filters,
        method=method,
        kernel_size=4 if method == "transpose" else None,
        use_bias=norm is None,
        name=name,
    )
    x = layers.normalize(x, norm, f"{name}_norm")
    return layers.activate(x, activation, f"{name}_act")


def _convolutional(x: Any, hidden: int, depth: int, **options: Any) -> Any:
    """Residual blocks on the maps of all frames."""
    x = layers.conv_norm_activation(x, hidden, kernel_size=1, name="translator_in", **options)
    for i in range(depth):
        x = layers.residual_block(x, hidden, padding="same", name=f"translator_{i}", **options)
    return x


def _unrolled(x: Any, frames: int, horizon: int, hidden: int, depth: int) -> Any:
    """ConvLSTM cells: what they have seen of the frames, step by step, and then what follows."""
    channels = x.shape[-1] // frames
    seeing = [_Cell(hidden, f"encoder_cell_{i}") for i in range(depth)]
    states: list[Any] = [None] * depth  # of each cell: what it puts out, and what it remembers
    for t in range(frames):
        y = layers.SliceChannels(t * channels, channels, name=f"frame_{t}")(x)
        for i, cell in enumerate(seeing):
            states[i] = cell(y, states[i])
            y = states[i][0]
    telling = [_Cell(hidden, f"forecaster_cell_{i}", alone=i == 0) for i in range(depth)]
    told = []
    for _ in range(horizon):
        y = None
        for i, cell in enumerate(telling):
            states[i] = cell(y, states[i])
            y = states[i][0]
            told.append(y)
    return told[0] if len(told) == 1 else keras.layers.Concatenate(name="told")(told)


class _Cell:
    """One ConvLSTM cell: its layers, called anew at every step.

    Shi et al. 2015, equation 3, without peepholes.

    Args:
        filters: Channels of its states.
        name: Prefix of its layers' names.
        alone: Whether it has no input, only its state.
    """

    def __init__(self, filters: int, name: str, alone: bool = False) -> None:
        conv = {"padding": "same", "kernel_initializer": "glorot_uniform"}
        self.of_input = keras.layers.Conv2D(4 * filters, 3, name=f"{name}_input", **conv)
        self.of_state = keras.layers.Conv2D(
            4 * filters, 3, use_bias=alone, name=f"{name}_state", **conv
        )
        self.gates = [
            layers.SliceChannels(i * filters, filters, name=f"{name}_{gate}")
            for i, gate in enumerate(("let_in", "keep", "let_out", "news"))
        ]
        self.add = keras.layers.Add(name=f"{name}_sum")

    def __call__(self, x: Any, state: tuple[Any, Any] | None) -> tuple[Any, Any]:
        """One step; without a state it is zero, and without an input there is none."""
        sums = [] if x is None else [self.of_input(x)]
        sums += [] if state is None else [self.of_state(state[0])]
        total = sums[0] if len(sums) == 1 else self.add(sums)
        let_in, keep, let_out, news = (gate(total) for gate in self.gates)
        memory = keras.ops.sigmoid(let_in) * keras.ops.tanh(news)
        if state is not None:
            memory = keras.ops.sigmoid(keep) * state[1] + memory
        return keras.ops.sigmoid(let_out) * keras.ops.tanh(memory), memory
