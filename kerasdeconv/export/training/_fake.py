"""Rounding to 8 bits inside a model of tf_keras, by tensorflow-model-optimization's wrappers.

Import it after `legacy.load_tfmot`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
from tensorflow_model_optimization.python.core.quantization.keras.quantize_layer import (
    QuantizeLayer,
)
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import (
    QuantizeWrapperV2,
)

from kerasdeconv.export.quantization.scales import Scale
from kerasdeconv.export.training.bridge import Hooks
from kerasdeconv.export.training.kept import Keeper, keeper
from kerasdeconv.export.training.plan import Plan
from kerasdeconv.graph import Node, Value


class ScaleQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds to the 256 steps of a scale, which any number of layers share.

    A learned one is widened and narrowed by a factor for each end, whose logarithms train: a range
    of thousands and one of hundredths then move alike.

    Args:
        scale: Where the range starts from.
        learned: Whether it trains.
    """

    def __init__(self, scale: Scale, learned: bool) -> None:
        self.low, self.high = bounds_of(scale)
        self.factors: list[tf.Variable] = []
        if learned and not scale.fixed:
            self.factors = [tf.Variable(0.0, name=f"log_{end}") for end in ("low", "high")]

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {factor.name: factor for factor in self.factors}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        low, high = self.range()
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high)

    def range(self) -> tuple[Any, Any]:
        """Least and greatest value that is told apart."""
        if not self.factors:
            return self.low, self.high
        low, high = (tf.exp(factor) for factor in self.factors)
        return self.low * low, self.high * high

    def get_config(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high}


def bounds_of(scale: Scale) -> tuple[float, float]:
    """The range of a scale; of values that are all zero, any."""
    low, high = scale.bounds
    return (low, high) if low < high else (0.0, 1.0)


class WeightQuantizer(tfmot.quantization.keras.quantizers.Quantizer):
    """Rounds a kernel to -127..127 steps, with a scale for each output channel where TFLite has it.

    The scales are those of the kernel as it is: nothing is remembered from an earlier step.

    Args:
        axes: "last" (Conv2D), "last two" (DepthwiseConv2D), or "none" for one scale.
        kept: See `kept.keeper`.
    """

    def __init__(self, axes: str, kept: Keeper | None = None) -> None:
        self.axes, self.kept = axes, kept

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Any, **kwargs: Any) -> Any:
        if self.kept is not None:
            inputs = self.kept(inputs)
        if self.axes == "none":
            most = tf.maximum(tf.reduce_max(tf.abs(inputs)), 1e-9)
            most = tf.stop_gradient(most)
            return tf.quantization.fake_quant_with_min_max_vars(
                inputs, -most, most, narrow_range=True
            )
        shape = inputs.shape
        flat = [*shape[:-2], 1, shape[-2] * shape[-1]] if self.axes == "last two" else shape
        kernel = tf.reshape(inputs, flat) if self.axes == "last two" else inputs
        most = tf.reduce_max(tf.abs(kernel), axis=list(range(len(shape) - 1)))
        most = tf.stop_gradient(tf.maximum(most, 1e-9))  # a channel of zeros
        rounded = tf.quantization.fake_quant_with_min_max_vars_per_channel(
            kernel, -most, most, narrow_range=True
        )
        return tf.reshape(rounded, shape) if self.axes == "last two" else rounded

    def get_config(self) -> dict[str, Any]:
        return {"axes": self.axes}


class KernelConfig(tfmot.quantization.keras.QuantizeConfig):
    """Rounds a layer's kernel, and nothing else.

    Args:
        attribute: Name of the kernel.
        axes: See `WeightQuantizer`.
        kept: See `kept.keeper`.
    """

    def __init__(self, attribute: str, axes: str, kept: Keeper | None = None) -> None:
        self.attribute, self.axes, self.kept = attribute, axes, kept

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        return [(getattr(layer, self.attribute), WeightQuantizer(self.axes, self.kept))]

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        setattr(layer, self.attribute, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Any) -> list[Any]:
        return []

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        pass

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return []

    def get_config(self) -> dict[str, Any]:
        return {"attribute": self.attribute, "axes": self.axes}


