"""Makes docs/pictures/exports.png: what Keras and its exports make, row by row, of the same start.

A generator starts from codes, a sampler from noise, a video predictor from the frames it has seen.

Example:
    python zoo/contact_sheet.py --data DATA
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
from pictures import GAP, PICTURES, moving_digits, redrawn, strip
from publish import EXPORTS

from kerasdeconv import runtime, zoo
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.export import export
from kerasdeconv.zoo.cards import Card

ENTRIES = ("dcgan.mnist", "diffusion.mnist", "video.moving_mnist")
DIGITS = 20
CAPTION = 130  # pixels to the left of a row


def main() -> None:
    """Makes the sheet of all trained entries whose outputs are pictures that are made up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    data = parser.parse_args().data
    rows: list[tuple[str, np.ndarray]] = []
    for name in ENTRIES:
        card, model = zoo.card(name), zoo.load(name)
        keras_row = made(KerasPredictor(model), card, data)
        rows.append((f"{name}\nKeras", keras_row))
        with tempfile.TemporaryDirectory() as out:
            for target, precision in EXPORTS:
                report = export(model, out, target=target, precision=precision)
                row = made(runtime.open(report.artifact), card, data)
                off = np.abs(row.astype(int) - keras_row)
                print(f"{name} {report.format} {precision}: off by {off.mean():.2f} levels")
                rows.append((f"{report.format}\n{precision}", row))
    path = PICTURES / "exports.png"
    PIL.Image.fromarray(sheet(rows)).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1000} kB")


def made(predictor: runtime.Predictor, card: Card, data: Path) -> np.ndarray:
    """A row of gray pictures, height x width."""
    if card.task == "video":
        digits = redrawn(data / "mnist", card.name)
        return strip(moving_digits(predictor, digits, seed=0)[1])[..., 0]
    return np.hstack(runtime.generate(predictor, DIGITS))[..., 0].repeat(2, 0).repeat(2, 1)


def sheet(rows: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Lays captioned rows out below each other, on white."""
    width = CAPTION + max(row.shape[1] for _, row in rows)
    height = sum(len(row) + GAP for _, row in rows)
    canvas = PIL.Image.new("L", (width, height), 255)
    draw = PIL.ImageDraw.Draw(canvas)
    top = 0
    for caption, row in rows:
        draw.multiline_text((4, top + 4), caption, fill=0)
        canvas.paste(PIL.Image.fromarray(row), (CAPTION, top))
        top += len(row) + GAP
    return np.asarray(canvas)


if __name__ == "__main__":
    main()
