"""The aggregate against plain weighted statistics computed by another route."""

import numpy as np
import pytest

from posepipe.pipeline.aggregate import aggregate
from posepipe.types import Hypotheses


def hypotheses(count: int, log_weights: np.ndarray | None = None) -> Hypotheses:
    joints = np.random.default_rng(count).normal(size=(count, 17, 3)).astype(np.float32)
    if log_weights is None:
        log_weights = np.full(count, -np.log(count), np.float32)
    return Hypotheses(joints, log_weights)


def test_equal_weights_are_mean_and_total_deviation():
    h = hypotheses(50)
    joints, std = aggregate(h)
    np.testing.assert_allclose(joints, np.mean(h.joints, 0), atol=1e-6)
    np.testing.assert_allclose(std, np.sqrt(np.var(h.joints, 0).sum(-1)), rtol=1e-5)


def test_weights_act_like_repetition():
    h = hypotheses(3, np.log(np.array([0.5, 0.25, 0.25], np.float32)))
    repeated = Hypotheses(h.joints[[0, 0, 1, 2]], np.full(4, -np.log(4), np.float32))
    for one, other in zip(aggregate(h), aggregate(repeated), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


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
