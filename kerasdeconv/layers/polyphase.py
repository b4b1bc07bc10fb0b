"""The arithmetic of transposed convolution by output phases. NumPy alone.

A transposed convolution with stride s is s ordinary convolutions along each axis, one for every
output phase p. With kernel size k and `before` output pixels cropped at the start, output
`o = q * s + p` reads input `q + d` through kernel tap `p + before - d * s`, wherever that tap lies
in [0, k). See "Is the deconvolution layer the same as a convolutional layer?" (Shi et al. 2016)
and MLIR's TosaDecomposeTransposeConv.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class PhaseTaps(NamedTuple):
    """Which kernel tap each output phase uses at each input offset, along one axis.

    Attributes:
        taps: stride x support; `taps[p, j]` is the tap of phase p at input offset `first + j`, and
            the kernel size itself where there is none (index it in a kernel with a zero appended).
        first: The least input offset; the support reaches from `first` to `first + support - 1`.
    """

    taps: np.ndarray
    first: int


def same_crop(kernel: int, stride: int) -> int:
    """Output pixels that "same" padding of a transposed convolution crops at the start."""
    return max(kernel - stride, 0) // 2


def phase_taps(kernel: int, stride: int, before: int) -> PhaseTaps:
    """Finds the taps of every phase over the joint support of all phases.

    Args:
        kernel: Kernel size along the axis.
        stride: Stride along the axis.
        before: Output pixels cropped at the start (`same_crop` for "same", 0 for "valid").
    """
    first = -((kernel - 1 - before) // stride)  # phase 0 reaches back furthest
    last = (stride - 1 + before) // stride  # the last phase reaches forward furthest
    offsets = np.arange(first, last + 1)
    taps = np.arange(stride)[:, None] + before - offsets[None, :] * stride
    return PhaseTaps(np.where((taps >= 0) & (taps < kernel), taps, kernel), int(first))


def phase_kernels(kernel: np.ndarray, axes: list[PhaseTaps]) -> np.ndarray:
    """Gathers the kernels of all phases from one transposed kernel.

    Args:
        kernel: k1 x ... x kn x (any further axes).
        axes: `phase_taps` of each of the n spatial axes.

    Returns:
        s1 x ... x sn x m1 x ... x mn x (further axes): for each phase, an ordinary
        (cross-correlation) kernel over the supports m.
    """
    rank = len(axes)
    padding = [(0, 1)] * rank + [(0, 0)] * (kernel.ndim - rank)
    padded = np.pad(kernel, padding)
    index = []
    for axis, (taps, _) in enumerate(axes):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = taps.shape
        index.append(taps.reshape(shape))
    return padded[tuple(index)]
