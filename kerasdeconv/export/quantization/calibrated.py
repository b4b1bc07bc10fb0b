"""TFLite int8 in two steps: a float file whose tensors know their ranges, and integers from it.

The converter has both steps inside, but takes every range from the least and the greatest value
that it saw, and lets an addition overwrite what it read before that was seen. Here LiteRT runs the
float file with all its tensors kept, and layers can be left out of the second step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kerasdeconv.export import _read_tflite
from kerasdeconv.export.artifact import kept_in_float
from kerasdeconv.export.quantization.ranges import find_ranges


def calibrate(content: bytes, samples: Sequence[Any], method: str) -> bytes:
    """Writes the range of each tensor into a float file.

    Inputs of the network keep all that was seen: nothing is clipped at the door.

    Args:
        content: A float32 TFLite file, as the converter's calibration leaves it: what can be
            quantized has some range.
        samples: Arrays of the input's shape, or lists with one array an input.
        method: See `ranges.choose`.

    Raises:
        ValueError: No such method.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from kerasdeconv.export.metadata import packed

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    # A delegate keeps nothing of what is inside it.
    interpreter = Interpreter(
        model_content=content,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    doors = interpreter.get_input_details()
    inside = [i for i, tensor in enumerate(graph.tensors) if _has_range(tensor)]

    def run(sample: Any) -> Iterator[tuple[int, np.ndarray]]:
        parts = list(sample) if isinstance(sample, list | tuple) else [sample]
        for door, part in zip(doors, parts, strict=True):
            interpreter.set_tensor(door["index"], np.asarray(part, door["dtype"]))
        interpreter.invoke()
        for i in inside:
            yield i, interpreter.get_tensor(i)

    found = find_ranges(run, samples, method, whole={int(i) for i in graph.inputs})
    for i, (low, high) in found.items():
        graph.tensors[i].quantization.min = np.array([low], np.float32)
        graph.tensors[i].quantization.max = np.array([high], np.float32)
    return packed(model)


def _has_range(tensor: Any) -> bool:
    return tensor.quantization is not None and tensor.quantization.min is not None


def quantize(
    content: bytes,
    *,
    input_type: str,
    output_type: str,
    float_layers: Collection[str] = (),
    layers: Collection[str] = (),
) -> bytes:
    """Makes integers of a calibrated float file.

    Args:
        content: The file.
        input_type: Type at the inputs: "float32", "int8" or "uint8".
        output_type: Type at the outputs.
        float_layers: Keras layers whose operators stay in float.
        layers: All Keras layers, to tell which operator comes from which.
    """
    import tensorflow as tf
    from tensorflow.lite.python.convert import mlir_quantize

    names: set[str] = set()
    if float_layers:
        operators = _read_tflite.read(Path("calibrated.tflite"), content).operators
        kept = kept_in_float(operators, float_layers, layers)
        names = {t.name for o in operators if o.index in kept for t in o.outputs}
    return bytes(
        mlir_quantize(
            content,
            input_data_type=getattr(tf, input_type),
            output_data_type=getattr(tf, output_type),
            denylisted_nodes=names,
        )
    )
