"""Volumes as pictures: operators on five axes rewritten, exactly, into operators on four.

The depth is folded into the batch and stays there from layer to layer; see
`kerasdeconv.layers.folded`. A convolution over volumes is one over pictures, on the slices that its
kernel sees; a pooling is one over pictures and one over the depth; a transposed convolution is one
over pictures for each phase of the depth, interleaved. What is not known here keeps its five axes.

A rule is one function `rule(fold, node, x) -> Value | None`: it adds the layers that compute the
node from the folded input `x`, and returns their folded output; None if it can't.
`maps` and `convolutions` hold those on layers, `operations` those on `keras.ops`.

`sums.DEPTH_CONVOLUTION` is another form of a folded convolution, for a target's profile to choose.
"""

from __future__ import annotations

from typing import Any

import keras

from kerasdeconv import layers
from kerasdeconv.export.lowering.volumes import convolutions, maps, operations
from kerasdeconv.export.lowering.volumes.folding import Folding, Rule
from kerasdeconv.graph import Graph

__all__ = ["fold_volumes"]

# Layers of one input that treat each position alone, whatever the rank.
_POINTWISE = (
    keras.layers.Activation,
    keras.layers.ELU,
    keras.layers.LeakyReLU,
    keras.layers.ReLU,
)
# Layers of several inputs that treat each position alone.
_MERGING = (
    keras.layers.Add,
    keras.layers.Average,
    keras.layers.Maximum,
    keras.layers.Minimum,
    keras.layers.Multiply,
    keras.layers.Subtract,
)
# Layers that do nothing in inference.
_IDLE = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.SpatialDropout3D,
)


_RULES: dict[type, Rule] = {
    keras.layers.Conv3D: convolutions.convolution,
    keras.layers.Conv3DTranspose: convolutions.transposed_convolution,
    layers.DepthwiseConvTranspose: convolutions.depthwise,
    keras.layers.MaxPooling3D: maps.pooling,
    keras.layers.AveragePooling3D: maps.pooling,
    keras.layers.GlobalMaxPooling3D: maps.global_pooling,
    keras.layers.GlobalAveragePooling3D: maps.global_pooling,
    keras.layers.GroupNormalization: maps.group_norm,
    keras.layers.BatchNormalization: maps.batch_norm,
    keras.layers.Dense: convolutions.dense,
    keras.layers.PReLU: maps.prelu,
    keras.layers.Softmax: maps.softmax,
    keras.layers.UpSampling3D: maps.upsampling,
    layers.LinearUpsampling: maps.linear_upsampling,
    keras.layers.ZeroPadding3D: maps.padding,
    keras.layers.Cropping3D: maps.cropping,
    layers.CropLike: maps.crop_like,
    layers.DepthToSpace: maps.depth_to_space,
    keras.layers.Rescaling: maps.rescaling,
    keras.layers.Concatenate: maps.concatenation,
    **dict.fromkeys(_POINTWISE, maps.pointwise),
    **dict.fromkeys(_MERGING, maps.merging),
    **dict.fromkeys(_IDLE, maps.nothing),
}


def _rule_of(layer: Any) -> Rule | None:
    return _RULES.get(type(layer)) or operations.rule_of(layer)


def fold_volumes(graph: Graph, doors: bool = False) -> None:
    """Folds the depth of all volumes into the batch.

    Args:
        graph: All shapes must be known.
        doors: Whether the model's own inputs and outputs are folded too: what was N x D x H x W x C
            is (N * D) x H x W x C. Their names stay.
    """
    fold = Folding(graph, _rule_of)
    if doors:
        graph.inputs = [fold.enter(v) if len(v.shape) == 5 else v for v in graph.inputs]
    for node in graph.nodes:
        if not fold.rewrite(node):
            for value in node.inputs:
                fold.unfold(value)
            fold.nodes.append(node)
    if doors:
        graph.outputs = [fold.leave(v) if len(v.shape) == 5 else v for v in graph.outputs]
    for value in graph.outputs:
        fold.unfold(value)
    fold.drop_unread(graph.outputs)
    graph.nodes = fold.nodes
    graph.rewrites += fold.rewrites
