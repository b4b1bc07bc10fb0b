"""Building blocks of decoders: upsampling, convolution blocks, attention gates, initializers.

Everything works in 2D and 3D, on channels-last maps, and on every Keras backend.
"""

from kerasdeconv.layers import folded
from kerasdeconv.layers.blocks import (
    activate,
    attention_gate,
    conv_norm_activation,
    normalize,
    plain_block,
    residual_block,
)
from kerasdeconv.layers.crop import CropLike
from kerasdeconv.layers.cubic_upsampling import CubicUpsampling
from kerasdeconv.layers.depth_to_space import DepthToSpace
from kerasdeconv.layers.depthwise_transpose import DepthwiseConvTranspose
from kerasdeconv.layers.initializers import ICNR, BilinearKernel
from kerasdeconv.layers.instance_batch import BatchToInstances, InstancesToBatch
from kerasdeconv.layers.linear_upsampling import LinearUpsampling, linear_upsample
from kerasdeconv.layers.moves import NearestResize, SliceChannels
from kerasdeconv.layers.ranks import of_rank, per_axis
from kerasdeconv.layers.reflect_padding import ReflectPadding
from kerasdeconv.layers.repeat_channels import RepeatChannels
from kerasdeconv.layers.roi_align import ROIAlign
from kerasdeconv.layers.unit_vectors import UnitVectors
from kerasdeconv.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling
from kerasdeconv.layers.upsample import UPSAMPLING_METHODS, upsample

__all__ = [
    "ICNR",
    "UPSAMPLING_METHODS",
    "BatchToInstances",
    "BilinearKernel",
    "CropLike",
    "CubicUpsampling",
    "DepthToSpace",
    "DepthwiseConvTranspose",
    "InstancesToBatch",
    "LinearUpsampling",
    "MaxPoolingWithIndices",
    "MaxUnpooling",
    "NearestResize",
    "ROIAlign",
    "ReflectPadding",
    "RepeatChannels",
    "SliceChannels",
    "UnitVectors",
    "activate",
    "attention_gate",
    "conv_norm_activation",
    "folded",
    "linear_upsample",
    "normalize",
    "of_rank",
    "per_axis",
    "plain_block",
    "residual_block",
    "upsample",
]
