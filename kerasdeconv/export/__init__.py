"""Export: from a Keras model to a verified TFLite or ONNX file.

`export` does everything; its steps can be called on their own: `lower`, `to_tflite`, `to_onnx`,
`check`, `verify`. `quantize_report` says what int8 will cost, layer by layer; `quantize_aware`
trains for it, `prune` and `cluster` train for small files.
"""

from __future__ import annotations

import importlib
from typing import Any

_WHERE = {
    "QuantizationReport": "quantization.report",
    "QuantizeAware": "training.aware",
    "Report": "report",
    "Target": "targets",
    "Verification": "verification",
    "Violation": "targets",
    "check": "targets",
    "cluster": "training.compress",
    "export": "pipeline",
    "load_target": "targets",
    "lower": "lowering",
    "prune": "training.compress",
    "quantize_aware": "training.aware",
    "quantize_report": "quantization.sensitivity",
    "read_artifact": "artifact",
    "target_names": "targets",
    "to_onnx": "onnx",
    "to_tflite": "tflite",
    "verify": "verification",
}

__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
