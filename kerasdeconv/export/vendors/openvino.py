"""OpenVINO: loads a file, runs it once, and tells in which types its layers compute."""

from __future__ import annotations

import collections
import importlib.metadata
from typing import Any

import numpy as np

from kerasdeconv.errors import TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export.targets import Compiler
from kerasdeconv.export.vendors import Compiled, NotCompiled

PACKAGE = "openvino"
# Not run, but there.
_STORED = frozenset({"Input", "Output", "Const"})
# Those that multiply, whose type decides on the speed.
_HEAVY = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")


def load(
    artifact: art.Artifact, compiler: Compiler, layer_names: tuple[str, ...]
) -> Compiled | NotCompiled:
    """Compiles a file for a device of OpenVINO's, and runs it once on zeros.

    Args:
        artifact: The file, read.
        compiler: The device.
        layer_names: Not needed: OpenVINO runs all of a file or none.

    Raises:
        TargetError: OpenVINO does not load or run the file.
    """
    try:
        version = importlib.metadata.version(PACKAGE)
        import openvino
    except ImportError:
        return NotCompiled(PACKAGE, f"{PACKAGE} is not installed")
    try:
        core = openvino.Core()
        compiled = core.compile_model(core.read_model(artifact.path), compiler.device)
        compiled([np.zeros(tuple(i.shape), i.element_type.to_dtype()) for i in compiled.inputs])
    except RuntimeError as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()][-1]
        raise TargetError(
            f"{PACKAGE} does not load the file ({reason}). Received: {str(artifact.path)!r}"
        ) from None
    layers = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kinds = [(_text(info, "layerType"), _text(info, "runtimePrecision")) for info in layers]
    run = [(kind, precision) for kind, precision in kinds if kind not in _STORED]
    heavy = [f"{kind} in {precision}" for kind, precision in run if kind in _HEAVY]
    return Compiled(
        PACKAGE,
        version,
        compiler.device,
        placed=len(run),
        operators=len(run),
        precisions=dict(collections.Counter(heavy).most_common()),
    )


def _text(info: Any, key: str) -> str:
    return info[key].astype(str)
