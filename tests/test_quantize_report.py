"""What int8 costs, layer by layer: the simulation, and the report made with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from cli_runs import SIDE, Ran
from export_models import (
    PIXELS,
    autoencoder,
    pictures,
    random_weights,
    several_outputs,
    two_inputs,
    unet,
)

from kerasdeconv import models, runtime, zoo
from kerasdeconv.convention import Convention
from kerasdeconv.errors import ExportError, TargetError
from kerasdeconv.export import QuantizationReport, export, quantize_report
from kerasdeconv.export.artifact import origin_of, read_artifact
from kerasdeconv.export.job import find_samples, layer_names, resolve
from kerasdeconv.export.lowering import lower, lower_for
from kerasdeconv.export.pixel_output import without_clip
from kerasdeconv.export.quantization.kernels import rounded_kernel
from kerasdeconv.export.quantization.noise import Noise
from kerasdeconv.export.quantization.report import COLUMNS
from kerasdeconv.export.quantization.simulation import Simulation, fake_quantize
from kerasdeconv.export.quantization.weights import fitted_kernels
from kerasdeconv.export.saturation import PAIR_LIMIT, pair_sums
from kerasdeconv.export.targets import load_target
from kerasdeconv.export.tflite import to_tflite
from kerasdeconv.sizes import input_shapes

L = keras.layers

pytest_plugins = ["cli_fixtures"]
# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TARGETS = ["android-cpu", "onnxruntime-cpu"]


def _simulated(
    model: keras.Model,
    target: str,
    samples: list[Any],
    *,
    size: tuple[int, ...] | None = None,
    pixels: bool = False,
) -> Simulation:
    chosen = load_target(target)
    lowered = lower_for(model, input_shapes(model, size), chosen, "int8").model
    if pixels:
        lowered, _ = without_clip(lowered)
    kernels = fitted_kernels(lowered, samples, format=chosen.format)
    simulation = Simulation(lowered, chosen.format, pixels=pixels, kernels=kernels)
    simulation.calibrate(samples, "minmax")
    return simulation


def _volumes() -> tuple[keras.Model, list[np.ndarray]]:
    """A small 3D U-Net and what it takes."""
    network = models.UNet3D((8, 8, 8, 1), 2, width=2, depth=2, padding="same")
    rng = np.random.default_rng(0)
    samples = [rng.uniform(0, 1, (1, 8, 8, 8, 1)).astype(np.float32) for _ in range(4)]
    return random_weights(network), samples


def _chain() -> keras.Model:
    """Four convolutions in a row, with all ranges alike."""
    layers = keras.layers
    image = keras.Input((12, 12, 3), name="image")
    x = layers.Rescaling(1 / 255, name="scale")(image)
    for name in ("first", "second", "third"):
        x = layers.Conv2D(8, 3, padding="same", activation="relu", name=name)(x)
    return random_weights(keras.Model(image, layers.Conv2D(3, 1, name="last")(x), name="chain"))


class TestFakeQuantize:
    def test_steps_of_a_range_with_zero_among_them(self) -> None:
        # 255 steps of 0.1, the 50th of which is zero.
        values = np.array([0.0, 0.04, 0.06, -5.3, 20.9, 3.141], np.float32)
        told = fake_quantize(values, -5.0, 20.5)
        np.testing.assert_allclose(told, [0, 0, 0.1, -5, 20.5, 3.1], atol=1e-5)
        assert told[0] == 0

    def test_a_range_moves_until_zero_is_a_step(self) -> None:
        # Zero would be 10.3 steps of 0.1 above the least: it is 10, and the greatest 24.5.
        told = fake_quantize(np.array([-9.0, 0.0, 99.0], np.float32), -1.03, 24.47)
        np.testing.assert_allclose(told, [-1, 0, 24.5], atol=1e-5)

    def test_nothing_but_zeros(self) -> None:
        assert not fake_quantize(np.zeros(3, np.float32), 0.0, 0.0).any()


class TestKernels:
    def test_a_scale_for_each_output(self) -> None:
        layer = keras.layers.Conv2D(2, 1, use_bias=False)
        layer.build((None, 1, 1, 2))
        layer.set_weights([np.array([[[[1.27, 0.127], [0.404, -0.0301]]]], np.float32)])
        # Steps of 0.01 and of 0.001.
        np.testing.assert_allclose(
            rounded_kernel(layer, "tflite").ravel(), [1.27, 0.127, 0.40, -0.030], atol=1e-6
        )

    @pytest.mark.parametrize(
        ("layer", "axis"),
        [
            (keras.layers.Conv2D(5, 3), -1),
            (keras.layers.Conv3D(5, 3), -1),
            (keras.layers.Conv2D(4, 3, groups=2), -1),
            (keras.layers.Conv2DTranspose(5, 3), -2),
            (keras.layers.Dense(5), -1),
        ],
        ids=lambda x: getattr(x, "name", ""),
    )
    def test_rounds_by_less_than_half_a_step_along_its_axis(self, layer: Any, axis: int) -> None:
        rank = 5 if isinstance(layer, keras.layers.Conv3D) else 4
        layer.build((None, *[4] * (rank - 1)))
        kernel = np.random.default_rng(0).normal(size=layer.kernel.shape).astype(np.float32)
        other = tuple(i for i in range(kernel.ndim) if i != axis % kernel.ndim)
        # Outputs of very different sizes: one scale for all of them would lose the small ones.
        kernel *= np.expand_dims(np.logspace(0, 3, kernel.shape[axis]), other).astype(np.float32)
        layer.kernel.assign(kernel)
        error = np.abs(rounded_kernel(layer, "tflite") - kernel)
        half = np.abs(kernel).max(axis=other, keepdims=True) / 127 / 2
        assert np.all(error <= half * 1.001)  # float32

    def test_depthwise_has_a_scale_for_each_channel(self) -> None:
        layer = keras.layers.DepthwiseConv2D(3, depth_multiplier=2)
        layer.build((None, 4, 4, 3))
        kernel = np.random.default_rng(0).normal(size=layer.kernel.shape).astype(np.float32)
        kernel *= np.logspace(0, 3, 6).reshape(3, 2).astype(np.float32)
        layer.kernel.assign(kernel)
        half = np.abs(kernel).max(axis=(0, 1)) / 127 / 2
        for form in ("tflite", "onnx"):
            assert np.all(np.abs(rounded_kernel(layer, form) - kernel) <= half * 1.001)

    def test_onnx_scales_keep_pairs_from_saturating(self) -> None:
        layer = keras.layers.Conv2D(1, 1)
        layer.build((None, 1, 1, 2))
        layer.kernel.assign([[[[1.0], [1.0]]]])
        told = {form: rounded_kernel(layer, form).reshape(1, 2) for form in ("tflite", "onnx")}
        # Both are exact here: 127 times 1/127, and 64 times 1/64, whose sum is the limit.
        np.testing.assert_allclose(told["tflite"], 1, rtol=1e-6)
        assert pair_sums(told["onnx"] * 64).max() == PAIR_LIMIT
        layer.kernel.assign([[[[1.0], [0.99]]]])
        assert abs(rounded_kernel(layer, "onnx").ravel()[1] - 0.99) < 1.99 / PAIR_LIMIT / 2
        assert (
            rounded_kernel(layer, "onnx").ravel()[1] != rounded_kernel(layer, "tflite").ravel()[1]
        )


class TestSimulation:
    @pytest.mark.parametrize("target", TARGETS)
    @pytest.mark.parametrize("name", ["autoencoder", "unet", "several", "two", "espcn_x2"])
    def test_agrees_with_the_file(self, name: str, target: str, tmp_path: Path) -> None:
        makers = {
            "autoencoder": autoencoder,
            "unet": unet,
            "several": several_outputs,
            "two": two_inputs,
            "espcn_x2": lambda: zoo.load("espcn_x2"),
        }
        network, size = makers[name](), (12, 16) if name == "espcn_x2" else None
        shapes = input_shapes(network, size)
        single = [pictures(shape[1:], 4, seed) for seed, shape in enumerate(shapes)]
        given = single[0] if len(single) == 1 else [list(p) for p in zip(*single, strict=True)]
        report = export(
            network, tmp_path, target=target, precision="int8", size=size, calibration=given,
            tune=False, door="uint8",
        )  # fmt: skip
        subject = resolve(network, None, None)
        samples = find_samples(subject, "int8", given, shapes).values
        pixels = subject.convention.output == "pixels"
        simulation = _simulated(network, target, samples, size=size, pixels=pixels)
        predictor = runtime.open(report.artifact)
        ours, theirs = np.zeros(len(report.outputs)), np.zeros(len(report.outputs))
        for sample in samples:
            floats = simulation.floats(sample)
            plain = simulation.run(floats, ())
            answers = predictor.run(*(sample if isinstance(sample, list) else [sample]))
            for i, got in enumerate(simulation.run(floats, inputs=True)):
                expected = answers[i].reshape(got.shape)
                step = report.outputs[i]["quantization"]["scale"]
                # Now and then a sum is rounded the other way, and moves what reads it by a step:
                # 5 steps were measured behind the ten narrow layers of the U-Net, 1 elsewhere.
                assert np.abs(got - expected).max() <= (6.5 if name == "unet" else 1.5) * step
                ours[i] += np.abs(got - expected).mean()
                theirs[i] += np.abs(plain[i] - expected).mean()
        # What is left is less than what int8 costs: half of it in the U-Net, 7 % elsewhere.
        assert np.all(ours < (0.6 if name == "unet" else 0.15) * theirs)

    def test_volumes_agree_with_the_file(self, tmp_path: Path) -> None:
        network, samples = _volumes()
        report = export(
            network, tmp_path, target="android-cpu", precision="int8", calibration=samples,
            tune=False, convention=Convention(),
        )  # fmt: skip
        simulation = _simulated(network, "android-cpu", samples)
        (got,) = simulation.run(simulation.floats(samples[0]), inputs=True)
        (expected,) = runtime.open(report.artifact).run(samples[0])
        # 19 layers, and the converter rounds once more between the two poolings of a volume. A
        # step is 1 / 256; 3 were measured.
        assert np.abs(got - expected.reshape(got.shape)).max() <= 5 / 256

    def test_rounds_what_is_asked_for_alone(self) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        simulation = _simulated(network, "android-cpu", samples)
        assert simulation.layers == ["first", "second", "third", "last"]
        floats = simulation.floats(samples[0])
        (plain,) = simulation.run(floats, ())
        np.testing.assert_allclose(plain, network(samples[0]), atol=1e-5)  # other order of sums
        # The last layer alone: rounded kernel, then rounded output, by hand.
        (got,) = simulation.run(floats, ["last"])
        layer = network.get_layer("last")
        inputs = keras.Model(network.input, network.get_layer("third").output)(samples[0])
        ((_, kernel),) = simulation.kernels("last")
        bias = keras.ops.convert_to_numpy(layer.bias)
        by_hand = np.asarray(inputs) @ kernel[0, 0] + bias
        ((low, high),) = simulation.bounds("last")
        # Where the order of sums tips a value over, it is a step off.
        off = np.abs(got - fake_quantize(by_hand, low, high))
        assert np.mean(off > 1e-5) < 0.01
        assert not np.allclose(got, by_hand, atol=(high - low) / 255 / 4)

    def test_everything_is_all_layers_and_the_inputs(self) -> None:
        samples = pictures((12, 12, 3))
        simulation = _simulated(_chain(), "android-cpu", samples)
        floats = simulation.floats(samples[0])
        whole = simulation.run(floats, inputs=True)
        np.testing.assert_array_equal(whole, simulation.run(floats, simulation.layers, inputs=True))
        assert not np.array_equal(whole, simulation.run(floats))

    def test_pixels_are_clipped_with_and_without_rounding(self) -> None:
        edges = np.zeros((1, 12, 16, 1), np.float32)
        edges[:, :, 8:] = 255
        simulation = _simulated(
            zoo.load("espcn_x2"), "android-cpu", [edges], size=(12, 16), pixels=True
        )
        floats = simulation.floats(edges)
        assert floats[simulation.outputs[0]].max() > 255.5  # shoots over
        for layers in ((), ["feature_0"], None):
            (got,) = simulation.run(floats, layers)
            assert (got.min(), got.max()) == (0, 255)

    def test_scales_are_those_of_the_file(self, tmp_path: Path) -> None:
        samples = pictures((16, 24, 3))
        report = export(
            unet(), tmp_path, target="android-cpu", precision="int8", calibration=samples,
            tune=False,
        )  # fmt: skip
        simulation = _simulated(unet(), "android-cpu", samples)
        written = [
            operator.outputs[0].quantization.scales[0]
            for operator in read_artifact(report.artifact).operators
            if operator.name in ("CONV_2D", "LOGISTIC") and operator.outputs[0].quantization
        ]
        simulated = [
            (high - low) / 255
            for layer in simulation.layers
            for low, high in simulation.bounds(layer)
        ]
        # In the order of computation; float32 on both sides.
        np.testing.assert_allclose(simulated, written, rtol=1e-4)

    def test_concatenation_ties_in_tflite_alone(self) -> None:
        tied, free = (_simulated(unet(), t, pictures((16, 24, 3))) for t in TARGETS)
        assert tied.bounds("encoder_0_1_conv") == tied.bounds("decoder_0_up")
        assert "decoder_0_concat" not in tied.layers
        assert free.bounds("encoder_0_1_conv") != free.bounds("decoder_0_up")
        assert "decoder_0_concat" in free.layers

    @pytest.mark.parametrize(
        "select",
        [
            lambda a, b: L.Maximum()([a, b]),
            lambda a, b: L.Minimum()([a, b]),
            lambda a, b: keras.ops.where(a > 1.0, a, b),
            lambda a, b: keras.ops.reshape(keras.ops.stack([a, b], -1), (-1, 6, 6, 8)),
        ],
        ids=["maximum", "minimum", "where", "stack"],
    )
    def test_selections_tie_as_in_the_file(self, select: Any, tmp_path: Path) -> None:
        image = keras.Input((8, 8, 3), name="image")
        parts = [L.Conv2D(4, 3, name=name)(image) for name in "ab"]
        out = L.Conv2D(2, 1, name="out")(select(*parts))
        model = lower(random_weights(keras.Model(image, out)), "android-cpu", precision="int8")
        samples = pictures((8, 8, 3))
        simulation = Simulation(model, "tflite")
        simulation.calibrate(samples, "minmax")
        assert len({*simulation.bounds("a"), *simulation.bounds("b")}) == 1
        path = tmp_path / "file.tflite"
        path.write_bytes(to_tflite(model, precision="int8", samples=samples))
        written = {
            operator.outputs[0].quantization.scales[0]
            for operator in read_artifact(path).operators
            if operator.name == "CONV_2D" and operator.outputs[0].shape[-1] == 4
        }
        assert len(written) == 1

    def test_sigmoid_has_a_fixed_range_in_tflite_alone(self) -> None:
        tied, free = (_simulated(unet(), t, pictures((16, 24, 3))) for t in TARGETS)
        assert tied.bounds("head")[-1] == (0, 255 / 256)
        assert free.bounds("head")[-1][1] < 255 / 256

    def test_a_relu_is_part_of_what_is_before_it(self) -> None:
        layers = keras.layers
        image = keras.Input((12, 12, 3), name="image")
        a, b = (layers.Conv2D(4, 3, padding="same", name=name)(image) for name in "ab")
        x = layers.ReLU(name="act")(layers.Add(name="sum")([a, b]))
        network = random_weights(keras.Model(image, layers.Conv2D(1, 1, name="out")(x)))
        simulation = _simulated(network, "android-cpu", pictures((12, 12, 3)))
        assert simulation.layers == ["a", "b", "sum", "out"]
        ((low, _),) = simulation.bounds("sum")
        assert low == 0


class TestReport:
    def test_of_a_network(self, tmp_path: Path) -> None:
        network, samples = _chain(), pictures((12, 12, 3), 12)
        report = quantize_report(network, calibration=samples, convention=PIXELS, measured=3)
        assert {row.layer for row in report.layers} == {"first", "second", "third", "last"}
        losses = [row.output_psnr_db for row in report.layers]
        assert losses == sorted(losses)
        assert report.output_psnr_db < min(losses)
        assert (report.format, report.measured) == ("tflite", 3)
        assert report.calibration == {"source": "given samples", "samples": 12}
        # JSON and back.
        report.save(tmp_path / "report.json")
        assert json.loads((tmp_path / "report.json").read_text()) == report.to_dict()
        assert [p.name for p in tmp_path.iterdir()] == ["report.json"]
        assert {len(row) for row in report.rows()} == {len(COLUMNS)}

    def test_everything_counts_the_inputs(self) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        report = quantize_report(network, calibration=samples, convention=Convention(), measured=8)
        simulation, noise = _simulated(network, "android-cpu", samples), Noise()
        for sample in samples:
            floats = simulation.floats(sample)
            (plain,), (got,) = simulation.run(floats, ()), simulation.run(floats, inputs=True)
            noise.add(plain, got)
        assert report.output_sqnr_db == pytest.approx(noise.sqnr)

    def test_figures_by_hand(self) -> None:
        noise = Noise()
        noise.add(np.array([3.0, -4.0]), np.array([3.0, -3.5]))
        noise.add(np.array([0.0]), np.array([0.5]))
        assert noise.sqnr == pytest.approx(10 * np.log10(25 / 0.5))
        assert noise.psnr(7.0) == pytest.approx(10 * np.log10(49 / (0.5 / 3)))

    def test_weights_by_hand(self) -> None:
        layers = keras.layers
        image = keras.Input((8, 8, 2), name="image")
        network = keras.Model(image, layers.Conv2D(1, 1, name="only")(image))
        # Steps of 1.27 / 127 = 0.01: 1.27 is exact, 0.124 becomes 0.12.
        network.set_weights([np.array([[[[1.27], [0.124]]]], np.float32), np.zeros(1)])
        report = quantize_report(
            network, calibration=pictures((8, 8, 2)), convention=Convention(), measured=1
        )
        (row,) = report.layers
        expected = 10 * np.log10((1.27**2 + 0.124**2) / 0.004**2)
        assert row.weights_sqnr_db == pytest.approx(expected, abs=0.01)  # float32

    @pytest.mark.parametrize("target", TARGETS)
    def test_a_kernel_with_an_outlier_comes_first(self, target: str) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        before = quantize_report(network, target=target, calibration=samples, convention=PIXELS)
        # A weight that reads a channel of nothing but zeros, and makes its output's steps coarse.
        kernel, bias = network.get_layer("third").get_weights()
        second, offset = network.get_layer("second").get_weights()
        second[..., 0], offset[0] = 0, 0
        kernel[1, 1, 0] = 60
        network.get_layer("second").set_weights([second, offset])
        network.get_layer("third").set_weights([kernel, bias])
        report = quantize_report(network, target=target, calibration=samples, convention=PIXELS)
        assert report.ranking()[0] == "third"
        assert _row(report, "third").output_psnr_db < _row(before, "third").output_psnr_db - 10

    def test_activations_with_an_outlier_come_first(self) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        kernel, bias = network.get_layer("second").get_weights()
        bias[3] += 500  # one channel far above the others, which the next layer does not read
        network.get_layer("second").set_weights([kernel, bias])
        after, offset = network.get_layer("third").get_weights()
        after[:, :, 3] = 0
        network.get_layer("third").set_weights([after, offset])
        report = quantize_report(network, calibration=samples, convention=PIXELS)
        assert report.ranking()[0] == "second"
        assert _row(report, "second").range[1] > 400

    def test_better_ranges_cost_less(self) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        # A value that is there once in all samples.
        samples[0] = samples[0].copy()
        samples[0][0, 5, 5] = [255, 0, 255]
        losses = {
            ranges: quantize_report(
                network, calibration=samples, convention=PIXELS, ranges=ranges, measured=8
            )
            for ranges in ("minmax", "mse")
        }
        widths = {name: _row(report, "first").range for name, report in losses.items()}
        assert widths["mse"][1] < widths["minmax"][1]
        assert (
            _row(losses["mse"], "first").activations_sqnr_db
            > _row(losses["minmax"], "first").activations_sqnr_db
        )

    @pytest.mark.parametrize("target", TARGETS)
    def test_names_are_those_of_the_model(self, target: str) -> None:
        network, samples = _volumes()
        report = quantize_report(
            network, target=target, calibration=samples, convention=Convention(), measured=1
        )
        assert set(report.ranking()) <= layer_names(network)
        assert len(report.ranking()) == len(set(report.ranking()))
        convolutions = {x.name for x in network.layers if isinstance(x, keras.layers.Conv3D)}
        assert convolutions <= set(report.ranking())

    def test_extended_names_lead_back(self) -> None:
        names = {"up", "up_0", "head"}
        assert origin_of("up_0", names) == "up_0"
        assert origin_of("up_0_shuffle", names) == "up_0"
        assert origin_of("up_shuffle", names) == "up"
        assert origin_of("upper", names) is None

    def test_several_inputs_and_outputs(self) -> None:
        inputs = [list(parts) for parts in zip(
            pictures((8, 8, 1)), pictures((8, 8, 3)), strict=True
        )]  # fmt: skip
        report = quantize_report(two_inputs(), calibration=inputs, measured=2)
        assert set(report.ranking()) == {"depth_features", "image_features", "out"}
        report = quantize_report(several_outputs(), calibration=pictures((8, 12, 3)), measured=2)
        # Of three outputs the worst counts: "late" alone changes one of them.
        assert np.isfinite(_row(report, "late").output_psnr_db)

    def test_mistakes_are_named(self) -> None:
        network, samples = _chain(), pictures((12, 12, 3))
        with pytest.raises(ValueError, match=r"Did you mean 'mse'.*Received: 'mes'"):
            quantize_report(network, calibration=samples, ranges="mes")
        with pytest.raises(TargetError, match=r"Did you mean 'android-cpu'.*Received"):
            quantize_report(network, calibration=samples, target="andriod-cpu")
        with pytest.raises(TargetError, match="Received: 'int8'"):
            quantize_report(network, calibration=samples, target="android-gpu")
        with pytest.raises(ExportError, match="needs calibration data"):
            quantize_report(network)
        with pytest.raises(ValueError, match="Received: 0"):
            quantize_report(network, calibration=samples, measured=0)


class TestCommand:
    def test_prints_and_writes(
        self, run: Callable[..., Ran], networks: Path, tmp_path: Path
    ) -> None:
        done = run(
            "quantize-report", networks / "cells.keras", "--like", "unet", "--target",
            "android-cpu", "--size", SIDE, "--measured", 1, "--ranges", "percentile",
            "--out", tmp_path / "report.json",
        )  # fmt: skip
        assert done.code == 0, done.err
        written = json.loads((tmp_path / "report.json").read_text())
        worst = written["layers"][0]
        assert done.out.splitlines()[0].split()[:2] == ["layer", "kind"]
        assert done.out.splitlines()[1].split()[:2] == [worst["layer"], worst["kind"]]
        assert f"{written['output_psnr_db']:.1f} dB" in done.out
        assert (written["measured"], written["ranges"]) == (1, "percentile")

    def test_json_for_onnx(self, run: Callable[..., Ran], networks: Path) -> None:
        done = run(
            "quantize-report", networks / "enlarger.keras", "--like", "espcn_x3", "--target",
            "onnxruntime-cpu", "--size", "16x24", "--measured", 1, "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        assert done.json["format"] == "onnx"
        assert {row["layer"] for row in done.json["layers"]} == {
            "feature_0", "feature_1", "subpixel",
        }  # fmt: skip

    def test_mistakes_are_one_line(self, run: Callable[..., Ran], networks: Path) -> None:
        run("quantize-report", "unte", "--target", "android-cpu").refused("unet")
        run("quantize-report", "unet", "--target", "androidcpu").refused("android-cpu")
        run(
            "quantize-report", networks / "enlarger.keras", "--like", "espcn_x3", "--target",
            "android-cpu", "--ranges", "minimax",
        ).refused("Did you mean 'minmax'")  # fmt: skip


def _row(report: QuantizationReport, layer: str) -> Any:
    return next(row for row in report.layers if row.layer == layer)
