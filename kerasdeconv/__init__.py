"""Keras decoder networks from paper to phone: a trained model zoo with edge export.

Importing the package loads neither Keras nor TensorFlow; its parts load when first used.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import wrapt

__version__ = "0.1.0"

_PARTS = (
    "analysis",
    "data",
    "errors",
    "evaluation",
    "export",
    "imaging",
    "layers",
    "losses",
    "metrics",
    "models",
    "runtime",
    "train",
    "zoo",
)


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PARTS])


def _register(_: ModuleType) -> None:
    for part in ("layers", "losses", "metrics.streaming"):
        importlib.import_module(f"{__name__}.{part}")


# Our layers, losses and metrics register themselves with Keras as soon as Keras is there, so that a
# saved model reloads after `import kerasdeconv` alone, without making that import load Keras.
wrapt.register_post_import_hook(_register, "keras")
