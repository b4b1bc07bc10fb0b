"""Runs .tflite files with LiteRT."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.runtime.doors import Door, Quantization, in_model_order
from kerasdeconv.runtime.metadata import cannot_run, missing_runtime, read_bytes, tflite_metadata
from kerasdeconv.runtime.predictor import FilePredictor


class LiteRTPredictor(FilePredictor):
    """A .tflite file in LiteRT, on the CPU with its default delegate (XNNPACK)."""

    def __init__(
        self,
        path: str | Path,
        *,
        convention: Convention | None = None,
        threads: int = 1,
    ) -> None:
        """Opens the file.

        Args:
            path: A .tflite file.
            convention: Instead of what the file says, or where it says nothing.
            threads: Threads to run with.

        Raises:
            ArtifactError: The file cannot be read or run, or its metadata does not fit it.
        """
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ModuleNotFoundError:
            raise missing_runtime("ai-edge-litert", path) from None

        content = read_bytes(path)
        metadata = tflite_metadata(content, path)
        try:
            self._interpreter = Interpreter(model_content=content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise cannot_run("LiteRT", error, path) from None
        described = metadata or {}
        inputs = self._interpreter.get_input_details()
        order = in_model_order([t["name"] for t in inputs], described.get("inputs"), path)
        inputs = [inputs[i] for i in order]
        outputs = self._interpreter.get_output_details()
        order = in_model_order([t["name"] for t in outputs], described.get("outputs"), path)
        outputs = [outputs[i] for i in order]
        self._input_indices = [tensor["index"] for tensor in inputs]
        self._output_indices = [tensor["index"] for tensor in outputs]
        self._allocated = [tuple(map(int, tensor["shape"])) for tensor in inputs]
        super().__init__(
            path, tuple(map(_door, inputs)), tuple(map(_door, outputs)), metadata, convention
        )

    def invoke(self, stored: list[np.ndarray]) -> list[np.ndarray]:
        try:
            self._allocate([tensor.shape for tensor in stored])
            for index, tensor in zip(self._input_indices, stored, strict=True):
                self._interpreter.set_tensor(index, tensor)
            self._interpreter.invoke()
            return [self._interpreter.get_tensor(index) for index in self._output_indices]
        except (ValueError, RuntimeError) as error:
            raise cannot_run("LiteRT", error, self.path) from None

    def again(self, stored: list[np.ndarray]) -> Callable[[], object]:
        return self._interpreter.invoke  # it keeps its inputs

    def _allocate(self, shapes: list[tuple[int, ...]]) -> None:
        """Makes room for inputs of these shapes, where they are not those of the last run."""
        if shapes == self._allocated:
            return
        for index, shape in zip(self._input_indices, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, shape)
        self._allocated = []
        self._interpreter.allocate_tensors()
        self._allocated = shapes


def _door(tensor: dict[str, Any]) -> Door:
    scale, zero_point = tensor["quantization"]
    # The signature has -1 where the shape is free; it is empty in files of old converters.
    signature = tensor["shape_signature"] if len(tensor["shape_signature"]) else tensor["shape"]
    return Door(
        name=tensor["name"],
        shape=tuple(None if side < 0 else int(side) for side in signature),
        dtype=np.dtype(tensor["dtype"]),
        quantization=Quantization(float(scale), int(zero_point)) if scale else None,
    )
