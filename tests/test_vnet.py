"""V-Net's golden numbers (Milletari et al. 2016), and how far it sees."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from export_models import answers, random_weights
from receptive_field import halo, left_reach, right_reach

from kerasdeconv import export, models, zoo
from kerasdeconv.export.lowering import lower_to_form

CONVOLUTIONS = 65_171_858
SLOPES = 3_456
# The paper's table 1: left stages 1 to 5, right stages 4 to 1.
FIELDS = [5, 22, 72, 172, 372, 476, 528, 546, 551]
SPREADS = [2, 4, 6, 6, 6]  # of one, two and three 5 x 5 x 5 convolutions, to either side


def layers_of(model: keras.Model, *kinds: type) -> list[keras.layers.Layer]:
    return [layer for layer in model.layers if isinstance(layer, kinds)]


def parameters(
    channels: int = 1, classes: int = 2, width: int = 16, depth: int = 4, kernel: int = 5
) -> tuple[int, int]:
    """Counts V-Net's convolutions and slopes from the paper's figure."""
    counts = [min(level + 1, 3) for level in range(depth + 1)]
    total, slopes, before = 0, 0, channels
    for level, convolutions in enumerate(counts):
        now = width * 2**level
        if level:
            total, slopes = total + 8 * before * now + now, slopes + now
            before = now
        for _ in range(convolutions):
            total, slopes = total + kernel**3 * before * now + now, slopes + now
            before = now
    for level in reversed(range(depth)):
        half = width * 2**level
        total, slopes = total + 8 * before * half + half, slopes + half
        before = 2 * half  # with the skip
        total += counts[level] * (kernel**3 * before * before + before)
        slopes += counts[level] * before
    return total + before * classes + classes, slopes


def count(weights: list) -> int:
    return sum(int(np.prod(v.shape)) for v in weights)


class TestThePapersNetwork:
    def test_the_figure_has_the_papers_number(self):
        assert parameters() == (CONVOLUTIONS, SLOPES)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"width": 1},
            {"width": 2, "depth": 2},
            {"width": 3, "depth": 3, "kernel_size": 3, "classes": 4},
        ],
    )
    def test_any_width_follows_the_figure(self, arguments):
        model = models.VNet(**arguments)
        slopes = layers_of(model, keras.layers.PReLU)
        expected = {k.removesuffix("_size"): v for k, v in arguments.items()}
        total = sum(parameters(**expected))
        assert count(model.trainable_weights) == model.count_params() == total
        assert sum(count(layer.weights) for layer in slopes) == parameters(**expected)[1]

    @pytest.mark.slow
    def test_128_x_128_x_64(self):
        model = models.VNet((64, 128, 128, 1))
        assert model.output_shape == (None, 64, 128, 128, 2)
        assert model.count_params() == CONVOLUTIONS + SLOPES == 65_175_314

    def test_structure(self):
        model = models.VNet(width=1)
        kinds = (keras.layers.Conv3D,)
        up = layers_of(model, keras.layers.Conv3DTranspose)
        convolutions = [c for c in layers_of(model, *kinds) if c not in up]
        fives = [c.filters for c in convolutions if c.kernel_size == (5, 5, 5)]
        assert fives == [1, 2, 2, 4, 4, 4, 8, 8, 8, 16, 16, 16, 16, 16, 16, 8, 8, 8, 4, 4, 2]
        down = [c for c in convolutions if c.kernel_size == c.strides == (2, 2, 2)]
        assert [c.filters for c in down] == [2, 4, 8, 16]
        assert [(c.filters, c.kernel_size, c.strides) for c in up] == [
            (filters, (2, 2, 2), (2, 2, 2)) for filters in (8, 4, 2, 1)
        ]
        assert len(layers_of(model, keras.layers.Add)) == 9
        assert not layers_of(model, keras.layers.BatchNormalization, keras.layers.MaxPooling3D)
        for slopes in layers_of(model, keras.layers.PReLU):
            assert slopes.alpha.shape[:-1] == (1, 1, 1)
            np.testing.assert_array_equal(slopes.alpha, 0.25)

    def test_the_first_stage_adds_the_volume_to_every_channel(self):
        model = models.VNet((16, 16, 16, 1), width=4)
        first = model.get_layer("encoder_0_0_conv")
        first.set_weights([np.zeros_like(first.kernel), np.zeros_like(first.bias)])
        stage = keras.Model(model.input, model.get_layer("encoder_0_add").output)
        volume = np.random.default_rng(0).normal(size=(1, 16, 16, 16, 1)).astype(np.float32)
        np.testing.assert_array_equal(stage(volume), np.repeat(volume, 4, axis=-1))

    def test_a_right_stage_adds_the_upsampled_map_and_the_skip(self):
        model = models.VNet((16, 16, 16, 1), width=2)
        add = model.get_layer("decoder_1_add")
        shortcut = add._inbound_nodes[0].input_tensors[1]
        assert shortcut is model.get_layer("decoder_1_concat").output
        upsampled, skip = model.get_layer("decoder_1_concat")._inbound_nodes[0].input_tensors
        assert upsampled is model.get_layer("decoder_1_up_act").output
        assert skip is model.get_layer("encoder_1_act").output


def papers_fields(model: keras.Model) -> list[int]:
    """Receptive fields after each stage, as the paper counts.

    A kernel of k adds k - 1 steps, and a step is as long as the map's voxels, in those of the
    input. A transposed convolution counts by the same rule, with steps of the map that it makes.
    """
    field, step, fields = 1, 1, []
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv3DTranspose):
            step //= layer.strides[0]
            field += (layer.kernel_size[0] - 1) * step
        elif isinstance(layer, keras.layers.Conv3D):
            field += (layer.kernel_size[0] - 1) * step
            step *= layer.strides[0]
        elif layer.name.endswith("_add"):
            fields.append(field)
    return fields


SIDE = 640  # more than the network sees


def probed(stage: str, place: int) -> tuple[int, int]:
    """The input voxels that a voxel depends on along the first axis, by gradients."""
    model = models.VNet((SIDE, 16, 16, 1), width=1)
    for variable in model.weights:
        value = np.zeros(variable.shape, np.float32)
        if value.ndim == 5:  # along the first axis alone, and nothing cancels
            middle = [slice((n - 1) // 2, n // 2 + 1) for n in value.shape[1:3]]
            value[:, middle[0], middle[1]] = 1 / value[:, middle[0], middle[1], 0].size
        elif "alpha" in variable.path:
            value[...] = 0.25
        variable.assign(value)
    part = keras.Model(model.input, model.get_layer(f"{stage}_act").output)
    volume = tf.ones((1, SIDE, 16, 16, 1))
    with tf.GradientTape() as tape:
        tape.watch(volume)
        answer = part(volume)
        voxel = tf.reduce_sum(answer[0, place, answer.shape[2] // 2, answer.shape[3] // 2])
    reached = np.flatnonzero(tape.gradient(voxel, volume).numpy().any(axis=(0, 2, 3, 4)))
    return int(reached[0]), int(reached[-1])


class TestReceptiveField:
    def test_the_papers_table(self):
        assert papers_fields(models.VNet(width=1)) == FIELDS

    @pytest.mark.parametrize("level", range(5))
    def test_the_left_side_sees_just_that(self, level):
        place = SIDE // 2 >> level
        first, last = left_reach(SPREADS, level, place)
        assert last - first + 1 == FIELDS[level]
        assert probed(f"encoder_{level}", place) == (first, last)

    @pytest.mark.parametrize(("level", "most"), [(3, 468), (2, 516), (1, 532), (0, 548)])
    def test_the_right_side_sees_less(self, level, most):
        """The paper's rule has an upsampled voxel come from two; it comes from one."""
        middle = SIDE // 2 >> level
        reaches = [right_reach(SPREADS, level, middle + i) for i in range(2 ** (4 - level))]
        sizes = [last - first + 1 for first, last in reaches]
        assert max(sizes) == most <= FIELDS[8 - level]
        widest = int(np.argmax(sizes))
        assert probed(f"decoder_{level}", middle + widest) == reaches[widest]

    def test_halo(self):
        assert zoo.card("vnet.paper").convention.halo == halo(SPREADS)


