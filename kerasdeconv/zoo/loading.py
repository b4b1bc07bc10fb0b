"""Loading entries as Keras models, and freezing parts of them for fine-tuning."""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
import logging
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras

from kerasdeconv import models
from kerasdeconv.analysis import receptive_field
from kerasdeconv.convention import Convention
from kerasdeconv.errors import AnalysisError, WeightsError, closest
from kerasdeconv.weights import load_weights
from kerasdeconv.zoo.cards import Card, card
from kerasdeconv.zoo.store import fetch

_log = logging.getLogger("kerasdeconv")

# Changing these leaves the receptive field as it is.
_KEEP_HALO = {"boxes", "classes", "head_activation", "include_rescaling", "input_shape"}


@dataclasses.dataclass(frozen=True)
class _Origin:
    card: Card
    convention: Convention
    reinitialized: tuple[str, ...]


_origins: weakref.WeakKeyDictionary[keras.Model, _Origin] = weakref.WeakKeyDictionary()


def load(
    name: str,
    *,
    weights: str | Path | None = "default",
    classes: int | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    **builder_arguments: Any,
) -> keras.Model:
    """Builds an entry of the zoo and loads its weights.

    What is not given is as the card says. Where a changed argument changes the network, every
    weight that still fits is kept; the layers that start anew are named in one warning on the
    logger "kerasdeconv" and by `reinitialized(model)`.

    Args:
        name: "model" or "model.tag", see `list_models`.
        weights: "default" for the entry's trained weights, the path of an .npz file of
            `save_weights`, or None for an untrained network.
        classes: Number of classes of a new head.
        input_shape: Sides (None for any) and channels, without the batch.
        **builder_arguments: Any other argument of the builder that the card names.

    Returns:
        A plain functional model. `card_of` and `convention_of` say what it is.

    Raises:
        UnknownModel: There is no such entry.
        WeightsError: The entry was never trained; or the weights cannot be read, or do not fit.
        TypeError: The builder takes no such argument.
        ValueError: An argument is out of range.

    Example:
        >>> load("unet", input_shape=(256, 256, 3)).output_shape
        (None, 256, 256, 1)
    """
    entry = card(name)
    builder = getattr(models, entry.builder)
    given = builder_arguments | ({} if classes is None else {"classes": classes})
    given |= {} if input_shape is None else {"input_shape": tuple(input_shape)}
    _check_arguments(entry, builder, given)
    changed = _changed(entry, builder, given)
    path = _weights_path(entry, weights)
    model = builder(**(entry.arguments | given), name=entry.short_name)
    fresh: tuple[str, ...] = ()
    if path is not None:
        fresh = load_weights(model, path, partial=bool(changed))
    if fresh:
        _log.warning(
            "%s with %s: these layers have no trained weights: %s",
            entry.name,
            ", ".join(f"{key}={value!r}" for key, value in changed.items()),
            ", ".join(fresh),
        )
    _origins[model] = _Origin(entry, _convention(entry, model, changed), fresh)
    return model


def card_of(model: keras.Model) -> Card | None:
    """Returns the card of a model that `load` made, None for any other model."""
    origin = _origins.get(model)
    return origin.card if origin else None


def convention_of(model: keras.Model) -> Convention | None:
    """Returns what a model of `load` takes and gives, None for any other model.

    It is the card's convention, adapted to the arguments that were changed: a new head has labels
    "class 0", "class 1", ..., and a new colour depth or scale is taken over.
    """
    origin = _origins.get(model)
    return origin.convention if origin else None


def reinitialized(model: keras.Model) -> tuple[str, ...]:
    """Returns the layers for which `load` had no fitting weights, in the model's order.

    Empty for a model that was loaded in full, that was asked for with `weights=None`, or that is
    not from `load`.
    """
    origin = _origins.get(model)
    return origin.reinitialized if origin else ()


def freeze(
    model: keras.Model, pattern: str | Iterable[str] = "*", *, until: str | None = None
) -> tuple[str, ...]:
    """Freezes layers: their weights stay as they are in `fit`, BatchNorm statistics included.

    A frozen BatchNormalization runs as in inference. Compile the model after freezing.

    Args:
        model: A model.
        pattern: Names of layers, one or several, in which `*`, `?` and `[...]` are wildcards.
        until: Freezes only what comes before the layer of this name in `model.layers`.

    Returns:
        Names of the layers that match, now frozen.

    Raises:
        ValueError: No layer matches, or there is no layer `until`.

    Example:
        >>> model = load("unet", classes=3)
        >>> frozen = freeze(model, until="head")
        >>> model.compile("adam", "sparse_categorical_crossentropy")
    """
    layers = _select(model, pattern, until)
    for layer in layers:
        layer.trainable = False
    return tuple(layer.name for layer in layers)


