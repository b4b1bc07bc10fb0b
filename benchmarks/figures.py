"""The figures that the lowering is held to: small networks, each with a bar to clear.

Each case is a Keras network that is exported and converted the stock way, see
`kerasdeconv.benchmark.compare`. `benchmarks/run.py` runs them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from kerasdeconv import analysis, export, models, runtime
from kerasdeconv.benchmark import SAMPLES, Comparison, compare
from kerasdeconv.convention import Convention
from kerasdeconv.export import timing
from kerasdeconv.random_weights import scale_weights

LITERT, ORT = "android-cpu", "onnxruntime-cpu"
_DOORS = {LITERT: "int8", ORT: "uint8"}  # what each runtime computes in, so nothing converts
_CLASSES = Convention(task="segmentation", output="probabilities", labels=("no", "yes"))
_NEVER_SLOWER = 0.97  # two runs of one file differ by so much
_ROUNDS = 3  # of the files whose rates are compared


@dataclasses.dataclass(frozen=True)
class Figure:
    """One row: a ratio of stock to ours, or another measure, with the bar that it is held to.

    Attributes:
        what: The network.
        target: For which it was made.
        precision: In which.
        value: What is held to the bar; None where there is nothing to divide.
        bar: The bar, None where it is enough that it converts and runs.
        unit: "x", "% of a plain convolution", "s" or "x the weights".
        at_most: Whether the value must not exceed the bar, instead of reaching it.
        stock_ms: Median of the stock file.
        ours_ms: Median of the export.
        note: What a table must not hide.
        met: Whether the bar is met.
    """

    what: str
    target: str
    precision: str
    value: float | None
    bar: float | None
    unit: str = "x"
    at_most: bool = False
    stock_ms: float | None = None
    ours_ms: float | None = None
    note: str = ""
    met: bool = False


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and its bars.

    Attributes:
        what: What it is.
        build: Makes it, with all sides known; or the name of a zoo entry.
        bars: Least ratio on LiteRT, by precision.
        upsamples: Whether it holds transposed convolutions, which ONNX Runtime's stock int8 leaves
            in float.
        ort: Whether it is run in ONNX Runtime, too.
        classes: Whether it classifies.
        ort_int8: The network for ONNX Runtime's int8, where that has no integer operator for a part
            of the other; None where it is the same.
    """

    what: str
    build: Callable[[], keras.Model] | str
    bars: Mapping[str, float | None]
    upsamples: bool = True
    ort: bool = True
    classes: bool = False
    ort_int8: Callable[[], keras.Model] | None = None


def _transposed(side: int, channels: int, filters: int, kernel: int, stride: int) -> keras.Model:
    """One transposed convolution with bias and ReLU."""
    inputs = keras.Input((side, side, channels))
    layer = keras.layers.Conv2DTranspose(
        filters, kernel, strides=stride, padding="same", activation="relu", name="up"
    )
    return keras.Model(inputs, layer(inputs))


def _nearest(side: int, channels: int, filters: int) -> keras.Model:
    """A nearest-neighbour resize by 2 and a 3 x 3 convolution with ReLU."""
    inputs = keras.Input((side, side, channels))
    x = keras.layers.UpSampling2D(2, name="resize")(inputs)
    x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name="conv")(x)
    return keras.Model(inputs, x)


