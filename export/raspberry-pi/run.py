"""Runs an exported .tflite file on pictures or on the camera of a Raspberry Pi.

It needs NumPy, Pillow and LiteRT, and neither Keras nor TensorFlow. Each answer is written as a
picture: a segmentation as a tinted and outlined overlay, a super-resolution as the large picture.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from kerasdeconv import imaging, runtime
from kerasdeconv.errors import KerasDeconvError


def pictures(paths: list[Path]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name and the RGB pixels of each file, and of each picture in a folder."""
    for path in paths:
        for file in imaging.list_images(path) if path.is_dir() else [path]:
            yield file.stem, imaging.read_image(file)


def camera(frames: int, size: tuple[int, int]) -> Iterator[tuple[str, np.ndarray]]:
    """Yields frames of the Raspberry Pi camera as RGB pixels."""
    try:
        from picamera2 import Picamera2
    except ImportError as error:
        raise KerasDeconvError(
            "The camera needs picamera2: sudo apt install python3-picamera2, and a virtual "
            f"environment made with --system-site-packages. Received: {error}"
        ) from None
    device = Picamera2()
    # Named by byte order in a word: picamera2's "BGR888" is an array of red, green, blue.
    device.configure(device.create_still_configuration({"size": size, "format": "BGR888"}))
    device.start()
    try:
        for number in range(frames):
            yield f"frame{number:04d}", device.capture_array()
    finally:
        device.close()


def run(arguments: argparse.Namespace) -> None:
    """Runs the model on every picture, writes the answers, and prints the times."""
    predictor = runtime.open(arguments.model, threads=arguments.threads)
    source = pictures(arguments.pictures)
    if arguments.camera:
        source = itertools.chain(source, camera(arguments.frames, arguments.size))
    milliseconds = []
    for name, pixels in source:
        start = time.perf_counter()
        answer = predictor.predict_tiled(pixels)
        milliseconds.append(1000 * (time.perf_counter() - start))
        path = arguments.out / f"{name}.{arguments.model.stem}.png"
        imaging.write_image(path, runtime.render(predictor.convention, pixels, answer))
        height, width = pixels.shape[:2]
        print(f"{name}: {width} x {height}, {milliseconds[-1]:.1f} ms -> {path}", flush=True)
    print(f"median of {len(milliseconds)}: {np.median(milliseconds):.1f} ms")


def image_size(text: str) -> tuple[int, int]:
    """Reads width and height in pixels, such as 640x480."""
    try:
        width, height = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like 640x480. Received: {text!r}") from None
    return width, height


def main() -> None:
    """Reads the command line; a mistake is one line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("model", type=Path, help="an exported .tflite file")
    parser.add_argument("pictures", type=Path, nargs="*", help="picture files or folders of them")
    parser.add_argument("--out", type=Path, default=Path("answers"), help="folder for the answers")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="all cores by default")
    parser.add_argument("--camera", action="store_true", help="take pictures with the camera")
    parser.add_argument("--frames", type=int, default=10, help="how many; 10 by default")
    parser.add_argument(
        "--size", type=image_size, default=(640, 480), help="of the camera: 640x480"
    )
    arguments = parser.parse_args()
    if not arguments.pictures and not arguments.camera:
        parser.error("give pictures, or --camera")
    if arguments.frames < 1:
        parser.error(f"--frames must be at least 1. Received: {arguments.frames}")
    try:
        run(arguments)
    except (KerasDeconvError, ValueError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
