from __future__ import annotations

import dataclasses
import itertools

import pytest

from kerasdeconv.errors import TargetError
from kerasdeconv.export import artifact as art
from kerasdeconv.export.targets import FORMS, Rule, check, load_target, target_names
from kerasdeconv.export.targets.lowering import Form, parse_lowering

pytest_plugins = ["converted_files", "npu_files"]

LAYERS = ["stem", "pool", "conv2d", "conv2d_1", "bn", "relu", "up", "join", "head"]
TARGETS = [
    "android-cpu", "android-gpu", "coral-edgetpu", "coreml", "ethos-u55", "ethos-u65", "ethos-u85",
    "ios", "microcontroller", "onnxruntime-cpu", "onnxruntime-web", "openvino", "qualcomm-htp",
    "raspberry-pi", "tensorrt",
]  # fmt: skip


def errors(violations) -> list[tuple[str | None, str]]:
    return [(v.operator, v.problem) for v in violations if v.severity == "error"]


def test_names():
    assert target_names() == TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_every_target_is_whole(name):
    target = load_target(name)
    assert target.name == name and target.title
    assert target.format in art.FORMATS
    assert target.runtime == {"tflite": "litert", "onnx": "onnxruntime"}[target.format]
    assert set(target.precisions) <= set(art.PRECISIONS)
    assert target.door in ("uint8", "int8", "float32")
    assert target.source
    assert all(rule.source for rules in target.operators.values() for rule in rules)
    assert set(target.folded) <= set(target.precisions)
    for family, precision in itertools.product(FORMS, target.precisions):
        forms = target.forms(family, precision)
        assert forms and set(forms) <= set(FORMS[family]), (family, precision)
    if target.format == "tflite":
        assert target.folded == target.precisions


@pytest.mark.parametrize("name", ["coral-edgetpu", "qualcomm-htp", "coreml"])
def test_what_nobody_checked_is_marked(name):
    rules = [rule for rules in load_target(name).operators.values() for rule in rules]
    assert any(not rule.verified for rule in rules)


def test_operator_names_exist():
    import onnx
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    known = {"tflite": set(vars(BuiltinOperator)), "onnx": set()}
    known["onnx"] = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    for target in map(load_target, TARGETS):
        assert set(target.operators) <= known[target.format], target.name


def test_onnxruntime_has_a_kernel_for_each():
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    kernels = {k.op_name for k in state.get_all_opkernel_def() if k.domain == ""}
    # HardSwish is defined by other operators, a Constant is folded when the file is loaded.
    replaced = {"HardSwish", "Constant"}
    assert set(load_target("onnxruntime-cpu").operators) - kernels == replaced


def test_unknown_target():
    with pytest.raises(TargetError, match=r"Did you mean 'android-cpu'.*Received: 'android-cpo'"):
        load_target("android-cpo")


def test_forms():
    android = load_target("android-cpu")
    assert android.forms("transposed_convolution", "int8")[:2] == ("joint", "split")
    assert android.forms("transposed_convolution", "int16x8")[0] == "rows"
    assert "keep" not in load_target("onnxruntime-cpu").forms("transposed_convolution", "int8")
    with pytest.raises(TargetError, match=r"android-gpu runs .*Received: 'int8'"):
        load_target("android-gpu").forms("transposed_convolution", "int8")
    with pytest.raises(
        TargetError, match=r"Did you mean .*'transposed_conv.*Received: 'transposed'"
    ):
        load_target("android-gpu").forms("transposed", "float16")


def test_forms_by_stride():
    target = load_target("ethos-u85")
    assert "keep" in target.forms("transposed_convolution", "int8")
    assert "keep" in target.forms("transposed_convolution", "int8", stride=2)
    assert "keep" not in target.forms("transposed_convolution", "int8", stride=3)
    only = {"nearest": {"int8": (Form("resize", 2),)}}
    assert dataclasses.replace(target, lowering=only).forms("nearest", "int8", 3) == ("keep",)


