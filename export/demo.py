"""The main job on real pictures: load trained models, export them, verify them, run them.

Run by `make demo`. Writes the files and pictures under one folder, `build/demo` by default.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import rich.console
import rich.table
import skimage.color
import skimage.data

from kerasdeconv import imaging, runtime
from kerasdeconv.metrics import psnr
from kerasdeconv.quiet import quiet

CONSOLE = rich.console.Console()
EXPORTS = [
    (name, target, precision)
    for name in ("unet", "espcn_x3")
    for target, precision in (("android-cpu", "int8"), ("onnxruntime-cpu", "float32"))
]
SCALE = 3


def main() -> None:
    """Exports, then runs every file on pictures that it is for."""
    from kerasdeconv.export import export  # TensorFlow, behind `quiet`

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/demo"))
    out = parser.parse_args().out

    reports = {}
    for name, target, precision in EXPORTS:
        with CONSOLE.status(f"{name} for {target} in {precision}"):
            reports[name, precision] = export(name, out / name, target=target, precision=precision)
    pictures = []
    for (name, precision), report in reports.items():
        predictor = runtime.open(report.artifact)
        run = segment if predictor.convention.task == "segmentation" else enlarge
        pictures += run(predictor, out, f"{name}.{precision}")
    CONSOLE.print(exports_table(list(reports.values())))
    CONSOLE.print(pictures_table(pictures))


def segment(predictor: runtime.FilePredictor, out: Path, name: str) -> list[tuple[str, ...]]:
    """Marks the nuclei in a section with a brown stain beside the blue one of the nuclei."""
    image = skimage.data.immunohistochemistry()
    stain = nuclear_stain(image)
    start = time.perf_counter()
    answer = predictor.predict_tiled(stain)
    seconds = time.perf_counter() - start
    overlay = runtime.render(predictor.convention, image, answer)
    path = out / f"ihc.{name}.png"
    panels = {"picture": image, "nuclear stain": np.dstack([stain] * 3), "nuclei": overlay}
    imaging.write_image(path, side_by_side(panels))
    share = float(np.mean(runtime.label_map(predictor.convention, answer)))
    return [(str(path), f"{share:.1%} of the pixels are nuclei", f"{seconds:.2f} s")]


def nuclear_stain(image: np.ndarray) -> np.ndarray:
    """Separates hematoxylin from the other stains, bright on black as in fluorescence.

    The network has seen fluorescence and purple sections, no brown ones.
    """
    amount = skimage.color.rgb2hed(image)[..., 0]
    low, high = np.percentile(amount, [20, 99.8])
    return imaging.to_uint8(255 * (amount - low) / (high - low))


def enlarge(predictor: runtime.FilePredictor, out: Path, name: str) -> list[tuple[str, ...]]:
    """Shrinks photographs, enlarges them again, and compares with the originals."""
    rows = []
    for title in ("astronaut", "coffee", "retina"):
        original = crop(getattr(skimage.data, title)())
        low = imaging.to_uint8(imaging.resize_bicubic(original, 1 / SCALE))
        bicubic = imaging.to_uint8(imaging.resize_bicubic(low, SCALE))
        start = time.perf_counter()
        enlarged = predictor.predict_tiled(low)
        seconds = time.perf_counter() - start
        path = out / f"{title}.{name}.png"
        nearest = np.repeat(np.repeat(low, SCALE, axis=0), SCALE, axis=1)
        panels = {"low resolution": nearest, "bicubic": bicubic, "super-resolved": enlarged}
        imaging.write_image(path, side_by_side(panels))
        before, after = (luma_psnr(original, picture) for picture in (bicubic, enlarged))
        gain = f"PSNR on Y {after:.2f} dB, bicubic {before:.2f} dB"
        rows.append((str(path), gain, f"{seconds:.2f} s"))
    return rows


def crop(image: np.ndarray, most: int = 480) -> np.ndarray:
    """Cuts the middle out, at most so large, a multiple of the scale."""
    height, width = (min(side, most) // SCALE * SCALE for side in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def luma_psnr(expected: np.ndarray, got: np.ndarray) -> float:
    """PSNR of luma with `SCALE` border pixels shaved."""
    inner = slice(SCALE, -SCALE)
    return psnr(imaging.luma(expected)[inner, inner], imaging.luma(got)[inner, inner])


def side_by_side(panels: dict[str, np.ndarray]) -> np.ndarray:
    """Puts pictures of one size beside each other under their titles."""
    height, width = next(iter(panels.values())).shape[:2]
    band, gap = 22, 6
    sheet = PIL.Image.new("RGB", ((width + gap) * len(panels) - gap, height + band), "white")
    draw = PIL.ImageDraw.Draw(sheet)
    for i, (title, picture) in enumerate(panels.items()):
        draw.text((i * (width + gap) + 4, 4), title, fill="black")
        sheet.paste(PIL.Image.fromarray(picture), (i * (width + gap), band))
    return np.asarray(sheet)


def exports_table(reports: list) -> rich.table.Table:
    """What was exported and how it was checked."""
    table = rich.table.Table(title="Exported and verified")
    for column in ("file", "target", "size", "max error", "PSNR", "latency, 1 thread"):
        table.add_column(column, overflow="fold")
    for report in reports:
        check = report.verification
        table.add_row(
            report.artifact,
            report.target,
            f"{report.size_bytes / 1e6:.2f} MB",
            f"{check['max_abs_error']:.2g}",
            "identical" if check["psnr_db"] is None else f"{check['psnr_db']:.1f} dB",
            f"{report.latency_ms['median']:.1f} ms",
        )
    return table


def pictures_table(rows: list[tuple[str, ...]]) -> rich.table.Table:
    """Which pictures were made."""
    table = rich.table.Table(title="Run on real pictures")
    for column in ("picture", "result", "time"):
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    with quiet():
        main()
