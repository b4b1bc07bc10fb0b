"""Streaming metrics of autoencoders and generators: FID, Inception Score, what latents say."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kerasdeconv.losses.latents import gaussian_kl
from kerasdeconv.metrics.generation import ACTIVE
from kerasdeconv.metrics.streaming.averages import WeightedMean, known_ratio


def _widest() -> str:
    """Float64, where the backend has it: JAX does if it was told to."""
    return keras.backend.standardize_dtype(keras.ops.convert_to_tensor(np.zeros(1)).dtype)


class Moments:
    """Sums of vectors and of their products, for means and covariances over all batches.

    Args:
        metric: Metric to which the sums belong.
        length: Length of a vector.
        prefix: Start of their names.
        products: Whether all products are summed, instead of squares alone.
    """

    def __init__(
        self, metric: keras.metrics.Metric, length: int, prefix: str, *, products: bool = True
    ) -> None:
        wide = _widest()
        square = (length, length) if products else (length,)
        self.products = products
        self.count, self.total, self.square = (
            metric.add_variable(shape, "zeros", dtype=wide, name=f"{prefix}_{name}")
            for name, shape in (("count", ()), ("total", (length,)), ("square", square))
        )

    def add(self, vectors: Any, weights: Any = None) -> None:
        """Adds vectors, batch x length, with a weight each."""
        ops = keras.ops
        vectors = ops.cast(vectors, self.total.dtype)
        counts = ops.ones_like(vectors[:, :1])
        if weights is not None:
            counts = counts * ops.cast(ops.reshape(weights, (-1, 1)), self.total.dtype)
        weighted = vectors * counts
        square = ops.transpose(weighted) @ vectors
        if not self.products:
            square = ops.sum(weighted * vectors, axis=0)
        self.count.assign(self.count + ops.sum(counts))
        self.total.assign(self.total + ops.sum(weighted, axis=0))
        self.square.assign(self.square + square)

    def mean(self) -> Any:
        """The mean; NaN before there is a vector."""
        return known_ratio(*map(keras.ops.convert_to_tensor, (self.total, self.count)))

    def covariance(self, less: int = 0) -> Any:
        """The covariance, or the variances, by the number of vectors or some less."""
        ops = keras.ops
        count, square = ops.convert_to_tensor(self.count), ops.convert_to_tensor(self.square)
        mean = self.mean()
        outer = ops.outer(mean, mean) if self.products else mean**2
        return known_ratio(square - count * outer, count - less)


class PictureScore(keras.metrics.Metric):
    """Base of the metrics that another network gives.

    They are not saved with a model: it would need the network. Nothing can be loaded that measures
    with random weights; load the model with `compile=False` and give the metric again.

    Args:
        network: What is asked of pictures.
        name: Name of the metric; that of the network is appended, since figures of two networks
            have nothing in common.
        dtype: What it counts in.
    """

    def __init__(self, network: keras.Model, name: str, dtype: Any = None) -> None:
        super().__init__(name=f"{name}_{network.name}", dtype=dtype)
        self.network = network

    def ask(self, pictures: Any) -> Any:
        """What the network says of pictures, pictures x numbers."""
        pictures = keras.ops.cast(pictures, self.network.input.dtype)
        return self.network(pictures, training=False)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> PictureScore:
        raise ValueError(
            "The network of this metric was not saved: load the model with compile=False, and "
            f"compile it again. Received: {config.get('name')!r}"
        )


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class FID(PictureScore):
    """Fréchet distance of the features of real and of generated pictures, see `fid`.

    Sums are in float64. The result takes the eigenvalues of two matrices as large as there are
    features, and Keras asks for it in each step: measure with `evaluate`.

    Args:
        features: Network from pictures to features; `kerasdeconv.models.features_of` makes one of
            a classifier.
        name: Start of the metric's name.
        dtype: What the result is in.
    """

    def __init__(self, features: keras.Model, name: str = "fid", dtype: Any = None) -> None:
        super().__init__(features, name, dtype)
        length = features.output_shape[-1]
        self._real, self._given = (Moments(self, length, x) for x in ("real", "generated"))
        self._direction = "down"  # Keras' early stopping asks for it

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of pictures.

        Args:
            y_true: Real pictures, batch x sides x channels.
            y_pred: Generated ones, which need not be as many.
            sample_weight: Not used: all pictures count alike.
        """
        self._real.add(self.ask(y_true))
        self._given.add(self.ask(y_pred))

    def result(self) -> Any:
        """The distance; NaN before there are two pictures."""
        ops = keras.ops
        real, given = self._real.covariance(less=1), self._given.covariance(less=1)
        # See `frechet_distance`; eigenvalues of NaN are refused by some backends.
        known = ops.all(ops.isfinite(real)) & ops.all(ops.isfinite(given))
        safe, other = (ops.where(known, x, 0.0) for x in (real, given))
        values, vectors = ops.eigh(safe)
        root = (vectors * ops.sqrt(ops.maximum(values, 0.0))) @ ops.transpose(vectors)
        shared, _ = ops.eigh(root @ other @ root)
        apart = ops.sum((self._real.mean() - self._given.mean()) ** 2)
        traces = ops.trace(real) + ops.trace(given)
        roots = ops.sum(ops.sqrt(ops.maximum(shared, 0.0)))
        return ops.cast(apart + traces - 2 * roots, self.dtype)


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class InceptionScore(PictureScore):
    """How sure a classifier is of generated pictures, and how different they are.

    See `inception_score`.

    Args:
        classifier: Network from pictures to the probabilities of classes.
        name: Start of the metric's name.
        dtype: What the result is in.
    """

    def __init__(
        self, classifier: keras.Model, name: str = "inception_score", dtype: Any = None
    ) -> None:
        super().__init__(classifier, name, dtype)
        classes = classifier.output_shape[-1]
        wide = _widest()
        self._count, self._entropy = (
            self.add_variable((), "zeros", dtype=wide, name=name) for name in ("count", "entropy")
        )
        self._total = self.add_variable((classes,), "zeros", dtype=wide, name="total")
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of pictures.

        Args:
            y_true: Not used: there is no real picture in it.
            y_pred: Generated pictures, batch x sides x channels.
            sample_weight: Not used: all pictures count alike.
        """
        ops = keras.ops
        p = ops.cast(self.ask(y_pred), self._total.dtype)
        self._count.assign(self._count + ops.sum(ops.ones_like(p[:, 0])))
        self._entropy.assign(self._entropy + ops.sum(_plogp(p)))
        self._total.assign(self._total + ops.sum(p, axis=0))

    def result(self) -> Any:
        """The score; NaN before there is a picture."""
        ops = keras.ops
        count, entropy, total = map(
            ops.convert_to_tensor, (self._count, self._entropy, self._total)
        )
        sure = known_ratio(entropy, count)
        return ops.cast(ops.exp(sure - ops.sum(_plogp(known_ratio(total, count)))), self.dtype)


def _plogp(p: Any) -> Any:
    """The values p log p, 0 where p is."""
    return p * keras.ops.log(keras.ops.where(p > 0, p, 1.0))


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class GaussianKL(WeightedMean):
    """Nats that the posterior of a variational autoencoder says of a picture, see `gaussian_kl`.

    Args:
        name: Name of the metric.
        dtype: What it counts in.
    """

    def __init__(self, name: str = "kl", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self._direction = "down"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of posteriors, batch x 2 latents; the target is not used."""
        ops = keras.ops
        values = ops.sum(gaussian_kl(ops.cast(y_pred, self.dtype)), axis=-1)
        weights = ops.ones_like(values)
        if sample_weight is not None:
            weights = weights * ops.reshape(ops.cast(sample_weight, self.dtype), (-1,))
        self.add(values, weights)


@keras.saving.register_keras_serializable(package="kerasdeconv.metrics")
class ActiveLatents(keras.metrics.Metric):
    """How many latents say something about the picture, see `active_latents`.

    Args:
        latents: How many there are.
        name: Name of the metric.
        dtype: What the result is in.
    """

    def __init__(self, latents: int, name: str = "active_latents", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.latents = latents
        self._means = Moments(self, latents, "mean", products=False)
        self._direction = "up"

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Adds a batch of posteriors, batch x 2 latents; the target is not used."""
        self._means.add(y_pred[..., : self.latents])

    def result(self) -> Any:
        """How many; none before there is a picture."""
        return keras.ops.sum(keras.ops.cast(self._means.covariance() > ACTIVE, self.dtype))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"latents": self.latents}
