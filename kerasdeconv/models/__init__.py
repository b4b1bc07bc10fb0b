"""Builders of functional Keras models, one architecture a file, named like the papers.

`split`, `features_of` and `grow` work on models that were built; `__all__` names builders alone.
"""

from kerasdeconv.models.autoencoder import Autoencoder, ConvVAE
from kerasdeconv.models.classifier import Classifier
from kerasdeconv.models.dcgan import DCGANDiscriminator, DCGANGenerator
from kerasdeconv.models.deconvnet import DeconvNet
from kerasdeconv.models.deeplab_v3_plus import DeepLabV3Plus
from kerasdeconv.models.depthnet import DepthNet
from kerasdeconv.models.diffusion_unet import DiffusionUNet
from kerasdeconv.models.dispnet import DispNet
from kerasdeconv.models.edsr import EDSR
from kerasdeconv.models.espcn import ESPCN
from kerasdeconv.models.fcn import FCN8s, FCN16s, FCN32s
from kerasdeconv.models.flownet_s import FlowNetS
from kerasdeconv.models.fpn import FPN
from kerasdeconv.models.fsrcnn import FSRCNN
from kerasdeconv.models.instance_segmenter import InstanceSegmenter
from kerasdeconv.models.lapsrn import LapSRN
from kerasdeconv.models.mask_head import MaskHead
from kerasdeconv.models.mask_segmenter import MaskSegmenter
from kerasdeconv.models.mobile_sr import MobileSR
from kerasdeconv.models.parts import features_of as features_of
from kerasdeconv.models.parts import split as split
from kerasdeconv.models.point_decoder import PointDecoder
from kerasdeconv.models.progressive import ProgressiveDiscriminator, ProgressiveGenerator
from kerasdeconv.models.progressive import grow as grow
from kerasdeconv.models.pspnet import PSPNet
from kerasdeconv.models.segnet import SegNet
from kerasdeconv.models.semantic_fpn import SemanticFPN
from kerasdeconv.models.srcnn import SRCNN
from kerasdeconv.models.style_transfer import StyleTransfer
from kerasdeconv.models.surface_normals import SurfaceNormals
from kerasdeconv.models.unet import UNet
from kerasdeconv.models.unet3d import UNet3D
from kerasdeconv.models.video_predictor import VideoPredictor
from kerasdeconv.models.vnet import VNet
from kerasdeconv.models.voxel_decoder import VoxelDecoder
from kerasdeconv.models.voxel_net import VoxelNet

__all__ = [
    "EDSR",
    "ESPCN",
    "FPN",
    "FSRCNN",
    "SRCNN",
    "Autoencoder",
    "Classifier",
    "ConvVAE",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DeconvNet",
    "DeepLabV3Plus",
    "DepthNet",
    "DiffusionUNet",
    "DispNet",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "FlowNetS",
    "InstanceSegmenter",
    "LapSRN",
    "MaskHead",
    "MaskSegmenter",
    "MobileSR",
    "PSPNet",
    "PointDecoder",
    "ProgressiveDiscriminator",
    "ProgressiveGenerator",
    "SegNet",
    "SemanticFPN",
    "StyleTransfer",
    "SurfaceNormals",
    "UNet",
    "UNet3D",
    "VNet",
    "VideoPredictor",
    "VoxelDecoder",
    "VoxelNet",
]
