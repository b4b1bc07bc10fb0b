"""The doors of a file: its input and output tensors, and how they store real numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.errors import ArtifactError


@dataclasses.dataclass(frozen=True)
class Quantization:
    """How an integer stands for a real number: `real = scale * (stored - zero_point)`."""

    scale: float
    zero_point: int


@dataclasses.dataclass(frozen=True)
class Door:
    """An input or output tensor of a file.

    Attributes:
        name: The tensor's name in the file.
        shape: Its shape, None where it is free.
        dtype: The type in which it is stored.
        quantization: Set where integers stand for real numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype
    quantization: Quantization | None = None

    def accepts(self, shape: tuple[int, ...]) -> bool:
        """Says whether an array of this shape goes through."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, side) for wanted, side in zip(self.shape, shape, strict=True)
        )

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Turns real numbers into what the file stores: halves to even, clipped to the type."""
        if self.dtype.kind not in "iu":
            return values.astype(self.dtype, copy=False)
        if self.quantization is None and values.dtype == self.dtype:
            return values
        real = values.astype(np.float64)
        if self.quantization is not None:
            real = real / self.quantization.scale
        stored = np.rint(real) + (self.quantization.zero_point if self.quantization else 0)
        limits = np.iinfo(self.dtype)
        return np.clip(stored, limits.min, limits.max).astype(self.dtype)

    def decode(self, stored: np.ndarray) -> np.ndarray:
        """Turns what the file stores into float32; integers that stand for themselves stay."""
        if self.quantization is None:
            return stored if stored.dtype.kind in "iub" else stored.astype(np.float32, copy=False)
        centered = stored.astype(np.float32) - np.float32(self.quantization.zero_point)
        return centered * np.float32(self.quantization.scale)


def in_model_order(
    names: Sequence[str], described: Sequence[dict[str, Any]] | None, path: str | Path
) -> list[int]:
    """Says in which order to take a file's tensors so that they come as in the Keras model.

    Converters reorder outputs; the metadata lists them by name in the model's own order.

    Args:
        names: Tensor names in the file's order.
        described: The metadata's list of inputs or outputs, if there is one.
        path: The file, for messages.

    Raises:
        ArtifactError: The metadata names other tensors than the file has.
    """
    if described is None or len(names) == len(described) == 1:
        return list(range(len(names)))
    wanted = [str(tensor.get("name")) for tensor in described]
    if sorted(wanted) != sorted(names) or len(set(names)) != len(names):
        raise ArtifactError(
            f"The file has the tensors {list(names)}, its metadata names {wanted}: it was changed "
            f"after its export. Received: {str(path)!r}"
        )
    return [list(names).index(name) for name in wanted]
