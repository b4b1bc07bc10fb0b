"""Smaller files: kernels with many zeros, or with few different values.

Both need training, by tensorflow-model-optimization, and both show in a file only once it is
compressed, as an app store or a firmware image does: no operator is left out.
"""

from __future__ import annotations

import dataclasses
import gzip
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kerasdeconv.errors import ArtifactError, closest
from kerasdeconv.export.artifact import WEIGHTED, read_artifact
from kerasdeconv.export.training.bridge import Bridge, Hooks, cross
from kerasdeconv.export.training.fitting import fit
from kerasdeconv.export.training.legacy import load_tfmot
from kerasdeconv.graph import Node, build, read

SCHEDULES = ("constant", "polynomial")
# Whether XNNPACK skips zeros of an int8 file. See docs/quantization.md.
SPARSE_INFERENCE = "not used: XNNPACK has sparse kernels for float convolutions alone"
# The kernels of depthwise convolutions are small and sensitive; the toolkit leaves them alone, too.
_KINDS = ("Conv2D", "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Dense")


@dataclasses.dataclass(frozen=True)
class Compressed:
    """A network in training for a smaller file.

    Attributes:
        model: The tf_keras model. Fit it with `fit`.
    """

    model: Any
    _bridge: Bridge
    _wrappers: list[Any]

    def fit(self, data: Any, **arguments: Any) -> dict[str, list[float]]:
        """Trains. See `fitting.fit` for the arguments.

        Steps are in proportion to what a kernel holds, as in `QuantizeAware.fit`.

        Returns:
            The losses of each epoch, by name.
        """
        tfmot = load_tfmot()
        callbacks = [tfmot.sparsity.keras.UpdatePruningStep(), *arguments.pop("callbacks", ())]
        return fit(self.model, data, callbacks=callbacks, **arguments)

    def to_keras(self) -> keras.Model:
        """Returns a Keras 3 model without the wrappers, whose kernels are pruned or clustered."""
        for wrapper in self._wrappers:
            _settle(wrapper)
        return self._bridge.to_keras()


def prune(
    model: keras.Model,
    sparsity: float,
    *,
    schedule: str = "polynomial",
    steps: int = 1000,
    frequency: int = 100,
    two_of_four: bool = False,
    batch: int | None = None,
) -> Compressed:
    """Prepares a network for training in which the smallest weights of each kernel become zero.

    Args:
        model: Functional or Sequential; it stays as it is. Lower it first for the file to be as
            sparse as the model: other rewrites spread a kernel over several.
        sparsity: Share of zeros at the end, 0 to less than 1.
        schedule: "polynomial": from none, fast at first; "constant": all from the start.
        steps: Batches in which a polynomial schedule comes to its end.
        frequency: Every how many batches the zeros are chosen anew.
        two_of_four: Two zeros in every four neighbouring weights instead, for devices that skip
            them; chosen once.
        batch: See `bridge.bridge`.

    Returns:
        What to train.

    Raises:
        ExportError: A package is missing.
        LoweringError: The model is not functional, never built, or cannot be copied.
        ValueError: No such share or schedule.
    """
    if not 0 <= sparsity < 1:
        raise ValueError(f"sparsity must be 0 or more and less than 1. Received: {sparsity}")
    if schedule not in SCHEDULES:
        raise ValueError(f"No such schedule. {closest(schedule, SCHEDULES)} Received: {schedule!r}")
    sparsities = load_tfmot().sparsity.keras
    # The toolkit counts batches from 1: from 0, it would first prune after `frequency` of them.
    if schedule == "constant":
        chosen = sparsities.ConstantSparsity(sparsity, 1, frequency=frequency)
    else:
        chosen = sparsities.PolynomialDecay(0.0, sparsity, 1, steps + 1, frequency=frequency)
    extra = {"sparsity_m_by_n": (2, 4)} if two_of_four else {}

    def wrap(layer: Any) -> Any:
        return sparsities.prune_low_magnitude(layer, pruning_schedule=chosen, **extra)

    return _wrapped(model, wrap, batch)


