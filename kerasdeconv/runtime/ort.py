"""Runs .onnx files with ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError
from kerasdeconv.runtime.doors import Door, Quantization, in_model_order
from kerasdeconv.runtime.metadata import KEY, cannot_run, missing_runtime, parse
from kerasdeconv.runtime.predictor import FilePredictor

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(uint16)": np.uint16,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


def open_session(path: str | Path, *, threads: int, optimize: bool = True) -> Any:
    """Opens an ONNX Runtime session on the CPU.

    Raises:
        ArtifactError: The file is missing, damaged, or one that ONNX Runtime does not run.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError:
        raise missing_runtime("onnxruntime", path) from None

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions; its warnings are not for users
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        # Without the fallback, which would print and try again on the same CPU.
        return onnxruntime.InferenceSession(
            str(Path(path)), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except _failures() as error:
        raise cannot_run("ONNX Runtime", error, path) from None


def _failures() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a file or a run that fails; they have no common base."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return (
        state.Fail,
        state.InvalidArgument,
        state.InvalidGraph,
        state.InvalidProtobuf,
        state.NoModel,
        state.NoSuchFile,
        state.NotImplemented,
        state.RuntimeException,
        UnicodeDecodeError,  # its message quotes a name out of a damaged file
    )


def session_metadata(session: Any, path: str | Path) -> dict[str, Any] | None:
    """Reads our metadata from an open session; `path` is for messages.

    Raises:
        ArtifactError: The metadata is damaged.
    """
    try:
        return parse(session.get_modelmeta().custom_metadata_map.get(KEY), path)
    except UnicodeDecodeError:
        raise ArtifactError(f"A damaged ONNX file. Received: {str(path)!r}") from None


class ORTPredictor(FilePredictor):
    """An .onnx file in ONNX Runtime, on the CPU."""

    def __init__(
        self,
        path: str | Path,
        *,
        convention: Convention | None = None,
        threads: int = 1,
    ) -> None:
        """Opens the file.

        Args:
            path: An .onnx file.
            convention: Instead of what the file says, or where it says nothing.
            threads: Threads to run with.

        Raises:
            ArtifactError: The file cannot be read or run, or its metadata does not fit it.
        """
        self._session = open_session(path, threads=threads)
        metadata = session_metadata(self._session, path)
        inputs = _doors(self._session.get_inputs(), (metadata or {}).get("inputs"), path)
        outputs = _doors(self._session.get_outputs(), (metadata or {}).get("outputs"), path)
        super().__init__(path, inputs, outputs, metadata, convention)

    def invoke(self, stored: list[np.ndarray]) -> list[np.ndarray]:
        feed = {door.name: tensor for door, tensor in zip(self.inputs, stored, strict=True)}
        try:
            return self._session.run([door.name for door in self.outputs], feed)
        except _failures() as error:
            raise cannot_run("ONNX Runtime", error, self.path) from None


def _doors(
    tensors: list[Any], described: list[dict[str, Any]] | None, path: str | Path
) -> tuple[Door, ...]:
    """The doors in the metadata's order. ONNX does not say how its integers are meant: we do."""
    order = in_model_order([tensor.name for tensor in tensors], described, path)
    doors = []
    for position, index in enumerate(order):
        tensor = tensors[index]
        if tensor.type not in _DTYPES:
            raise ArtifactError(
                f"The tensor {tensor.name!r} has type {tensor.type}, not one of "
                f"{', '.join(_DTYPES)}. Received: {str(path)!r}"
            )
        dtype = np.dtype(_DTYPES[tensor.type])
        said = described[position].get("quantization") if described and dtype.kind in "iu" else None
        doors.append(
            Door(
                name=tensor.name,
                shape=tuple(side if isinstance(side, int) else None for side in tensor.shape),
                dtype=dtype,
                quantization=Quantization(float(said["scale"]), int(said["zero_point"]))
                if said
                else None,
            )
        )
    return tuple(doors)
