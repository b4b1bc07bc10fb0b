"""Representative samples: what an integer export learns its ranges from."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.data.volumes import fit_volume, list_volumes, normalize, read_volume
from kerasdeconv.errors import DataError
from kerasdeconv.imaging import list_images, read_image
from kerasdeconv.runtime.pictures import to_batch, to_network

COUNT = 100  # samples that are used at most, unless told otherwise


def samples_from(
    source: Any,
    shape: tuple[int, ...],
    convention: Convention,
    *,
    count: int = COUNT,
    seed: int = 0,
) -> list[np.ndarray]:
    """Reads samples for calibration or verification.

    Args:
        source: A folder of pictures (of scans for volumes, which are normalized), an array of N
            samples, or a data set, generator or any other iterable of samples: arrays with or
            without the batch axis, of batch 1 or more, alone or first in a tuple with labels.
        shape: Shape of the network's input, batch included.
        convention: What the input means.
        count: How many samples are used at most.
        seed: Which tiles of the pictures of a folder are used, or which scans.

    Returns:
        Samples of the network's input shape with batch 1, float32.

    Raises:
        DataError: There is no sample, or one has a wrong shape or value range.
    """
    if isinstance(source, str | Path):
        samples = _from_folder(Path(source), shape, convention, count, seed)
    elif isinstance(source, keras.utils.PyDataset):
        batches = (source[i] for i in range(len(source)))
        samples = list(itertools.islice(_from_arrays(batches, shape), count))
    elif isinstance(source, Iterable):
        samples = list(itertools.islice(_from_arrays(source, shape), count))
    else:
        raise TypeError(
            "Samples are a folder, an array, a data set, or an iterable of arrays. "
            f"Received: {type(source).__name__}"
        )
    if not samples:
        raise DataError("There is no sample. Received: an empty source")
    _check_range(samples, convention)
    return samples


def samples_of_several(
    source: Any, shapes: Sequence[tuple[int, ...]], *, count: int = COUNT
) -> list[list[np.ndarray]]:
    """Reads samples for a network with several inputs.

    Args:
        source: An iterable of samples, each a list of one array an input, in the order of the
            inputs, with or without the batch axis.
        shapes: Shape of each input, batch of 1 included.
        count: How many samples are used at most.

    Returns:
        Samples of one float32 array an input, with batch 1.

    Raises:
        DataError: There is no sample, or one has a wrong number of arrays or a wrong shape.
        TypeError: It is no such iterable.
    """
    if isinstance(source, str | Path) or not isinstance(source, Iterable):
        raise TypeError(
            "Samples for several inputs are an iterable of lists of arrays. "
            f"Received: {type(source).__name__}"
        )
    samples = []
    for item in itertools.islice(source, count):
        if not isinstance(item, tuple | list) or len(item) != len(shapes):
            got = len(item) if isinstance(item, tuple | list) else type(item).__name__
            raise DataError(f"A sample must be a list of {len(shapes)} arrays. Received: {got}")
        parts = [_batch(part, shape) for part, shape in zip(item, shapes, strict=True)]
        if any(len(part) != 1 for part in parts):
            raise DataError(
                f"A sample must have a batch of 1. Received: {[part.shape for part in parts]}"
            )
        samples.append([part.astype(np.float32) for part in parts])
    if not samples:
        raise DataError("There is no sample. Received: an empty source")
    return samples


def from_pictures(
    pictures: Iterable[np.ndarray], shape: tuple[int, ...], convention: Convention
) -> Iterable[np.ndarray]:
    """Cuts pictures into inputs of a network: tiles side by side, borders repeated if too small."""
    height, width = shape[1:3]
    for picture in pictures:
        batch, _ = to_batch(picture, convention)
        channels = to_network(batch, convention.color)[0]
        below, right = (
            max(0, need - have)
            for need, have in zip((height, width), channels.shape[:2], strict=True)
        )
        channels = np.pad(channels, ((0, below), (0, right), (0, 0)), mode="edge")
        for y in range(0, channels.shape[0] - height + 1, height):
            for x in range(0, channels.shape[1] - width + 1, width):
                yield channels[None, y : y + height, x : x + width].astype(np.float32)


def span_range(samples: list[np.ndarray], convention: Convention) -> list[np.ndarray]:
    """Stretches the first sample to the whole value range of the input.

    So the quantized input covers the range exactly (for pixels: scale 1, so that camera bytes go
    straight in), whichever pictures were at hand.
    """
    if convention.value_range is None:
        return samples
    low, high = convention.value_range
    first = samples[0]
    spread = float(first.max() - first.min())
    if spread == 0:
        first = np.linspace(low, high, first.size, dtype=np.float32).reshape(first.shape)
    else:
        first = low + (first - first.min()) * np.float32((high - low) / spread)
    return [np.clip(first, low, high).astype(np.float32), *samples[1:]]


def _from_folder(
    folder: Path, shape: tuple[int, ...], convention: Convention, count: int, seed: int
) -> list[np.ndarray]:
    inner = next((folder / n for n in ("images", "HR") if (folder / n).is_dir()), folder)
    volumes = len(shape) == 5 and shape[-1] == 1
    if not volumes and (convention.color is None or len(shape) != 4):
        raise DataError(
            "Pictures can only calibrate a network whose convention names the colour of its "
            f"input; give arrays, or a convention. Received: {str(folder)!r}"
        )
    paths = list_volumes(inner) if volumes else list_images(inner)
    paths = [paths[i] for i in np.random.default_rng(seed).permutation(len(paths))]
    if volumes:
        scans = [normalize(read_volume(path)) for path in paths[:count]]
        return [fit_volume(scan, shape[1:-1])[None, ..., None] for scan in scans]
    # A tile of every picture first, then the second tiles, and so on.
    tiles = [list(from_pictures([read_image(path)], shape, convention)) for path in paths[:count]]
    mixed = itertools.chain.from_iterable(itertools.zip_longest(*tiles))
    return list(itertools.islice((tile for tile in mixed if tile is not None), count))


def _from_arrays(source: Iterable[Any], shape: tuple[int, ...]) -> Iterable[np.ndarray]:
    for item in source:
        value = item[0] if isinstance(item, tuple | list) else item  # (image, label) pairs too
        for sample in _batch(value, shape):
            yield sample[None].astype(np.float32)


def _batch(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """An array with its batch axis, checked."""
    array = np.asarray(value)
    batch = array[None] if array.ndim == len(shape) - 1 else array
    if batch.shape[1:] != tuple(shape[1:]):
        raise DataError(
            f"A sample must have the shape {tuple(shape[1:])}, with or without a batch axis. "
            f"Received: {array.shape}"
        )
    if not np.issubdtype(batch.dtype, np.number) or not np.isfinite(batch).all():
        raise DataError(f"A sample must hold finite numbers. Received: {array.dtype}")
    return batch


def _check_range(samples: list[np.ndarray], convention: Convention) -> None:
    if convention.value_range is None:
        return
    low, high = convention.value_range
    least, most = (float(f([f(s) for s in samples])) for f in (np.min, np.max))
    if least < low or most > high:
        raise DataError(
            f"Samples must be in [{low:g}, {high:g}]. Received: values from {least:g} to {most:g}"
        )
    if most - least <= (high - low) / 100:
        raise DataError(
            f"Samples must use the range [{low:g}, {high:g}]: these look as if they were scaled "
            f"already, or blank. Received: values from {least:g} to {most:g}"
        )