_KERNELS = {
    "Conv2D": ("kernel", "last"),
    "DepthwiseConv2D": ("depthwise_kernel", "last two"),
    # The converter moves the axes of these kernels, which it cannot with a scale for each channel.
    "Conv2DTranspose": ("kernel", "none"),
    "Dense": ("kernel", "none"),
}


def _identity(x: Any) -> Any:
    """A depthwise convolution that changes nothing, which no converter removes."""
    ones = tf.ones((1, 1, x.shape[-1], 1))
    bound = tf.ones(x.shape[-1])
    kernel = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        tf.reshape(ones, (1, 1, 1, x.shape[-1])), -bound, bound, narrow_range=True
    )
    return tf.nn.depthwise_conv2d(x, tf.reshape(kernel, ones.shape), [1, 1, 1, 1], "SAME")


def _sizes(kernel: Any, bias: Any, axes: str, width: float) -> dict[int, np.ndarray]:
    """How large a kernel's values are in each output channel, and what would be a large bias.

    Args:
        kernel: The kernel.
        bias: The bias, or None.
        axes: See `WeightQuantizer`.
        width: Of the range of what comes in.
    """
    values = np.asarray(kernel)
    channels = {"last": (-1,), "last two": (-2, -1), "none": ()}[axes]
    rest = tuple(range(values.ndim - len(channels)))
    size = np.sqrt(np.mean(values**2, axis=rest, keepdims=True)) + 1e-9
    found = {id(kernel): size}
    if bias is not None:
        # What comes in is taken for evenly spread, with a deviation of a quarter of its range.
        inputs = np.prod([values.shape[axis] for axis in rest])
        spread = size * np.sqrt(inputs) * width / 4
        found[id(bias)] = np.broadcast_to(spread.reshape(-1), bias.shape)
    return found


class Rounding(Hooks):
    """Puts the roundings of a plan into a model.

    Args:
        plan: Calibrated.
        owners: See `prepare.take_apart`.
        learned: Whether the ranges train.
        keep: What training does not undo in kernels, one of `kept.KEEP` or None.

    Attributes:
        kept: Kernels, and what brings them back into the form that is kept.
        sizes: How large the values of a variable are, channel by channel, by the variable's id.
    """

    def __init__(
        self, plan: Plan, owners: dict[int, Any], learned: bool, keep: str | None = None
    ) -> None:
        self.plan, self.owners, self.learned, self.keep = plan, owners, learned, keep
        self.kept: list[tuple[Any, Keeper]] = []
        self.quantizers: dict[Scale, ScaleQuantizer] = {}
        self.sizes: dict[int, np.ndarray] = {}
        self._count = 0

    def wrap(self, node: Node, layer: Any) -> Any:
        kernel = _KERNELS.get(type(layer).__name__)
        if kernel is None:
            return layer
        attribute, axes = kernel
        low, high = bounds_of(self.plan.scales[node.inputs[0]])
        variable = getattr(layer, attribute)
        self.sizes |= _sizes(variable, layer.bias, axes, high - low)
        kept = keeper(np.asarray(variable), self.keep)
        if kept is not None:
            self.kept.append((variable, kept))
        if self.keep == "clusters" and axes == "last":
            axes = "none"  # with a scale for each channel, equal values would be unequal integers
        return QuantizeWrapperV2(layer, KernelConfig(attribute, axes, kept))

    def owner(self, node: Node) -> Any:
        return self.owners.get(id(node), node.layer)

    def feed(self, node: Node, index: int, tensor: Any) -> Any:
        scale = self.plan.again.get((node, index))
        if scale is None:
            return tensor
        # An operator between the two roundings, of which the converter would drop one. Nothing
        # comes in that it changes but below a range that begins at 0.
        low, _ = self.plan.scales[node.inputs[index]].bounds
        between = tf.nn.relu if low >= 0 else _identity
        return self._round(scale, tf_keras.layers.Lambda(between)(tensor))

    def mark(self, value: Value, tensor: Any) -> Any:
        if value not in self.plan.rounded:
            return tensor
        return self._round(self.plan.scales[value], tensor)

    def _round(self, scale: Scale, tensor: Any) -> Any:
        quantizer = self.quantizers.get(scale)
        if quantizer is None:
            quantizer = self.quantizers[scale] = ScaleQuantizer(scale, self.learned)
        self._count += 1
        return QuantizeLayer(quantizer, name=f"round_{self._count}")(tensor)
