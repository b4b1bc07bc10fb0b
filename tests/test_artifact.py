from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from kerasdeconv.errors import ArtifactError
from kerasdeconv.export import artifact as art

pytest_plugins = ["converted_files"]

LAYERS = ["stem", "pool", "conv2d", "conv2d_1", "bn", "relu", "up", "join", "head"]


def names(operators) -> list[str]:
    return [o.name for o in operators]


def test_tflite_operators(net):
    artifact = art.read_artifact(net["float32.tflite"])
    assert artifact.format == "tflite"
    assert artifact.size_bytes == net["float32.tflite"].stat().st_size
    assert art.operator_counts(artifact) == {
        "CONV_2D": 4, "MAX_POOL_2D": 1, "TRANSPOSE_CONV": 1, "RELU": 1, "DEPTH_TO_SPACE": 1,
        "CONCATENATION": 1, "SOFTMAX": 1,
    }  # fmt: skip
    assert artifact.metadata is None
    assert [(t.dtype, t.shape, t.constant) for t in artifact.inputs] == [
        ("float32", (1, 16, 16, 3), False)
    ]
    assert artifact.outputs[0].shape == (1, 16, 16, 4)
    stem = artifact.operators[0]
    assert (stem.version, stem.strides, stem.fused_activation) == (1, (1, 1), "RELU")
    assert stem.attributes["padding"] == "SAME"
    assert [t.shape for t in stem.weights] == [(16, 3, 3, 3)]
    up = next(o for o in artifact.operators if o.name == "TRANSPOSE_CONV")
    assert (up.strides, up.fused_activation) == ((2, 2), None)
    shuffle = next(o for o in artifact.operators if o.name == "DEPTH_TO_SPACE")
    assert shuffle.attributes == {"block_size": 2}


def test_quantization_at_the_door(net):
    door = art.read_artifact(net["int8.tflite"]).inputs[0]
    assert door.dtype == "uint8"
    assert door.quantization.scales == pytest.approx([1 / 255], rel=1e-3)  # inputs in [0, 1)
    assert door.quantization.zero_points == (0,)
    kernel = art.read_artifact(net["int8.tflite"]).operators[1].weights[0]
    assert len(kernel.quantization.scales) == 16 and kernel.quantization.axis == 0


def test_free_sides_are_none(net):
    artifact = art.read_artifact(net["free.tflite"])
    assert artifact.inputs[0].shape == (None, None, None, 3)
    assert "SHAPE" in art.operator_counts(artifact)


def test_onnx_operators(net):
    artifact = art.read_artifact(net["float32.onnx"])
    counts = art.operator_counts(artifact)
    assert counts["Conv"] == 4 and counts["ConvTranspose"] == 1 and counts["DepthToSpace"] == 1
    assert artifact.inputs[0] == art.Tensor("image", "float32", (1, 16, 16, 3))
    up = next(o for o in artifact.operators if o.name == "ConvTranspose")
    assert up.version == 17 and up.strides == (2, 2) and not up.custom
    assert up.outputs[0].shape == (1, 16, 16, 16)
    assert up.weights[0].stored == "float32"


def test_optimized_onnx_is_what_runs(net):
    artifact = art.optimized_onnx(net["int8.onnx"])
    counts = art.operator_counts(artifact)
    assert counts["QLinearConv"] == 4 and "Conv" not in counts
    assert counts["ConvTranspose"] == 1  # ONNX Runtime has no integer one
    assert artifact.path == net["int8.onnx"]
    assert any(o.custom for o in artifact.operators)  # QLinearConcat is of com.microsoft
    # Shape inference does not know that one: its type must not stay open.
    assert all(t.dtype for o in artifact.operators for t in o.outputs)


