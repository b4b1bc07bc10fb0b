"""The report of an export: what was made, how it was checked, what it costs."""

from __future__ import annotations

import collections
import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import kerasdeconv
from kerasdeconv.tables import finite, save_json

_PACKAGES = ("keras", "tensorflow", "ai-edge-litert", "tf2onnx", "onnx", "onnxruntime", "numpy")


@dataclasses.dataclass(frozen=True)
class Report:
    """What `export` made.

    Attributes:
        artifact: The file.
        format: "tflite" or "onnx".
        target: Name of the target.
        precision: As asked for.
        size_bytes: Of the file.
        input: Name, shape, type and quantization of the (first) input, with its colour and range.
        outputs: Name, shape, type and quantization of each output.
        operators: Operators of the file and how many there are of each.
        float_operators: Operators that compute in float although the precision is an integer one:
            those that `allow_float` let through, with their layers.
        rewrites: What the lowering did, one line each.
        choices: The form of each operator that has several: see `tuning.Choice`.
        warnings: What the target takes at a price.
        verification: See `kerasdeconv.export.verification.Verification`.
        latency_ms: `median` of `runs` runs with `threads` threads, on this machine, of the `form`
            that was kept, "lowered" or "stock"; `forms` holds the medians of both, run in turns,
            and `stock_refused` why the stock conversion could not have been kept.
        vendor: What the vendor's own tool made of the file, or that it is not installed; None for
            a target without such a tool. See `vendors.Compiled`.
        calibration: Where the ranges of an integer export came from: `source`, how many `samples`,
            the way of choosing (`ranges`) and the `seed`; None for others.
        versions: Of the packages that made the file, and the processor that timed it.
        metrics: The task's measures of the Keras model and of the file, where data was given.
        mixed_precision: Where a quality was asked of an int8 file: what was `asked` and `measured`,
            and which layers are in float for it (`float_layers`).
        training: Where the network was trained for 8 bits: the `recipe`, the `data`, the losses of
            each epoch, and what was measured in the file: its `sparsity` (share of zeros among the
            weights), `unique_weights` (different values in the tensor with most) and `gzip_bytes`.
            `sparse_inference` says whether the runtime skips zeros.
    """

    artifact: str
    format: str
    target: str
    precision: str
    size_bytes: int
    input: dict[str, Any]
    outputs: list[dict[str, Any]]
    operators: dict[str, int]
    float_operators: list[str]
    rewrites: list[str]
    choices: list[dict[str, Any]]
    warnings: list[str]
    verification: dict[str, Any]
    latency_ms: dict[str, Any]
    vendor: dict[str, Any] | None
    calibration: dict[str, Any] | None
    versions: dict[str, str]
    metrics: dict[str, Any] | None = None
    mixed_precision: dict[str, Any] | None = None
    training: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as plain values for JSON, which has no NaN: that is None."""
        return finite(dataclasses.asdict(self))

    def save(self, path: str | Path) -> None:
        """Writes the report as JSON, whole or not at all."""
        save_json(self.to_dict(), path)

    def _latency(self) -> str:
        """The median, and the stock conversion's beside it."""
        times = self.latency_ms
        said = f"{times['median']:.2f} ms (median of {times['runs']})"
        other = times["forms"].get("stock" if times["form"] == "lowered" else "lowered")
        if times["form"] == "stock":
            return f"{said}; the stock conversion, kept since lowered takes {other:.2f} ms"
        if other is not None:
            said += f"; stock conversion {other:.2f} ms"
        if times["stock_refused"]:
            said += f"; stock conversion refused: {times['stock_refused']}"
        return said

    def rows(self) -> list[tuple[str, str]]:
        """Returns what matters most as pairs of words, for a table."""
        check = self.verification
        psnr = "identical" if check["psnr_db"] is None else f"PSNR {check['psnr_db']:.1f} dB"
        error = f"max error {check['max_abs_error']:.3g}, {psnr}"
        if "agreement" in check:
            error += f", labels agree {check['agreement']:.2%}"
        door = self.input
        rows = [
            ("file", self.artifact),
            ("size", f"{self.size_bytes / 1e6:.3f} MB"),
            ("input", f"{door['dtype']} {'x'.join(map(str, door['shape']))}"),
            ("operators", ", ".join(f"{n} {name}" for name, n in self.operators.items())),
            ("rewrites", str(len(self.rewrites))),
            (f"verified on {check['samples']} samples", error),
            (f"latency here, {self.latency_ms['threads']} thread", self._latency()),
        ]
        if self.choices:
            forms = collections.Counter(f"{c['form']} ({c['source']})" for c in self.choices)
            rows.append(("forms", ", ".join(f"{n} {form}" for form, n in forms.items())))
        if self.vendor is not None:
            rows.append((self.vendor["tool"], self.vendor["summary"]))
        if self.mixed_precision is not None:
            measured = self.mixed_precision["measured"]
            figures = ", ".join(f"{name} {value:.3g}" for name, value in measured.items())
            kept = ", ".join(self.mixed_precision["float_layers"]) or "none"
            rows.append(("mixed precision", f"{figures}, with layers in float: {kept}"))
        if self.training is not None:
            losses = self.training.get("loss", [])
            said = f", loss {losses[0]:.4g} to {losses[-1]:.4g}" if losses else ""
            rows.append(("trained for 8 bits", f"{len(losses)} epochs{said}"))
            rows.append(
                (
                    "weights",
                    f"{self.training['sparsity']:.0%} zeros, at most "
                    f"{self.training['unique_weights']} values in a tensor; the file takes "
                    f"{self.training['gzip_bytes'] / 1e6:.3f} MB in gzip",
                )
            )
            rows.append(("sparse inference", self.training["sparse_inference"]))
        rows += [("in float", line) for line in self.float_operators]
        rows += [("note", line) for line in self.warnings]
        return rows


def versions() -> dict[str, str]:
    """Returns the versions of what makes an export, and the machine's processor type."""
    found = {"kerasdeconv": kerasdeconv.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "machine": platform.machine()}
