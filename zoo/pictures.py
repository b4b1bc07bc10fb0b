"""Makes the pictures of docs/zoo.md: what trained entries make of pictures that they never saw.

Photographs are those of scikit-image. Where there is none of the kind, the answer alone is shown,
to a picture of the validation part, since the data may not be redistributed.

Example:
    python zoo/pictures.py unet.vessels espcn_x3 --data DATA     # or all trained entries
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import skimage.color
import skimage.data
import skimage.transform

from kerasdeconv import imaging, runtime, zoo
from kerasdeconv.data.flow import moved
from kerasdeconv.data.instances import instance_boxes
from kerasdeconv.data.motion import moving
from kerasdeconv.data.pairs import enlarge
from kerasdeconv.data.synthetic import synthetic_samples
from kerasdeconv.evaluation import KerasPredictor
from kerasdeconv.evaluation.base import kept_pictures
from kerasdeconv.train import read_recipe
from kerasdeconv.train.parts import labelled_parts
from kerasdeconv.zoo.cards import Card

HERE = Path(__file__).parent
PICTURES = HERE.parent / "docs" / "pictures"
GAP = 6
MOST = 360  # pixels of a side of a panel


def main() -> None:
    """Makes the pictures of the entries that are named, or of all trained ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("entries", nargs="*")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    arguments = parser.parse_args()
    for name in arguments.entries or zoo.list_models(pretrained=True):
        card = zoo.card(name)
        panels = make(card, arguments.data)
        path = PICTURES / f"{card.name}.jpg"
        PIL.Image.fromarray(beside(panels)).save(path, quality=92, subsampling=0)
        print(f"{path}: {path.stat().st_size // 1000} kB")


def make(card: Card, data: Path) -> list[np.ndarray]:
    """The panels of one entry's picture."""
    predictor = KerasPredictor(zoo.load(card.name))
    if card.task == "super-resolution":
        return enlarged(predictor, card.convention.scale)
    if card.name == "unet.vessels":
        eye = skimage.transform.resize(skimage.data.retina(), (584, 584), anti_aliasing=True)
        return overlaid(predictor, imaging.to_uint8(255 * eye))
    if card.name == "unet.nuclei":
        section = skimage.data.immunohistochemistry()
        return overlaid(predictor, section, stain(section))
    if card.task == "generation":
        return generated(predictor)
    if card.task == "classification":
        return sorted_out(predictor, card, data / "mnist")
    if card.task == "autoencoding":
        return reconstructed(predictor, card, data / "mnist")
    if card.task == "video":
        digits = redrawn(data / "mnist", card.name)
        videos = [moving_digits(predictor, digits, seed) for seed in range(4)]
        columns = zip(*videos, strict=True)
        return [np.concatenate([strip(frames[::2]) for frames in column]) for column in columns]
    if card.task == "voxels":
        return bodies(predictor)
    if card.task == "flow":
        return moved_pictures(predictor)
    held = labelled_parts(read_recipe(HERE / card.name / "recipe.toml").data, data)[1]
    if card.task in ("instance-segmentation", "instance-detection"):
        # The brightest is a stained section: nuclei of many shapes, and some that touch.
        return instances(predictor, max(held, key=lambda sample: sample.read()[0].mean()))
    if card.task == "depth":
        return [answer_alone(predictor, pair.read()[0]) for pair in held[::4]]
    return [answer_alone(predictor, held[0].read()[0])]


def enlarged(predictor: runtime.Predictor, scale: int) -> list[np.ndarray]:
    """A face: the low resolution, its bicubic enlargement, the network's."""
    face = skimage.data.astronaut()[:192, 132:324]
    low = imaging.to_uint8(imaging.resize_bicubic(face, 1 / scale))
    nearest = np.repeat(np.repeat(low, scale, axis=0), scale, axis=1)
    bicubic = imaging.to_uint8(imaging.resize_bicubic(low, scale))
    return [nearest, bicubic, predictor.predict(low)]


def overlaid(
    predictor: KerasPredictor, picture: np.ndarray, seen: np.ndarray | None = None
) -> list[np.ndarray]:
    """A picture, and what the network finds in it, or in what it is shown of it."""
    seen = picture if seen is None else seen
    answer = predictor.predict_tiled(seen, tile=predictor.tile_for(seen.shape[:2]))
    drawn = runtime.render(predictor.convention, picture, answer)
    return [part[-MOST:, -MOST:] for part in (picture, drawn)]


def stain(section: np.ndarray) -> np.ndarray:
    """The blue stain, of nuclei, of a brown and blue section, bright on black."""
    amount = skimage.color.rgb2hed(section)[..., 0]
    low, high = np.percentile(amount, [20, 99.8])
    return imaging.to_uint8(255 * (amount - low) / (high - low))


def answer_alone(predictor: KerasPredictor, image: np.ndarray) -> np.ndarray:
    """What the network finds, drawn on black; of a volume its middle slices, enlarged."""
    rank = len(predictor.input_shape) - 2
    answer = predictor.predict_tiled(image, tile=predictor.tile_for(image.shape[:rank]))
    if rank == 3:
        slices = [answer[round(len(answer) * share)] for share in (0.4, 0.5, 0.6)]
        answer = np.concatenate(slices, axis=1).repeat(5, axis=0).repeat(5, axis=1)
    black = np.zeros((*answer.shape[:2], 3), np.uint8)
    return runtime.render(predictor.convention, black, answer)


