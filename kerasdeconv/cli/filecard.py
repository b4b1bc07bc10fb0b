"""What `show` says of an exported file."""

from __future__ import annotations

from typing import Any

from kerasdeconv.cli import terminal
from kerasdeconv.convention import input_text, output_text


def show_file(path: str, *, json: bool) -> None:
    """Prints what is inside a .tflite or .onnx file.

    Raises:
        ArtifactError: The file cannot be read.
    """
    from kerasdeconv.export.artifact import operator_counts, read_artifact
    from kerasdeconv.runtime.metadata import file_convention

    artifact = read_artifact(path)
    metadata = artifact.metadata or {}
    # The metadata knows more: ONNX does not say how integers at the doors are meant.
    inputs = metadata.get("inputs") or [_door(tensor) for tensor in artifact.inputs]
    outputs = metadata.get("outputs") or [_door(tensor) for tensor in artifact.outputs]
    counts = operator_counts(artifact)
    if json:
        terminal.print_json(
            {
                "file": path,
                "format": artifact.format,
                "size_bytes": artifact.size_bytes,
                "inputs": inputs,
                "outputs": outputs,
                "operators": counts,
                "metadata": artifact.metadata,
            }
        )
        return
    terminal.print_title(path)
    rows: list[tuple[str, Any]] = [
        ("format", f"{artifact.format}, {artifact.size_bytes / 1e6:.3f} MB"),
    ]
    convention = file_convention(artifact.metadata, path)
    if convention is None:
        rows.append(("metadata", "none of kerasdeconv: not one of its exports"))
    else:
        made = f"{metadata.get('name')}, {metadata.get('precision')} for {metadata.get('target')}"
        rows += [
            ("model", made),
            ("task", convention.task),
            ("takes", input_text(convention)),
            ("gives", output_text(convention)),
        ]
    rows += [("input", _door_text(door)) for door in inputs]
    rows += [("output", _door_text(door)) for door in outputs]
    rows.append(("operators", ", ".join(f"{n} {name}" for name, n in counts.items())))
    versions = metadata.get("versions", {})
    if versions:
        rows.append(("made with", ", ".join(f"{k} {v}" for k, v in versions.items())))
    terminal.print_pairs(rows)


def _door(tensor: Any) -> dict[str, Any]:
    quantization = tensor.quantization and {
        "scale": tensor.quantization.scales[0],
        "zero_point": tensor.quantization.zero_points[0],
    }
    return {
        "name": tensor.name,
        "shape": None if tensor.shape is None else list(tensor.shape),
        "dtype": tensor.dtype,
        "quantization": quantization,
    }


def _door_text(door: dict[str, Any]) -> str:
    sides = " x ".join("?" if side is None else str(side) for side in door["shape"] or ())
    text = f"{door['name']}: {door['dtype']} {sides}"
    if door["quantization"]:
        quantization = door["quantization"]
        text += f", {quantization['scale']:.6g} * (q - {quantization['zero_point']})"
    return text