def test_optimized_onnx_levels(net):
    plain = art.optimized_onnx(net["int8.onnx"], "disable_all")
    assert "QLinearConv" not in art.operator_counts(plain)
    with pytest.raises(ValueError, match="Received: 'most'"):
        art.optimized_onnx(net["int8.onnx"], "most")


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8", "int16x8"])
def test_promise_is_kept(net, precision):
    artifact = art.read_artifact(net[f"{precision}.tflite"])
    # DEPTH_TO_SPACE has no int16 kernel: the converter leaves it in float, without a word.
    island = ["DEPTH_TO_SPACE"] if precision == "int16x8" else []
    assert names(art.float_operators(artifact, precision)) == island


def test_float_file_breaks_every_other_promise(net):
    artifact = art.read_artifact(net["float32.tflite"])
    everything = names(artifact.operators)
    assert names(art.float_operators(artifact, "int8")) == everything
    assert names(art.float_operators(artifact, "int16x8")) == everything
    weighted = ["CONV_2D", "TRANSPOSE_CONV"]
    assert set(names(art.float_operators(artifact, "float16"))) == set(weighted)
    # The stem has 432 weights only: the quantizer would have left them in float too.
    broken = art.float_operators(artifact, "dynamic")
    assert set(names(broken)) == set(weighted)
    assert "stem" not in [art.layer_of(o, LAYERS) for o in broken]


def test_int8_is_not_int16x8(net):
    assert art.float_operators(art.read_artifact(net["int8.tflite"]), "int16x8")
    assert art.float_operators(art.read_artifact(net["int16x8.tflite"]), "int8")


def test_stock_volume_is_a_float_island(volume):
    operators = art.float_operators(art.read_artifact(volume["int8.tflite"]), "int8")
    assert names(operators) == ["CONV_3D", "CONV_3D_TRANSPOSE"]
    assert [art.layer_of(o, ["c3", "u3"]) for o in operators] == ["c3", "u3"]


def test_onnx_int8_names_the_transposed_convolution(net):
    operators = art.float_operators(art.read_artifact(net["int8.onnx"]), "int8")
    assert names(operators) == ["ConvTranspose"]
    assert art.layer_of(operators[0], LAYERS) == "up"


def test_onnx_float32_breaks_the_others(net):
    artifact = art.read_artifact(net["float32.onnx"])
    assert not art.float_operators(artifact, "float32")
    assert len(art.float_operators(artifact, "float16")) == len(artifact.operators)
    assert art.float_operators(artifact, "int8")
    assert {"Conv", "ConvTranspose"} == set(names(art.float_operators(artifact, "dynamic")))


def test_onnx_float16(net, tmp_path):
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    model = convert_float_to_float16(onnx.load(net["float32.onnx"]), keep_io_types=True)
    path = tmp_path / "half.onnx"
    onnx.save(model, path)
    artifact = art.read_artifact(path)
    assert art.operator_counts(artifact)["Cast"] == 2  # at the doors
    assert not art.float_operators(artifact, "float16")


def test_dynamic_threshold(dense_tflite):
    """The converter's own: weights of 1024 elements become int8, 1023 stay in float."""
    artifact = art.read_artifact(dense_tflite)
    assert [(o.weights[0].elements, o.weights[0].stored) for o in artifact.operators] == [
        (1024, "int8"),
        (1023, "float32"),
    ]
    assert not art.float_operators(artifact, "dynamic")


def test_unknown_precision(net):
    with pytest.raises(ValueError, match="Received: 'int4'"):
        art.float_operators(art.read_artifact(net["int8.tflite"]), "int4")


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_layers(net, form):
    artifact = art.read_artifact(net[f"float32.{form}"])
    found = {}
    for operator in artifact.operators:
        found.setdefault(operator.name, []).append(art.layer_of(operator, LAYERS))
    conv, up, join = {
        "tflite": ("CONV_2D", "TRANSPOSE_CONV", "CONCATENATION"),
        "onnx": ("Conv", "ConvTranspose", "Concat"),
    }[form]
    # `conv2d` has the scope "conv2d_1", which is also the name of the layer after it.
    assert found[conv] == ["stem", "conv2d", "conv2d_1", "head"]
    assert found[up] == ["up"]
    assert found[join] == ["join"]