def instances(predictor: KerasPredictor, sample: Any) -> list[np.ndarray]:
    """The masks of what the network finds, or in all true boxes, drawn on black."""
    image, numbers = sample.read_instances()
    tile = predictor.tile_for(image.shape[:2])
    if predictor.convention.task == "instance-detection":
        masks = predictor.find_instances(image, tile=tile).masks
    else:
        masks = predictor.predict_instances(image, instance_boxes(numbers)[1], tile=tile)
    return [runtime.render(predictor.convention, np.zeros_like(image), masks)]


def reconstructed(predictor: runtime.Predictor, card: Card, digits: Path) -> list[np.ndarray]:
    """What the network makes of digits: four a class."""
    kept = kept_pictures(digits, HERE / card.name / "recipe.toml", "gray")
    chosen = [kept.pixels[kept.labels == label][:4] for label in np.unique(kept.labels)]
    return [stacked(imaging.to_uint8(predictor.run_many(some)[0])) for some in chosen]


def sorted_out(predictor: runtime.Predictor, card: Card, digits: Path) -> list[np.ndarray]:
    """Digits, those of one answer above each other."""
    seen = redrawn(digits, card.name)
    answer = predictor.run_many(seen)[0].argmax(axis=-1)
    return [stacked(seen[answer == label][:4]) for label in range(10)]


def redrawn(digits: Path, name: str) -> np.ndarray:
    """Digits that an entry never saw, as `autoencoder.mnist` gives them: ours to show."""
    kept = kept_pictures(digits, HERE / name / "recipe.toml", "gray")
    autoencoder = KerasPredictor(zoo.load("autoencoder.mnist"))
    return imaging.to_uint8(autoencoder.run_many(kept.pixels[::10])[0])


def generated(predictor: runtime.Predictor) -> list[np.ndarray]:
    """Pictures of a seed, not chosen."""
    made = runtime.generate(predictor, 40)
    return [stacked(made[i : i + 4]) for i in range(0, len(made), 4)]


def moved_pictures(predictor: KerasPredictor) -> list[np.ndarray]:
    """Photographs, how they are moved, and how the network says that they are."""
    columns: list[list[np.ndarray]] = [[], [], []]
    sides = predictor.tile_sides()
    for number, photograph in enumerate((skimage.data.astronaut(), skimage.data.coffee())):
        pair = moved(np.random.default_rng(number), photograph, sides, shift=8.0)
        seen = np.concatenate([pair.first, pair.second], axis=-1)
        found = enlarge(predictor.predict(seen), sides)
        # One scale for both: where the answer is paler it is shorter.
        both = runtime.render(predictor.convention, pair.first, np.hstack([pair.truth, found]))
        panels = (imaging.to_uint8(pair.first), *np.hsplit(both, 2))
        for column, panel in zip(columns, panels, strict=True):
            column.append(panel)
    return [np.concatenate(column) for column in columns]


def stacked(pictures: Any, enlarged_by: int = 2) -> np.ndarray:
    """Gray pictures above each other, enlarged."""
    column = np.concatenate(list(pictures)).repeat(enlarged_by, 0).repeat(enlarged_by, 1)
    return column.repeat(3, axis=-1)


def moving_digits(
    predictor: runtime.Predictor, digits: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a video that follow on those that the network sees, and what it predicts."""
    rng = np.random.default_rng(seed)
    seen, sides = predictor.input_shape[1], predictor.input_shape[2:4]
    video = moving(rng, rng.permutation(digits)[:2], 2 * seen, sides)
    predicted = predictor.run(video[None, :seen])[0][0]
    return video[seen : seen + len(predicted)], predicted


def strip(frames: np.ndarray) -> np.ndarray:
    """Gray frames beside each other."""
    return imaging.to_uint8(np.concatenate(frames, axis=1)).repeat(3, axis=-1)


def bodies(predictor: KerasPredictor) -> list[np.ndarray]:
    """Views of five bodies, and the voxels that are found, from in front and from above."""
    columns: list[list[np.ndarray]] = [[], [], []]
    for view in synthetic_samples("solids", 5, predictor.input_shape[1:3], seed=2):
        found = predictor.run(view[None])[0][0, ..., 0] >= 0.5
        for column, panel in zip(columns, (view, relief(found, 0), relief(found, 1)), strict=True):
            column.append(panel)
    return [np.concatenate(column) for column in columns]


def relief(voxels: np.ndarray, axis: int) -> np.ndarray:
    """Voxels seen along an axis, the nearer the brighter, two pixels each."""
    depth = voxels.shape[axis]
    shade = 255 - voxels.argmax(axis=axis) * (200 / depth)
    gray = imaging.to_uint8(np.where(voxels.any(axis=axis), shade, 0))
    return np.kron(gray, np.ones((2, 2), np.uint8))[..., None].repeat(3, axis=-1)


def beside(panels: list[np.ndarray]) -> np.ndarray:
    """Puts pictures of one size beside each other."""
    height, width = panels[0].shape[:2]
    sheet = np.full((height, (width + GAP) * len(panels) - GAP, 3), 255, np.uint8)
    for i, panel in enumerate(panels):
        sheet[:, i * (width + GAP) : i * (width + GAP) + width] = panel
    return sheet


if __name__ == "__main__":
    main()