def test_what_is_not_listed_is_kept():
    assert load_target("tensorrt").forms("hard_swish", "float16") == ("keep",)
    assert load_target("android-cpu").forms("relu", "float32") == ("keep",)


def test_a_profile_inherits_lowering_family_by_family():
    u55, u85 = load_target("ethos-u55"), load_target("ethos-u85")
    assert set(u85.lowering) == set(u55.lowering)
    assert u85.lowering["nearest"] == u55.lowering["nearest"]
    assert u85.operators["TRANSPOSE_CONV"] != u55.operators["TRANSPOSE_CONV"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"transpose": ["keep"]}, r"unknown family.*Received: 'transpose'$"),
        ({"nearest": ["joint"]}, r"nearest an unknown form\. Known: keep, concat.*'joint'$"),
        ({"nearest": [{"form": "keep", "stride": 2}]}, r"unknown form.*'stride': 2}$"),
        ({"nearest": {"int4": ["keep"]}}, r"does not run\. .*Received: 'int4'$"),
    ],
)
def test_wrong_lowering_is_refused(table, message):
    with pytest.raises(TargetError, match=message):
        parse_lowering(table, ("int8", "float32"), "bench")


def test_lowering_by_precision_or_for_all():
    table = {"nearest": ["resize"], "relu": {"int8": [{"form": "clamp", "max_stride": 2}, "keep"]}}
    assert parse_lowering(table, ("int8", "float32"), "bench") == {
        "nearest": {"int8": (Form("resize"),), "float32": (Form("resize"),)},
        "relu": {"int8": (Form("clamp", 2), Form("keep"))},
    }


@pytest.mark.parametrize(
    ("name", "folded", "kept"),
    [
        ("android-cpu", "float32", None),
        ("onnxruntime-cpu", "int8", "float32"),
        ("openvino", "int8", "float16"),
        ("tensorrt", None, "float16"),
    ],
)
def test_volumes_are_folded(name, folded, kept):
    target = load_target(name)
    assert folded is None or target.folds_volumes(folded)
    assert kept is None or not target.folds_volumes(kept)


def test_where_timing_here_says_nothing():
    assert [name for name in TARGETS if load_target(name).tunes] == [
        "android-cpu", "ios", "onnxruntime-cpu", "onnxruntime-web", "raspberry-pi",
    ]  # fmt: skip


ACCEPTED = {
    "android-cpu": ["float32", "float16", "dynamic", "int8"],
    "ios": ["float32", "float16", "dynamic", "int8"],
    "raspberry-pi": ["float32", "float16", "dynamic", "int8"],
    "android-gpu": ["float32", "float16"],
    "microcontroller": ["float32", "int8"],
    "onnxruntime-cpu": ["float32", "int8"],
    "onnxruntime-web": ["float32", "int8"],
    "coreml": ["float32"],
    "openvino": ["float32", "int8"],
    "qualcomm-htp": ["int8"],
    "tensorrt": ["float32"],
}


@pytest.mark.parametrize(
    ("name", "precision"), [(n, p) for n, precisions in ACCEPTED.items() for p in precisions]
)
def test_stock_file_is_accepted(net, name, precision):
    form = load_target(name).format
    assert errors(check(net[f"{precision}.{form}"], name)) == []


@pytest.mark.parametrize("name", ["ethos-u55", "ethos-u65", "ethos-u85", "coral-edgetpu"])
def test_lowered_file_is_accepted(on_npu, name):
    assert errors(check(on_npu, name)) == []


