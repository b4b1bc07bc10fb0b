"""Weights of int8 ONNX files under the 16-bit sums of CPUs without VNNI, emulated in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import helper, numpy_helper

from kerasdeconv.export.onnx import to_onnx
from kerasdeconv.export.quantization import qdq
from kerasdeconv.export.saturation import safe_scales, weight_scales

WIDTHS = st.integers(1, 9)
WEIGHTS = arrays(
    np.float32,
    st.tuples(st.integers(1, 4), WIDTHS),
    elements=st.floats(-4, 4, width=32) | st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0, 1e-30]),
)


def vpmaddubsw(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Products of bytes, added in pairs and clipped to 16 bits, then added up without a limit.

    (rows, products) of unsigned bytes and (outputs, products) of signed ones: (rows, outputs).
    """
    width = weights.shape[1] + weights.shape[1] % 2
    left, right = (np.zeros((len(x), width), np.int64) for x in (activations, weights))
    left[:, : activations.shape[1]] = activations
    right[:, : weights.shape[1]] = weights
    products = left[:, None, :] * right[None]
    pairs = products[..., 0::2] + products[..., 1::2]
    return np.clip(pairs, -(2**15), 2**15 - 1).sum(-1)


def exact(activations: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return activations.astype(np.int64) @ weights.astype(np.int64).T


def integers(weights: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """As a quantizer rounds, without clipping: too large an integer is to be seen."""
    return np.rint(weights / scales[:, None]).astype(np.int64)


def worst_rows(weights: np.ndarray) -> np.ndarray:
    """Activations that drive the pairs of an output as high, and as low, as they go."""
    return np.concatenate([np.where(weights > 0, 255, 0), np.where(weights < 0, 255, 0)])


def fits(weights: np.ndarray) -> bool:
    """Whether weights are signed bytes, and no pair of products is clipped for any activations."""
    rows = worst_rows(weights)
    return bool(
        np.abs(weights).max() <= 127
        and np.array_equal(vpmaddubsw(rows, weights), exact(rows, weights))
    )


class TestWeightScales:
    @given(weights=WEIGHTS)
    def test_no_pair_saturates(self, weights):
        assert fits(integers(weights, weight_scales(weights)))

    @given(weights=WEIGHTS)
    def test_no_scale_is_larger_than_needed(self, weights):
        scales = weight_scales(weights)
        for row, scale in zip(weights, scales, strict=True):
            if np.abs(row).max() > 1e-20:  # of the others any scale makes zeros
                # Rounding takes at most 1 from the sum of a pair: 128 must have become over 129.
                smaller = np.float32(scale * 128 / 129.01)
                assert not fits(integers(row[None], smaller[None]))

    @given(weights=WEIGHTS)
    def test_outputs_do_not_touch_each_other(self, weights):
        alone = [weight_scales(row[None])[0] for row in weights]
        assert np.array_equal(weight_scales(weights), alone)

    def test_most_weights_keep_all_their_bits(self):
        weights = np.array([[1, 0.007, -1, 0.99, 0, 1], [0.5, 0, 0, -0.2, 0.1, 0.3]], np.float32)
        assert np.array_equal(weight_scales(weights), np.float32([1 / 127, 0.5 / 127]))

    @pytest.mark.parametrize("sign", [1, -1])
    def test_two_large_neighbours_share_the_range(self, sign):
        weights = np.array([[0.0, 0.0, sign * 1.0, sign * 0.5, 0.0]], np.float32)
        assert weight_scales(weights) == np.float32(1.5 / 128)

    def test_a_scale_that_rounds_down_is_mended(self):
        """1.5 and 126.5 become 2 and 126; in float32 the latter came out above 126.5, hence 127."""
        weights = np.array([[0.0015, 0.1265]], np.float32)
        assert fits(integers(weights, weight_scales(weights)))

    def test_zeros(self):
        assert np.array_equal(weight_scales(np.zeros((2, 3), np.float32)), [1, 1])


def scales_of(op_type: str, *weights: np.ndarray, **attributes: int) -> list:
    """`safe_scales` of a model in which each weight is read by an operator, equal ones shared."""
    names = {w.tobytes(): f"w{i}" for i, w in reversed(list(enumerate(weights)))}
    nodes = [
        helper.make_node(op_type, ["x", names[w.tobytes()]], [f"y{i}"], **attributes)
        for i, w in enumerate(weights)
    ]
    constants = [numpy_helper.from_array(w, names[w.tobytes()]) for w in weights]
    graph = helper.make_graph(nodes, "g", [], [], constants)
    found = safe_scales(helper.make_model(graph))
    return [
        (entries[0].get("axis"), [float(entry["scale"]) for entry in entries])
        for entries in found.values()
    ]


class TestLayouts:
    """Which weights are neighbours: those are 1, and others 0.001."""

    KERNEL = np.full((2, 2, 3, 3), 0.001, np.float32)
    ALONE, PAIRED = (pytest.approx(x) for x in (1 / 127, 2 / 128))

    def kernel(self, *ones: tuple[int, int, int]) -> np.ndarray:
        kernel = self.KERNEL.copy()
        for channel, y, x in ones:
            kernel[0, channel, y, x] = 1
        return kernel

    def first(self, found: list) -> float:
        ((axis, scales),) = found
        assert axis == 0
        return scales[0]

    def test_channels_at_one_place(self):
        assert self.first(scales_of("Conv", self.kernel((0, 1, 1), (1, 1, 1)))) == self.PAIRED

    def test_places_of_one_channel_are_apart(self):
        assert self.first(scales_of("Conv", self.kernel((0, 0, 0), (0, 0, 1)))) == self.ALONE

    def test_an_odd_number_of_channels_runs_on_into_the_next_place(self):
        kernel = np.full((1, 3, 1, 2), 0.001, np.float32)
        kernel[0, 2, 0, 0] = kernel[0, 0, 0, 1] = 1
        assert self.first(scales_of("Conv", kernel)) == self.PAIRED

    def test_groups_are_layouts_of_their_own(self):
        kernel = np.full((4, 2, 1, 1), 1, np.float32)
        assert self.first(scales_of("Conv", kernel, group=2)) == self.PAIRED

    def test_depthwise_has_no_pairs(self):
        assert scales_of("Conv", np.ones((4, 1, 3, 3), np.float32), group=4) == []

    def test_several_outputs_of_one_channel_have(self):
        kernel = np.ones((8, 1, 3, 3), np.float32)
        assert self.first(scales_of("Conv", kernel, group=4)) == self.PAIRED

    @pytest.mark.parametrize(
        ("op_type", "attributes", "axis"),
        [("Gemm", {}, 1), ("Gemm", {"transB": 1}, 0), ("MatMul", {}, 1)],
    )
    def test_matrices(self, op_type, attributes, axis):
        matrix = np.float32([[1, 1, 0.001, 0.001], [0.001, 0.001, 1, 0.001]])
        weights = matrix if axis == 0 else np.ascontiguousarray(matrix.T)
        ((found, scales),) = scales_of(op_type, weights, **attributes)
        assert found == axis
        assert scales == [self.PAIRED, self.ALONE]

    @pytest.mark.parametrize("shape", [(4,), (1, 4, 1)])
    def test_what_is_no_matrix_has_one_scale(self, shape):
        weights = np.float32([1, 1, 0, 0]).reshape(shape)
        assert scales_of("MatMul", weights) == [(None, [self.PAIRED])]

    def test_shared_weights(self):
        kernel = np.float32([[1, 0.001], [1, 0.5]])
        assert scales_of("MatMul", kernel, kernel) == [(1, [self.PAIRED, pytest.approx(0.5 / 127)])]

    def test_rows_to_one_and_columns_to_another_have_one_scale(self):
        weights = numpy_helper.from_array(np.float32([[1, 0.5], [0.001, 0.001]]), "w")
        nodes = [helper.make_node("Gemm", ["x", "w"], [f"y{t}"], transB=t) for t in (0, 1)]
        graph = helper.make_graph(nodes, "g", [], [], [weights])
        (entry,) = safe_scales(helper.make_model(graph))["w"]
        assert "axis" not in entry
        assert entry["scale"] == pytest.approx(1.5 / 128)

    def test_what_is_no_constant_is_left(self):
        node = helper.make_node("MatMul", ["x", "y"], ["z"])
        assert safe_scales(helper.make_model(helper.make_graph([node], "g", [], []))) == {}


def network(channels: int, outputs: int, layer: str = "Conv2D") -> keras.Model:
    """One layer whose weights are all large and positive: every pair of them saturates."""
    kind = getattr(keras.layers, layer)
    options = (outputs, 3) if layer == "Conv2D" else (outputs,)
    inputs = keras.Input((6, 8, channels) if layer == "Conv2D" else (channels,), batch_size=1)
    made = kind(*options, name="layer")
    model = keras.Model(inputs, made(inputs), name="network")
    rng = np.random.default_rng(0)
    kernel, bias = (w.shape for w in made.get_weights())
    made.set_weights([rng.uniform(0.5, 1, kernel), rng.uniform(-500, 500, bias)])
    return model


def samples(model: keras.Model) -> list[np.ndarray]:
    """White among them: what it gives then lies within the ranges of the file."""
    shape = model.input_shape[1:]
    drawn = np.random.default_rng(1).uniform(0, 255, (4, 1, *shape)).astype(np.float32)
    return [*drawn, np.full((1, *shape), 255, np.float32)]


def read(content: bytes) -> dict[str, np.ndarray]:
    """The constants of a file's one layer, by what they are, and its weights as products."""
    graph = onnx.load_from_string(content).graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    by_output = {n.output[0]: n for n in graph.node}
    (layer,) = [n for n in graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    data, weights, *bias = (by_output[name] for name in layer.input)
    (after,) = [n for n in graph.node if layer.output[0] in n.input]
    found = {
        "input_scale": constants[data.input[1]],
        "output_scale": constants[after.input[1]],
        "weights": constants[weights.input[0]],
        "weight_scale": constants[weights.input[1]],
    }
    if bias:
        found |= {"bias": constants[bias[0].input[0]], "bias_scale": constants[bias[0].input[1]]}
    kernel = found["weights"]
    turned = kernel.transpose(0, 2, 3, 1) if kernel.ndim == 4 else kernel.T
    return found | {"products": turned.reshape(len(turned), -1)}


def run(content: bytes, data: np.ndarray, level: str) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
    (answer,) = session.run(None, {session.get_inputs()[0].name: data})
    return answer


# The kernel for convolutions of 4n channels to 16; the one over matrices; the one for vectors.
LAYERS = [(4, 16, "Conv2D"), (3, 5, "Conv2D"), (16, 8, "Dense")]


@pytest.fixture(scope="module", params=LAYERS, ids=lambda p: f"{p[2]}-{p[0]}-{p[1]}")
def layer(request) -> keras.Model:
    return network(*request.param)


@pytest.mark.parametrize("door", ["float32", "int8"])
class TestFiles:
    def test_no_cpu_computes_anything_else(self, layer, door, monkeypatch):
        """The plain quantization fails, so that the emulation would show a file that fails."""
        found = read(to_onnx(layer, precision="int8", samples=samples(layer), door=door))
        assert fits(found["products"].astype(np.int64))
        monkeypatch.setattr(qdq, "safe_scales", lambda proto: {})
        plain = read(to_onnx(layer, precision="int8", samples=samples(layer), door=door))
        assert plain["products"].max() == 127
        assert not fits(plain["products"].astype(np.int64))

    def test_this_cpu_computes_what_the_file_says(self, layer, door):
        """Integer kernels against the same file in float, where nothing saturates."""
        content = to_onnx(layer, precision="int8", samples=samples(layer), door=door)
        white = {"float32": np.float32(255), "int8": np.int8(127)}[door]
        data = np.full((1, *layer.input_shape[1:]), white)
        integer, real = (run(content, data, f"ORT_{x}_ALL") for x in ("ENABLE", "DISABLE"))
        # What lies halfway between two steps may be rounded to either.
        step = 1 if door == "int8" else read(content)["output_scale"]
        assert np.abs(integer.astype(np.float64) - real).max() <= step * 1.001

    def test_weights_and_bias_are_the_models(self, layer, door):
        found = read(to_onnx(layer, precision="int8", samples=samples(layer), door=door))
        kernel, bias = layer.get_layer("layer").get_weights()
        expected = kernel.reshape(-1, kernel.shape[-1]).T
        scale = found["weight_scale"][:, None]
        # Half a step, and what float32 loses in the division.
        assert np.abs(found["products"] * scale - expected).max() < 0.5001 * scale.max()
        assert found["bias_scale"] == pytest.approx(found["input_scale"] * found["weight_scale"])
        stored = found["bias"] * found["bias_scale"].astype(np.float64)
        assert np.abs(stored - bias).max() < 0.5001 * found["bias_scale"].max()
