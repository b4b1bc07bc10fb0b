"""The errors that kerasdeconv raises, apart from `ValueError` and `TypeError` for wrong arguments.

A message is one line: what was wrong, what would be right, and what was received.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class KerasDeconvError(Exception):
    """Base of all errors of this package."""


class UnknownModel(KerasDeconvError):
    """No zoo entry has this name."""


class WeightsError(KerasDeconvError):
    """Weights are missing, damaged, unreachable, or do not fit the model."""


class DataError(KerasDeconvError):
    """A data set, a folder or an image cannot be used."""


class LoweringError(KerasDeconvError):
    """A model cannot be rewritten for a target."""


class AnalysisError(KerasDeconvError):
    """Something cannot be said of a model, because a layer in it is not known."""


class TargetError(KerasDeconvError):
    """No such target, or the target does not take what was asked for."""


class ExportError(KerasDeconvError):
    """A model cannot be exported as asked."""


class VerificationError(KerasDeconvError):
    """An exported file does not compute what the Keras model computes."""


class ArtifactError(KerasDeconvError):
    """A .tflite or .onnx file cannot be read or lacks what is needed."""


def closest(name: str, known: Iterable[str]) -> str:
    """Says which known names come closest to a wrong one.

    Returns:
        A clause to append to a message, such as `Did you mean 'unet'?` or `Known: 'a', 'b'.`
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        return "Did you mean " + " or ".join(repr(match) for match in near) + "?"
    return "Known: " + ", ".join(repr(match) for match in names) + "."
