"""The arithmetic of the forms: kernels in, kernels out. NumPy alone, nothing of Keras.

What upsamples and convolves is a convolution of its own for every output phase: see
`kerasdeconv.layers.polyphase`. Here phases are gathered (`of_transposed`, `of_nearest`) and laid
out as ordinary convolutions on the small map (`joint`, `rows`, `split`).

Prior art: MLIR's TosaDecomposeTransposeConv; Shi et al., "Is the deconvolution layer the same as a
convolutional layer?" (2016); for nearest upsampling, Odena et al., "Deconvolution and checkerboard
artifacts" (2016) names the operator, and the fold is the same arithmetic.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from kerasdeconv.layers.polyphase import PhaseTaps, phase_kernels, phase_taps


class Part(NamedTuple):
    """One ordinary convolution on the small map.

    Attributes:
        kernel: m1 x m2 x in x out, or m1 x m2 x channels for one of each channel by itself.
        first: On each axis, which input pixel the first tap of output 0 reads; 0 or less.
        phases: How many phases lie side by side in its output channels.
    """

    kernel: np.ndarray
    first: tuple[int, int]
    phases: int

    def margins(
        self, sides: Sequence[int], count: Sequence[int]
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Zeros to put around a map; less than none crops it.

        Args:
            sides: Height and width of the map that comes in.
            count: Height and width of the map that goes out.
        """
        taps = self.kernel.shape[:2]
        pairs = zip(self.first, taps, sides, count, strict=True)
        top, left = ((-first, wanted - side + first + m - 1) for first, m, side, wanted in pairs)
        return top, left


