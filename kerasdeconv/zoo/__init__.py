"""The model zoo: named entries, their cards, and their weights.

Listing entries and reading cards needs neither Keras nor NumPy; loading a model does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kerasdeconv.zoo.cards import Card, card, list_models

if TYPE_CHECKING:
    from kerasdeconv.weights import load_weights, save_weights
    from kerasdeconv.zoo.loading import (
        card_of,
        convention_of,
        freeze,
        load,
        reinitialized,
        trained_weights,
        unfreeze,
    )

__all__ = [
    "Card",
    "card",
    "card_of",
    "convention_of",
    "freeze",
    "list_models",
    "load",
    "load_weights",
    "reinitialized",
    "save_weights",
    "trained_weights",
    "unfreeze",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    stored = name in ("load_weights", "save_weights")
    module = "kerasdeconv.weights" if stored else f"{__name__}.loading"
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
