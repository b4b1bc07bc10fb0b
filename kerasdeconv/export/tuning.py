"""The chooser: the forms of an operator, timed where it stands, and the fastest kept.

A site is cut out of the network with the shapes and weights that it has there, converted in every
form that the target may take, and the files are run in turns in the target's runtime. What was
found is remembered by the shapes and settings of the layers, the precision, the versions of
converter and runtime, and the processor.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.errors import ArtifactError, ExportError
from kerasdeconv.export.lowering.rewrites import KEEP, Pick, Replacement, Site, known, work
from kerasdeconv.export.report import versions
from kerasdeconv.graph import Graph, Node, Value, build
from kerasdeconv.quiet import quiet
from kerasdeconv.zoo.store import cache_folder

# A form that multiplies so many times as much as another one can't win. What is kept may: runtimes
# have transposed convolutions that do not work in tiles.
_HOPELESS = 2.5
_LAYER_OPTIONS = (
    *("strides", "padding", "dilation_rate", "output_padding", "activation", "groups"),
    *("size", "block_size", "interpolation", "kernel_size", "depth_multiplier", "cropping"),
)

Convert = Callable[[Any, list[np.ndarray], Path], Path]
Meter = Callable[[list[Path], list[np.ndarray]], list[float]]


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was chosen for one operator.

    Attributes:
        layer: Its name.
        family: Which forms it has.
        form: The one that was kept.
        milliseconds: Medians of the forms that were tried, by name; empty where none was.
        source: "measured", "estimated" by a vendor's compiler, "remembered", or "profile".
    """

    layer: str
    family: str
    form: str
    milliseconds: dict[str, float]
    source: str


class Chooser:
    """Picks forms by measurement, and by a target's profile where there is nothing to measure.

    Args:
        default: Picks by the profile.
        convert: Writes a file of a Keras model, its suffix added; None to measure nothing.
        meter: Times files on a sample, in turns.
        key: What a measurement depends on besides the operator: target, precision, machine.
        tile: Output channels that a kernel of the runtime computes at once.
        source: What to call a measurement.

    Attributes:
        choices: Of all operators so far that have several forms.
    """

    def __init__(
        self,
        default: Pick,
        convert: Convert | None,
        meter: Meter,
        key: str,
        *,
        tile: int | None = None,
        source: str = "measured",
    ) -> None:
        self._default, self._convert, self._meter = default, convert, meter
        self._source = source
        self._key, self._tile = key, tile or 1
        self._memory = Memory() if convert else None
        self.choices: list[Choice] = []

    def pick(self, site: Site) -> str:
        """Picks a form, as `lowering.rewrites.choose` asks for."""
        choice = self._choice(site)
        if len(site.options) > 1 or choice.form != KEEP:
            self.choices.append(choice)
        return choice.form

    def _choice(self, site: Site) -> Choice:
        default = self._default(site)
        cut = _cut_out(site)
        names = self._promising(cut, site)
        if self._convert is None or self._memory is None or len(names) < 2:
            return Choice(site.layer, site.family, default, {}, "profile")
        key = f"{self._key} {site.family} {signature(cut.nodes)} {','.join(names)}"
        times, source = self._memory.get(key), "remembered"
        if times is None:
            times, source = self._measure(self._convert, cut, site, names), self._source
            self._memory.put(key, times)
        if not times:  # no form could be converted by itself
            return Choice(site.layer, site.family, default, {}, "profile")
        return Choice(site.layer, site.family, min(times, key=times.__getitem__), times, source)

    def _promising(self, cut: Graph, site: Site) -> list[str]:
        """The forms that do not multiply far more than another."""
        costs = {}
        for name, made in site.options.items():
            nodes = [n for n in cut.nodes if made is None or n not in made.old]
            costs[name] = work([*nodes, *(made.new if made else ())], self._tile)
        least = min(costs.values())
        return [name for name, cost in costs.items() if name == KEEP or cost <= _HOPELESS * least]

    def _measure(
        self, convert: Convert, cut: Graph, site: Site, names: Sequence[str]
    ) -> dict[str, float]:
        rng = np.random.default_rng(0)
        sample = [
            np.maximum(rng.normal(size=known(value)), 0).astype(np.float32) for value in cut.inputs
        ]
        with tempfile.TemporaryDirectory() as folder, quiet():
            files: dict[str, Path] = {}
            for name in names:
                with contextlib.suppress(ExportError, ArtifactError):
                    model = _alone(cut, site.options[name])
                    files[name] = convert(model, sample, Path(folder, name))
            if len(files) < 2:
                return {}
            times = dict(zip(files, self._meter(list(files.values()), sample), strict=True))
            return {name: time for name, time in times.items() if math.isfinite(time)}


class Memory:
    """Measurements, kept in a file between exports; one that cannot be read counts as empty."""

    def __init__(self) -> None:
        self._path = cache_folder() / "tuning.json"
        self._known: dict[str, dict[str, float]] = {}
        with contextlib.suppress(OSError, ValueError):
            known = json.loads(self._path.read_text(encoding="utf-8"))
            if isinstance(known, dict):
                self._known = known

    def get(self, key: str) -> dict[str, float] | None:
        """The medians of the forms in milliseconds, or None."""
        times = self._known.get(key)
        plain = isinstance(times, dict) and all(isinstance(v, int | float) for v in times.values())
        return times if plain else None

    def put(self, key: str, times: dict[str, float]) -> None:
        """Keeps a measurement; a folder that cannot be written only costs the time to repeat it."""
        self._known[key] = times
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._path.parent, suffix=".partial")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(self._known, file, indent=1)
            Path(name).replace(self._path)


def machine_key(*parts: str) -> str:
    """Names what timings depend on besides the network: versions and processor, and `parts`."""
    made = versions()
    packages = [f"{name} {made[name]}" for name in _TIMED if name in made]
    return " ".join([*parts, *packages, processor()])


_TIMED = ("kerasdeconv", "tensorflow", "ai-edge-litert", "tf2onnx", "onnxruntime")


def processor() -> str:
    """Names the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def signature(nodes: Sequence[Node]) -> str:
    """Says all of some layers that their time depends on: classes, settings and shapes."""
    return ";".join(_signature(node) for node in nodes)


def _signature(node: Node) -> str:
    layer: Any = node.layer
    settings = [
        f"{name}={getattr(value, '__name__', value)}"
        for name in _LAYER_OPTIONS
        if (value := getattr(layer, name, None)) is not None
    ]
    shapes = ["x".join(map(str, value.shape)) for value in (*node.inputs, *node.outputs)]
    return f"{type(layer).__name__}({','.join([*shapes, *settings])})"


def _cut_out(site: Site) -> Graph:
    """The nodes that any of a site's forms replaces, as a graph of its own."""
    replaced = [n for made in site.options.values() if made is not None for n in made.old]
    nodes = [n for n in site.graph.nodes if n is site.node or n in replaced]
    made = {value for node in nodes for value in node.outputs}
    inputs: list[Value] = []
    for node in nodes:
        inputs += [v for v in node.inputs if v not in made and v not in inputs]
    return Graph(inputs, [nodes[-1].outputs[-1]], nodes)


def _alone(cut: Graph, made: Replacement | None) -> Any:
    """A model of the site in one form, with copies of its layers."""
    graph = Graph(cut.inputs, cut.outputs, list(cut.nodes))
    if made is not None:
        graph.replace(made.old, made.new, made.why)
    copies = Graph(graph.inputs, graph.outputs, graph.nodes)  # which owns none of the layers
    return build(copies, [value.shape for value in copies.inputs], "site")
