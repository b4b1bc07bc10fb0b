"""What int8 costs a network, layer by layer, as it was measured."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from kerasdeconv.tables import finite, save_json

COLUMNS = ("layer", "kind", "weights", "activations", "range", "output", "output PSNR")


@dataclasses.dataclass(frozen=True)
class LayerReport:
    """What rounding one layer to 8 bits costs. Ratios are in dB; infinite where nothing is lost.

    Attributes:
        layer: Name in the model that was given, as far as it can be told.
        lowered: Name in the lowered model, of which the given layer may have become several.
        kind: Class of the lowered layer.
        weights_sqnr_db: Signal to quantization noise of its kernel; None for a layer without.
        activations_sqnr_db: Likewise of what it puts out.
        range: Least and greatest number of its (last) output that 8 bits can say.
        output_sqnr_db: Signal to noise of the network's output when this layer alone is rounded,
            kernel and output. The worst output counts.
        output_psnr_db: The same against the peak of the output, as `Verification` has it.
    """

    layer: str
    lowered: str
    kind: str
    weights_sqnr_db: float | None
    activations_sqnr_db: float
    range: tuple[float, float]
    output_sqnr_db: float
    output_psnr_db: float


@dataclasses.dataclass(frozen=True)
class QuantizationReport:
    """What int8 costs a network, layer by layer.

    Attributes:
        model: Name of the zoo entry, or of the model.
        target: Name of the target for which it was lowered.
        format: "tflite" or "onnx".
        ranges: How ranges were chosen from samples.
        input_shapes: Batch included.
        calibration: `source` and number of `samples` that the ranges are from.
        measured: Number of samples that the losses were measured on.
        layers: The worst first.
        output_sqnr_db: With all layers and the inputs rounded: what an int8 file will do.
        output_psnr_db: Likewise.
        versions: Of the packages.
    """

    model: str
    target: str
    format: str
    ranges: str
    input_shapes: list[tuple[int, ...]]
    calibration: dict[str, Any]
    measured: int
    layers: list[LayerReport]
    output_sqnr_db: float
    output_psnr_db: float
    versions: dict[str, str]

    def ranking(self) -> list[str]:
        """Names of the given model's layers, each once, the one that costs most first."""
        return list(dict.fromkeys(row.layer for row in self.layers))

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values for JSON, which has no infinity: that is None."""
        return finite(dataclasses.asdict(self))

    def save(self, path: str | Path) -> None:
        """Writes the report as JSON, whole or not at all."""
        save_json(self.to_dict(), path)

    def rows(self) -> list[tuple[str, ...]]:
        """Returns what matters most as words, for a table with `COLUMNS`."""
        return [
            (
                row.layer if row.layer == row.lowered else f"{row.layer} ({row.lowered})",
                row.kind,
                _decibels(row.weights_sqnr_db),
                _decibels(row.activations_sqnr_db),
                f"{row.range[0]:.3g} to {row.range[1]:.3g}",
                _decibels(row.output_sqnr_db),
                _decibels(row.output_psnr_db),
            )
            for row in self.layers
        ]

    def summary(self) -> list[tuple[str, str]]:
        """Returns what concerns the whole network as pairs of words."""
        loss = f"{_decibels(self.output_sqnr_db)}, PSNR {_decibels(self.output_psnr_db)}"
        samples = f"{self.calibration['samples']} samples ({self.calibration['source']})"
        return [
            ("everything in int8", loss),
            ("ranges", f"{self.ranges}, from {samples}"),
            ("measured on", f"{self.measured} of them, lowered for {self.target}"),
        ]


def _decibels(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio:.1f} dB" if math.isfinite(ratio) else "no loss"
