"""Builders of functional Keras models, one architecture a file, named like the papers."""

from kerasdeconv.models.espcn import ESPCN
from kerasdeconv.models.unet import UNet

__all__ = ["ESPCN", "UNet"]
