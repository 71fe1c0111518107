"""The aggregate against its definition: least expected distance, root mean squared distance around it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from posepipe.pipeline.aggregate import aggregate
from posepipe.point_estimate import geometric_median
from posepipe.types import Hypotheses


def hypotheses(count: int, log_weights: np.ndarray | None = None) -> Hypotheses:
    joints = 0.1 * np.random.default_rng(count).standard_t(3, size=(count, 17, 3)).astype(np.float32)
    if log_weights is None:
        log_weights = np.full(count, -np.log(count), np.float32)
    return Hypotheses(joints, log_weights)


def test_no_point_is_nearer_to_the_hypotheses():
    """A general optimiser, per joint, finds no point with a lower mean distance (but for the softening's 0.5 mm)."""
    h = hypotheses(30, np.random.default_rng(0).normal(size=30).astype(np.float32))
    weights = np.exp(h.log_weights) / np.exp(h.log_weights).sum()
    joints, _ = aggregate(h)
    for j in range(17):
        points = h.joints[:, j].astype(float)

        def cost(x, points=points):
            return float(weights @ np.linalg.norm(points - x, axis=-1))

        best = minimize(cost, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-6, "fatol": 1e-9})
        assert cost(joints[j]) <= best.fun + 5e-4


def test_std_is_the_spread_around_the_aggregate():
    h = hypotheses(50)
    joints, std = aggregate(h)
    np.testing.assert_allclose(std, np.sqrt(np.mean(np.sum((h.joints - joints) ** 2, -1), 0)), rtol=1e-5)


def test_a_far_hypothesis_hardly_moves_it():
    h = hypotheses(21)
    far = h.joints.copy()
    far[0] += 5.0
    moved = np.linalg.norm(aggregate(Hypotheses(far, h.log_weights))[0] - aggregate(h)[0], axis=-1)
    assert moved.max() < 0.05
    assert np.linalg.norm(far.mean(0) - h.joints.mean(0), axis=-1).min() > 0.4


def test_weights_act_like_repetition():
    h = hypotheses(3, np.log(np.array([0.5, 0.25, 0.25], np.float32)))
    repeated = Hypotheses(h.joints[[0, 0, 1, 2]], np.full(4, -np.log(4), np.float32))
    for one, other in zip(aggregate(h), aggregate(repeated), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_one_hypothesis_takes_the_uncertainty_of_its_checkpoint():
    h = hypotheses(1)
    joints, std = aggregate(h, tuple(np.linspace(0.0, 0.16, 17)))
    np.testing.assert_array_equal(joints, h.joints[0])
    np.testing.assert_allclose(std, np.linspace(0.0, 0.16, 17), atol=1e-7)
    assert np.isnan(aggregate(h)[1]).all()


@pytest.mark.parametrize("shift", [-400.0, 0.0, 400.0])
def test_log_weights_need_not_be_normalised(shift):
    h = hypotheses(7)
    moved = Hypotheses(h.joints, h.log_weights + np.float32(shift))
    np.testing.assert_allclose(aggregate(moved)[0], aggregate(h)[0], atol=1e-5)


def test_batches_are_people_one_by_one():
    joints = np.random.default_rng(1).normal(size=(4, 9, 17, 3))
    log_weights = np.random.default_rng(2).normal(size=(4, 9))
    together = geometric_median(joints, log_weights)
    np.testing.assert_allclose(together, [geometric_median(j, w) for j, w in zip(joints, log_weights, strict=True)])
