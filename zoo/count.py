"""Writes into the cards what follows from the network alone: parameters, MACs and halo.

Example:
    python zoo/count.py unet.paper vnet.paper  # or all entries: python zoo/count.py
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from kerasdeconv import analysis, zoo
from kerasdeconv.errors import AnalysisError

CARDS = Path(zoo.__file__).parent / "cards"


def main() -> None:
    """Counts the entries that are named, or all."""
    for name in sys.argv[1:] or zoo.list_models():
        card = zoo.card(name)
        channels = card.arguments["input_shape"][-1]
        model = zoo.load(name, weights=None, input_shape=(*card.export_size, channels))
        counted = analysis.costs(model)
        try:
            halo = analysis.receptive_field(model).halo
        except AnalysisError:
            halo = None
        path = CARDS / f"{card.name}.toml"
        text = re.sub(r"(?m)^(parameters|macs|halo) = .*\n", "", path.read_text(encoding="utf-8"))
        top = f"parameters = {counted.trainable:_}\n"
        top += f"macs = {counted.macs:_}\n" if counted.macs is not None else ""
        text = text.replace("\n[paper]", f"{top}\n[paper]", 1)
        if halo is not None:
            section = re.compile(r"(\[convention\]\n.*?)(\n\[)", re.DOTALL)
            text = section.sub(rf"\1halo = {halo}\n\2", text, count=1)
        path.write_text(text, encoding="utf-8")
        print(f"{card.name}: {counted.trainable:,} parameters, {counted.macs} MACs, halo {halo}")


if __name__ == "__main__":
    main()
