"""Augmentation of pictures and volumes: one map moves image and labels, and then intensities vary.

Crop, flip, rotation, magnification and elastic deformation are one map from the pixels of a patch
to places in the picture, and both image and labels are sampled there, once. Two and three
dimensions are one code.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.ndimage

# A cubic B-spline with coefficients below this share of its knots' distance does not fold: Choi and
# Lee, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions", 2000, prove 1 / 2.046
# in two dimensions and 1 / 2.479 in three.
_FOLDING = 0.4


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What to vary at random, and how far; as it stands it varies nothing but the place.

    Ranges are of factors, drawn uniformly in their logarithm.

    Attributes:
        flip: Axes that are mirrored half the time: 0 and 1 are up-down and left-right in pictures;
            0, 1 and 2 depth, height and width in volumes.
        rotate: Greatest angle in degrees, either way, in the plane of the last two axes.
        tilt: The same in the other planes of a volume.
        zoom: Least and greatest magnification.
        elastic: Greatest displacement along each axis in pixels of the patch; most points move a
            third of it or less. It must be less than 0.4 `smoothness`, or the picture might fold.
        smoothness: Pixels between the knots of the cubic B-spline that displaces.
        gamma: Least and greatest exponent of intensities, as a share of the range of values: black
            to white in pictures, from the least to the greatest of the patch in volumes.
        gain: Least and greatest factor of intensities.
        color: Least and greatest factor of each channel by itself.
        offset: Greatest shift of intensities, either way, in their own unit.
        noise: Greatest standard deviation of Gaussian noise, in the unit of intensities.

    Raises:
        ValueError: A number is out of range.
    """

    flip: tuple[int, ...] = ()
    rotate: float = 0.0
    tilt: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    elastic: float = 0.0
    smoothness: float = 32.0
    gamma: tuple[float, float] = (1.0, 1.0)
    gain: tuple[float, float] = (1.0, 1.0)
    color: tuple[float, float] = (1.0, 1.0)
    offset: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        for name in ("zoom", "gamma", "gain", "color"):
            low, high = getattr(self, name)
            if not 0 < low <= high < np.inf:
                raise ValueError(
                    f"{name} must be two numbers above 0, the first not above the second. "
                    f"Received: {(low, high)}"
                )
        for name, most in {"rotate": 180, "tilt": 180, "offset": np.inf, "noise": np.inf}.items():
            if not 0 <= (value := getattr(self, name)) <= most:
                raise ValueError(f"{name} must be from 0 to {most}. Received: {value}")
        if not self.smoothness > 0 or not 0 <= self.elastic < _FOLDING * self.smoothness:
            raise ValueError(
                f"elastic must be at least 0 and less than {_FOLDING} smoothness. "
                f"Received: {self.elastic} and {self.smoothness}"
            )
        if any(axis < 0 for axis in self.flip):
            raise ValueError(f"flip names axes, 0 and above. Received: {self.flip}")

    def patch(
        self,
        rng: np.random.Generator,
        image: np.ndarray,
        labels: np.ndarray,
        sides: Sequence[int],
        *,
        at: Sequence[int] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Cuts and warps a patch of an image and its labels.

        What lies beyond the border is mirrored. Without rotation and deformation nothing does
        unless the patch, divided by the magnification, is larger than the picture.

        Args:
            rng: Where random numbers come from.
            image: Sides x channels; interpolated linearly.
            labels: Sides; the nearest is taken.
            sides: The patch's sides, as many as the labels have.
            at: A pixel to be in the middle, as far as the border allows; anywhere without one.

        Returns:
            The image's patch, float32, sides x channels, and the labels' in their own type.

        Raises:
            ValueError: There is no axis that `flip` names.
        """
        offsets, zoom = self.offsets(rng, sides)
        places = offsets + np.reshape(
            _centre(rng, labels.shape, sides, zoom, at), (-1, *(1 for _ in sides))
        )
        channels = [
            scipy.ndimage.map_coordinates(
                image[..., channel], places, np.float32, order=1, mode="reflect"
            )
            for channel in range(image.shape[-1])
        ]
        numbers = scipy.ndimage.map_coordinates(labels, places, order=0, mode="reflect")
        return np.stack(channels, axis=-1), numbers

    def vary(
        self,
        rng: np.random.Generator,
        image: np.ndarray,
        value_range: tuple[float, float] | None = None,
    ) -> np.ndarray:
        """Varies intensities.

        Args:
            rng: Where random numbers come from.
            image: Sides x channels.
            value_range: What values can be; results are clipped to it. Without one they can be
                anything.

        Returns:
            The image varied, float32.
        """
        varied: np.ndarray = np.asarray(image, np.float32)
        if self.gamma != (1.0, 1.0):
            low, high = value_range or (float(varied.min()), float(varied.max()))
            span = max(high - low, 1e-6)
            share = np.clip((varied - low) / span, 0, 1)
            varied = low + span * share ** np.float32(_factor(rng, self.gamma))
        if self.gain != (1.0, 1.0):
            varied = varied * _factor(rng, self.gain)
        if self.color != (1.0, 1.0):
            varied = varied * [_factor(rng, self.color) for _ in range(image.shape[-1])]
        if self.offset:
            varied = varied + rng.uniform(-self.offset, self.offset)
        if self.noise:
            varied = varied + rng.normal(scale=rng.uniform(0, self.noise), size=image.shape)
        if value_range is not None:
            varied = np.clip(varied, *value_range)
        return varied.astype(np.float32)

    def offsets(self, rng: np.random.Generator, sides: Sequence[int]) -> tuple[np.ndarray, float]:
        """Draws where in a picture a patch's pixels lie.

        Args:
            rng: Where random numbers come from.
            sides: The patch's sides.

        Returns:
            Places from the patch's middle, rank x sides, and the magnification.

        Raises:
            ValueError: There is no axis that `flip` names.
        """
        rank = len(sides)
        if any(axis >= rank for axis in self.flip):
            raise ValueError(f"flip must name axes below {rank}. Received: {self.flip}")
        axes = [np.arange(side) - (side - 1) / 2 for side in sides]
        offsets = np.stack(np.meshgrid(*axes, indexing="ij"))
        if self.elastic:
            offsets += _displacements(rng, sides, self.elastic, self.smoothness)
        zoom = _factor(rng, self.zoom) if self.zoom != (1.0, 1.0) else 1.0
        matrix = np.eye(rank) / zoom
        for axis in self.flip:
            matrix[axis] *= 1 - 2 * rng.integers(2)
        for plane in itertools.combinations(range(rank), 2):
            most = self.rotate if plane == (rank - 2, rank - 1) else self.tilt
            if most:
                matrix = _rotation(rank, plane, rng.uniform(-most, most)) @ matrix
        return np.tensordot(matrix, offsets, axes=1), zoom


def _factor(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))


def _rotation(rank: int, plane: tuple[int, int], degrees: float) -> np.ndarray:
    """The matrix that turns one plane."""
    matrix, angle = np.eye(rank), np.deg2rad(degrees)
    matrix[np.ix_(plane, plane)] = [
        [np.cos(angle), -np.sin(angle)],
        [np.sin(angle), np.cos(angle)],
    ]
    return matrix


def _centre(
    rng: np.random.Generator,
    picture: Sequence[int],
    sides: Sequence[int],
    zoom: float,
    at: Sequence[int] | None,
) -> list[float]:
    """The middle of a patch in the picture.

    It lies so that without rotation and magnification pixels fall on pixels.
    """
    centre = []
    for axis, (have, want) in enumerate(zip(picture, sides, strict=True)):
        spare = have - want / zoom
        if spare < 0:
            start = spare / 2
        elif at is None:
            start = float(rng.integers(int(spare) + 1))
        else:
            start = min(max(at[axis] - (want / zoom - 1) / 2, 0.0), spare)
        grid = (want - 1) / 2
        centre.append(np.rint(start + (want / zoom - 1) / 2 - grid) + grid)
    return centre


def _displacements(
    rng: np.random.Generator, sides: Sequence[int], most: float, smoothness: float
) -> np.ndarray:
    """A smooth random vector at each pixel, rank x sides: a cubic B-spline with random knots."""
    splines = [_spline(side, smoothness) for side in sides]
    knots = [spline.shape[1] for spline in splines]
    vectors = rng.uniform(-most, most, (len(sides), *knots))
    for spline in splines:  # each time the first of the knots' axes goes, and pixels come last
        vectors = np.tensordot(vectors, spline, axes=(1, 1))
    return vectors


def _spline(side: int, smoothness: float) -> np.ndarray:
    """The weights of a uniform cubic B-spline's knots at each pixel, side x knots."""
    places = np.arange(side) / smoothness
    first = places.astype(int)
    t = places - first
    weights = np.zeros((side, first[-1] + 4))
    parts = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (t + t**2 - t**3) + 1, t**3)
    for knot, part in enumerate(parts):
        weights[np.arange(side), first + knot] = part / 6
    return weights
