"""How good generated pictures are: FID and Inception Score, beside those of real pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import metrics, models, zoo

_BATCH = 100


def generation(
    pictures: np.ndarray,
    *,
    reference: np.ndarray,
    held_out: np.ndarray,
    classifier: keras.Model | str = "classifier.mnist",
) -> dict[str, Any]:
    """Scores generated pictures, and real ones in the same way.

    FID falls with the number of pictures: compare figures of one number alone, so generate as many
    as are held out.

    Args:
        pictures: Generated, N x H x W x C in [0, 255].
        reference: Real ones, with which they are compared: by custom those that were learned from.
        held_out: Real ones that were not: what they score a perfect generator comes to.
        classifier: What gives features (before its last layer) and probabilities: a model that
            takes such pictures, as `inception` makes one, or the name of a zoo entry.

    Returns:
        `fid` and `inception_score`; `real_fid` and `real_inception_score`, the same of the pictures
        held out; and `network`, the name of the classifier, without which they mean nothing.

    Raises:
        ValueError: There are less than two pictures of a kind.
        WeightsError: The classifier has not been trained.

    Example:
        >>> from kerasdeconv.evaluation.base import kept_pictures
        >>> generation(
        ...     pictures,
        ...     reference=kept_pictures(data, recipe, "gray", training=True).pixels,
        ...     held_out=kept_pictures(data, recipe, "gray").pixels,
        ... )
    """
    network = zoo.load(classifier) if isinstance(classifier, str) else classifier
    features, _ = _answers(network, reference)
    scores: dict[str, Any] = {}
    for prefix, scored in (("", pictures), ("real_", held_out)):
        got, probabilities = _answers(network, scored)
        scores[f"{prefix}fid"] = metrics.fid(features, got)
        scores[f"{prefix}inception_score"] = metrics.inception_score(probabilities)
    return scores | {"network": classifier if isinstance(classifier, str) else classifier.name}


def _answers(network: keras.Model, pictures: np.ndarray) -> list[np.ndarray]:
    """Features and probabilities of pictures."""
    features = models.features_of(network)
    both = keras.Model(network.input, [features.output, network.output])
    return both.predict(np.asarray(pictures, np.float32), batch_size=_BATCH, verbose=0)


def inception(
    input_shape: tuple[int, int, int], weights: str | Path | None = "imagenet"
) -> keras.Model:
    """Inception v3 of keras.applications for pictures of any size, as FID is measured in colour.

    Its figures are not those of papers, which take the Inception network of 2015.

    Args:
        input_shape: Height, width and channels of the pictures, one or three.
        weights: "imagenet", which Keras downloads once; the path of a file; or None.

    Returns:
        A model from pixels in [0, 255] to the probabilities of 1000 classes.
    """
    inputs = x = keras.Input(input_shape, name="input")
    if input_shape[-1] == 1:
        x = keras.layers.Concatenate(name="rgb")([x, x, x])
    x = keras.layers.Resizing(299, 299, name="resize")(x)
    x = keras.layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(x)
    network = keras.applications.InceptionV3(
        input_tensor=x, weights=None if weights is None else str(weights)
    )
    return keras.Model(inputs, network.output, name="inception_v3")
