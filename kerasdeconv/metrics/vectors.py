"""Measures of maps of vectors, in NumPy: end-point error, and angles between directions."""

from __future__ import annotations

import numpy as np

from kerasdeconv.metrics.definitions import known_mean


def end_point_error(expected: np.ndarray, got: np.ndarray) -> float:
    """Mean length of the difference of two vectors; NaN where there is none.

    Baker et al., "A database and evaluation methodology for optical flow" (IJCV 2011), section 4.1.
    For disparities, vectors of one number, it is the mean absolute error.

    Args:
        expected: Sides x channels.
        got: The same shape.

    Raises:
        ValueError: The shapes differ.
    """
    wanted, given = _vectors(expected, got)
    return known_mean(np.linalg.norm(given - wanted, axis=-1))


def angular_errors(expected: np.ndarray, got: np.ndarray) -> np.ndarray:
    """Angles between directions in degrees; 90 where an answer has no length.

    Fouhey et al., "Data-driven 3D primitives for single image understanding" (ICCV 2013), section
    5, measure surface normals by their mean, median and shares below 11.25, 22.5 and 30 degrees.

    Args:
        expected: Sides x channels; vectors of length 0 are unknown and don't count.
        got: The same shape.

    Returns:
        One angle for each known vector.

    Raises:
        ValueError: The shapes differ.
    """
    wanted, given = _vectors(expected, got)
    known = wanted.any(axis=-1)
    wanted, given = wanted[known], given[known]
    lengths = np.linalg.norm(wanted, axis=-1) * np.linalg.norm(given, axis=-1)
    cosine = (wanted * given).sum(axis=-1) / np.maximum(lengths, 1e-12)
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def _vectors(expected: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Checks that two maps of vectors belong together."""
    if np.shape(expected) != np.shape(got):
        raise ValueError(
            f"Vectors must have one shape. Received: {np.shape(expected)} and {np.shape(got)}"
        )
    return np.asarray(expected, float), np.asarray(got, float)