def cluster(
    model: keras.Model, clusters: int, *, keep_zeros: bool = False, batch: int | None = None
) -> Compressed:
    """Prepares a network for training in which each kernel holds a few different values.

    Args:
        model: As for `prune`.
        clusters: How many, 2 or more; 3 or more with `keep_zeros`.
        keep_zeros: Whether what is zero stays zero: for a model that was pruned.
        batch: See `bridge.bridge`.

    Returns:
        What to train.

    Raises:
        ExportError: A package is missing.
        LoweringError: The model is not functional, never built, or cannot be copied.
        ValueError: Too few clusters.
    """
    least = 3 if keep_zeros else 2
    if clusters < least:
        raise ValueError(f"clusters must be {least} or more. Received: {clusters}")
    load_tfmot()
    from tensorflow_model_optimization.python.core.clustering.keras import (
        cluster_config,
        cluster_wrapper,
    )

    def wrap(layer: Any) -> Any:
        if len(np.unique(layer.kernel)) <= clusters:  # a kernel of few weights, which stay
            return None
        return cluster_wrapper.ClusterWeights(
            layer,
            clusters,
            cluster_config.CentroidInitialization.KMEANS_PLUS_PLUS,
            preserve_sparsity=keep_zeros,
        )

    return _wrapped(model, wrap, batch)


def sparsity(path: str | Path) -> float:
    """Measures the share of zeros among the weights of a .tflite file, biases apart.

    Raises:
        ArtifactError: The file cannot be read, is none of TFLite, or has no weights.
    """
    weights = _weights(path)
    return sum(int((w == 0).sum()) for w in weights) / sum(w.size for w in weights)


def unique_weights(path: str | Path) -> int:
    """Counts the different values of the weight tensor of a .tflite file that has most of them.

    Raises:
        ArtifactError: The file cannot be read, is none of TFLite, or has no weights.
    """
    return max(len(np.unique(w)) for w in _weights(path))


def compressed_size(path: str | Path) -> int:
    """Size of a file in bytes once gzip has compressed it, at its best."""
    return len(gzip.compress(Path(path).read_bytes(), 9, mtime=0))


class _Wrapping(Hooks):
    """Wraps layers with a kernel that is worth it."""

    def __init__(self, wrap: Any) -> None:
        self._wrap = wrap
        self.wrappers: list[tuple[Any, Any]] = []
        self.sizes: dict[int, Any] = {}

    def wrap(self, node: Node, layer: Any) -> Any:
        if type(layer).__name__ not in _KINDS:
            return layer
        # Once built, the wrapper puts tensors in the place of the variables.
        kernel = np.asarray(layer.kernel)
        size = np.sqrt(np.mean(kernel**2)) + 1e-9
        self.sizes[id(layer.kernel)] = size
        if layer.bias is not None:
            self.sizes[id(layer.bias)] = np.mean(np.abs(layer.bias)) + 1e-9
        wrapper = self._wrap(layer)
        if wrapper is None:
            return layer
        self.wrappers.append((wrapper, size))
        return wrapper


def _wrapped(model: keras.Model, wrap: Any, batch: int | None) -> Compressed:
    graph = read(model)
    source = build(graph, [value.shape for value in graph.inputs], model.name)
    hooks = _Wrapping(wrap)
    made = cross(source, read(source), hooks, batch)
    for wrapper, size in hooks.wrappers:
        centroids = getattr(wrapper, "cluster_centroids", {})
        hooks.sizes.update({id(values): size for values in centroids.values()})
    made.model.sizes = hooks.sizes
    return Compressed(made.model, made, [wrapper for wrapper, _ in hooks.wrappers])


def _settle(wrapper: Any) -> None:
    """Writes what a wrapper makes of its layer's kernel into the kernel's variable."""
    if hasattr(wrapper, "pruning_vars"):
        for weight, mask, _ in wrapper.pruning_vars:
            weight.assign(weight * mask)
        return
    wrapper.update_clustered_weights_associations()
    for name, weight in wrapper.original_clusterable_weights.items():
        weight.assign(wrapper.get_weight_from_layer(name))


def _weights(path: str | Path) -> list[np.ndarray]:
    """The integers, or floats, of all weight tensors."""
    artifact = read_artifact(path)
    if artifact.format != "tflite":
        raise ArtifactError(f"Weights are counted in .tflite files. Received: {str(path)!r}")
    from ai_edge_litert import schema_py_generated as schema

    names = {t.name for o in artifact.operators if o.name in WEIGHTED for t in o.weights}
    model = schema.ModelT.InitFromPackedBuf(Path(path).read_bytes(), 0)
    kinds = {value: name.lower() for name, value in vars(schema.TensorType).items()}
    found = {
        tensor.buffer: np.frombuffer(bytes(model.buffers[tensor.buffer].data), kinds[tensor.type])
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.name.decode() in names and model.buffers[tensor.buffer].data is not None
    }
    if not found:
        raise ArtifactError(f"The file holds no weights. Received: {str(path)!r}")
    return list(found.values())