SHUFFLED = "DEPTH_TO_SPACE (layer 'shuffle', operator 5, version 2, int8 1x16x16x16): "
REFUSED = [
    ("ethos-u55", "int8.tflite", f"{SHUFFLED}Vela leaves it to the processor"),
    ("ethos-u65", "int8.tflite", f"{SHUFFLED}Vela leaves it to the processor"),
    ("ethos-u85", "int8.tflite", f"{SHUFFLED}Vela leaves it to the processor"),
    ("coral-edgetpu", "int8.tflite", f"{SHUFFLED}edgetpu_compiler stops at it"),
    (
        "qualcomm-htp",
        "float32.tflite",
        "CONV_2D (layer 'stem', operator 0, version 1, float32 1x16x16x16): "
        "type float32 where it takes int8, uint8",
    ),
    (
        "coreml",
        "int8.onnx",
        "QuantizeLinear (layer 'stem', operator 6, version 17, uint8 1x3x16x16): "
        "coreml has no such operator",
    ),
    (
        "tensorrt",
        "int8.onnx",
        "QuantizeLinear (layer 'stem', operator 6, version 17, uint8 1x3x16x16): "
        "type uint8 where it takes float32, float16, int8",
    ),
]


@pytest.mark.parametrize(("name", "file", "message"), REFUSED)
def test_refusal_tells_all(net, name, file, message):
    refused = [v for v in check(net[file], name) if v.severity == "error"]
    assert message in [str(violation) for violation in refused]
    assert all(violation.source for violation in refused)


def test_openvino_refuses_what_it_was_not_run_with(net, tmp_path):
    import onnx

    model = onnx.load(net["float32.onnx"])
    (softmax,) = [node for node in model.graph.node if node.op_type == "Softmax"]
    softmax.op_type = "Hardmax"
    onnx.save(model, tmp_path / "hard.onnx")
    (violation,) = check(tmp_path / "hard.onnx", "openvino", LAYERS)
    assert str(violation) == (
        "Hardmax (layer 'head', operator 12, version 17, float32 1x4x16x16): "
        "openvino has no such operator"
    )
    assert violation.source == "run with OpenVINO 2026.4 on x86"


def test_unverified_facts_are_marked(net):
    violations = {v.operator: v for v in check(net["int8.tflite"], "coral-edgetpu")}
    assert violations["CONV_2D"].problem.endswith("[unverified]")
    assert not violations["CONV_2D"].verified
    assert violations["DEPTH_TO_SPACE"].verified  # a maintainer said so
    assert "edgetpu, issue 386" in violations["DEPTH_TO_SPACE"].source


@pytest.mark.parametrize(
    ("precision", "problem"),
    [
        ("dynamic", "weights of type int8 where it takes float32, float16"),
        ("int8", "type int8 where it takes float32"),
    ],
)
def test_gpu_takes_floats_only(net, precision, problem):
    violations = check(net[f"{precision}.tflite"], "android-gpu", LAYERS)
    up = [v for v in violations if v.operator == "TRANSPOSE_CONV"]
    assert problem in [v.problem for v in up]
    assert {v.layer for v in up} == {"up"}


@pytest.mark.parametrize("precision", ["dynamic", "float16"])
def test_microcontroller_wants_one_type(net, precision):
    refused = {name for name, _ in errors(check(net[f"{precision}.tflite"], "microcontroller"))}
    assert {"CONV_2D", "TRANSPOSE_CONV"} <= refused


def test_standing_int8_relu_is_slow(net):
    warnings = check(net["int8.tflite"], "android-cpu", LAYERS)
    assert [(v.operator, v.layer, v.severity) for v in warnings] == [
        ("RELU", "up", "warning"),
        ("SOFTMAX", "head", "warning"),
    ]
    assert "XNNPACK takes it in float only" in warnings[0].problem
    assert warnings[0].source
    assert not check(net["float32.tflite"], "android-cpu")


def test_int16x8_is_slow(net):
    warnings = check(net["int16x8.tflite"], "android-cpu")
    assert not errors(warnings)
    assert "tens of times slower" in next(v.problem for v in warnings if v.operator == "CONV_2D")


def test_fused_transposed_convolution(fused_tflite):
    """A fused activation makes TRANSPOSE_CONV version 4: fast on the CPU, refused by the GPU."""
    (up,) = [o for o in art.read_artifact(fused_tflite).operators if o.name == "TRANSPOSE_CONV"]
    assert (up.version, up.fused_activation) == (4, "RELU")
    assert errors(check(fused_tflite, "android-gpu")) == [
        ("TRANSPOSE_CONV", "version 4 where it takes 3 at most"),
        ("TRANSPOSE_CONV", "fused activation RELU where it takes none"),
    ]
    assert not check(fused_tflite, "android-cpu")


