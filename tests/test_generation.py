"""Measures of generators and losses of latents against plain definitions."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import scipy.integrate
import scipy.linalg
import scipy.stats

from kerasdeconv import losses, metrics, models
from kerasdeconv.evaluation.generation import generation, inception
from kerasdeconv.losses import WeightedSum

RNG = np.random.default_rng(0)
POSTERIOR = RNG.normal(size=(7, 6)).astype(np.float32)


def fid_by_scipy(a: np.ndarray, b: np.ndarray) -> float:
    """With the root of the product itself, which needs more pictures than features."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(axis=0), np.cov(x.T)) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    return float(np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root))


@pytest.fixture(scope="module")
def classifier() -> keras.Model:
    keras.utils.set_random_seed(0)
    return models.Classifier((8, 8, 1), 4, width=4, features=5, dropout=0.0, name="small")


@pytest.fixture(scope="module")
def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Real ones and generated ones, which are darker."""
    real = RNG.integers(0, 256, (60, 8, 8, 1)).astype(np.uint8)
    return real, (RNG.integers(0, 256, (45, 8, 8, 1)) * 0.6).astype(np.uint8)


class TestDefinitions:
    def test_fid(self):
        a, b = RNG.normal(size=(50, 4)), 2 * RNG.normal(size=(40, 4)) + 1
        b[:, 1] += b[:, 0]
        assert metrics.fid(a, b) == pytest.approx(fid_by_scipy(a, b), rel=1e-9)
        assert metrics.fid(a, a) == pytest.approx(0, abs=1e-9)

    def test_fid_in_one_dimension(self):
        """(m_a - m_b)^2 + (s_a - s_b)^2."""
        a, b = RNG.normal(size=(9, 1)), 3 * RNG.normal(size=(8, 1)) - 2
        apart = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
        assert metrics.fid(a, b) == pytest.approx(apart)

    def test_fid_of_fewer_pictures_than_features(self):
        """Features that are always 0 change nothing."""
        a, b = RNG.normal(size=(6, 3)), RNG.normal(size=(5, 3)) + 1
        wide = [np.pad(x, ((0, 0), (0, 20))) for x in (a, b)]
        assert metrics.fid(*wide) == pytest.approx(fid_by_scipy(a, b), rel=1e-6)

    def test_inception_score(self):
        p = RNG.dirichlet(np.ones(5), 30)
        p[0] = [1, 0, 0, 0, 0]
        marginal = p.mean(axis=0)
        divergences = [scipy.stats.entropy(row, marginal) for row in p]
        assert metrics.inception_score(p) == pytest.approx(np.exp(np.mean(divergences)))
        assert metrics.inception_score(np.eye(5)) == pytest.approx(5)
        assert metrics.inception_score(np.full((3, 5), 0.2)) == pytest.approx(1)

    def test_kl_by_the_integral(self):
        for row, got in zip(POSTERIOR[:3], metrics.gaussian_kl(POSTERIOR[:3]), strict=True):
            for mean, log_variance, value in zip(row[:3], row[3:], got, strict=True):
                q = scipy.stats.norm(mean, np.exp(log_variance / 2))
                expected, _ = scipy.integrate.quad(
                    lambda z, q=q: q.pdf(z) * (q.logpdf(z) - scipy.stats.norm.logpdf(z)), -20, 20
                )
                assert value == pytest.approx(expected, rel=1e-6)

    def test_active_latents(self):
        posterior = np.zeros((50, 6))
        posterior[:, 0], posterior[:, 1] = RNG.normal(size=50), 0.05 * RNG.normal(size=50)
        posterior[:, 3:] = RNG.normal(size=(50, 3))
        assert metrics.active_latents(posterior) == 1

    def test_too_few(self):
        with pytest.raises(ValueError, match=r"two pictures or more\. Received: \(1, 4\)$"):
            metrics.fid(np.zeros((1, 4)), np.zeros((5, 4)))


class TestStreaming:
    def batches(self, pictures):
        real, given = pictures
        return [(real[i : i + 20], given[i * 3 // 4 : i * 3 // 4 + 15]) for i in (0, 20, 40)]

    def test_fid(self, classifier, pictures):
        features = models.features_of(classifier)
        metric = metrics.FID(features)
        assert metric.name == "fid_small"
        assert np.isnan(float(metric.result()))
        for real, given in self.batches(pictures):
            metric.update_state(real, given)
        wanted = fid_by_scipy(*(features.predict(x, verbose=0) for x in pictures))
        # The features are float32, and differ by how many are asked for at once.
        assert float(metric.result()) == pytest.approx(wanted, rel=1e-4)
        metric.reset_state()
        assert np.isnan(float(metric.result()))

    def test_inception_score(self, classifier, pictures):
        metric = metrics.InceptionScore(classifier)
        for real, given in self.batches(pictures):
            metric.update_state(real, given)
        wanted = metrics.inception_score(classifier.predict(pictures[1], verbose=0))
        assert float(metric.result()) == pytest.approx(wanted, rel=1e-5)
        assert metric.name == "inception_score_small"

    def test_compiled(self, classifier, pictures):
        """Beside a generator in `evaluate`, whose step is a graph."""
        model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Rescaling(0.5)])
        own = [metrics.FID(models.features_of(classifier)), metrics.InceptionScore(classifier)]
        model.compile(loss="mse", metrics=own)
        found = model.evaluate(*pictures[:1] * 2, batch_size=20, verbose=0, return_dict=True)
        halves = models.features_of(classifier).predict(pictures[0] / 2, verbose=0)
        whole = models.features_of(classifier).predict(pictures[0], verbose=0)
        assert found["fid_small"] == pytest.approx(fid_by_scipy(whole, halves), rel=1e-3)

    def test_no_network_of_random_weights(self, classifier):
        config = metrics.FID(models.features_of(classifier)).get_config()
        with pytest.raises(ValueError, match=r"compile=False.* Received: 'fid_small'$"):
            metrics.FID.from_config(config)

    def test_latents(self):
        kl, active = metrics.GaussianKL(), metrics.ActiveLatents(3)
        for part in (POSTERIOR[:4], POSTERIOR[4:]):
            kl.update_state(None, part)
            active.update_state(None, part)
        assert float(kl.result()) == pytest.approx(
            metrics.gaussian_kl(POSTERIOR).sum(axis=1).mean(), rel=1e-5
        )
        assert int(active.result()) == metrics.active_latents(POSTERIOR) == 3
        kl.reset_state()
        kl.update_state(None, POSTERIOR[:2], sample_weight=[0.0, 2.0])
        assert float(kl.result()) == pytest.approx(
            metrics.gaussian_kl(POSTERIOR[1]).sum(), rel=1e-5
        )
        copy = keras.metrics.deserialize(keras.metrics.serialize(active))
        assert copy.latents == 3


class TestLosses:
    @pytest.mark.parametrize("sides", [(5, 4), (3, 4, 2)])
    def test_bernoulli(self, sides):
        truth, guess = RNG.uniform(0, 255, (2, 3, *sides, 2))
        guess = np.clip(guess, 5, 250).astype(np.float32)
        x, p = truth / 255, guess.astype(np.float64) / 255
        each = -(x * np.log(p) + (1 - x) * np.log(1 - p)).sum(axis=-1)
        axes = tuple(range(1, each.ndim))
        loss = losses.BernoulliNats()
        assert float(loss(truth, guess)) == pytest.approx(each.sum(axis=axes).mean(), rel=1e-5)
        np.testing.assert_allclose(metrics.bernoulli_nats(truth, guess), each.sum(axis=axes))
        weights = RNG.uniform(0, 2, each.shape)
        weighted = (weights * each).sum(axis=axes).mean()
        assert float(loss(truth, guess, weights)) == pytest.approx(weighted, rel=1e-5)

    def test_black_and_white_are_finite(self):
        ends = np.float32([[[[0.0], [255.0]]]])
        assert 0 <= float(losses.BernoulliNats()(ends, ends)) < 1e-5
        assert np.isfinite(float(losses.BernoulliNats()(ends, 255 - ends)))

    def test_kl(self):
        each = metrics.gaussian_kl(POSTERIOR)
        target, loss = np.zeros((7, 1)), losses.GaussianKL()
        assert float(loss(target, POSTERIOR)) == pytest.approx(each.sum(axis=1).mean(), rel=1e-5)
        weights = np.linspace(0, 1, 7)
        assert float(loss(target, POSTERIOR, weights)) == pytest.approx(
            (weights * each.sum(axis=1)).mean(), rel=1e-5
        )
        free = each.mean(axis=0)[1]
        wanted = np.maximum(each.mean(axis=0), free + 1e-3).sum()
        bits = losses.GaussianKL(free_bits=free + 1e-3)
        assert float(bits(target, POSTERIOR)) == pytest.approx(wanted, rel=1e-5)

    def test_in_recipes(self):
        loss = WeightedSum({"gaussian_kl": {"weight": 0.5, "free_bits": 0.1}})
        copy = keras.losses.deserialize(keras.losses.serialize(loss))
        assert copy.parts[0][0].get_config() == losses.GaussianKL(free_bits=0.1).get_config() | {
            "name": copy.parts[0][0].name
        }
        assert WeightedSum({"bernoulli_nats": {"peak": 1.0}}).parts[0][0].peak == 1.0

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: losses.BernoulliNats(peak=0), r"more than 0\. Received: 0$"),
            (lambda: losses.GaussianKL(free_bits=-1), r"0 or more\. Received: -1$"),
        ],
    )
    def test_mistakes(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()


class TestScores:
    def test_generated_beside_real(self, classifier, pictures):
        real, given = pictures
        scores = generation(given, reference=real[:30], held_out=real[30:], classifier=classifier)
        features = models.features_of(classifier)
        wanted, got, held = (features.predict(x, verbose=0) for x in (real[:30], given, real[30:]))
        assert scores["fid"] == pytest.approx(fid_by_scipy(wanted, got), rel=1e-3)
        assert scores["real_fid"] == pytest.approx(fid_by_scipy(wanted, held), rel=1e-3)
        assert scores["fid"] > scores["real_fid"]
        for name, part in (("", given), ("real_", real[30:])):
            assert scores[f"{name}inception_score"] == pytest.approx(
                metrics.inception_score(classifier.predict(part, verbose=0)), rel=1e-5
            )
        assert scores["network"] == "small"

    def test_inception(self):
        network = inception((32, 32, 1), weights=None)
        assert network.name == "inception_v3"
        assert network.output_shape == (None, 1000)
        assert models.features_of(network).output_shape == (None, 2048)
