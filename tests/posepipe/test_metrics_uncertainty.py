"""Scores and calibration: closed forms, brute force over all pairs, and distributions that are known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe import metrics_uncertainty
from posepipe.metrics import coverage
from posepipe.metrics_hypotheses import normalised
from posepipe.metrics_uncertainty import crps, distinct, energy_parts, energy_score, truth_level

seeds = st.integers(0, 2**32 - 1)


def some(seed: int, frames: int = 3, count: int = 7) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    hypotheses = rng.normal(size=(frames, count, 17, 3))
    return hypotheses, rng.normal(size=(frames, count)), rng.normal(size=(frames, 17, 3))


@given(seeds)
def test_crps_is_that_of_all_pairs(seed):
    hypotheses, log_weights, truth = some(seed)
    weights = normalised(log_weights)
    found = crps(np.moveaxis(hypotheses, 1, -1), weights[:, None, None], truth)
    miss = np.einsum("nh,nhjc->njc", weights, np.abs(hypotheses - truth[:, None]))
    pairs = np.einsum("nh,nk,nhkjc->njc", weights, weights, np.abs(hypotheses[:, :, None] - hypotheses[:, None]))
    np.testing.assert_allclose(found, miss - pairs / 2, atol=1e-12)


@pytest.mark.parametrize("z", [0.0, 0.7, -2.5])
def test_crps_of_many_gaussian_samples_is_the_closed_form(z):
    """Gneiting & Raftery 2007, eq. 20: sigma (z (2 Phi(z) - 1) + 2 phi(z) - 1 / sqrt(pi))."""
    samples = 5 + 0.3 * np.random.default_rng(0).standard_normal(400_000)
    phi, cdf = math.exp(-z * z / 2) / math.sqrt(2 * math.pi), (1 + math.erf(z / math.sqrt(2))) / 2
    expected = 0.3 * (z * (2 * cdf - 1) + 2 * phi - 1 / math.sqrt(math.pi))
    found = crps(samples, np.full(400_000, 1 / 400_000), np.array(5 + 0.3 * z))
    assert found == pytest.approx(expected, rel=0.01)


@given(seeds)
def test_the_energy_score_is_that_of_all_pairs(seed):
    hypotheses, log_weights, truth = some(seed)
    weights = normalised(log_weights)
    flat, target = hypotheses.reshape(3, 7, 51), truth.reshape(3, 51)
    expected = []
    for x, w, y in zip(flat, weights, target, strict=True):
        miss = sum(w[i] * math.dist(x[i], y) for i in range(7))
        pairs = sum(w[i] * w[j] * math.dist(x[i], x[j]) for i in range(7) for j in range(7))
        expected.append(miss - pairs / 2)
    np.testing.assert_allclose(energy_score(flat, weights, target), expected, atol=1e-7)


def test_the_energy_score_of_numbers_is_their_crps():
    hypotheses, log_weights, truth = some(3)
    weights = normalised(log_weights)[:, None, None]
    samples = np.moveaxis(hypotheses, 1, -1)
    np.testing.assert_allclose(
        energy_score(samples[..., None], weights, truth[..., None]), crps(samples, weights, truth)
    )


def test_one_hypothesis_scores_its_error():
    hypotheses, _, truth = some(4, count=1)
    one = np.ones((3, 1))
    found = energy_score(np.moveaxis(hypotheses, 1, 2), one[:, None], truth)
    np.testing.assert_allclose(found, np.linalg.norm(hypotheses[:, 0] - truth, axis=-1))
    scores = crps(np.moveaxis(hypotheses, 1, -1), one[:, None, None], truth)
    np.testing.assert_allclose(scores, np.abs(hypotheses[:, 0] - truth))
    assert distinct(np.zeros(3), one).tolist() == [0, 0, 0]


def test_blocks_do_not_change_a_score(monkeypatch):
    hypotheses, log_weights, truth = some(5, frames=11)
    arguments = np.moveaxis(hypotheses, 1, 2), normalised(log_weights)[:, None], truth
    whole = energy_parts(*arguments)
    monkeypatch.setattr(metrics_uncertainty, "BLOCK_BYTES", 3 * 8 * 7 * 7)
    for found, expected in zip(energy_parts(*arguments), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_honest_spread_scores_better_than_narrow_or_wide():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(400, 3))
    weights = np.full((400, 60), 1 / 60)
    scores = [energy_score(s * rng.normal(size=(400, 60, 3)), weights, truth).mean() for s in (0.3, 1.0, 3.0)]
    assert scores[1] < min(scores[0], scores[2])


def test_diversity_is_the_mean_distance_of_two_different_hypotheses():
    corners = np.array([[[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]]])
    weights = np.full((1, 3), 1 / 3)
    pairs = energy_parts(corners, weights, np.zeros((1, 2)))[1]
    assert distinct(pairs, weights) == pytest.approx([(3 + 4 + 5) / 3])


@given(seeds)
def test_coverage_is_the_share_of_levels_below_p(seed):
    hypotheses, log_weights, truth = some(seed, frames=5, count=9)
    hypotheses *= 1.5  # so that all of near, between and beyond occur
    level = truth_level(hypotheses, normalised(log_weights), truth)[:, 1:]
    p = (0.05, 0.3, 0.5, 0.8, 0.95)
    expected = coverage(hypotheses, log_weights, truth, p)
    np.testing.assert_allclose([(level <= q).mean() for q in p], expected, atol=1e-12)


def test_levels_of_honest_hypotheses_are_uniform():
    rng = np.random.default_rng(8)
    spread = rng.uniform(0.01, 0.2, size=(300, 1, 17, 3))
    hypotheses, truth = spread * rng.normal(size=(300, 200, 17, 3)), spread[:, 0] * rng.normal(size=(300, 17, 3))
    level = np.minimum(truth_level(hypotheses, np.full((300, 200), 1 / 200), truth), 1)
    np.testing.assert_allclose(np.quantile(level, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_a_truth_beyond_all_hypotheses_has_no_level():
    hypotheses, _, _ = some(9)
    weights = np.full((3, 7), 1 / 7)
    assert np.isinf(truth_level(hypotheses, weights, np.full((3, 17, 3), 50.0))).all()
    assert (truth_level(hypotheses, weights, hypotheses.mean(1)) == 0).all()
