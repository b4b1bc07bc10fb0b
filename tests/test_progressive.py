"""Networks that grow: counts, and that nothing jumps."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kerasdeconv import data, models, train
from kerasdeconv.layers import FadeIn
from kerasdeconv.models import ProgressiveDiscriminator, ProgressiveGenerator

SMALL = {"width": 8, "capacity": 64}
RNG = np.random.default_rng(0)
CODES = RNG.normal(size=(3, 5)).astype(np.float32)


def generator(size: int, fade: float | None = None) -> keras.Model:
    return ProgressiveGenerator((5,), size, channels=1, fade=fade, **SMALL)


def judge(size: int, fade: float | None = None) -> keras.Model:
    return ProgressiveDiscriminator((size, size, 1), fade=fade, **SMALL)


def numbers(tensor: object) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(tensor))


def enlarged(pictures: np.ndarray) -> np.ndarray:
    return pictures.repeat(2, axis=1).repeat(2, axis=2)


def close(got: object, expected: object) -> None:
    np.testing.assert_allclose(numbers(got), numbers(expected), rtol=1e-5, atol=1e-3)


def test_counts():
    """The authors' networks for 1024 pixels hold the layers for pictures of all sizes at once.

    Theirs have 23,079,115 and 23,087,249 parameters, as their logs say; the discriminator's count
    one channel more before its last convolution, the deviation over the batch.
    """
    sides = [4 << i for i in range(8)]
    channels = [min(512, 16384 // side) for side in sides]
    to_pictures = sum(3 * n + 3 for n in channels)
    from_pictures = sum(4 * n for n in channels)
    made = ProgressiveGenerator(size=1024).count_params()
    judged = ProgressiveDiscriminator((1024, 1024, 3)).count_params()
    assert made + to_pictures == 23_079_115
    assert judged + from_pictures + 9 * 512 == 23_087_249


def test_a_generator_grows_without_a_jump():
    small = generator(8)
    larger = models.grow(small, generator(16, fade=0.0))
    close(larger(CODES), enlarged(numbers(small(CODES))))
    alone = models.grow(larger, generator(16))
    halfway = (numbers(larger(CODES)) + numbers(alone(CODES))) / 2
    larger.get_layer("fade").alpha.assign(0.5)
    close(larger(CODES), halfway)
    larger.get_layer("fade").alpha.assign(1.0)
    close(larger(CODES), alone(CODES))
    assert np.abs(halfway - numbers(alone(CODES))).max() > 1


def test_a_discriminator_grows_without_a_jump():
    small = judge(8)
    larger = models.grow(small, judge(16, fade=0.0))
    pictures = RNG.uniform(0, 255, (3, 8, 8, 1)).astype(np.float32)
    close(larger(enlarged(pictures)), small(pictures))
    alone = models.grow(larger, judge(16))
    larger.get_layer("fade").alpha.assign(1.0)
    pictures = RNG.uniform(0, 255, (3, 16, 16, 1)).astype(np.float32)
    close(larger(pictures), alone(pictures))


def test_it_is_faded_in_while_it_learns():
    game = train.Adversarial(generator(8, 0.0), judge(8, 0.0), r1=1.0)
    game.compile(keras.optimizers.Adam(1e-3, beta_1=0.0))
    pictures = RNG.integers(0, 256, (10, 8, 8, 1), np.uint8)
    batches = data.CodedPictures(pictures, code=5, batch_size=4, steps=1)
    seen = []
    look = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: seen.append(
            [float(m.get_layer("fade").alpha) for m in (game.generator, game.discriminator)]
        )
    )
    game.fit(batches, epochs=3, verbose=0, callbacks=[train.FadeInOver(2), look])
    assert seen == [[0.5, 0.5], [1, 1], [1, 1]]


def test_networks_that_have_nothing_in_common():
    with pytest.raises(ValueError, match=r"no layer in common\. Received: 'espcn' and 'progr"):
        models.grow(models.ESPCN(), generator(8))


def test_networks_of_other_widths():
    wide = ProgressiveGenerator((5,), 16, channels=1, width=4)
    with pytest.raises(ValueError, match=r"'start' has weights .*Received: "):
        models.grow(generator(8), wide)


def test_mistakes():
    with pytest.raises(ValueError, match=r"in \[0, 1\]\. Received: -0\.5$"):
        FadeIn(-0.5)
    with pytest.raises(ValueError, match=r"1 or more\. Received: 0$"):
        train.FadeInOver(0)