def unfreeze(
    model: keras.Model, pattern: str | Iterable[str] = "*", *, until: str | None = None
) -> tuple[str, ...]:
    """Lets layers learn again. Compile the model afterwards.

    Args:
        model: A model.
        pattern: Names of layers, as in `freeze`.
        until: As in `freeze`.

    Returns:
        Names of the layers that match, now trainable.

    Raises:
        ValueError: No layer matches, or there is no layer `until`.
    """
    layers = _select(model, pattern, until)
    if not model.trainable:  # else its layers' own flags count for nothing; setting it sets them
        flags = [(layer, layer.trainable) for layer in model.layers]
        model.trainable = True
        for layer, flag in flags:
            layer.trainable = flag
    for layer in layers:
        layer.trainable = True
    return tuple(layer.name for layer in layers)


def _select(
    model: keras.Model, pattern: str | Iterable[str], until: str | None
) -> list[keras.layers.Layer]:
    layers = list(model.layers)
    names = [layer.name for layer in layers]
    if until is not None:
        if until not in names:
            raise ValueError(
                f"The model {model.name!r} has no such layer. {closest(until, names)} "
                f"Received: {until!r}"
            )
        layers = layers[: names.index(until)]
    patterns = [pattern] if isinstance(pattern, str) else list(pattern)
    selected = [x for x in layers if any(fnmatch.fnmatchcase(x.name, p) for p in patterns)]
    if not selected:
        hint = closest(patterns[0], names) if patterns else ""
        raise ValueError(
            f"No layer of the model {model.name!r} matches. {hint} Received: {pattern!r}"
        )
    return selected


def _check_arguments(
    entry: Card, builder: Callable[..., keras.Model], given: dict[str, Any]
) -> None:
    known = inspect.signature(builder).parameters
    for key in given:
        if key not in known:
            raise TypeError(
                f"{entry.builder}, the builder of {entry.name!r}, has no such argument. "
                f"{closest(key, known)} Received: {key!r}"
            )


def _changed(
    entry: Card, builder: Callable[..., keras.Model], given: dict[str, Any]
) -> dict[str, Any]:
    """The given arguments that differ from the card's, or from the builder's own defaults."""
    defaults = {k: p.default for k, p in inspect.signature(builder).parameters.items()}
    card_arguments = defaults | entry.arguments
    return {k: v for k, v in given.items() if v != card_arguments[k]}


def _weights_path(entry: Card, weights: str | Path | None) -> Path | None:
    if weights is None:
        return None
    if weights != "default":
        return Path(weights)
    if entry.weights is None:
        raise WeightsError(
            f"{entry.name!r} has no trained weights: pass weights=None for an untrained network, "
            "or the path of a weights file. Received: weights='default'"
        )
    return fetch(entry.weights)


def trained_weights(name: str) -> Path:
    """Returns the file of an entry's trained weights, downloaded if need be.

    Raises:
        UnknownModel: There is no such entry.
        WeightsError: It was never trained, or the weights cannot be had.
    """
    entry = card(name)
    if entry.weights is None:
        raise WeightsError(f"The entry has no trained weights. Received: {name!r}")
    return fetch(entry.weights)


def _convention(entry: Card, model: keras.Model, changed: dict[str, Any]) -> Convention:
    """The card's convention after the changes that a caller asked for."""
    fields: dict[str, Any] = {}
    if "classes" in changed:
        # One channel is the probability of the second of two labels.
        count = max(changed["classes"], 2)
        fields["labels"] = tuple(f"class {i}" for i in range(count))
    if "scale" in changed:
        fields["scale"] = changed["scale"]
    if changed.get("include_upsampling") is False:
        fields["scale"] = 1  # it takes what was enlarged already
    if changed.get("head_activation", "") in (None, "linear"):
        fields["output"] = "logits"
    if "input_shape" in changed and entry.convention.color is not None:
        channels = changed["input_shape"][-1]
        if channels != entry.arguments["input_shape"][-1]:
            fields["color"] = {1: "gray", 3: "rgb"}.get(channels)
    if changed.get("include_rescaling") is False:
        fields["value_range"] = (0.0, 1.0)
        if entry.convention.output == "pixels":
            fields |= {"task": "tensor", "output": "tensor"}
    if set(changed) - _KEEP_HALO:
        fields["halo"] = _halo(model)
    return dataclasses.replace(entry.convention, **fields)


def _halo(model: keras.Model) -> int | None:
    """The receptive radius of a changed network; None where it is the whole input or not known."""
    try:
        return receptive_field(model).halo
    except AnalysisError:
        return None
