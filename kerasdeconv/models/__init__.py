"""Builders of functional Keras models, one architecture a file, named like the papers."""

from kerasdeconv.models.deconvnet import DeconvNet
from kerasdeconv.models.edsr import EDSR
from kerasdeconv.models.espcn import ESPCN
from kerasdeconv.models.fcn import FCN8s, FCN16s, FCN32s
from kerasdeconv.models.fpn import FPN
from kerasdeconv.models.fsrcnn import FSRCNN
from kerasdeconv.models.instance_segmenter import InstanceSegmenter
from kerasdeconv.models.lapsrn import LapSRN
from kerasdeconv.models.mask_head import MaskHead
from kerasdeconv.models.mask_segmenter import MaskSegmenter
from kerasdeconv.models.mobile_sr import MobileSR
from kerasdeconv.models.segnet import SegNet
from kerasdeconv.models.srcnn import SRCNN
from kerasdeconv.models.unet import UNet
from kerasdeconv.models.unet3d import UNet3D
from kerasdeconv.models.vnet import VNet
from kerasdeconv.models.voxel_decoder import VoxelDecoder

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
    "InstanceSegmenter",
    "LapSRN",
    "MaskHead",
    "MaskSegmenter",
    "MobileSR",
    "SegNet",
    "UNet",
    "UNet3D",
    "VNet",
    "VoxelDecoder",
]
