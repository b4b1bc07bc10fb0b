"""Verification: the exported file in its own runtime against the Keras model, sample by sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv import runtime
from kerasdeconv.convention import Convention
from kerasdeconv.errors import VerificationError
from kerasdeconv.export.found_instances import in_order
from kerasdeconv.export.function import pack_inputs, typed_inputs
from kerasdeconv.layers import MaxUnpooling, TopCentres
from kerasdeconv.runtime import FilePredictor

# float32 files differ from Keras by the order of sums alone: greatest error of bounded outputs.
_FLOAT32_ERROR = {"probabilities": 1e-4, "pixels": 1e-2}
# Least PSNR in dB. Rounding a network's weights and activations costs noise well above these; a
# wrong graph (swapped channels, a lost scale, wrong padding) falls to 20 dB and below.
_PSNR = {"float32": 90.0, "float16": 50.0, "int16x8": 40.0, "dynamic": 30.0, "int8": 24.0}
# Where two pixels of a window are equal but for the last bit, another order of sums makes the other
# one the maximum, and max unpooling puts it in another place. So its float32 files differ in a few
# places by more, and are judged by their PSNR alone: 84 dB was measured in a trained SegNet.
_UNPOOLED_PSNR = 60.0
# Least share of pixels with the same class. In float32 scores are compared, not labels, which may
# flip where two classes tie; a network that puts out labels has nothing else to compare.
_AGREEMENT = {"float32": 0.999, "float16": 0.99, "int16x8": 0.98, "dynamic": 0.97, "int8": 0.97}


@dataclasses.dataclass(frozen=True)
class Verification:
    """How an exported file differs from the Keras model. The worst output counts.

    Attributes:
        max_abs_error: Largest difference of any output value.
        mean_abs_error: Mean difference.
        psnr_db: Peak signal-to-noise ratio, the peak being the output's span (1 for
            probabilities, 255 for pixels, else the range that the model's answers take);
            None where there is no difference at all.
        agreement: Share of pixels with the same class, for networks that classify; for networks
            that find objects the share of these that both find, by their scores, if that is less.
            Their masks, boxes and scores are compared object by object.
        samples: How many samples were compared.
        source: Where they came from.
    """

    max_abs_error: float
    mean_abs_error: float
    psnr_db: float | None
    agreement: float | None
    samples: int
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields, without `agreement` where it does not apply."""
        fields = dataclasses.asdict(self)
        return {k: v for k, v in fields.items() if not (k == "agreement" and v is None)}


def verify(
    model: keras.Model,
    file: str | Path | FilePredictor,
    samples: Sequence[Any],
    *,
    precision: str = "float32",
    source: str = "given samples",
) -> Verification:
    """Runs a model and a file on the same samples and refuses what their precision can't explain.

    Args:
        model: The Keras model that the file was made from, with the same head.
        file: The file, or a predictor of it. What its first output means is read from it.
        samples: Arrays of the input's shape, or lists with one array an input.
        precision: The file's.
        source: Where the samples came from, noted in the result.

    Returns:
        How they differ.

    Raises:
        ArtifactError: The file's runtime does not load it.
        VerificationError: The file does not compute what the model computes.
    """
    predictor = file if isinstance(file, FilePredictor) else runtime.open(file)
    result = compare(model, predictor, samples, source)
    unpools = any(isinstance(layer, MaxUnpooling) for layer in model.layers)
    finds = any(isinstance(layer, TopCentres) for layer in model.layers)
    _require(result, precision, predictor.convention, unpools=unpools, finds=finds)
    return result


def compare(
    model: keras.Model,
    predictor: FilePredictor,
    samples: Sequence[Any],
    source: str = "given samples",
) -> Verification:
    """Measures how a model and a file differ. See `verify`."""
    output = predictor.convention.output
    expected: list[list[np.ndarray]] = [[] for _ in model.outputs]
    got: list[list[np.ndarray]] = [[] for _ in model.outputs]
    for sample in samples:
        inputs = typed_inputs(model, sample)
        answers = keras.tree.flatten(model(pack_inputs(model, inputs), training=False))
        for i, (answer, answered) in enumerate(zip(answers, predictor.run(*inputs), strict=True)):
            expected[i].append(np.asarray(answer, np.float64))
            # A file may put out volumes as pictures.
            got[i].append(np.reshape(np.asarray(answered, np.float64), answer.shape))
    share = _put_in_order(model, expected, got)
    results = [
        _measure(np.stack(want), np.stack(have), output if i == 0 else "tensor")
        for i, (want, have) in enumerate(zip(expected, got, strict=True))
    ]
    agreements = [value for value in (share, *(r[3] for r in results)) if value is not None]
    return Verification(
        max_abs_error=max(r[0] for r in results),
        mean_abs_error=max(r[1] for r in results),
        psnr_db=min((r[2] for r in results if r[2] is not None), default=None),
        agreement=min(agreements, default=None),
        samples=len(samples),
        source=source,
    )


