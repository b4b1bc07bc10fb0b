"""Output phases as Keras layers: convolutions on the small map, and the interleave behind them.

Shared by all families that upsample. The shape of an output is that of `forms.Phases`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.export.lowering import forms
from kerasdeconv.export.lowering.rewrites import Form, Replacement, Wiring, known
from kerasdeconv.graph import Node, Value
from kerasdeconv.layers import DepthToSpace

# Activations that may come before the interleave. Any other may look at several channels.
_ELEMENTWISE = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh"),
    *("sigmoid", "hard_sigmoid", "hard_silu", "softplus", "exponential"),
)


class Upsampling:
    """What a form makes: an operator that upsamples and convolves, taken apart.

    Args:
        old: The nodes that it computes; the first one reads the small map.
        phases: Its kernels.
        bias: Of each output channel.
        activation: What comes behind it.
        name: Start of the new layers' names.
    """

    def __init__(
        self,
        old: Sequence[Node],
        phases: forms.Phases,
        bias: np.ndarray | None,
        activation: Any,
        name: str,
    ) -> None:
        self.old, self.phases, self.bias, self.name = tuple(old), phases, bias, name
        elementwise = activation in [getattr(keras.activations, n) for n in _ELEMENTWISE]
        self._inside = activation if elementwise else None
        self._behind = None if elementwise else activation
        self.wiring = Wiring()
        self._padded: dict[Any, Value] = {}

    def joint(self) -> Replacement:
        """One convolution to all phases, then depth to space."""
        if self._depthwise:
            return self.split()
        wide = self._convolved(forms.joint(self.phases), self.name)
        why = "convolution to all phases, then depth to space"
        return self._shuffled(wide, why)

    def split(self) -> Replacement:
        """A convolution for each phase, then depth to space."""
        parts = forms.split(self.phases)
        made = [self._convolved(part, f"{self.name}_{i}") for i, part in enumerate(parts)]
        wide = self._joined(made, -1, f"{self.name}_phases")
        why = f"{len(made)} convolutions, one a phase, then depth to space"
        return self._shuffled(wide, why)

    def rows(self) -> Replacement:
        """A convolution for each row phase; rows of pixels are laid side by side and cut again."""
        if self._depthwise:
            parts, columns = forms.split(self.phases), self.phases.strides[1]
            single = [self._convolved(part, f"{self.name}_{i}") for i, part in enumerate(parts)]
            made = [
                self._joined(single[i : i + columns], -1, f"{self.name}_row_{i // columns}")
                for i in range(0, len(single), columns)
            ]
        else:
            made = [
                self._convolved(
                    part, f"{self.name}_{i}" if self.phases.strides[0] > 1 else self.name
                )
                for i, part in enumerate(forms.rows(self.phases))
            ]
        wide = self._joined(made, 2, f"{self.name}_rows")
        (height, width), (s, t) = self.phases.count, self.phases.strides
        shape = (height * s, width * t, known(wide)[-1] // t)
        # Row-major, the order H, s, W, t, C of what was joined is that of the large map.
        large = self.wiring.add(
            _layer("Reshape", f"{self.name}_interleave", target_shape=shape), wide
        )
        return self._finished(large, f"{len(made)} convolutions, one a row phase, then reshaped")

    @property
    def _depthwise(self) -> bool:
        return self.phases.kernels.ndim == 5

    def _shuffled(self, wide: Value, why: str) -> Replacement:
        shuffle = DepthToSpace(self.phases.strides, name=f"{self.name}_shuffle", dtype="float32")
        return self._finished(self.wiring.add(shuffle, wide), why)

    def _finished(self, large: Value, why: str) -> Replacement:
        """Crops what the phases make too much, and puts the activation behind."""
        extra = [
            have - want for have, want in zip(known(large)[1:3], self.phases.sides, strict=True)
        ]
        if any(extra):
            crop = _layer("Cropping2D", f"{self.name}_crop", cropping=tuple((0, e) for e in extra))
            large = self.wiring.add(crop, large)
        if self._behind is not None:
            layer = _layer("Activation", f"{self.name}_activation", activation=self._behind)
            large = self.wiring.add(layer, large)
        return self.wiring.replace(self.old, large, f"{self.name}: {why}")

    def _joined(self, parts: list[Value], axis: int, name: str) -> Value:
        if len(parts) == 1:
            return parts[0]
        return self.wiring.add(_layer("Concatenate", name, axis=axis), *parts)

    def _convolved(self, part: forms.Part, name: str) -> Value:
        """Adds the convolution of a part, and the padding that it wants."""
        x = self.old[0].inputs[0]
        sides, taps = known(x)[1:3], part.kernel.shape[:2]
        margins = part.margins(sides, self.phases.count)
        # TensorFlow's "same" puts the odd row behind; anything else is padded by hand.
        same = all(
            before == (m - 1) // 2 and behind == m - 1 - before
            for (before, behind), m in zip(margins, taps, strict=True)
        )
        if not same:
            x = self._margined(x, margins, f"{name}_pad")
        options: dict[str, Any] = {
            "padding": "same" if same else "valid",
            "activation": self._inside,
        }
        if self._depthwise:
            layer = _layer("DepthwiseConv2D", name, kernel_size=taps, **options)
            kernel = part.kernel[..., None]
            bias = np.zeros(kernel.shape[2]) if self.bias is None else self.bias
        else:
            layer = _layer(
                "Conv2D", name, filters=part.kernel.shape[-1], kernel_size=taps, **options
            )
            kernel = part.kernel
            single = np.zeros(kernel.shape[-1] // part.phases) if self.bias is None else self.bias
            bias = np.tile(single, part.phases)
        layer.build(x.shape)
        layer.set_weights([kernel, bias])
        return self.wiring.add(layer, x)

    def _margined(self, x: Value, margins: Any, name: str) -> Value:
        """Pads, or crops where margins are less than none.

        Each convolution has a padding of its own: XNNPACK takes one into the convolution if nothing
        else reads it.
        """
        padding = [tuple(max(m, 0) for m in side) for side in margins]
        cropping = [tuple(max(-m, 0) for m in side) for side in margins]
        if any(map(any, cropping)):
            x = self.wiring.add(_layer("Cropping2D", f"{name}_crop", cropping=cropping), x)
        if any(map(any, padding)):
            x = self.wiring.add(_layer("ZeroPadding2D", name, padding=padding), x)
        return x


def forms_of(
    take_apart: Callable[[Any, Node], Upsampling | None], names: Sequence[str]
) -> dict[str, Form]:
    """The forms of an operator that can be taken apart."""

    def form(name: str) -> Form:
        def apply(graph: Any, node: Node) -> Replacement | None:
            parts = take_apart(graph, node)
            return None if parts is None else getattr(parts, name)()

        return apply

    return {name: form(name) for name in names}


def _layer(kind: str, name: str, **options: Any) -> Any:
    return getattr(keras.layers, kind)(name=name, dtype="float32", **options)