def _dcgan(kernel: int, activation: str | None = "tanh") -> keras.Model:
    """The generator of DCGAN (Radford et al., https://arxiv.org/abs/1511.06434) from 4 x 4 on.

    ONNX Runtime has no integer tanh: there the last activation is left out.
    """
    inputs = x = keras.Input((4, 4, 512))
    for filters in (256, 128, 64):
        x = keras.layers.Conv2DTranspose(
            filters, kernel, strides=2, padding="same", use_bias=False
        )(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU()(x)
    x = keras.layers.Conv2DTranspose(
        3, kernel, strides=2, padding="same", activation=activation, name="picture"
    )(x)
    return keras.Model(inputs, x)


def _unet(kernel: int) -> keras.Model:
    """A padded U-Net of width 16 with BatchNorm, its transposed convolutions of a kernel."""
    model = models.UNet((256, 256, 3), 2, width=16, depth=4, padding="same", norm="batch")

    def copy(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, keras.layers.Conv2DTranspose):
            config["kernel_size"] = (kernel, kernel)
        return type(layer).from_config(config)

    return keras.models.clone_model(model, clone_function=copy)


def _unet_of_volumes(side: int, pooling: str) -> keras.Model:
    """A padded U-Net of width 16 and depth 3 on volumes; "conv" is its twin without max pooling."""
    shape: Any = (side, side, side, 1)  # the builder takes volumes, too
    return models.UNet(shape, 2, width=16, depth=3, padding="same", norm="batch", pooling=pooling)


def _convolution() -> keras.Model:
    """What a rate of multiply-accumulates is held against."""
    inputs = keras.Input((64, 64, 64))
    layer = keras.layers.Conv2D(64, 3, padding="same", activation="relu", name="conv")
    return keras.Model(inputs, layer(inputs))


def _both(bar: float) -> dict[str, float | None]:
    return {"float32": bar, "int8": bar}


_LAYERS: list[tuple[int, int, int, int, int, dict[str, float | None]]] = [
    # side, channels, filters, kernel, stride, bars
    (64, 64, 32, 2, 2, _both(1.4)),
    (64, 64, 32, 3, 2, _both(1.4)),
    (64, 64, 32, 4, 2, _both(1.4)),
    (128, 32, 16, 4, 2, _both(1.4)),
    (128, 16, 8, 2, 2, _both(1.4)),
    (256, 56, 1, 9, 3, {"float32": 20.0, "int8": 12.0}),
]
CASES = [
    *(
        Case(
            f"transposed convolution {side}x{side}x{channels} -> {filters}, k{kernel} s{stride}",
            functools.partial(_transposed, side, channels, filters, kernel, stride),
            bars,
        )
        for side, channels, filters, kernel, stride, bars in _LAYERS
    ),
    Case("FSRCNN x3, 128x128", "fsrcnn_x3", {"float32": 6.0, "int8": 5.0}),
    *(
        Case(
            f"nearest x2 and 3x3, {side}x{side}x{channels} -> {filters}",
            functools.partial(_nearest, side, channels, filters),
            _both(1.7),
            upsamples=False,
        )
        for side, channels, filters in ((64, 64, 32), (32, 128, 64))
    ),
    *(
        Case(
            f"DCGAN decoder 4x4x512 -> 64x64x3, k{kernel}",
            functools.partial(_dcgan, kernel),
            {"float32": 1.8, "int8": 1.4},
            ort_int8=functools.partial(_dcgan, kernel, None),
        )
        for kernel in (4, 5)
    ),
    *(
        Case(
            f"U-Net 256x256, width 16, k{kernel}",
            functools.partial(_unet, kernel),
            _both(bar),
            classes=True,
        )
        for kernel, bar in ((2, 1.03), (4, 1.1))
    ),
    Case(
        "3D U-Net 32^3, strided",
        functools.partial(_unet_of_volumes, 32, "conv"),
        {"float32": 2.2, "int8": 9.0},
        classes=True,
    ),
    Case(
        "3D U-Net 64^3, strided",
        functools.partial(_unet_of_volumes, 64, "conv"),
        {"float32": 1.9, "int8": 7.0},
        ort=False,
        classes=True,
    ),
    Case(
        "3D U-Net 32^3, max pooling",
        functools.partial(_unet_of_volumes, 32, "max"),
        {"float32": None, "int8": None},
        ort=False,
        classes=True,
    ),
]
_RATES = {
    "U-Net 256x256, width 16, k2": functools.partial(_unet, 2),
    "3D U-Net 32^3, strided": functools.partial(_unet_of_volumes, 32, "conv"),
}


def runs_of(case: Case) -> list[tuple[str, str, float | None]]:
    """The targets and precisions that a case is run in, with its bars."""
    wanted = [(LITERT, precision, bar) for precision, bar in case.bars.items()]
    if case.ort:
        wanted.append((ORT, "float32", _NEVER_SLOWER))
    if case.ort and case.upsamples:
        wanted.append((ORT, "int8", 1.0))
    return wanted


def measure(case: Case) -> Iterator[Figure]:
    """Runs a case, target by target and precision by precision."""
    for target, precision, bar in runs_of(case):
        yield _figure(case, target, precision, bar)


def _figure(case: Case, target: str, precision: str, bar: float | None) -> Figure:
    what, build = case.what, case.build
    if (target, precision) == (ORT, "int8") and case.ort_int8 is not None:
        what, build = f"{what}, without tanh", case.ort_int8
    if isinstance(build, str):
        result = compare(build, target=target, precision=precision)
    else:
        convention = _CLASSES if case.classes else Convention()
        model, samples = _prepared(build, convention)
        result = compare(
            model,
            target=target,
            precision=precision,
            calibration=samples,
            convention=convention,
            door=_DOORS[target] if precision == "int8" else None,
        )
    return judged(what, result, bar)


def judged(what: str, result: Comparison, bar: float | None) -> Figure:
    """Holds a comparison to its bar; without one it is enough that the export runs."""
    met = result.ours_ms is not None
    if bar is not None:
        met = result.ratio is not None and result.ratio >= bar
    notes = [note for note in result.notes() if note != "random weights"]
    return Figure(
        what,
        result.target,
        result.precision,
        result.ratio,
        bar,
        stock_ms=result.stock_ms,
        ours_ms=result.ours_ms,
        note="; ".join(notes),
        met=met,
    )


def _prepared(
    build: Callable[[], keras.Model], convention: Convention
) -> tuple[keras.Model, list[np.ndarray]]:
    """A network with weights that suit integers, and samples of seeded noise."""
    keras.utils.set_random_seed(0)
    model = build()
    rng = np.random.default_rng(0)
    shape = (1, *model.inputs[0].shape[1:])
    samples = [rng.normal(size=shape).astype(np.float32) for _ in range(SAMPLES)]
    scale_weights(model, samples[0], convention)
    return model, samples


def measure_rates() -> Iterator[Figure]:
    """Multiply-accumulates a second of whole int8 networks against a plain 3 x 3 convolution."""
    with tempfile.TemporaryDirectory() as folder:
        builds: dict[str, Callable[[], keras.Model]] = {"convolution": _convolution, **_RATES}
        made = {
            what: _rated(build, f"{folder}/{i}") for i, (what, build) in enumerate(builds.items())
        }
        times: dict[str, list[float]] = {what: [] for what in made}
        for _ in range(_ROUNDS):
            for what, (predictor, sample, _) in made.items():
                times[what] += timing.medians([predictor], [sample])[0]
    medians = {what: float(np.median(kept)) for what, kept in times.items()}
    rates = {what: made[what][2] / medians[what] / 1e6 for what in made}  # GMAC/s
    plain = rates.pop("convolution")
    for what, rate in rates.items():
        share = 100 * rate / plain
        yield Figure(
            f"{what}: multiply-accumulates a second",
            LITERT,
            "int8",
            share,
            75.0,
            unit="% of a plain convolution",
            ours_ms=medians[what],
            note=f"{rate:.0f} against {plain:.0f} GMAC/s",
            met=share >= 75.0,
        )


def _rated(
    build: Callable[[], keras.Model], folder: str
) -> tuple[runtime.FilePredictor, np.ndarray, int]:
    """An int8 file, a sample for it, and the network's multiply-accumulates."""
    convention = Convention() if build is _convolution else _CLASSES
    model, samples = _prepared(build, convention)
    report = export.export(
        model,
        folder,
        target=LITERT,
        precision="int8",
        calibration=samples,
        convention=convention,
        door="int8",
    )
    return runtime.open(report.artifact), samples[0], analysis.costs(model).known_macs


# In a process of its own. Its peak of memory is set back before, since a new process starts with
# that of the one that made it.
_LOWERING = """
import json, re, time
from pathlib import Path
from kerasdeconv import export, models
model = models.UNet((256, 256, 1), padding="same", norm="batch")
def memory(kind):
    found = re.search(rf"{kind}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])
Path("/proc/self/clear_refs").write_text("5")
before = memory("VmRSS")
start = time.perf_counter()
lowered = export.lower(model, "android-cpu", (256, 256))
seconds = time.perf_counter() - start
peak = memory("VmHWM")
weights = 4 * model.count_params()
print(json.dumps({"seconds": seconds, "extra": max(0, peak - before), "weights": weights}))
"""


def measure_lowering() -> Iterator[Figure]:
    """Time and memory that lowering U-Net's 31 million weights takes. Linux alone tells memory."""
    done = subprocess.run(
        [sys.executable, "-c", _LOWERING], capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    what, megabytes = "lowering a U-Net of 31 million weights", found["extra"] / 1e6
    times = found["extra"] / found["weights"]
    yield Figure(
        f"{what}: time",
        LITERT,
        "float32",
        found["seconds"],
        10.0,
        unit="s",
        at_most=True,
        met=found["seconds"] <= 10.0,
    )
    yield Figure(
        f"{what}: peak extra memory",
        LITERT,
        "float32",
        times,
        3.0,
        unit="x the weights",
        at_most=True,
        note=f"{megabytes:.0f} MB on top of the model, whose weights are "
        f"{found['weights'] / 1e6:.0f} MB",
        met=times <= 3.0,
    )
