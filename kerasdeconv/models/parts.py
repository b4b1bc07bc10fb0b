"""Parts of networks as networks that share their weights: encoder, decoder, features."""

from __future__ import annotations

import keras

from kerasdeconv.errors import closest


def split(model: keras.Model, code: str = "code") -> tuple[keras.Model, keras.Model]:
    """Splits an autoencoder into its encoder and its decoder.

    Both are plain functional models that can be exported alone. What the encoder gives first is
    what the decoder takes: `decoder(encoder(x))` of an autoencoder is `model(x)`.

    Args:
        model: A functional model in which everything that the first output depends on goes through
            one layer, as `Autoencoder` and `ConvVAE` have it.
        code: Name of that layer.

    Returns:
        The encoder, from the model's input to the code, and behind it the model's other outputs,
        which are the posterior of a `ConvVAE`; and the decoder, from the code to the first output.

    Raises:
        ValueError: There is no such layer.

    Example:
        >>> encoder, decoder = split(Autoencoder((28, 28, 1), code=32))
        >>> decoder.input_shape, decoder.output_shape
        ((None, 32), (None, 28, 28, 1))
    """
    names = [layer.name for layer in model.layers]
    if code not in names:
        raise ValueError(
            f"The model {model.name!r} has no such layer. {closest(code, names)} Received: {code!r}"
        )
    middle = model.get_layer(code).output
    first, *others = model.outputs
    encoder = keras.Model(
        model.input, [middle, *others] if others else middle, name=f"{model.name}_encoder"
    )
    decoder = keras.models.clone_model(
        keras.Model(middle, first, name=f"{model.name}_decoder"),
        input_tensors=keras.Input(middle.shape[1:], name=code),
        clone_function=lambda layer: layer,  # the very layers
    )
    return encoder, decoder


def features_of(classifier: keras.Model) -> keras.Model:
    """Cuts a classifier before its last dense layer: a network that gives features.

    It shares the weights. Classifiers of keras.applications can be cut, too.

    Args:
        classifier: A functional model that ends in a dense layer, and perhaps an activation.

    Returns:
        A model from the same pictures to N x features, of the same name.

    Raises:
        ValueError: The model has no dense layer.
    """
    dense = [layer for layer in classifier.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ValueError(f"A classifier must end in a dense layer. Received: {classifier.name!r}")
    return keras.Model(classifier.input, dense[-1].input, name=classifier.name)