@dataclasses.dataclass(frozen=True)
class Phases:
    """An operator that upsamples by s1 x s2 and convolves, by its output phases.

    Attributes:
        kernels: s1 x s2 x m1 x m2 x in x out, or s1 x s2 x m1 x m2 x channels: the ordinary
            kernel of every phase, on a common support.
        first: Where the support begins on each axis, seen from the output pixel's own place.
        sides: Height and width of the output. The phases together make up to s - 1 rows more.
    """

    kernels: np.ndarray
    first: tuple[int, int]
    sides: tuple[int, int]

    @property
    def strides(self) -> tuple[int, int]:
        """Upsampling factor of each axis."""
        return self.kernels.shape[0], self.kernels.shape[1]

    @property
    def count(self) -> tuple[int, int]:
        """Height and width of each phase."""
        (h, w), (s, t) = self.sides, self.strides
        return -(-h // s), -(-w // t)


class Reach(NamedTuple):
    """Output side of a transposed convolution, and how many pixels are cropped before the first."""

    side: int
    before: int


def transposed_reach(
    side: int, kernel: int, stride: int, padding: str, output_padding: int | None
) -> Reach:
    """Output side of a transposed convolution along one axis, as Keras on TensorFlow has it.

    The crop is that of the convolution whose gradient TensorFlow takes it to be: half of what its
    "same" padding would need.
    """
    if output_padding is None:
        grown = side * stride + (max(kernel - stride, 0) if padding == "valid" else 0)
    else:
        crop = 0 if padding == "valid" else 2 * (kernel // 2)
        grown = (side - 1) * stride + kernel - crop + output_padding
    cropped = max((side - 1) * stride + kernel - grown, 0) if padding == "same" else 0
    return Reach(grown, cropped // 2)


def of_transposed(kernel: np.ndarray, strides: Sequence[int], reaches: Sequence[Reach]) -> Phases:
    """Phases of a transposed convolution.

    Args:
        kernel: k1 x k2 x out x in, or k1 x k2 x channels.
        strides: Of each axis.
        reaches: Of each axis, see `transposed_reach`.
    """
    axes = [
        phase_taps(k, s, reach.before)
        for k, s, reach in zip(kernel.shape[:2], strides, reaches, strict=True)
    ]
    kernels = phase_kernels(kernel, axes)
    if kernel.ndim == 4:
        kernels = kernels.swapaxes(-1, -2)  # in x out
    return _phases(kernels, axes, (reaches[0].side, reaches[1].side))


def of_nearest(
    kernel: np.ndarray,
    factors: Sequence[int],
    sides: Sequence[int],
    padding: str,
    dilation: Sequence[int] = (1, 1),
) -> Phases:
    """Phases of a nearest upsampling and the convolution behind it.

    Several taps of the kernel read copies of one pixel: they are added. Zeros around the large map
    are zeros around the small one, whose blocks they are.

    Args:
        kernel: k1 x k2 x in x out, of stride 1.
        factors: Upsampling factor of each axis.
        sides: Height and width of the small map.
        padding: "same" or "valid".
        dilation: Of the convolution.
    """
    offsets, grown = [], []
    for k, s, side, rate in zip(kernel.shape[:2], factors, sides, dilation, strict=True):
        reach = (k - 1) * rate
        before = reach // 2 if padding == "same" else 0
        grown.append(side * s - (reach if padding == "valid" else 0))
        taps = np.arange(s)[:, None] + rate * np.arange(k)[None, :] - before
        offsets.append(taps // s)  # s x k: which small pixel a tap reads
    first = tuple(min(int(o.min()), 0) for o in offsets)
    supports = [max(int(o.max()), 0) - f + 1 for o, f in zip(offsets, first, strict=True)]
    onto = [  # s x k x m: which taps are added up
        (o[:, :, None] - f == np.arange(m)).astype(kernel.dtype)
        for o, f, m in zip(offsets, first, supports, strict=True)
    ]
    summed = np.einsum("akm,bln,kl...->abmn...", *onto, kernel)
    return Phases(summed, (first[0], first[1]), (grown[0], grown[1]))


def joint(phases: Phases) -> Part:
    """One convolution to all phases: m1 x m2 x in x (s1 * s2 * out), phases first."""
    moved = phases.kernels.transpose(2, 3, 4, 0, 1, 5)
    kernel = moved.reshape(*moved.shape[:3], -1)
    return Part(kernel, phases.first, moved.shape[3] * moved.shape[4])


def rows(phases: Phases) -> list[Part]:
    """A convolution for each row phase, to all its column phases; rows without taps left out."""
    return [_trimmed(row[None], phases.first) for row in phases.kernels]


def split(phases: Phases) -> list[Part]:
    """A convolution for each phase, row by row, without the taps that it does not use."""
    return [
        _trimmed(phases.kernels[i : i + 1, j : j + 1], phases.first)
        for i in range(phases.strides[0])
        for j in range(phases.strides[1])
    ]


def _phases(kernels: np.ndarray, axes: Sequence[PhaseTaps], sides: tuple[int, int]) -> Phases:
    """Phases whose support has the pixel at the output's own place in it."""
    before = [max(axis.first, 0) for axis in axes]
    behind = [max(-(axis.first + axis.taps.shape[1] - 1), 0) for axis in axes]
    padding = [(0, 0)] * kernels.ndim
    padding[2], padding[3] = zip(before, behind, strict=True)
    first = [axis.first - b for axis, b in zip(axes, before, strict=True)]
    return Phases(np.pad(kernels, padding), (first[0], first[1]), sides)


def _trimmed(kernels: np.ndarray, first: tuple[int, int]) -> Part:
    """Cuts off the rows and columns of taps that are zero in all of some phases.

    The tap at the output's own place stays, so that nothing has to be cropped.

    Args:
        kernels: 1 x (phases) x m1 x m2 x ...
        first: Where m1 and m2 begin.
    """
    starts, stops = [], []
    for axis, begin in zip((2, 3), first, strict=True):
        others = tuple(a for a in range(kernels.ndim) if a != axis)
        used = [*np.flatnonzero(np.any(kernels != 0, axis=others)), -begin]
        starts.append(int(min(used)))
        stops.append(int(max(used)) + 1)
    cut = kernels[:, :, starts[0] : stops[0], starts[1] : stops[1]]
    if cut.ndim == 6:
        moved = cut.transpose(2, 3, 4, 0, 1, 5)
        kernel = moved.reshape(*moved.shape[:3], -1)
    else:
        kernel = cut[0, 0]
    return Part(
        kernel, (first[0] + starts[0], first[1] + starts[1]), kernels.shape[0] * kernels.shape[1]
    )
