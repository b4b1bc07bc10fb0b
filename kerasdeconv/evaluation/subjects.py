"""What can be measured: Keras models, zoo entries and files, asked in one way."""

from __future__ import annotations

import zipfile
from pathlib import Path

import keras
import numpy as np

from kerasdeconv import runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.errors import DataError
from kerasdeconv.sizes import nearest_sizes


class KerasPredictor(runtime.Predictor):
    """Asks a Keras model as the runtime asks a file.

    Args:
        model: A model whose first input is pictures, channels last.
        convention: How to feed it; by default what the zoo knows of it.

    Raises:
        ValueError: Nothing says how to feed the model.
    """

    def __init__(self, model: keras.Model, convention: Convention | None = None) -> None:
        convention = convention or zoo.convention_of(model)
        if convention is None:
            raise ValueError(
                f"A model that is not from the zoo needs a convention. Received: {model.name!r}"
            )
        super().__init__(convention, *(tuple(tensor.shape) for tensor in model.inputs))
        self.model = model
        self._tiles: dict[tuple[int, ...], tuple[int, ...]] = {}

    def run(self, *inputs: np.ndarray) -> list[np.ndarray]:
        """Runs the model once. See `Predictor.run`."""
        if len(inputs) != len(self.input_shapes):
            names = [tensor.name for tensor in self.model.inputs]
            raise ValueError(f"The network takes the inputs {names}. Received: {len(inputs)}")
        arrays = [values.astype(np.float32) for values in inputs]
        # A model with several inputs may take them in a list or by name.
        several = len(arrays) > 1
        answer = self.model.predict_on_batch(
            keras.tree.pack_sequence_as(self.model.input, arrays) if several else arrays[0]
        )
        return [np.asarray(part) for part in keras.tree.flatten(answer)]

    def tile_for(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        """The least size that the model can take at once, not smaller than a picture or volume.

        An encoder that rounds up may make 368 pixels of 367: then it is the size of the answer.
        """
        if sides not in self._tiles:  # the search asks every layer, size by size
            self._tiles[sides] = self._search(sides)
        return self._tiles[sides]

    def _search(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        fixed = tuple(side for side in self.input_shape[1:-1] if side is not None)
        if len(fixed) == len(self.input_shape) - 2:
            return fixed
        tile = self._accepted(sides)
        if len(self.input_shapes) > 1:
            return tile
        shape = self.model.compute_output_shape((1, *tile, self.input_shape[-1]))
        first = shape if isinstance(shape, tuple) else shape[0]
        answer = tuple(side // self.convention.scale for side in first[1 : 1 + len(tile)])
        rounded_up = any(got > given for got, given in zip(answer, tile, strict=True))
        return self._accepted(answer) if rounded_up else tile

    def _accepted(self, sides: tuple[int, ...]) -> tuple[int, ...]:
        above = nearest_sizes(self.model, sides)[-1:]
        if not above:
            raise DataError(
                f"The model {self.model.name!r} takes no size near this one. "
                f"Received: {' x '.join(map(str, sides))}"
            )
        return above[0]


def as_predictor(
    subject: keras.Model | str | Path | runtime.Predictor, convention: Convention | None = None
) -> runtime.Predictor:
    """Opens whatever can be asked: a model, a zoo entry's name, or a file."""
    if isinstance(subject, runtime.Predictor):
        return subject
    if isinstance(subject, keras.Model):
        return KerasPredictor(subject, convention)
    if str(subject).endswith((".tflite", ".onnx")):
        return runtime.open(subject, convention=convention)
    if str(subject).endswith(".keras"):
        return KerasPredictor(read_model(subject), convention)
    return KerasPredictor(zoo.load(str(subject)), convention)


def read_model(path: str | Path) -> keras.Model:
    """Reads a .keras file.

    Raises:
        DataError: The file is missing or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No such model file. Received: {str(path)!r}")
    if not zipfile.is_zipfile(path):
        raise DataError(f"Not a .keras file, or a damaged one. Received: {str(path)!r}")
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().split(". ", maxsplit=1)[0].splitlines()
        raise DataError(
            f"Not a readable Keras model ({' '.join(reason) or type(error).__name__}). "
            f"Received: {str(path)!r}"
        ) from None


def tile_of(predictor: runtime.Predictor, image: np.ndarray) -> tuple[int, ...] | None:
    """The tile to ask with: a Keras model sees a picture whole, a file in tiles of its own size."""
    if isinstance(predictor, KerasPredictor):
        return predictor.tile_for(image.shape[: len(predictor.input_shape) - 2])
    return None
