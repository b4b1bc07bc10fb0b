"""Networks that tell a body from its view: VoxelNet, PointDecoder, their losses, metrics, int8."""

from __future__ import annotations

import keras
import loss_cases
import numpy as np
import pytest

from kerasdeconv import data, export, losses, metrics, models, zoo
from kerasdeconv.evaluation import evaluate
from kerasdeconv.layers import ChannelsToDepth, DepthToChannels

# Keras 3.15 saves TensorFlow variables by a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

VOXELS = {"input_shape": (64, 64, 3), "width": 4, "encoder_width": 4}
POINTS = {"input_shape": (64, 64, 3), "points": 32, "width": 4, "encoder_width": 4, "dense": 16}


def count(model: keras.Model) -> int:
    """What stands behind the encoder."""
    weights = [v for v in model.trainable_weights if not v.path.startswith("encoder_")]
    return sum(int(np.prod(v.shape)) for v in weights)


class TestBuilders:
    def test_parameters_of_voxel_net(self):
        """Behind the encoder: slices x channels of the lifts, 4^3 kernels, two a normed channel."""
        model = models.VoxelNet()
        assert [tuple(model.get_layer(f"lift_{s}_slices").output.shape[1:]) for s in (32, 4)] == [
            (2, 2, 2, 64),
            (16, 16, 16, 8),
        ]
        lifts = [(512, 2 * 64), (256, 4 * 32), (128, 8 * 16), (64, 16 * 8)]
        expected = sum(inner * outer + 2 * outer for inner, outer in lifts)
        ups = [(64, 32), (64, 16), (32, 8)]
        expected += sum(64 * inner * outer + 2 * outer for inner, outer in ups) + 64 * 16 + 1
        assert count(model) == expected

    def test_the_papers_points(self):
        model = models.PointDecoder()
        assert model.get_layer("map").output.shape[1:] == (24, 32, 3)
        assert model.output_shape == (None, 1024, 3)
        ups = [(512, 128, 256), (128, 64, 128)]
        expected = sum(16 * i * o + 9 * s * o + 4 * o for i, o, s in ups) + 9 * 64 * 3 + 3
        expected += 512 * 6 * 8 * 512 + 512 + 512 * 768 + 768
        assert count(model) == expected

    def test_a_pixel_reaches_the_voxels_behind_it(self):
        """Skip connections lie in the camera's frame: other columns know of it by wider maps."""
        grid = ChannelsToDepth(2)(np.arange(2 * 3 * 8).reshape(1, 2, 3, 8))
        assert grid.shape == (1, 2, 2, 3, 4)
        np.testing.assert_array_equal(grid[0, 1, 1, 2], [44, 45, 46, 47])
        np.testing.assert_array_equal(
            DepthToChannels()(grid), np.arange(2 * 3 * 8).reshape(1, 2, 3, 8)
        )


class TestChamfer:
    def clouds(self, targets: int = 300, answers: int = 270) -> tuple[np.ndarray, np.ndarray]:
        """More points than are compared at once."""
        rng = np.random.default_rng(0)
        truth, guess = rng.normal(size=(3, targets, 3)), rng.normal(size=(3, answers, 3))
        return truth.astype(np.float32), guess.astype(np.float32)

    def by_loops(self, truth: np.ndarray, guess: np.ndarray) -> float:
        there = [min(((p - q) ** 2).sum() for q in guess) for p in truth.astype(np.float64)]
        back = [min(((p - q) ** 2).sum() for q in truth) for p in guess.astype(np.float64)]
        return float(np.mean(there) + np.mean(back))

    def test_definition(self):
        truth, guess = (cloud[0, :20] for cloud in self.clouds())
        expected = self.by_loops(truth, guess)
        # Squares in float64, of float32 numbers.
        assert metrics.chamfer_distance(truth, guess) == pytest.approx(expected, rel=1e-6)
        assert metrics.chamfer_distance(truth, truth[::-1]) == 0

    @pytest.mark.parametrize("weights", [None, [0.0, 1.0, 2.0]])
    def test_loss_and_metric(self, weights):
        truth, guess = self.clouds()
        values = [metrics.chamfer_distance(*pair) for pair in zip(truth, guess, strict=True)]
        given = None if weights is None else np.array(weights, np.float32)
        shares = np.ones(3) if weights is None else np.array(weights)
        # Sums of some hundred float32 numbers.
        loss = losses.Chamfer()(truth, guess, given)
        np.testing.assert_allclose(loss, np.mean(shares * values), rtol=1e-5)
        metric = metrics.ChamferDistance()
        for part in (slice(2), slice(2, None)):
            metric.update_state(truth[part], guess[part], None if given is None else given[part])
        expected = np.average(values, weights=shares)
        np.testing.assert_allclose(metric.result(), expected, rtol=1e-5)

    def test_gradient(self):
        truth, guess = self.clouds(20, 30)
        loss = losses.Chamfer()
        slope = loss_cases.gradient(loss, truth, guess)
        step = 1e-3 * slope / np.abs(slope).max()
        ahead, behind = (float(loss(truth, guess + sign * step)) for sign in (1, -1))
        # The loss is curved, and float32 leaves a small difference few digits.
        assert ahead - behind == pytest.approx(2 * float((slope * step).sum()), rel=0.05)

    def test_mistakes(self):
        truth, guess = self.clouds()
        with pytest.raises(ValueError, match=r"x coordinates\. Received: \(3, 300, 3\) and "):
            losses.Chamfer()(truth, guess[..., :2])
        with pytest.raises(ValueError, match=r"weight for each sample\. Received: \(3, 270\)"):
            losses.Chamfer()(truth, guess, np.ones((3, 270), np.float32))

    def test_serialised(self):
        loss = losses.WeightedSum({"chamfer": 2.0})
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        truth, guess = self.clouds(20, 30)
        assert float(copy(truth, guess)) == float(loss(truth, guess))


