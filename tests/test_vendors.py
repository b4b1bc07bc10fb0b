"""Vendors' tools really take files: Vela compiles them, OpenVINO loads and runs them."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import sys

import keras
import pytest
import tensorflow as tf

from kerasdeconv.errors import ArtifactError, TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export.targets import check, load_target
from kerasdeconv.export.vendors import Compiled, NotCompiled, compile_file

pytest_plugins = ["converted_files", "npu_files", "cli_fixtures"]

LAYERS = ["stem", "pool", "conv2d", "conv2d_1", "bn", "relu", "up", "join", "head", "shuffle"]
ETHOS = ["ethos-u55", "ethos-u65", "ethos-u85"]


class TestVela:
    @pytest.mark.parametrize("target", ETHOS)
    def test_everything_is_on_the_npu(self, on_npu, target):
        done = compile_file(on_npu, target)
        assert isinstance(done, Compiled)
        assert done.version == importlib.metadata.version("ethos-u-vela")
        assert done.device == load_target(target).compiler.device
        assert done.left == () and done.fraction == 1 and done.placed == done.operators > 5
        # A network of 0.3 million multiplications on an NPU that does 256 or 512 a cycle.
        assert 1_000 < done.cycles < 1_000_000
        assert done.milliseconds == pytest.approx(done.cycles / done.settings["clock_mhz"] / 1e3)
        assert done.memory_kib["sram"] > 1
        assert done.summary().startswith(
            f"NPU 100 %: {done.operators} of {done.operators} operators; 0."
        )
        assert done.summary().endswith(" ms estimated")

    def test_what_is_left_is_named(self, net):
        done = compile_file(net["int8.tflite"], "ethos-u55", LAYERS)
        assert [str(left) for left in done.left] == [
            "DEPTH_TO_SPACE (layer 'shuffle', operator 5, version 2, int8 1x16x16x16): "
            "Vela leaves it to the processor",
            "DEQUANTIZE (operator 11, version 2, float32 1x16x16x4): "
            "Vela leaves it to the processor",
        ]
        assert all(left.severity == "warning" and left.source for left in done.left)
        assert done.operators - done.placed == 2 and done.fraction == 1 - 2 / done.operators
        assert done.summary().endswith("estimated for the NPU's part")

    def test_floats_are_left_altogether(self, net):
        done = compile_file(net["float32.tflite"], "ethos-u85")
        assert done.placed == 0 and len(done.left) == done.operators

    def test_plain_values(self, on_npu):
        fields = compile_file(on_npu, "ethos-u55").to_dict()
        assert json.loads(json.dumps(fields))["fraction"] == 1
        assert fields["settings"] == {
            "system": "Ethos_U55_High_End_Embedded",
            "memory": "Shared_Sram",
            "clock_mhz": 500.0,
        }

    def test_nothing_is_left_behind(self, on_npu):
        before = sorted(on_npu.parent.iterdir()), on_npu.read_bytes()
        compile_file(on_npu, "ethos-u55")
        assert (sorted(on_npu.parent.iterdir()), on_npu.read_bytes()) == before

    def test_unknown_device(self, on_npu):
        target = load_target("ethos-u55")
        wrong = dataclasses.replace(target.compiler, device="ethos-u99")
        with pytest.raises(
            TargetError, match=r"does not compile the file \(.*invalid choice.*\)\. Received: '.*'$"
        ) as error:
            compile_file(on_npu, dataclasses.replace(target, compiler=wrong))
        assert "\n" not in str(error.value)

    def test_damaged_file(self, on_npu, tmp_path):
        path = tmp_path / "half.tflite"
        path.write_bytes(on_npu.read_bytes()[:3000])  # Vela itself crashes on it
        with pytest.raises(ArtifactError, match="damaged"):
            compile_file(path, "ethos-u55")

    def test_other_format(self, net):
        with pytest.raises(TargetError, match="ethos-u55 takes tflite files, this one is onnx"):
            compile_file(net["int8.onnx"], "ethos-u55")


def decoders():
    """Layers at the edge of what an Ethos-U takes, by name."""
    layers = keras.layers
    plain = (16, 16, 8)
    yield "stride 4 padded", plain, layers.Conv2D(8, 7, strides=4, padding="same")
    yield "stride 4 unpadded", plain, layers.Conv2D(8, 4, strides=4, padding="same")
    yield "depthwise at 4", plain, layers.DepthwiseConv2D(5, strides=4, padding="same")
    yield "transposed at 2", plain, layers.Conv2DTranspose(8, 4, 2, padding="same")
    yield "transposed at 3", plain, layers.Conv2DTranspose(8, 3, 3, padding="same")
    yield "transposed, short kernel", plain, layers.Conv2DTranspose(8, 1, 2, padding="valid")
    yield "transposed, added to", plain, layers.Conv2DTranspose(8, 3, 2, output_padding=1)
    yield "bilinear x2", (4, 4, 8), layers.UpSampling2D(2, interpolation="bilinear")
    yield "bilinear x3", (4, 4, 8), layers.UpSampling2D(3, interpolation="bilinear")
    yield "bilinear x4", (4, 4, 8), layers.UpSampling2D(4, interpolation="bilinear")
    yield "average of 9", plain, layers.AveragePooling2D(9, 1, "same")
    yield "softmax of 65536", (256, 256, 2), layers.Softmax()
    yield "softmax of more", (257, 256, 2), layers.Softmax()


@pytest.mark.filterwarnings("ignore")  # the converter's own
@pytest.mark.parametrize(("shape", "layer"), [pytest.param(s, y, id=n) for n, s, y in decoders()])
def test_rules_say_what_vela_does(shape, layer, tmp_path):
    """What a profile refuses Vela leaves to the processor, and nothing else but casts at doors."""
    from converted_files import to_tflite

    image = keras.Input(shape)
    path = tmp_path / "layer.tflite"
    to_tflite(keras.Model(image, layer(image)), path, "int8", (1, *shape))
    for target in ("ethos-u55", "ethos-u85"):
        refused = {v.operator for v in check(path, target) if v.severity == "error"}
        left = {v.operator for v in compile_file(path, target).left}
        assert refused == left - {"QUANTIZE", "DEQUANTIZE"}, target


class TestOpenVino:
    def test_integers_stay_integers(self, net):
        done = compile_file(net["int8.onnx"], "openvino")
        assert done.version == importlib.metadata.version("openvino")
        assert done.precisions == {"Convolution in u8": 4, "Deconvolution in u8": 1}
        assert done.cycles is None and done.left == () and done.fraction == 1
        assert done.summary() == (
            "openvino loads and runs it: 4 Convolution in u8, 1 Deconvolution in u8"
        )

    def test_floats(self, net):
        """On a processor that multiplies bfloat16 OpenVINO takes that for float32."""
        done = compile_file(net["float32.onnx"], "openvino")
        told = json.loads(json.dumps(done.to_dict()))["precisions"]
        assert {kind.partition(" in ")[0]: n for kind, n in told.items()} == {
            "Convolution": 4,
            "Deconvolution": 1,
        }
        assert {kind.partition(" in ")[2] for kind in told} <= {"f32", "bf16", "f16"}

    def test_what_it_does_not_know(self, net, tmp_path):
        path = foreign(net["float32.onnx"], tmp_path)
        with pytest.raises(TargetError, match=r"^openvino does not load the file \(.*com\.example"):
            compile_file(path, "openvino")


def foreign(file, folder):
    """A file with an operator of somebody's own."""
    import onnx

    model = onnx.load(file)
    node = next(node for node in model.graph.node if node.op_type == "Conv")
    node.op_type, node.domain = "Convolve", "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save(model, folder / "foreign.onnx")
    return folder / "foreign.onnx"