def _put_in_order(
    model: keras.Model, expected: list[list[np.ndarray]], got: list[list[np.ndarray]]
) -> float | None:
    """Pairs the objects that model and file found in each picture, for a network that finds some.

    Args:
        model: The Keras model.
        expected: Its answers, by output and sample.
        got: The file's, which are put in order.

    Returns:
        The share of the objects that both found, by their scores; None for other networks.
    """
    finder = next((layer for layer in model.layers if isinstance(layer, TopCentres)), None)
    if finder is None:
        return None
    both, alone = 0.0, 0.0
    for sample, parts in enumerate(zip(*got, strict=True)):
        for picture in range(len(parts[0])):
            wanted = [output[sample][picture] for output in expected]
            found = in_order(wanted, [p[picture] for p in parts], finder.threshold)
            ordered, both, alone = found[0], both + found[1], alone + found[2]
            for part, values in zip(parts, ordered, strict=True):
                part[picture] = values
    return both / (both + alone) if both + alone else 1.0


def _require(
    result: Verification, precision: str, convention: Convention, *, unpools: bool, finds: bool
) -> None:
    """Refuses a file that differs by more than its precision explains.

    Raises:
        VerificationError: It does; the message says by how much and what was allowed.
    """
    samples = f"on {result.samples} samples ({result.source})"
    if not math.isfinite(result.max_abs_error):
        raise VerificationError(
            "The file or the Keras model gives NaN or infinity (float16 ends at 65504). "
            f"Received: an error of {result.max_abs_error} {samples}"
        )
    allowed = _FLOAT32_ERROR.get(convention.output) if precision == "float32" else None
    # Boxes are pixels, and masks are cut out at them: of what is found the PSNR is judged.
    if allowed is not None and result.max_abs_error > allowed and not (unpools or finds):
        raise VerificationError(
            f"The {precision} file does not compute what the Keras model computes: an error of "
            f"{allowed:g} is allowed. Received: {result.max_abs_error:.3g} {samples}"
        )
    least = min(_PSNR[precision], _UNPOOLED_PSNR) if unpools else _PSNR[precision]
    if convention.output != "labels" and result.psnr_db is not None and result.psnr_db < least:
        raise VerificationError(
            f"The {precision} file does not compute what the Keras model computes: a PSNR of "
            f"{least:g} dB is needed. Received: {result.psnr_db:.1f} dB {samples}"
        )
    share = _AGREEMENT[precision]
    judged = precision != "float32" or convention.output == "labels" or finds
    if judged and result.agreement is not None and result.agreement < share:
        raise VerificationError(
            f"The {precision} file's class labels must agree with the Keras model's on "
            f"{share:.2%} of the pixels{' and objects' if finds else ''}. "
            f"Received: {result.agreement:.2%} {samples}"
        )


def span(expected: np.ndarray, output: str) -> float:
    """The range against which errors of an output are judged; of a lone number its magnitude."""
    if output == "probabilities":
        return 1.0
    if output == "pixels":
        return 255.0
    spread = float(expected.max() - expected.min())
    return max(spread or float(np.abs(expected).max()), 1e-12)


def _measure(
    expected: np.ndarray, got: np.ndarray, output: str
) -> tuple[float, float, float | None, float | None]:
    with np.errstate(invalid="ignore"):  # infinity less infinity
        error = np.abs(expected - got)
    squared = float(np.mean(error**2))
    psnr = None
    if not math.isfinite(squared):
        psnr = -math.inf
    elif squared:
        psnr = 10 * math.log10(span(expected, output) ** 2 / squared)
    agreement = None
    if output in ("probabilities", "logits", "labels"):
        agreement = float(np.mean(_labels(expected, output) == _labels(got, output)))
    return float(error.max()), float(error.mean()), psnr, agreement


def _labels(scores: np.ndarray, output: str) -> np.ndarray:
    if output == "labels":
        return scores
    if scores.shape[-1] == 1:
        return scores[..., 0] > (0.5 if output == "probabilities" else 0.0)
    return scores.argmax(axis=-1)
