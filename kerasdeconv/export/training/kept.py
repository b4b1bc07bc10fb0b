"""What further training must not undo in a kernel: zeros that were pruned, and shared values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

KEEP = ("zeros", "clusters")
Keeper = Callable[[Any], Any]


def keeper(kernel: np.ndarray, keep: str | None) -> Keeper | None:
    """Makes the function that brings a kernel back into the form that it has now.

    Args:
        kernel: As it was pruned or clustered.
        keep: "zeros": what is zero stays so. "clusters": what is equal stays equal, and zero stays
            zero. None: nothing.

    Returns:
        A function of a kernel, through which its gradient flows; None where nothing is kept.
    """
    if keep is None:
        return None
    import tensorflow as tf

    mask = (kernel != 0).astype(np.float32)
    if keep == "zeros":
        return lambda tensor: tensor * mask
    values, places = np.unique(kernel.ravel(), return_inverse=True)
    counts = np.bincount(places).astype(np.float32)

    def shared(tensor: Any) -> Any:
        sums = tf.math.unsorted_segment_sum(tf.reshape(tensor, [-1]), places, len(values))
        return tf.reshape(tf.gather(sums / counts, places), kernel.shape) * mask

    return shared
