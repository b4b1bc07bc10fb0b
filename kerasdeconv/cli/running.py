"""`predict` and `evaluate`: what a file or a model makes of pictures."""

from __future__ import annotations

from json import loads
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kerasdeconv.cli import naming, terminal
from kerasdeconv.cli.naming import Like
from kerasdeconv.cli.terminal import Json
from kerasdeconv.errors import ArtifactError, DataError

if TYPE_CHECKING:
    import numpy as np

    from kerasdeconv.runtime import FilePredictor


def predict(
    file: Annotated[str, typer.Argument(help="A .tflite or .onnx file.")],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="Pictures or folders.")],
    *,
    out: Annotated[
        Path, typer.Option(help="A picture to write, or a folder for one picture an input.")
    ],
    tile: Annotated[
        int | None, typer.Option(min=1, help="Side of the tiles, where the file leaves it free.")
    ] = None,
    halo: Annotated[
        int | None, typer.Option(min=0, help="Pixels by which tiles overlap on each side.")
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option(
            help="JSON list of [y0, x0, y1, x1] in pixels, for a network that draws their masks."
        ),
    ] = None,
    score: Annotated[
        float,
        typer.Option(min=0, max=1, help="Least score of an object, for a network that finds them."),
    ] = 0.5,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads to run with.")] = 1,
    like: Like = None,
    json: Json = False,
) -> None:
    """Run an exported file on pictures of any size, with neither Keras nor TensorFlow.

    Segmentation, also of the objects in given boxes or of all that are found, is drawn over the
    picture; depth is drawn in gray, the nearest white. Pictures of another size than the network's
    are run in tiles that overlap, so that they join without a seam.

    Example: one picture, and a folder of them.

      $ kerasdeconv predict build/unet/unet.int8.tflite cells.png --out overlay.png
      $ kerasdeconv predict build/espcn_x3/espcn_x3.float32.onnx photos --out build/enlarged
    """
    from kerasdeconv import imaging
    from kerasdeconv.runtime.render import DRAWN_TASKS

    predictor = naming.open_file(file, like, threads=threads)
    task = predictor.convention.task
    if task not in DRAWN_TASKS:
        raise ArtifactError(
            f"Only networks for {', '.join(DRAWN_TASKS)} draw an answer. "
            f"Received: {file!r}, task {task!r}"
        )
    if (boxes is None) == (task == "instance-segmentation"):
        raise ValueError(
            "Networks that segment in boxes need --boxes, and no others take it. "
            f"Received: {file!r}, task {task!r}"
        )
    pairs = _outputs(_pictures(inputs), out)
    if boxes is not None and len(pairs) > 1:
        raise ValueError(f"--boxes are those of one picture. Received: {len(pairs)} pictures")
    mode = "L" if predictor.convention.color == "gray" else "RGB"
    if len(pairs) > 1:
        for source, _ in pairs:  # before anything is written
            imaging.read_image(source, mode)
    results = []
    with terminal.bar("predicting") as progress:
        for done, (source, destination) in enumerate(pairs, start=1):
            picture = imaging.read_image(source, mode)
            if boxes is not None:
                result, rendered = _predict_instances(predictor, picture, boxes, tile)
            elif task == "instance-detection":
                result, rendered = _find_instances(predictor, picture, score, tile)
            else:
                result, rendered = _predict(predictor, picture, tile, halo)
            imaging.write_image(destination, rendered)
            results.append({"input": str(source), "output": str(destination), **result})
            progress(done, len(pairs))
            if not json:
                terminal.note(f"{destination}: {result['how']}")
    if json:
        terminal.print_json(results)


