"""Reads what an export wrote into its file: the input convention, the doors, the versions.

Both formats hold one JSON object: ONNX under a key of `metadata_props`, TFLite in a metadata entry
of that name. This module needs the runtime of the format and nothing else.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError

KEY = "kerasdeconv"
SCHEMA = 1
FORMATS = {".tflite": "tflite", ".onnx": "onnx"}


def file_format(path: str | Path) -> str:
    """Returns "tflite" or "onnx", by the suffix.

    Raises:
        ArtifactError: The suffix is neither, or there is no such file.
    """
    path = Path(path)
    if path.suffix.lower() not in FORMATS:
        raise ArtifactError(
            f"An exported file ends in {' or '.join(FORMATS)}. Received: {str(path)!r}"
        )
    if not path.is_file():
        raise ArtifactError(f"No such file. Received: {str(path)!r}")
    return FORMATS[path.suffix.lower()]


def read_bytes(path: str | Path) -> bytes:
    """Reads a file that must exist and be readable.

    Raises:
        ArtifactError: It is not.
    """
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"Cannot read the file ({error.strerror}). Received: {str(path)!r}"
        ) from None


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """Reads the metadata of an exported file.

    Returns:
        The metadata, or None where the file carries none of ours.

    Raises:
        ArtifactError: The file is missing, damaged, neither TFLite nor ONNX, or its metadata was
            written by a newer version.
    """
    if file_format(path) == "tflite":
        return tflite_metadata(read_bytes(path), path)
    from kerasdeconv.runtime.ort import open_session, session_metadata

    return session_metadata(open_session(path, threads=1, optimize=False), path)


def tflite_metadata(content: bytes, path: str | Path) -> dict[str, Any] | None:
    """Reads the metadata out of the bytes of a TFLite file; `path` is for messages."""
    try:
        from ai_edge_litert.schema_py_generated import Model
    except ModuleNotFoundError:
        raise missing_runtime("ai-edge-litert", path) from None

    if len(content) < 8 or not Model.ModelBufferHasIdentifier(content, 0):
        raise ArtifactError(f"Not a TFLite file, or a damaged one. Received: {str(path)!r}")
    try:
        model = Model.GetRootAs(content)
        for entry in map(model.Metadata, range(model.MetadataLength())):
            if entry.Name() == KEY.encode():
                return parse(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes().decode(), path)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError):
        # A flatbuffer is a web of offsets: in a damaged one they point anywhere.
        raise ArtifactError(f"A damaged TFLite file. Received: {str(path)!r}") from None
    return None


def parse(text: str | None, path: str | Path) -> dict[str, Any] | None:
    """Checks and parses the JSON of a file; `path` is for messages."""
    if text is None:
        return None
    try:
        metadata = json.loads(text)
    except json.JSONDecodeError:
        metadata = None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("schema"), int):
        raise ArtifactError(f"The file's {KEY} metadata is damaged. Received: {str(path)!r}")
    if metadata["schema"] > SCHEMA:
        raise ArtifactError(
            f"The file's metadata has schema {metadata['schema']}, this version reads {SCHEMA}: "
            f"update kerasdeconv. Received: {str(path)!r}"
        )
    return metadata


def file_convention(metadata: dict[str, Any] | None, path: str | Path) -> Convention | None:
    """Returns the input convention that a file's metadata holds, or None without metadata.

    Raises:
        ArtifactError: The metadata holds none, or one that makes no sense.
    """
    if metadata is None:
        return None
    try:
        return Convention.from_dict(metadata["convention"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"The file's metadata has no usable input convention ({error}): pass `convention`. "
            f"Received: {str(path)!r}"
        ) from None


def missing_runtime(package: str, path: str | Path) -> ArtifactError:
    """Returns the error for a runtime that is not installed."""
    return ArtifactError(
        f"Running this file needs {package}: pip install {package}. Received: {str(path)!r}"
    )


def cannot_run(runtime: str, error: Exception, path: str | Path) -> ArtifactError:
    """Returns the error for a file that its runtime refuses, in one line."""
    reason = " ".join(str(error).split())
    return ArtifactError(f"{runtime} cannot run the file ({reason}). Received: {str(path)!r}")