def test_volume(volume):
    found = errors(check(volume["float32.tflite"], "android-gpu"))
    assert ("CONV_3D", "android-gpu has no such operator") in found
    assert ("RELU", "a tensor of 5 dimensions where it takes 4 at most") in found
    on_cpu = check(volume["float32.tflite"], "android-cpu")
    assert not errors(on_cpu)
    assert {v.operator for v in on_cpu} == {"CONV_3D", "CONV_3D_TRANSPOSE"}


@pytest.mark.parametrize("name", ["android-cpu", "android-gpu", "microcontroller"])
def test_flex(volume, name):
    problem = f"{name} has no such TensorFlow (Flex) operator"
    assert errors(check(volume["flex.tflite"], name)) == [("FlexMaxPool3D", problem)]


def test_free_sides(net):
    found = errors(check(net["free.tflite"], "android-cpu"))
    assert ("CONV_2D", "a shape that is free until run time") in found
    found = errors(check(net["free.tflite"], "android-gpu"))
    assert ("TRANSPOSE_CONV", "input 0 is computed where it must be a constant") in found


@pytest.mark.parametrize(
    ("file", "target"), [("int8.onnx", "android-cpu"), ("int8.tflite", "onnxruntime-web")]
)
def test_wrong_format(net, file, target):
    (violation,) = check(net[file], target)
    assert violation.operator is None and "files, this one is" in str(violation)


def test_foreign_onnx_operator_and_operator_set(net, tmp_path):
    import onnx

    model = onnx.load(net["float32.onnx"])
    model.graph.node[1].domain = "com.example"
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    model.opset_import[0].version = 22
    path = tmp_path / "foreign.onnx"
    onnx.save(model, path)
    found = errors(check(path, "onnxruntime-web"))
    assert (None, "operator set 22, where it takes 21 at most") in found
    assert ("Conv", "it is a custom operator") in found


def test_message(net):
    message = str(check(net["int8.tflite"], "android-cpu", LAYERS)[0])
    assert message.startswith("RELU (layer 'up', operator 7, version 2, int8 1x16x16x16): XNNPACK")
    assert "\n" not in message


def test_a_read_artifact_and_a_loaded_target_serve_too(net):
    path = net["int8.tflite"]
    expected = check(path, "android-gpu")
    assert check(art.read_artifact(path), load_target("android-gpu")) == expected


def conv(**changes) -> art.Operator:
    """A convolution of 3x3 at stride 2, as read from TFLite."""
    image = art.Tensor("x", "int8", (1, 8, 8, 4))
    kernel = art.Tensor("w", "int8", (16, 3, 3, 4), stored="int8")
    output = art.Tensor("y", "int8", (1, 4, 4, 16), quantization=art.Quantization((0.5,), (3,)))
    operator = art.Operator(
        0, "CONV_2D", 3, (image, kernel), (output,), strides=(2, 2),
        fused_activation="RELU", attributes={"padding": "SAME"},
    )  # fmt: skip
    return dataclasses.replace(operator, **changes)


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (Rule(dtypes=("float32",)), "type int8 where it takes float32"),
        (Rule(weights=("float16",)), "weights of type int8 where it takes float16"),
        (Rule(max_version=2), "version 3 where it takes 2 at most"),
        (Rule(max_rank=3), "a tensor of 4 dimensions where it takes 3 at most"),
        (Rule(max_inputs=1), "2 inputs where it takes 1 at most"),
        (Rule(fused_activations=("RELU6",)), "fused activation RELU where it takes RELU6"),
        (Rule(strides=((1, 1),)), "strides (2, 2) where it takes (1, 1)"),
        (Rule(kernels=((1, 1),)), "kernel (3, 3) where it takes (1, 1)"),
        (Rule(constant_inputs=(0,)), "input 0 is computed where it must be a constant"),
        (Rule(attributes={"padding": ("VALID",)}), "padding SAME where it takes VALID"),
        (Rule(max_axes=2), "a tensor along 3 axes where it takes 2 at most"),
        (Rule(max_pixels=63), "64 pixels where it takes 63 at most"),
        (Rule(max_stride=1), "stride 2 where it takes 1 at most"),
        (Rule(unpadded=True), "padding around the picture where it takes none"),
        (Rule(zero_points=(0,)), "zero point 3 where it takes 0"),
        (Rule(refusal="nobody has it"), "nobody has it"),
    ],
)
def test_each_limit(rule, problem):
    assert rule.problems(conv()) == [problem]