def _predict(
    predictor: FilePredictor, picture: np.ndarray, tile: int | None, halo: int | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Answers for a picture, whole where it has the network's size."""
    from kerasdeconv import runtime

    height, width = picture.shape[:2]
    whole = predictor.input_shape[1:3] == (height, width) and tile is None and halo is None
    if whole:
        answer = predictor.predict(picture)
        how = f"{height} x {width}, whole"
    else:
        answer = predictor.predict_tiled(picture, tile, halo)
        sides = [tile or side or "free" for side in predictor.input_shape[1:3]]
        how = f"{height} x {width}, in tiles of {sides[0]} x {sides[1]}"
    fields: dict[str, Any] = {"height": height, "width": width, "tiled": not whole, "how": how}
    convention = predictor.convention
    if convention.task == "segmentation":
        labels = runtime.label_map(convention, answer)
        names = dict(enumerate(convention.labels))
        fields["share"] = {
            names.get(label, str(label)): float((labels == label).mean())
            for label in range(max(int(labels.max()) + 1, len(names)))
        }
        shares = (f"{share:.1%} {name}" for name, share in fields["share"].items())
        fields["how"] += ": " + ", ".join(shares)
    elif convention.task == "depth":
        fields["nearest"], fields["farthest"] = float(answer.min()), float(answer.max())
        fields["how"] += f": {fields['nearest']:.2f} m to {fields['farthest']:.2f} m"
    return fields, runtime.render(convention, picture, answer)


def _predict_instances(
    predictor: FilePredictor, picture: np.ndarray, boxes: Path, tile: int | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Draws the masks of the boxes of a file."""
    from kerasdeconv import runtime

    try:
        wanted = loads(boxes.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise DataError(f"Not a readable JSON file of boxes. Received: {str(boxes)!r}") from None
    masks = predictor.predict_instances(picture, wanted, tile=tile)
    pixels = masks.sum(axis=(1, 2)).tolist()
    fields = {"height": picture.shape[0], "width": picture.shape[1], "pixels": pixels}
    fields["how"] = f"{picture.shape[0]} x {picture.shape[1]}, {len(masks)} boxes"
    return fields, runtime.render(predictor.convention, picture, masks)


def _find_instances(
    predictor: FilePredictor, picture: np.ndarray, score: float, tile: int | None
) -> tuple[dict[str, Any], np.ndarray]:
    """Draws the masks of all objects that are found."""
    from kerasdeconv import runtime

    found = predictor.find_instances(picture, score=score, tile=tile)
    fields = {
        "height": picture.shape[0],
        "width": picture.shape[1],
        "boxes": found.boxes.tolist(),
        "scores": found.scores.tolist(),
        "pixels": found.masks.sum(axis=(1, 2)).tolist(),
    }
    fields["how"] = f"{picture.shape[0]} x {picture.shape[1]}, {len(found.scores)} objects"
    # Of those that overlap the surest is seen.
    return fields, runtime.render(predictor.convention, picture, found.masks[::-1])


def _pictures(inputs: list[Path]) -> list[Path]:
    """The pictures that the arguments name, those of folders included."""
    from kerasdeconv import imaging

    return [p for path in inputs for p in (imaging.list_images(path) if path.is_dir() else [path])]


def _outputs(sources: list[Path], out: Path) -> list[tuple[Path, Path]]:
    """Pairs every picture with the file that its answer goes to.

    Raises:
        DataError: Several pictures would go to one file, or one over its input.
        ValueError: The name is no picture's.
    """
    from kerasdeconv import imaging

    if out.suffix and not out.is_dir():
        if out.suffix.lower() not in imaging.IMAGE_SUFFIXES:
            raise ValueError(
                f"--out must be a folder or end in one of {', '.join(imaging.IMAGE_SUFFIXES)}. "
                f"Received: {str(out)!r}"
            )
        if len(sources) > 1:
            raise ValueError(
                f"{len(sources)} pictures need a folder: give --out a name without a suffix. "
                f"Received: {str(out)!r}"
            )
        pairs = [(sources[0], out)]
    else:
        pairs = [(source, out / f"{source.stem}.png") for source in sources]
    taken: dict[Path, Path] = {}
    for source, destination in pairs:
        other = taken.setdefault(destination, source)
        if other != source:
            raise DataError(
                f"Two pictures would be written to {str(destination)!r}. "
                f"Received: {str(other)!r} and {str(source)!r}"
            )
        if source.resolve() == destination.resolve():
            raise DataError(
                f"The answer would be written over its picture: give another --out. "
                f"Received: {str(out)!r}"
            )
    return pairs


def evaluate(
    model: Annotated[str, typer.Argument(help="A zoo entry, or a .keras, .tflite or .onnx file.")],
    *,
    data: Annotated[Path, typer.Option(help="Folder of labelled data.")],
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe whose validation part of the data is used alone.")
    ] = None,
    like: Like = None,
    json: Json = False,
) -> None:
    """Measure a model or a file on labelled data, all by the same code.

    Segmentation takes a folder with images/ and masks/ (or labels/, or instances/), of pictures or
    of volumes (NIfTI or NumPy), segmentation of instances one with instances/, whose true boxes the
    network is given unless it finds them; super-resolution a folder of pictures, which are the
    truth and are shrunk.

    Example: how much int8 costs.

      $ kerasdeconv evaluate espcn_x3 --data sr_set5
      $ kerasdeconv evaluate build/espcn_x3/espcn_x3.int8.tflite --data sr_set5
    """
    subject, convention = naming.open_subject(model, like)
    with terminal.bar("evaluating") as progress:
        from kerasdeconv.evaluation import evaluate as measure

        result = measure(subject, data, recipe=recipe, convention=convention, progress=progress)
    if json:
        terminal.print_json({"model": model, **result})
        return
    rows = [("model", model), ("data", f"{result['data']}, {result['images']} pictures")]
    terminal.print_pairs(rows + terminal.figures(result["metrics"]))