def test_target_without_a_tool(net):
    assert compile_file(net["int8.tflite"], "android-cpu") is None


@pytest.mark.parametrize(
    ("target", "package", "file"),
    [("ethos-u55", "ethos-u-vela", "int8.tflite"), ("openvino", "openvino", "int8.onnx")],
)
def test_not_installed_is_said(net, monkeypatch, target, package, file):
    """Packages are found along `sys.path`: without the folders of packages they are not there."""
    target = load_target(target)
    art.read_artifact(net[file])  # what reading takes is imported before
    monkeypatch.delitem(sys.modules, package, raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "path", [])
        done = compile_file(net[file], target)
    assert done == NotCompiled(package, f"{package} is not installed")
    assert done.summary() == f"not compiled: {package} is not installed"
    assert done.to_dict()["reason"] == f"{package} is not installed"


class TestCommand:
    def test_placement_and_estimate(self, run, on_npu):
        done = run("check", on_npu, "--target", "ethos-u55")
        assert done.code == 0, done.err
        *_, verdict, placement = done.out.splitlines()
        assert verdict.endswith("0 errors, 0 warnings")
        assert placement.startswith("NPU 100 %: ") and placement.endswith(" ms estimated")

    def test_violations_are_told_in_full(self, run, net):
        done = run("check", net["int8.tflite"], "--target", "ethos-u55")
        assert done.code == 1
        row = next(line for line in done.out.splitlines() if "DEPTH_TO_SPACE" in line)
        assert row.split()[:7] == [
            "error", "DEPTH_TO_SPACE", "5", "2", "int8", "1x16x16x16", "shuffle",
        ]  # fmt: skip
        assert row.endswith("[1]") and "[1] compiled with Vela 5.2" in done.out
        assert "operators; 0." in done.out.splitlines()[-1]

    def test_json(self, run, net):
        done = run("check", net["int8.tflite"], "--target", "ethos-u85", "--json")
        first = done.json["violations"][0]
        assert first == {
            "problem": "Vela leaves it to the processor",
            "severity": "error",
            "operator": "DEPTH_TO_SPACE",
            "index": 5,
            "version": 2,
            "dtype": "int8",
            "shape": [1, 16, 16, 16],
            "layer": "shuffle",
            "source": "compiled with Vela 5.2",
            "verified": True,
        }
        assert done.json["compiled"]["tool"] == "ethos-u-vela"
        # Vela's word on an operator that the profile has told of already is not repeated.
        indices = [violation["index"] for violation in done.json["violations"]]
        assert len(indices) == len(set(indices))

    def test_what_vela_alone_sees(self, run, tmp_path):
        """The axis of an ARG_MAX is a value, which no rule looks at."""
        from converted_files import to_tflite

        image = keras.Input((16, 16, 8))

        @keras.saving.register_keras_serializable("test_vendors")
        class RowMax(keras.layers.Layer):
            def call(self, x):
                return tf.argmax(x, 1, output_type=tf.int32)

        path = tmp_path / "rows.tflite"
        to_tflite(keras.Model(image, RowMax(name="tallest")(image)), path, "int8", (1, 16, 16, 8))
        assert not [v for v in check(path, "ethos-u55") if v.severity == "error"]
        done = run("check", path, "--target", "ethos-u55", "--json")
        assert done.code == 0
        (left,) = [v for v in done.json["violations"] if v["operator"] == "ARG_MAX"]
        assert left["severity"] == "warning" and left["layer"] == "tallest"

    def test_openvino(self, run, net, tmp_path):
        done = run("check", net["int8.onnx"], "--target", "openvino")
        assert done.code == 0
        assert "openvino loads and runs it: 4 Convolution in u8" in done.out
        done = run("check", foreign(net["float32.onnx"], tmp_path), "--target", "openvino")
        assert done.code == 1
        assert "openvino does not load the file" in done.out

    def test_targets_tell_of_tools(self, run):
        found = {target["name"]: target for target in run("targets", "--json").json}
        assert found["ethos-u65"]["compiler"]["device"] == "ethos-u65-512"
        assert found["android-cpu"]["compiler"] is None
        assert found["coral-edgetpu"]["verified"] is False and found["coral-edgetpu"]["source"]
