"""Writes our metadata into exported files. `kerasdeconv.runtime.metadata` reads it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from kerasdeconv.errors import ArtifactError
from kerasdeconv.runtime.metadata import KEY, file_format, read_bytes, tflite_metadata

# The alignment that the TFLite schema asks for (`force_align: 16` on Buffer.data).
_ALIGNMENT = 16


def write_metadata(path: str | Path, metadata: dict[str, Any]) -> None:
    """Writes metadata into a .tflite or .onnx file, in place of what it had.

    The file is replaced in one step: a reader sees the old one or the new one.

    Args:
        path: The file.
        metadata: What to write; must have a "schema" and serialise to JSON.

    Raises:
        ArtifactError: The file is missing, damaged, of another format, too large to be rewritten,
            or its folder cannot be written.
    """
    path = Path(path)
    text = json.dumps(metadata, ensure_ascii=False, sort_keys=True)
    with_metadata = _tflite if file_format(path) == "tflite" else _onnx
    content = with_metadata(path, text)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ArtifactError(
            f"Cannot write the file ({error.strerror}). Received: {str(path)!r}"
        ) from None


class _AlignedBuffer(schema.BufferT):
    """A buffer that is written aligned. The generated code forgets the schema's `force_align`."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        if self.data is not None:
            builder.Prep(_ALIGNMENT, len(self.data))
        return super().Pack(builder)


def packed(model: schema.ModelT) -> bytes:
    """Writes a TFLite model out."""
    model.buffers = [_AlignedBuffer(data=buffer.data) for buffer in model.buffers]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _tflite(path: Path, text: str) -> bytes:
    content = read_bytes(path)
    tflite_metadata(content, path)  # refuses a damaged file
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    if any(buffer.offset > 1 for buffer in model.buffers):
        raise ArtifactError(
            "The file keeps its weights behind the flatbuffer, as those over 2 GB do: it cannot "
            f"be rewritten. Received: {str(path)!r}"
        )
    model.metadata = model.metadata or []
    ours = [entry for entry in model.metadata if entry.name == KEY.encode()]
    if not ours:
        ours = [schema.MetadataT(name=KEY, buffer=len(model.buffers))]
        model.metadata += ours
        model.buffers.append(schema.BufferT())
    model.buffers[ours[0].buffer].data = np.frombuffer(text.encode(), np.uint8)
    return packed(model)


def _onnx(path: Path, text: str) -> bytes:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        raise ArtifactError(f"A damaged ONNX file. Received: {str(path)!r}") from None
    others = {entry.key: entry.value for entry in model.metadata_props if entry.key != KEY}
    onnx.helper.set_model_props(model, {**others, KEY: text})
    return model.SerializeToString(deterministic=True)
