"""Reading TOML on every supported Python, and writing JSON that everybody can read."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str | Path | Traversable) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not TOML; the message names it and the place.
    """
    try:
        file = Path(path) if isinstance(path, str) else path
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Not a TOML file ({error}). Received: {str(path)!r}") from None


def finite(value: Any) -> Any:
    """Puts None in the place of infinity and NaN, which JSON has no numbers for, all the way down.

    Tuples become lists.
    """
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def save_json(value: Any, path: str | Path) -> None:
    """Writes plain values as JSON, the whole file or nothing."""
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        text = json.dumps(value, indent=2, allow_nan=False) + "\n"
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def abbreviated(number: int) -> str:
    """Says a large number in a few digits."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.2f} {unit}"
    return str(number) if number else ""
