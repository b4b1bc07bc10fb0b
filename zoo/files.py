"""Writes into the cards what the exported files weigh, and how much faster than stock they are.

Example, on a machine that does nothing else:
    python zoo/files.py unet.nuclei espcn_x3   # or all trained entries: python zoo/files.py
"""

from __future__ import annotations

import sys
from pathlib import Path

from publish import EXPORTS

from kerasdeconv import zoo
from kerasdeconv.benchmark import compare
from kerasdeconv.quiet import quiet
from kerasdeconv.zoo.cards import ExportedFile, update_card

CARDS = Path(zoo.__file__).parent / "cards"
FORMATS = {"android-cpu": "tflite", "onnxruntime-cpu": "onnx"}


def main() -> None:
    """Measures the entries that are named, or all trained ones."""
    for name in sys.argv[1:] or zoo.list_models(pretrained=True):
        card, files = zoo.card(name), []
        for target, precision in EXPORTS:
            with quiet():
                found = compare(card.name, target=target, precision=precision)
            if found.ours_bytes is None:
                print(f"{card.name} {target} {precision}: {found.ours_problem}")
                continue
            faster = None if found.ratio is None else round(found.ratio, 2)
            files.append(ExportedFile(precision, FORMATS[target], found.ours_bytes, faster))
            print(f"{card.name} {target} {precision}: {found.ours_bytes:,} bytes, {faster}x")
        update_card(CARDS / f"{card.name}.toml", files=files)


if __name__ == "__main__":
    main()