class TestTraining:
    def test_with_the_dice_loss(self):
        """A ball in noise, as a one-hot map."""
        keras.utils.set_random_seed(0)
        grid = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), axis=-1)
        ball = (((grid - 3.5) ** 2).sum(axis=-1) < 7).astype(np.float32)
        rng = np.random.default_rng(0)
        volumes = (ball + rng.normal(scale=0.3, size=(2, 8, 8, 8)))[..., None]
        truth = np.repeat(np.stack([1 - ball, ball], axis=-1)[None], 2, axis=0)
        model = models.VNet((8, 8, 8, 1), width=4, depth=1, kernel_size=3)
        loss = keras.losses.Dice(axis=(1, 2, 3))
        model.compile(keras.optimizers.Adam(1e-2), loss, run_eagerly=True)
        losses = model.fit(volumes, truth, epochs=10, batch_size=2, verbose=0).history["loss"]
        assert losses[-1] < 0.8 * losses[0]


class TestLowering:
    """TFLite's PRELU takes four axes: volumes are pictures for it."""

    @pytest.mark.parametrize("sides", [(4, 5, 6), (None, 5, None)])
    def test_a_slope_a_channel(self, sides):
        inputs = keras.Input((*sides, 3))
        prelu = keras.layers.PReLU(shared_axes=[1, 2, 3])
        model = random_weights(keras.Model(inputs, prelu(inputs)))
        volume = np.random.default_rng(0).normal(size=(2, 4, 5, 6, 3)).astype(np.float32)
        lowered, _ = lower_to_form(model, [volume.shape], fold_depth=True)
        (flat,) = layers_of(lowered, keras.layers.PReLU)
        assert len(flat.output.shape) == 4
        slopes = np.asarray(prelu.alpha).reshape(3)
        expected = np.where(volume > 0, volume, slopes * volume)
        np.testing.assert_array_equal(answers(lowered, volume)[0], expected)

    def test_it_becomes_one_operator(self, tmp_path):
        model = models.VNet((4, 6, 8, 1), width=2, depth=1)
        report = export.export(model, tmp_path, target="android-cpu", tune=False)
        # All slopes begin at zero: one slope for all channels is a leaky ReLU's.
        assert report.operators["LEAKY_RELU"] == len(layers_of(model, keras.layers.PReLU)) == 6
        assert not [name for name in report.operators if "3D" in name]
