"""`quantize_report`: what int8 costs a network, layer by layer, before anything is exported."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras
import numpy as np

from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError
from kerasdeconv.export.artifact import origin_of
from kerasdeconv.export.calibration import COUNT
from kerasdeconv.export.candidates import Prepared, prepare_lowered
from kerasdeconv.export.job import (
    Job,
    check_arguments,
    default_door,
    find_samples,
    resolve,
    shapes_of,
)
from kerasdeconv.export.quantization.noise import Noise
from kerasdeconv.export.quantization.report import LayerReport, QuantizationReport
from kerasdeconv.export.quantization.simulation import Simulation
from kerasdeconv.export.report import versions
from kerasdeconv.export.targets import load_target
from kerasdeconv.export.verification import span

MEASURED = 8  # samples that losses are measured on, as many as an export is verified on


def quantize_report(
    model: keras.Model | str,
    *,
    target: str = "android-cpu",
    size: Sequence[int] | None = None,
    calibration: Any = None,
    count: int = COUNT,
    measured: int = MEASURED,
    seed: int = 0,
    ranges: str = "minmax",
    like: str | None = None,
    convention: Convention | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> QuantizationReport:
    """Measures what int8 costs a network, layer by layer.

    The model is lowered as `export` lowers it without timing, and its layers are rounded one by one
    in a simulation, so that no file is made. A layer is rounded with its kernel and its output; the
    inputs belong to no layer and count in the figure for everything alone.

    Args:
        model: A functional or Sequential Keras model, or the name of a zoo entry.
        target: For which target, see `kerasdeconv.export.target_names()`.
        size: Height and width (depth first for volumes); an entry's own by default.
        calibration: Representative input, as for `export`.
        count: How many samples are used at most, as for `export`.
        measured: How many of them the losses are measured on, at most.
        seed: Which of them, and which tiles of a folder's pictures.
        ranges: "minmax", as `export` has it, "percentile", "entropy" or "mse".
        like: A zoo entry whose convention, size and samples the model shares.
        convention: What goes in and comes out, for a model that is not from the zoo.
        progress: Called with a few words before each step.

    Raises:
        DataError: The calibration data cannot be used.
        ExportError: There is no calibration data, or the model gives NaN.
        LoweringError: The model is not functional or was never built.
        TargetError: No such target, or it does not take int8.
        UnknownModel: The zoo has no such entry.
        ValueError: An argument is wrong, or the network cannot take the size.

    Example:
        >>> report = quantize_report("unet", target="android-cpu")
        >>> report.ranking()[0]
        'encoder_0_0_conv'
    """
    chosen = load_target(target)
    if measured < 1:
        raise ValueError(f"measured must be 1 or more. Received: {measured}")
    progress("loading")
    subject = resolve(model, convention, like)
    check_arguments(subject, chosen, "int8", ranges=ranges)
    shapes = shapes_of(subject, size, 1)
    samples = find_samples(subject, "int8", calibration, shapes, count=count, seed=seed)
    job = Job(
        subject=subject,
        target=chosen,
        precision="int8",
        door=default_door(subject, chosen, "int8"),
        shapes=shapes,
        head=None,
        samples=samples,
        allow_float=(),
        ranges=ranges,
        seed=seed,
    )
    prepared = prepare_lowered(job, tune=False, progress=progress)
    progress("taking ranges")
    simulation = _simulated(job, prepared)
    if not simulation.outputs:
        raise ValueError(
            f"The model puts out no float numbers to compare. Received: {subject.model.name!r}"
        )
    chosen_samples = _some(job, prepared, measured)
    costs, everything = _measure(simulation, chosen_samples, progress)
    kinds = [subject.convention.output, *["tensor"] * (len(simulation.outputs) - 1)]
    rows = [
        LayerReport(
            layer=origin_of(layer, job.layers) or layer,
            lowered=layer,
            kind=simulation.kinds[layer],
            weights_sqnr_db=cost.weights.sqnr if cost.weights.count else None,
            activations_sqnr_db=cost.activations.sqnr,
            range=simulation.bounds(layer)[-1],
            output_sqnr_db=min(noise.sqnr for noise in cost.outputs),
            output_psnr_db=_psnr(cost.outputs, kinds),
        )
        for layer, cost in costs.items()
    ]
    return QuantizationReport(
        model=subject.card.name if subject.card else subject.name,
        target=chosen.name,
        format=chosen.format,
        ranges=ranges,
        input_shapes=shapes,
        calibration={"source": samples.source, "samples": len(samples.values)},
        measured=len(chosen_samples),
        layers=sorted(rows, key=lambda row: (row.output_psnr_db, row.output_sqnr_db)),
        output_sqnr_db=min(noise.sqnr for noise in everything),
        output_psnr_db=_psnr(everything, kinds),
        versions=versions(),
    )


def rank(job: Job, prepared: Prepared) -> list[str]:
    """Names of a job's layers, each once, the one that costs most in int8 first."""
    simulation = _simulated(job, prepared)
    costs, _ = _measure(simulation, _some(job, prepared, MEASURED), lambda step: None)
    kinds = [job.subject.convention.output, *["tensor"] * (len(simulation.outputs) - 1)]
    worst = sorted(costs, key=lambda layer: _psnr(costs[layer].outputs, kinds))
    origins = (origin_of(layer, job.layers) for layer in worst)
    return list(dict.fromkeys(origin for origin in origins if origin))