def test_layers_without_names(net):
    artifact = art.read_artifact(net["float32.tflite"])
    assert [art.layer_of(o) for o in artifact.operators if o.weights] == [
        "stem", "conv2d", "conv2d_1", "up", "head",
    ]  # fmt: skip
    assert art.layer_of(art.Operator(0, "RELU", 1, (), (art.Tensor("Identity", "", ()),))) is None


def test_flex_is_custom(volume):
    (pool,) = art.read_artifact(volume["flex.tflite"]).operators
    assert pool.name == "FlexMaxPool3D" and pool.custom


def test_metadata(net, tmp_path):
    import onnx

    path = tmp_path / "net.onnx"
    model = onnx.load(net["float32.onnx"])
    onnx.helper.set_model_props(model, {"kerasdeconv": '{"schema": 1, "name": "é"}'})
    onnx.save(model, path)
    assert art.read_artifact(path).metadata == {"schema": 1, "name": "é"}
    onnx.helper.set_model_props(model, {"kerasdeconv": "[1"})
    onnx.save(model, path)
    with pytest.raises(ArtifactError, match="metadata is damaged"):
        art.read_artifact(path)


def test_tflite_metadata(net, tmp_path):
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(net["float32.tflite"].read_bytes(), 0)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer, buffer.data = b"kerasdeconv", len(model.buffers), b'{"schema": 1}'
    model.buffers.append(buffer)
    model.metadata.append(entry)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    path = tmp_path / "net.tflite"
    path.write_bytes(bytes(builder.Output()))
    assert art.read_artifact(path).metadata == {"schema": 1}


def refuse(path: Path, match: str) -> None:
    with pytest.raises(ArtifactError, match=match) as caught:
        art.read_artifact(path)
    message = str(caught.value)
    assert "\n" not in message and message.endswith(f"Received: {str(path)!r}")


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
@pytest.mark.parametrize("length", [0, 7, 100, 5000])
def test_random_bytes(tmp_path, suffix, length):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(random.Random(length).randbytes(length))
    refuse(path, "damaged|no TFLite file")


@pytest.mark.parametrize("form", ["tflite", "onnx"])
@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_truncated(net, tmp_path, form, share):
    whole = net[f"int8.{form}"].read_bytes()
    path = tmp_path / f"cut.{form}"
    path.write_bytes(whole[: int(share * len(whole))])
    refuse(path, "damaged|no TFLite file")


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_wrong_bytes_never_escape(net, tmp_path, form):
    """Changed bytes may go unnoticed, but what is noticed is an ArtifactError of one line."""
    whole = net[f"int8.{form}"].read_bytes()
    path = tmp_path / f"bad.{form}"
    generator = random.Random(7)
    refused = 0
    for _ in range(150):
        content = bytearray(whole)
        for _ in range(4):
            content[generator.randrange(len(content))] = generator.randrange(256)
        path.write_bytes(content)
        try:
            art.read_artifact(path)
        except ArtifactError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 10


def test_file_names(net, tmp_path):
    refuse(tmp_path / "absent.tflite", "No such model file")
    refuse(tmp_path / "model.pb", "ends in .tflite or .onnx")
    folder = tmp_path / "folder.onnx"
    folder.mkdir()
    refuse(folder, "Cannot read")
    swapped = tmp_path / "swapped.onnx"
    swapped.write_bytes(net["float32.tflite"].read_bytes())
    refuse(swapped, "TFLite file, not ONNX")
    swapped = tmp_path / "swapped.tflite"
    swapped.write_bytes(net["float32.onnx"].read_bytes())
    refuse(swapped, "no TFLite file")


def test_optimizing_a_broken_file(net, tmp_path):
    path = tmp_path / "bad.onnx"
    path.write_bytes(net["float32.onnx"].read_bytes()[:2000])
    with pytest.raises(ArtifactError, match="ONNX Runtime does not load") as caught:
        art.optimized_onnx(path)
    assert re.search(r"Received: '.*bad\.onnx'$", str(caught.value))
