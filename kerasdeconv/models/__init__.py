"""Builders of functional Keras models, one architecture a file, named like the papers."""

from kerasdeconv.models.deconvnet import DeconvNet
from kerasdeconv.models.edsr import EDSR
from kerasdeconv.models.espcn import ESPCN
from kerasdeconv.models.fcn import FCN8s, FCN16s, FCN32s
from kerasdeconv.models.fpn import FPN
from kerasdeconv.models.fsrcnn import FSRCNN
from kerasdeconv.models.lapsrn import LapSRN
from kerasdeconv.models.mask_head import MaskHead
from kerasdeconv.models.mask_segmenter import MaskSegmenter
from kerasdeconv.models.mobile_sr import MobileSR
from kerasdeconv.models.point_decoder import PointDecoder
from kerasdeconv.models.segnet import SegNet
from kerasdeconv.models.srcnn import SRCNN
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
    "DeconvNet",
    "FCN8s",
    "FCN16s",
    "FCN32s",
    "LapSRN",
    "MaskHead",
    "MaskSegmenter",
    "MobileSR",
    "PointDecoder",
    "SegNet",
    "UNet",
    "UNet3D",
    "VNet",
    "VideoPredictor",
    "VoxelDecoder",
    "VoxelNet",
]
