"""What the figures of the cards are measured on, and which they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from kerasdeconv.train import Recipe
from kerasdeconv.zoo.cards import Card


class Protocol(NamedTuple):
    """How an entry is measured.

    Attributes:
        folder: Data folder that is measured on.
        title: What cards call that.
        figures: Figures of a result that cards show, each with its title and its digits after the
            point; a path leads to those below others. Those that a network or a file does not have
            are left out.
        beside: Figures to compare them with, of the data alone; cards show them once.
    """

    folder: str
    title: str
    figures: Mapping[str, tuple[str, int]]
    beside: Mapping[str, tuple[str, int]] = {}


_IOU = {"mean_iou": ("mean IoU", 4)}
# By task, and the folder that is trained on.
_PROTOCOLS = {
    ("super-resolution", "sr_t91"): Protocol(
        folder="sr_set5",
        title="Set5",
        figures={"psnr_y": ("PSNR on Y (dB)", 2), "ssim_y": ("SSIM on Y", 4)},
    ),
    ("segmentation", "dsb2018_nuclei"): Protocol(
        folder="dsb2018_nuclei",
        title="DSB 2018 validation split",
        figures=_IOU,
    ),
    ("instance-segmentation", "dsb2018_nuclei"): Protocol(
        folder="dsb2018_nuclei",
        title="DSB 2018 validation split, true boxes given",
        figures={"mean_iou": ("mean IoU over instances", 4)},
    ),
    ("instance-detection", "dsb2018_nuclei"): Protocol(
        folder="dsb2018_nuclei",
        title="DSB 2018 validation split",
        figures={"ap_50": ("mask AP at IoU 0.5", 4), "ap": ("mask AP", 4)},
    ),
    ("segmentation", "msd_hippocampus"): Protocol(
        folder="msd_hippocampus",
        title="MSD hippocampus validation split",
        figures={"mean_dice": ("mean Dice", 4)},
    ),
    ("segmentation", "isbi2012_em"): Protocol(
        folder="isbi2012_em",
        title="ISBI 2012, slices 20 to 25",
        figures={
            "dice.membrane": ("Dice of membranes", 4),
            "pixel_accuracy": ("pixel accuracy", 4),
        },
    ),
    ("segmentation", "drive/train"): Protocol(
        folder="drive/train",
        title="DRIVE training half, images 36 to 40",
        figures={"auc": ("ROC AUC in the field of view", 4), "dice.vessel": ("Dice", 4)},
    ),
    ("segmentation", "camvid/train"): Protocol(
        folder="camvid/val",
        title="CamVid val",
        figures=_IOU,
    ),
    ("classification", "mnist"): Protocol(
        folder="mnist",
        title="MNIST validation split",
        figures={"accuracy": ("accuracy", 4)},
    ),
    ("generation", "mnist"): Protocol(
        folder="mnist",
        title="2,000 pictures, features of classifier.mnist",
        figures={"fid": ("FID", 2), "inception_score": ("Inception Score", 3)},
        beside={
            "real_fid": ("FID of real digits that were held out", 2),
            "real_inception_score": ("Inception Score of real digits that were held out", 3),
        },
    ),
    ("autoencoding", "mnist"): Protocol(
        folder="mnist",
        title="MNIST validation split",
        figures={
            "negative_elbo": ("negative ELBO (nats)", 2),
            "nats_of_draws": ("reconstruction of draws (nats)", 2),
            "nats_of_means": ("reconstruction of means (nats)", 2),
            "kl": ("KL of the posterior (nats)", 2),
            "active_latents": ("active latents", 0),
            "mse": ("mean squared error on [0, 1]", 5),
        },
    ),
    ("video", "mnist"): Protocol(
        folder="mnist",
        title="Moving MNIST, 256 videos of digits kept apart",
        figures={
            "psnr": ("PSNR (dB)", 2),
            "psnr_gain": ("PSNR above that of the last frame (dB)", 2),
        },
        beside={"psnr_last_frame": ("PSNR of the last frame (dB)", 2)},
    ),
    ("voxels", "solids/train"): Protocol(
        folder="solids/val",
        title="512 other solids",
        figures={"voxel_iou": ("voxel IoU", 4)},
    ),
    ("points", "solids/train"): Protocol(
        folder="solids/val",
        title="512 other solids",
        figures={"chamfer_distance": ("chamfer distance", 5)},
    ),
    ("depth", "depth_7scenes"): Protocol(
        folder="depth_7scenes",
        title="7-Scenes, the last 16 of 76 frames of one room",
        figures={
            "abs_rel": ("absolute relative error", 4),
            "rmse": ("RMSE (m)", 3),
            "delta1": ("share within a factor of 1.25", 4),
        },
        beside={"abs_rel_of_median": ("absolute relative error of their median everywhere", 4)},
    ),
    ("flow", "sr_t91"): Protocol(
        folder="sr_set5",
        title="Set5, moved",
        figures={"end_point_error": ("end-point error (pixels)", 3)},
        beside={"zero": ("end-point error of no motion (pixels)", 3)},
    ),
}


def protocol_of(card: Card, recipe: Recipe) -> Protocol:
    """Returns how an entry is measured."""
    return _PROTOCOLS[card.task, recipe.data.folders[0]]