def _simulated(job: Job, prepared: Prepared) -> Simulation:
    """The lowered model with the ranges that an export would give it."""
    simulation = Simulation(
        prepared.model, job.target.format, pixels=job.pixels, kernels=prepared.kernels
    )
    simulation.calibrate(job.samples_for(prepared.model), job.ranges)
    return simulation


def _some(job: Job, prepared: Prepared, count: int) -> list[Any]:
    """A few of the samples, drawn at random."""
    samples = job.samples_for(prepared.model)
    order = np.random.default_rng(job.seed).permutation(len(samples))[:count]
    return [samples[i] for i in order]


@dataclasses.dataclass
class _Cost:
    """What was measured of a layer."""

    weights: Noise
    activations: Noise
    outputs: list[Noise]


def _measure(
    simulation: Simulation, samples: Sequence[Any], progress: Callable[[str], None]
) -> tuple[dict[str, _Cost], list[Noise]]:
    """Rounds each layer alone, and everything.

    Raises:
        ExportError: The model gives NaN or infinity.
    """
    costs = {layer: _Cost(Noise(), Noise(), _outputs(simulation)) for layer in simulation.layers}
    everything = _outputs(simulation)
    for layer, cost in costs.items():
        for kernel, rounded in simulation.kernels(layer):
            cost.weights.add(kernel, rounded)
    for number, sample in enumerate(samples, 1):
        progress(f"rounding layer by layer, sample {number} of {len(samples)}")
        floats = simulation.floats(sample)
        meant = simulation.run(floats, ())
        if not all(np.isfinite(array).all() for array in meant):
            raise ExportError(f"The model gives NaN or infinity. Received: sample {number}")
        for layer, cost in costs.items():
            for array, rounded in simulation.rounding(floats, layer):
                cost.activations.add(array, rounded)
            _compare(cost.outputs, meant, simulation.run(floats, (layer,)))
        _compare(everything, meant, simulation.run(floats, inputs=True))
    return costs, everything


def _outputs(simulation: Simulation) -> list[Noise]:
    return [Noise() for _ in simulation.outputs]


def _compare(noises: list[Noise], meant: list[np.ndarray], told: list[np.ndarray]) -> None:
    for noise, array, rounded in zip(noises, meant, told, strict=True):
        noise.add(array, rounded)


def _psnr(noises: list[Noise], kinds: Iterable[str]) -> float:
    """The worst of all outputs."""
    return min(
        noise.psnr(span(np.array([noise.low, noise.high]), kind))
        for noise, kind in zip(noises, kinds, strict=True)
    )
