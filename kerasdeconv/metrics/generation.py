"""Measures of autoencoders and generators, from their definitions, in NumPy and float64."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# A latent is active where the mean of its posterior varies more than this over the pictures.
ACTIVE = 0.01


class FeatureStatistics(NamedTuple):
    """Mean and covariance of the features of pictures.

    Attributes:
        mean: features.
        covariance: features x features, by the number of pictures less one.
    """

    mean: np.ndarray
    covariance: np.ndarray


def feature_statistics(features: np.ndarray) -> FeatureStatistics:
    """Estimates mean and covariance.

    Args:
        features: pictures x features, two pictures or more.

    Raises:
        ValueError: They are something else.
    """
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(
            f"Statistics need the features of two pictures or more. Received: {features.shape}"
        )
    return FeatureStatistics(features.mean(axis=0), np.atleast_2d(np.cov(features, rowvar=False)))


def frechet_distance(a: FeatureStatistics, b: FeatureStatistics) -> float:
    """Fréchet distance of two normal distributions, squared.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)): Dowson and Landau, "The Fréchet distance
    between multivariate normal distributions" (1982). The trace of the root is the sum of the roots
    of the eigenvalues of C_a^(1/2) C_b C_a^(1/2), which is symmetric: unlike the root itself it is
    exact where there are fewer pictures than features, and the covariances are singular.

    Args:
        a: Mean and covariance.
        b: The same number of features.
    """
    values, vectors = np.linalg.eigh(a.covariance)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    shared = np.linalg.eigvalsh(root @ b.covariance @ root)
    apart = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance) + np.trace(b.covariance)
    return float(apart - 2 * np.sqrt(np.maximum(shared, 0)).sum())


def fid(expected: np.ndarray, got: np.ndarray) -> float:
    """Fréchet distance of the features of real and of generated pictures: less is better.

    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium" (2017), equation 6. It depends on the network that gives the features, and falls
    with the number of pictures: compare figures of one network and number alone.

    Args:
        expected: Features of real pictures, pictures x features.
        got: Features of generated ones, pictures x features.

    Raises:
        ValueError: There are less than two of one kind.
    """
    return frechet_distance(feature_statistics(expected), feature_statistics(got))


def inception_score(probabilities: np.ndarray) -> float:
    """How sure a classifier is of each picture, and how different its answers: more is better.

    exp(E KL(p(y|x) || p(y))), 1 to the number of classes: Salimans et al., "Improved techniques for
    training GANs" (2016), section 4; over all pictures at once.

    Args:
        probabilities: Of each class, pictures x classes.
    """
    given = np.asarray(probabilities, np.float64)
    return float(np.exp(_plogp(given).sum(axis=1).mean() - _plogp(given.mean(axis=0)).sum()))


def _plogp(p: np.ndarray) -> np.ndarray:
    """The values p log p, 0 where p is."""
    return p * np.log(np.where(p > 0, p, 1.0))


def bernoulli_nats(expected: np.ndarray, got: np.ndarray, peak: float = 255.0) -> np.ndarray:
    """Nats in which a picture is said, given the probability that each pixel is white.

    -(x log p + (1 - x) log(1 - p)), summed over a picture, where a gray pixel x is the share in
    which it is white. Answers closer to 0 or 1 than half a step of a byte count as if they were
    that close: it is all that a file can say that gives bytes.

    Args:
        expected: pictures x sides x channels, from 0 to the peak.
        got: The same shape.
        peak: White.

    Returns:
        Nats of each picture.
    """
    closest = 0.5 / 255
    x = np.asarray(expected, np.float64) / peak
    p = np.clip(np.asarray(got, np.float64) / peak, closest, 1 - closest)
    values = -(x * np.log(p) + (1 - x) * np.log1p(-p))
    return values.reshape(len(values), -1).sum(axis=1)


def gaussian_kl(posterior: np.ndarray) -> np.ndarray:
    """Nats by which diagonal normal distributions differ from the standard one.

    KL(N(m, s^2) || N(0, 1)) = (m^2 + s^2 - 1 - log s^2) / 2 for each latent: Kingma and Welling,
    "Auto-encoding variational Bayes" (2014), appendix B.

    Args:
        posterior: Means, then log variances: pictures x 2 latents.

    Returns:
        pictures x latents.
    """
    mean, log_variance = np.split(np.asarray(posterior, np.float64), 2, axis=-1)
    return (mean**2 + np.exp(log_variance) - 1 - log_variance) / 2


def active_latents(posterior: np.ndarray) -> int:
    """How many latents say something about the picture: the posterior has not collapsed there.

    Those whose mean varies over the pictures by more than 0.01: Burda et al., "Importance weighted
    autoencoders" (2016), section 5.2.

    Args:
        posterior: See `gaussian_kl`.
    """
    mean = np.split(np.asarray(posterior, np.float64), 2, axis=-1)[0]
    return int(np.count_nonzero(mean.var(axis=0) > ACTIVE))
