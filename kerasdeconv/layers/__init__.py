"""Building blocks of decoders: upsampling, convolution blocks, attention gates, initializers.

Everything works in 2D and 3D, on channels-last maps, and on every Keras backend.
"""

from kerasdeconv.layers import folded
from kerasdeconv.layers.attention import PixelAttention, pixel_attention
from kerasdeconv.layers.bin_pooling import BinPooling
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
from kerasdeconv.layers.depth import ChannelsToDepth, DepthToChannels
from kerasdeconv.layers.depth_to_space import DepthToSpace
from kerasdeconv.layers.depthwise_transpose import DepthwiseConvTranspose
from kerasdeconv.layers.fade_in import FadeIn
from kerasdeconv.layers.initializers import ICNR, BilinearKernel
from kerasdeconv.layers.instance_batch import BatchToInstances, InstancesToBatch
from kerasdeconv.layers.linear_upsampling import LinearUpsampling, linear_upsample
from kerasdeconv.layers.moves import NearestResize, SliceChannels
from kerasdeconv.layers.ranks import of_rank, per_axis
from kerasdeconv.layers.reciprocal_root import ReciprocalRoot
from kerasdeconv.layers.reflect_padding import ReflectPadding
from kerasdeconv.layers.repeat_channels import RepeatChannels
from kerasdeconv.layers.resize_like import ResizeLike
from kerasdeconv.layers.roi_align import ROIAlign
from kerasdeconv.layers.sampling import Sampling
from kerasdeconv.layers.step_embedding import StepEmbedding
from kerasdeconv.layers.top_centres import TopCentres
from kerasdeconv.layers.unit_vectors import UnitVectors
from kerasdeconv.layers.unpooling import MaxPoolingWithIndices, MaxUnpooling
from kerasdeconv.layers.upsample import UPSAMPLING_METHODS, upsample

__all__ = [
    "ICNR",
    "UPSAMPLING_METHODS",
    "BatchToInstances",
    "BilinearKernel",
    "BinPooling",
    "ChannelsToDepth",
    "CropLike",
    "CubicUpsampling",
    "DepthToChannels",
    "DepthToSpace",
    "DepthwiseConvTranspose",
    "FadeIn",
    "InstancesToBatch",
    "LinearUpsampling",
    "MaxPoolingWithIndices",
    "MaxUnpooling",
    "NearestResize",
    "PixelAttention",
    "ROIAlign",
    "ReciprocalRoot",
    "ReflectPadding",
    "RepeatChannels",
    "ResizeLike",
    "Sampling",
    "SliceChannels",
    "StepEmbedding",
    "TopCentres",
    "UnitVectors",
    "activate",
    "attention_gate",
    "conv_norm_activation",
    "folded",
    "linear_upsample",
    "normalize",
    "of_rank",
    "per_axis",
    "pixel_attention",
    "plain_block",
    "residual_block",
    "upsample",
]