def test_no_limit():
    fits = Rule(
        dtypes=("int8",), weights=("int8",), max_version=3, max_rank=4, max_inputs=2,
        fused_activations=("RELU",), strides=((2, 2),), kernels=((3, 3),), constant_inputs=(1,),
        attributes={"padding": ("SAME",)}, max_axes=3, max_pixels=64, max_stride=2,
        zero_points=(3,),
    )  # fmt: skip
    assert fits.problems(conv()) == [] == Rule().problems(conv())
    assert Rule().problems(conv(custom=True)) == ["it is a custom operator"]
    assert Rule(custom=True).problems(conv(custom=True)) == []


def test_unpadded():
    """A convolution of 2x2 at stride 2 on 8x8 reads nothing outside, though it is called SAME."""
    small = dataclasses.replace(conv().inputs[1], shape=(16, 2, 2, 4))
    assert Rule(unpadded=True).problems(conv(inputs=(conv().inputs[0], small))) == []
    assert Rule(unpadded=True).problems(conv(attributes={"padding": "VALID"})) == []


def test_a_batch_is_an_axis():
    pictures = dataclasses.replace(conv().inputs[0], shape=(2, 8, 8, 4))
    batch = conv(inputs=(pictures, conv().inputs[1]))
    assert Rule(max_axes=3).problems(batch) == ["a tensor along 4 axes where it takes 3 at most"]
    artifact = art.Artifact("", "tflite", 0, (batch,), (), (), None)
    assert "a tensor along 4 axes" in str(check(artifact, "coral-edgetpu")[0])


@pytest.mark.parametrize(
    ("padding", "kernel", "side", "whole"),
    [("SAME", 3, 16, None), ("SAME", 3, 17, 16), ("VALID", 3, 17, None), ("VALID", 3, 16, 17),
     ("VALID", 1, 16, None)],
)  # fmt: skip
def test_whole_upsampling(padding, kernel, side, whole):
    image, output = (art.Tensor("", "int8", (1, n, n, 4)) for n in (8, side))
    kernel = art.Tensor("w", "int8", (4, kernel, kernel, 4), stored="int8")
    up = art.Operator(
        0, "TRANSPOSE_CONV", 3, (art.ABSENT, kernel, image), (output,), strides=(2, 2),
        attributes={"padding": padding},
    )  # fmt: skip
    expected = [f"8 pixels become {side} where it makes {whole}"] * 2 if whole else []
    assert Rule(whole_upsampling=True).problems(up) == expected


def test_scale_limit():
    image, output = (art.Tensor("", "int8", (1, side, side, 4)) for side in (8, 24))
    resize = art.Operator(0, "RESIZE_BILINEAR", 3, (image,), (output,))
    assert Rule(scales=(2, 4)).problems(resize) == ["scale 3.0 where it takes 2, 4"] * 2
    assert Rule(scales=(3,)).problems(resize) == []


def test_unverified_fact_is_said():
    rule = Rule(verified=False)
    target = dataclasses.replace(
        load_target("microcontroller"), name="bench", operators={"CONV_2D": (rule,)}
    )
    artifact = art.Artifact("", "tflite", 0, (conv(),), (), (), None)
    (violation,) = check(artifact, target)
    assert (violation.severity, violation.problem) == (
        "warning",
        "bench is believed to take it [unverified]",
    )
