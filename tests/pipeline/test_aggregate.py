"""The aggregate against its definition: least expected distance, root mean squared distance around it."""

import numpy as np
import pytest
from scipy.optimize import minimize

from posepipe.camera import from_fov, project
from posepipe.pipeline.aggregate import aggregate, reprojection_misses
from posepipe.point_estimate import geometric_median
from posepipe.types import Hypotheses, Pose2D


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


CAMERA = from_fov(1000, 1000, 60)
ROOT = np.array([0.3, 0.1, 4.0])


def seen(joints: np.ndarray) -> Pose2D:
    return Pose2D(project(joints + ROOT, CAMERA).astype(np.float32), np.ones(17, np.float32), "h36m17")


def around(truth: np.ndarray, count: int = 40) -> Hypotheses:
    """Symmetric about the truth, so that its median, and with it the estimated root, is right."""
    wrong = np.random.default_rng(3).normal(0, 0.08, (count // 2, 17, 3))
    wrong[:, 0] = 0
    joints = truth + np.concatenate([wrong, -wrong])
    return Hypotheses(joints.astype(np.float32), np.full(count, -np.log(count), np.float32))


def person() -> np.ndarray:
    joints = np.random.default_rng(0).normal(0, 0.3, (17, 3))
    return joints - joints[0]


def test_misses_are_pixels_to_the_hypotheses_at_the_estimated_root():
    truth, h = person(), around(person())
    keypoints = seen(truth)
    keypoints.confidence[5] = 0
    misses = reprojection_misses(h, keypoints, CAMERA)
    exact = np.linalg.norm(project(h.joints + ROOT, CAMERA) - keypoints.keypoints, axis=-1)
    np.testing.assert_array_equal(np.isnan(misses), np.arange(17)[None] == np.full((40, 1), 5))
    known = np.arange(17) != 5
    np.testing.assert_allclose(misses[:, known], exact[:, known], atol=6.0)


def test_reprojection_picks_the_pose_that_is_right_and_joints_that_are_right():
    truth = person()
    h = around(truth)
    whole = h.joints.copy()
    whole[7] = truth
    keypoints = seen(truth)
    for_poses = Hypotheses(whole, h.log_weights)
    pose, _ = aggregate(for_poses, how="p-agg", misses=reprojection_misses(for_poses, keypoints, CAMERA))
    np.testing.assert_allclose(pose, truth, atol=1e-6)
    mixed = h.joints.copy()
    for j in range(1, 17):
        mixed[2 * j, j] = truth[j]
    for_joints = Hypotheses(mixed, h.log_weights)
    joints, std = aggregate(for_joints, how="j-agg", misses=reprojection_misses(for_joints, keypoints, CAMERA))
    assert (np.linalg.norm(joints - truth, axis=-1) < 0.01).sum() >= 14
    np.testing.assert_allclose(std, np.sqrt(np.mean(np.sum((mixed - joints) ** 2, -1), 0)), rtol=1e-4)


def test_joints_that_nobody_saw_come_from_the_median():
    truth, h = person(), around(person())
    keypoints = seen(truth)
    keypoints.confidence[3] = 0
    joints, _ = aggregate(h, how="j-agg", misses=reprojection_misses(h, keypoints, CAMERA))
    np.testing.assert_array_equal(joints[3], aggregate(h)[0][3])
    keypoints.confidence[:] = 0
    assert reprojection_misses(h, keypoints, CAMERA) is None
    for how in ("j-agg", "p-agg"):
        np.testing.assert_array_equal(aggregate(h, how=how)[0], aggregate(h)[0])


def test_mean_is_the_weighted_mean():
    h = hypotheses(9, np.random.default_rng(1).normal(size=9).astype(np.float32))
    weights = np.exp(h.log_weights) / np.exp(h.log_weights).sum()
    np.testing.assert_allclose(aggregate(h, how="mean")[0], np.average(h.joints, 0, weights), atol=1e-6)