@pytest.mark.parametrize("threshold", [0.5, 0.8])
def test_voxel_iou(threshold):
    rng = np.random.default_rng(0)
    truth = (rng.random((5, 4, 6, 5, 1)) < 0.4).astype(np.float32)
    guess = rng.random(truth.shape).astype(np.float32)
    truth[1], guess[1] = 0, 0  # nothing, and nothing found
    metric = metrics.VoxelIoU(threshold)
    metric.update_state(truth[:3], guess[:3])
    metric.update_state(truth[3:], guess[3:])
    pairs = zip(truth > 0, guess >= threshold, strict=True)
    expected = np.mean([metrics.mask_iou(*pair) for pair in pairs])
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)
    metric.reset_state()
    metric.update_state(truth, guess, np.array([0, 0, 0, 1, 0], np.float32))
    expected = metrics.mask_iou(truth[3] > 0, guess[3] >= threshold)
    np.testing.assert_allclose(metric.result(), expected, rtol=1e-6)


@pytest.fixture(scope="module")
def bodies(tmp_path_factory):
    return data.write_synthetic("solids", tmp_path_factory.mktemp("solids"), 24)


@pytest.mark.parametrize("target", ["voxels", "points"])
def test_a_short_training_lowers_the_loss(target, bodies):
    keras.utils.set_random_seed(0)
    batches = data.SolidBatches(data.read_solids(bodies), target=target, batch_size=8, steps=8)
    model = models.VoxelNet(**VOXELS) if target == "voxels" else models.PointDecoder(**POINTS)
    loss = losses.WeightedSum({"binary_crossentropy": 1.0, "jaccard": 0.5})
    metric = metrics.VoxelIoU() if target == "voxels" else metrics.ChamferDistance()
    model.compile(
        keras.optimizers.Adam(1e-2),
        loss if target == "voxels" else losses.Chamfer(),
        weighted_metrics=[metric],
    )
    history = model.fit(batches, epochs=2, verbose=0).history
    assert history["loss"][1] < 0.8 * history["loss"][0]
    assert np.isfinite(history[metric.name]).all()


@pytest.mark.parametrize(
    ("name", "target"), [("voxelnet", "android-cpu"), ("point_decoder", "onnxruntime-cpu")]
)
def test_truly_int8(name, target, tmp_path):
    small = {"input_shape": (32, 32, 3), **({"depth": 16} if name == "voxelnet" else {})}
    model = zoo.load(name, weights=None, **((VOXELS if name == "voxelnet" else POINTS) | small))
    if name == "voxelnet":  # whose voxels hang in the balance before it is trained
        head = model.get_layer("head")
        head.set_weights([head.get_weights()[0], np.array([-2.0])])
    samples = [s[None] for s in data.synthetic_samples("solids", 4, (32, 32))]
    report = export.export(
        model, tmp_path, target=target, precision="int8", calibration=samples, tune=False
    )
    assert not report.float_operators


def test_measured_on_a_folder(bodies):
    """A network that finds everything occupied has as much in common as is occupied."""
    inputs = keras.Input((64, 64, 3))
    x = keras.layers.AveragePooling2D(2)(inputs)
    x = keras.layers.Conv2D(32, 1, kernel_initializer="zeros", bias_initializer="ones")(x)
    model = keras.Model(inputs, ChannelsToDepth(32)(x), name="full")
    figures = evaluate(model, bodies, convention=zoo.card("voxelnet").convention)["metrics"]
    views = data.read_solids(bodies)
    shares = [views.target(i, "voxels").mean() for i in range(24)]
    assert figures["voxel_iou"] == pytest.approx(np.mean(shares))
