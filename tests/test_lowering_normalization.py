"""Group normalization on four axes, and functions of one number as tables."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from kerasdeconv.export.comparisons import compare_integers
from kerasdeconv.export.lowering import lower_to_form
from kerasdeconv.export.quantization.tables import tabulate

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("form", ["moments", "mean", "pool"])
@pytest.mark.parametrize("options", [{}, {"center": False}, {"scale": False, "epsilon": 0.1}])
@pytest.mark.parametrize("groups", [1, 2, 6, -1])
def test_group_normalization(form, options, groups):
    inputs = keras.Input((5, 3, 6))
    layer = keras.layers.GroupNormalization(groups, name="norm", **options)
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([RNG.normal(size=6) for _ in layer.weights])
    lowered, rewrites = lower_to_form(model, [(2, 5, 3, 6)], form=form)
    assert rewrites == ["norm: on four axes"]
    assert not any(isinstance(x, keras.layers.GroupNormalization) for x in lowered.layers)
    x = RNG.normal(1, 2, (2, 5, 3, 6)).astype(np.float32)
    np.testing.assert_allclose(lowered(x), model(x), rtol=1e-4, atol=1e-5)


def _proto(nodes: list, inputs: list, outputs: list, **constants: np.ndarray) -> onnx.ModelProto:
    initializers = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def _run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    onnx.checker.check_model(proto)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
def test_tables(dtype, moves):
    """Every integer gives what the float operators between the pair give, rounded."""
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node
    proto = _proto(
        [
            node("DequantizeLinear", ["x", "scale", "zero"], ["a"], name="in"),
            node("Sqrt", ["a"], ["b"], name="root"),
            *([node("Reshape", ["b", "shape"], ["c"], name="move")] if moves else []),
            node("Reciprocal", ["c" if moves else "b"], ["d"], name="turn"),
            node("QuantizeLinear", ["d", "scale_out", "zero_out"], ["y"], name="out"),
        ],
        [helper.make_tensor_value_info("x", kind, [256])],
        [helper.make_tensor_value_info("y", kind, [16, 16] if moves else [256])],
        scale=np.float32(0.1),
        zero=dtype(np.iinfo(dtype).min),
        scale_out=np.float32(0.013),
        zero_out=dtype(np.iinfo(dtype).min + 3),
        shape=np.array([16, 16]),
    )
    x = np.arange(256, dtype=np.uint8).view(dtype)
    expected = _run(proto, x)
    tabulate(proto.graph)
    left = ["Cast", "Gather"] + ["Reshape"] * moves
    assert [n.op_type for n in proto.graph.node] == left
    np.testing.assert_array_equal(_run(proto, x), expected)
    assert len(np.unique(expected)) > 30


def test_what_is_read_twice_stays():
    proto = _proto(
        [
            helper.make_node("DequantizeLinear", ["x", "scale", "zero"], ["a"]),
            helper.make_node("Sqrt", ["a"], ["b"]),
            helper.make_node("QuantizeLinear", ["b", "scale", "zero"], ["y"]),
            helper.make_node("Neg", ["b"], ["z"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [4])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [4])],
        scale=np.float32(0.1),
        zero=np.uint8(0),
    )
    tabulate(proto.graph)
    assert len(proto.graph.node) == 4


def test_integers_are_compared_as_integers():
    proto = _proto(
        [
            helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
            helper.make_node("Less", ["a", "limit"], ["y"], name="less"),
        ],
        [helper.make_tensor_value_info("x", TensorProto.INT32, [3])],
        [helper.make_tensor_value_info("y", TensorProto.BOOL, [3])],
        limit=np.float32(2),
    )
    compare_integers(proto)
    assert [n.op_type for n in proto.graph.node] == ["Less"]
    assert _run(proto, np.array([1, 2, 3], np.int32)).tolist() == [True, False, False]
