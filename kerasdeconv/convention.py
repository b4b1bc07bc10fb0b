"""What goes into a network and what comes out: the convention that travels with a model.

A zoo card holds one, an export writes it into the file, and the runtime reads it back. It needs
neither Keras nor NumPy.
"""

from __future__ import annotations

import dataclasses
from typing import Any

TASKS = (
    "segmentation",
    "instance-segmentation",
    "instance-detection",
    "super-resolution",
    "depth",
    "normals",
    "flow",
    "disparity",
    "autoencoding",
    "classification",
    "generation",
    "style",
    "video",
    "voxels",
    "points",
    "tensor",
)
COLORS = ("rgb", "gray", "y")
OUTPUTS = ("probabilities", "logits", "labels", "pixels", "tensor")
NOISES = ("linear", "cosine")
PREDICTIONS = ("noise", "velocity")


@dataclasses.dataclass(frozen=True)
class Diffusion:
    """How a diffusion network's pictures become noise, and what it tells of one.

    Attributes:
        steps: Steps from a picture to noise; the network's second input is one of 0..steps - 1.
        noise: How the noise grows, "linear" (Ho et al. 2020) or "cosine" (Nichol and Dhariwal
            2021): see `kerasdeconv.runtime.diffusion.signal_shares`.
        prediction: What the network puts out: the "noise" in a picture, or its "velocity" (Salimans
            and Ho 2022).
    """

    steps: int = 1000
    noise: str = "linear"
    prediction: str = "noise"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"steps must be 1 or more. Received: {self.steps}")
        for field, allowed in (("noise", NOISES), ("prediction", PREDICTIONS)):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"{field} must be one of {allowed}. Received: {value!r}")


@dataclasses.dataclass(frozen=True)
class Convention:
    """How to feed a network and how to read its answer.

    Attributes:
        task: "segmentation", "instance-segmentation" (a mask for each of the boxes that are the
            second input), "instance-detection" (masks, boxes and scores of all that it finds),
            "super-resolution", "depth" (metres), "normals" (unit vectors), "flow" and "disparity"
            (input pixels), "autoencoding", "classification" (of whole pictures), "generation",
            "style", "video" (frames
            that follow), "voxels" (occupancy), "points" (a cloud), or "tensor" for anything else.
        color: What the input channels are: "rgb", "gray", "y" (luma of BT.601, 16..235), or None
            for a plain array.
        value_range: Least and greatest input value, or None when unknown.
        output: What the first output is: "probabilities", "logits", "labels", "pixels" in
            [0, 255], or "tensor".
        labels: Class names. One output channel with two labels is a binary network: the channel
            is the probability of the second label.
        scale: Output pixels per input pixel.
        halo: How many input pixels around an output pixel can change it (its receptive radius), or
            None when unknown. Tiles that overlap by it join without a seam.
        diffusion: Set for a network that makes pictures of noise in steps: its inputs are a noised
            picture that was in [-1, 1], and the step.
    """

    task: str = "tensor"
    color: str | None = None
    value_range: tuple[float, float] | None = None
    output: str = "tensor"
    labels: tuple[str, ...] = ()
    scale: int = 1
    halo: int | None = None
    diffusion: Diffusion | None = None

    def __post_init__(self) -> None:
        for field, allowed in (("task", TASKS), ("color", (*COLORS, None)), ("output", OUTPUTS)):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"{field} must be one of {allowed}. Received: {value!r}")

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values for JSON or TOML."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> Convention:
        """Builds a convention from plain values, lists turned into tuples.

        Raises:
            ValueError: A field is unknown or has a value outside its set.
        """
        _check_fields("A convention", cls, fields)
        values: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()
        }
        if isinstance(diffusion := values.get("diffusion"), dict):
            _check_fields("A diffusion", Diffusion, diffusion)
            values["diffusion"] = Diffusion(**diffusion)
        return cls(**values)


def _check_fields(what: str, cls: type, fields: dict[str, Any]) -> None:
    known = {field.name for field in dataclasses.fields(cls)}
    if unknown := set(fields) - known:
        raise ValueError(f"{what} has the fields {sorted(known)}. Received: {unknown}")


def input_text(convention: Convention) -> str:
    """Says in words what a network takes."""
    color = {"rgb": "RGB", "gray": "gray", "y": "luma (Y of YCbCr)", None: "numbers"}
    text = color[convention.color]
    if convention.value_range is not None:
        low, high = convention.value_range
        text += f" in [{low:g}, {high:g}]"
    return text


def output_text(convention: Convention) -> str:
    """Says in words what a network gives."""
    text = convention.output
    if convention.task == "super-resolution":
        text += f", {convention.scale} times as large"
    if convention.labels:
        text += f" of {', '.join(convention.labels)}"
    return text
