"""Predictors: what asks a network for an answer, whatever runs it."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ArtifactError
from kerasdeconv.runtime import detection, instances, pictures
from kerasdeconv.runtime.doors import Door
from kerasdeconv.runtime.metadata import file_convention
from kerasdeconv.runtime.pictures import Picture
from kerasdeconv.runtime.tiling import tiled

# A free size is run in tiles of this side: memory stays bounded, and five halvings divide it.
_FREE_TILE = 256
_FREE_VOLUME = 64
_AT_ONCE = 100  # samples, where a network takes any number: memory stays bounded
# Bicubic resizing of the chroma reaches this far.
_BICUBIC_RADIUS = 2


class Predictor(abc.ABC):
    """Runs a network on pictures.

    Attributes:
        convention: How to feed the network and read its answer.
        input_shape: Shape of its first input, batch first, None where it is free. Pictures are
            (batch, height, width, channels).
        input_shapes: Shapes of all its inputs.
    """

    convention: Convention
    input_shape: tuple[int | None, ...]
    input_shapes: list[tuple[int | None, ...]]

    def __init__(self, convention: Convention, *input_shapes: tuple[int | None, ...]) -> None:
        self.convention = convention
        self.input_shapes = [tuple(shape) for shape in input_shapes]
        self.input_shape = self.input_shapes[0]

    @abc.abstractmethod
    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the network once on arrays in its own units, such as 0..255.

        Args:
            *inputs: One array an input, floats or integers, of exactly the input's shape.

        Returns:
            One array an output, in the Keras model's order: float32, integers where they stand for
            themselves, as labels do.

        Raises:
            ValueError: Wrong number of inputs, wrong shape, or values that cannot be.
        """

    def predict(self, image: Picture) -> np.ndarray:
        """Answers for a picture, or a batch of pictures, of the network's own size.

        Args:
            image: A path, a Pillow image, or an array (H, W), (H, W, C) or (N, H, W, C) in the
                network's units. A batch larger than the network's is run in parts.

        Returns:
            The first output; without a batch dimension for one picture.

            - Segmentation: float32 (H, W, classes), or integers (H, W) from a network that gives
              labels.
            - Super-resolution: a uint8 picture, RGB for RGB and (H, W) for gray. A network that
              takes luma gets Y, and the chroma is resized bicubically.
            - Anything else: the output as it is.

        Raises:
            ArtifactError: A picture for a network that does not say what its channels are.
            DataError: The picture's file cannot be read.
            ValueError: Wrong size, channels or values.
        """
        batch, single = self._batch(image)
        wanted, sides = self.input_shape[1:-1], batch.shape[1:-1]
        if any(side not in (None, got) for side, got in zip(wanted, sides, strict=True)):
            raise ValueError(
                f"The network takes {_sides(wanted)} pixels; predict_tiled takes any size. "
                f"Received: {_sides(sides)}"
            )
        answer = self._answer(batch)
        return answer[0] if single else answer

    def predict_tiled(
        self, image: Picture, tile: int | tuple[int, ...] | None = None, halo: int | None = None
    ) -> np.ndarray:
        """Answers for a picture or a volume of any size, tile by tile.

        Args:
            image: As for `predict`, one picture; for networks that take volumes an array
                (D, H, W, C).
            tile: Side of the tiles, or (height, width), depth first: the network's size unless that
                is free.
            halo: Overlap of the tiles on each side. By default the network's receptive radius, as
                far as that leaves half of the tile, and a quarter of the tile where it is unknown.

        Returns:
            As for `predict`. Equal to the answer for the whole picture at once where `halo` is at
            least the receptive radius.

        Raises:
            As for `predict`, and ValueError for a tile that the network does not take.
        """
        batch, single = self._batch(image)
        if not single or batch.ndim not in (4, 5):
            raise ValueError(f"predict_tiled takes one picture. Received: shape {batch.shape}")
        tile = self.tile_sides(tile)
        if halo is None:
            halo = min(self._radius(tile), min(tile) // 4)
        return tiled(
            lambda part: self._answer(part[None])[0], batch[0], tile, halo, self.convention.scale
        )

    def predict_instances(
        self,
        image: Picture,
        boxes: Any,
        *,
        labels: Sequence[int] | None = None,
        threshold: float | None = 0.5,
        tile: int | tuple[int, ...] | None = None,
    ) -> np.ndarray:
        """Finds the object in each box of a picture of any size.

        For networks that take a picture and boxes, as `kerasdeconv.models.MaskSegmenter` does.

        Args:
            image: As for `predict`, one picture.
            boxes: Any number K of boxes: y0, x0, y1, x1 each, in pixels of the picture. Edges of
                pixels lie at whole numbers: the whole picture is (0, 0, height, width).
            labels: Class number of each box, where the network has several classes.
            threshold: Least probability of a pixel of the object, or None for probabilities.
            tile: As for `predict_tiled`; every box must fit into a tile.

        Returns:
            One mask of the whole picture a box, (K, H, W): bool, or float32 without a threshold.

        Raises:
            As for `predict_tiled`, and ValueError for a network that takes no boxes, for a box that
            is empty or not in the picture, and where there is not one label a box.
        """
        batch, single = self._batch(image)
        if not single or batch.ndim != 4:
            raise ValueError(f"predict_instances takes one picture. Received: shape {batch.shape}")
        sides = batch.shape[1:3]
        boxes = instances.check_boxes(boxes, sides)
        picture = pictures.to_network(batch, self.convention.color)[0]
        masks = instances.box_masks(self, picture, boxes, labels=labels, tile=tile)
        answer = np.zeros((len(boxes), *sides), np.float32 if threshold is None else bool)
        for whole, mask, box in zip(answer, masks, boxes, strict=True):
            span, part = instances.paste_mask(mask, box, sides)
            whole[span] = part if threshold is None else part >= threshold
        return answer

    def find_instances(
        self,
        image: Picture,
        *,
        score: float = 0.5,
        threshold: float | None = 0.5,
        overlap: float = 0.5,
        tile: int | tuple[int, ...] | None = None,
    ) -> detection.Found:
        """Finds the objects of a picture of any size, and the mask of each.

        For networks that find objects, as `kerasdeconv.models.InstanceSegmenter` does.

        Args:
            image: As for `predict`, one picture.
            score: Least score of an object.
            threshold: Least probability of a pixel of an object, or None for probabilities.
            overlap: Two boxes whose intersection over union is greater are one object.
            tile: As for `predict_tiled`; objects larger than half a tile may be missed.

        Returns:
            Masks of the whole picture, (K, H, W), bool, or float32 without a threshold; boxes,
            (K, 4); and scores, (K,), the surest first.

        Raises:
            As for `predict_tiled`, and ValueError for a network that finds no objects.
        """
        batch, single = self._batch(image)
        if not single or batch.ndim != 4:
            raise ValueError(f"find_instances takes one picture. Received: shape {batch.shape}")
        return detection.find(
            self,
            pictures.to_network(batch, self.convention.color)[0],
            score=score,
            threshold=threshold,
            overlap=overlap,
            tile=tile,
        )

    def tile_sides(self, tile: int | tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Height and width, depth first for volumes, of the tiles that a picture is run in.

        Raises:
            ValueError: The network does not take this tile.
        """
        sides = self.input_shape[1:-1]
        free = _FREE_TILE if len(sides) < 3 else _FREE_VOLUME
        if tile is None:
            return tuple(side or free for side in sides)
        tile = (tile,) * len(sides) if isinstance(tile, int) else tuple(tile)
        if len(tile) != len(sides) or any(
            side not in (None, want) for side, want in zip(sides, tile, strict=True)
        ):
            raise ValueError(
                f"The network takes tiles of {_sides(sides)}. Received: {_sides(tile)}"
            )
        return tile

    def _radius(self, tile: tuple[int, ...]) -> int:
        if self.convention.halo is None:
            return max(tile)
        return max(self.convention.halo, _BICUBIC_RADIUS if self.convention.color == "y" else 0)

    def _batch(self, image: Picture) -> tuple[np.ndarray, bool]:
        """The pictures with a batch dimension, checked, and whether there was but one."""
        if self.convention.color is None:
            if pictures.is_file_or_image(image):
                raise ArtifactError(
                    "Nothing says what the network's input channels are (convention.color): open "
                    "it with `convention`, or pass an array. "
                    f"Received: {type(image).__name__}"
                )
            array = pictures.load(image, "RGB")
            single = array.ndim == len(self.input_shape) - 1
            batch = array[None] if single else array
            if batch.ndim != len(self.input_shape) or (
                self.input_shape[-1] not in (None, batch.shape[-1])
            ):
                raise ValueError(
                    f"The network takes arrays {self.input_shape}. Received: shape {array.shape}"
                )
        else:
            batch, single = pictures.to_batch(image, self.convention)
        # A luma network has its range in luma, but its pictures are ordinary ones.
        luma = self.convention.color == "y"
        check_values(batch, (0.0, 255.0) if luma else self.convention.value_range)
        return batch, single

    def _answer(self, batch: np.ndarray) -> np.ndarray:
        convention = self.convention
        output = self.run_batch(pictures.to_network(batch, convention.color))
        if convention.task == "super-resolution":
            pairs = zip(batch, output, strict=True)
            return np.stack([pictures.from_network(*pair, convention) for pair in pairs])
        if convention.output == "labels" and output.ndim == 4 and output.shape[-1] == 1:
            return output[..., 0]
        return output

    def run_batch(self, *batches: np.ndarray) -> np.ndarray:
        """The first output of `run_many`."""
        return self.run_many(*batches)[0]

    def run_many(self, *batches: np.ndarray) -> list[np.ndarray]:
        """Runs any number of samples through a network that may take a fixed number at once.

        Args:
            *batches: One array an input, all with as many samples.
        """
        fixed = self.input_shape[0]
        size, answers = fixed or _AT_ONCE, []
        for start in range(0, len(batches[0]), size):
            parts = [batch[start : start + size] for batch in batches]
            got = len(parts[0])
            if fixed:
                missing = fixed - got
                parts = [np.concatenate([p, np.repeat(p[-1:], missing, axis=0)]) for p in parts]
            answers.append([output[:got] for output in self.run(*parts)])
        return [np.concatenate(output) for output in zip(*answers, strict=True)]


class FilePredictor(Predictor):
    """Runs an exported file.

    One predictor serves one thread at a time.

    Attributes:
        path: The file.
        metadata: What its export wrote into it, or None.
        inputs: Its input tensors, in the Keras model's order.
        outputs: Its output tensors, in the Keras model's order.
    """

    def __init__(
        self,
        path: str | Path,
        inputs: tuple[Door, ...],
        outputs: tuple[Door, ...],
        metadata: dict[str, Any] | None,
        convention: Convention | None,
    ) -> None:
        """Checks that the convention fits the file.

        Raises:
            ArtifactError: It does not, or the file has no input or no output.
        """
        self.path = Path(path)
        self.metadata = metadata
        self.inputs = inputs
        self.outputs = outputs
        if not inputs or not outputs:
            raise ArtifactError(f"The network has no input or no output. Received: {str(path)!r}")
        convention = convention or file_convention(metadata, path) or Convention()
        shape = inputs[0].shape
        channels = pictures.CHANNELS.get(convention.color or "")
        if channels and (len(shape) != 4 or shape[-1] not in (None, channels)):
            raise ArtifactError(
                f"A network for {convention.color!r} pictures takes (N, H, W, {channels}), this "
                f"file {shape}: channels last, whatever the format. Received: {str(path)!r}"
            )
        super().__init__(convention, *(door.shape for door in inputs))

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the file once. See `Predictor.run`."""
        answers = self.invoke(self.encode(*inputs))
        return [door.decode(answer) for door, answer in zip(self.outputs, answers, strict=True)]

    @property
    def _folds(self) -> bool:
        """Whether the file takes volumes as pictures, their depth folded into the batch."""
        return bool((self.metadata or {}).get("folded_volumes"))

    def encode(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Turns arrays in the network's own units into what the file takes. Raises as `run`."""
        if len(inputs) != len(self.inputs):
            names = [door.name for door in self.inputs]
            raise ValueError(f"The network takes the inputs {names}. Received: {len(inputs)}")
        stored: list[np.ndarray] = []
        for door, given in zip(self.inputs, inputs, strict=True):
            values = pictures.load(given, "RGB")
            if self._folds and values.ndim == 5 and len(door.shape) == 4:
                values = values.reshape(-1, *values.shape[2:])
            if not door.accepts(values.shape):
                raise ValueError(
                    f"The input {door.name!r} takes {door.shape}. Received: shape {values.shape}"
                )
            check_values(values, None if stored else self.convention.value_range)
            stored.append(door.encode(values))
        return stored

    @abc.abstractmethod
    def invoke(self, stored: list[np.ndarray]) -> list[np.ndarray]:
        """Runs arrays of the doors' own types; outputs in the order of `outputs`."""

    def again(self, stored: list[np.ndarray]) -> Callable[[], object]:
        """What repeats the last `invoke`, of these arrays, with the least around it: for timing."""
        return functools.partial(self.invoke, stored)


def check_values(values: np.ndarray, value_range: tuple[float, float] | None) -> None:
    """Refuses values that a network was not made for.

    Raises:
        ValueError: A value is not finite, or outside the range.
    """
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ValueError("Values must be finite. Received: NaN or infinity")
    if value_range is None or not values.size:
        return
    low, high = value_range
    least, greatest = float(values.min()), float(values.max())
    slack = 1e-5 * (high - low)  # float32 rounding of a value that lies on the limit
    if least < low - slack or greatest > high + slack:
        raise ValueError(
            f"Values must be in [{low:g}, {high:g}]. Received: {least:g} to {greatest:g}"
        )


def _sides(sides: tuple[int | None, ...]) -> str:
    return " x ".join("any" if side is None else str(side) for side in sides)
