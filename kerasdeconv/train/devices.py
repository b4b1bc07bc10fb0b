"""Training on several devices at once: each takes its share of every batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def data_parallel(devices: int, batch: int) -> Iterator[None]:
    """Lets models that are built inside train on several devices, by Keras' distribution API.

    Args:
        devices: How many of the machine's accelerators, or of its CPU devices where it has none;
            1 leaves everything to Keras.
        batch: Samples in a batch, divisible by the devices.

    Raises:
        ValueError: There are not as many devices, the batch cannot be shared out among them, or
            the backend knows no distribution, as all but JAX.
    """
    if devices == 1:
        yield
        return
    if keras.backend.backend() != "jax":
        raise ValueError(
            "Keras trains on several devices with its JAX backend alone: set KERAS_BACKEND=jax. "
            f"Received: devices={devices} on {keras.backend.backend()}"
        )
    found = keras.distribution.list_devices()
    if not 1 <= devices <= len(found) or batch % devices:
        raise ValueError(
            f"devices must be 1 to {len(found)} and divide the batch of {batch}. "
            f"Received: devices={devices}"
        )
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=found[:devices]))
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
