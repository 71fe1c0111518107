"""The aggregate and the oracles: against DRPose's and PRPose's own numbers, and cases worked out by hand."""

import os
from pathlib import Path

import numpy as np
import pytest

from posepipe.metrics import auc, n_mpjpe, p_mpjpe, pck, procrustes
from posepipe.metrics_hypotheses import j_agg, j_best, joint_errors, normalised, p_best, reproject, weighted_mean

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).parents[3] / "shared")) / "fixtures" / "metrics"


def fixture(name: str) -> dict[str, np.ndarray]:
    path = SHARED / f"{name}.npz"
    if not path.is_file():
        pytest.skip("no ../shared data")
    return dict(np.load(path))


def two_joints(*rows: tuple[float, float]) -> np.ndarray:
    """One frame, hypotheses whose two joints are these far from a truth at 0."""
    return np.array([[[(a, 0, 0), (0, b, 0)] for a, b in rows]], float)


def test_oracles_of_a_case_worked_out_by_hand():
    errors = joint_errors(two_joints((4, 6), (1, 7), (9, 1)), np.zeros((1, 2, 3)))
    np.testing.assert_allclose(p_best(errors), [[5, 4, 4]])  # (4+6)/2, then (1+7)/2, then still
    np.testing.assert_allclose(j_best(errors), [[5, 3.5, 1]])  # (1+6)/2, then (1+1)/2


def test_j_agg_takes_each_joint_from_where_it_reprojects_best():
    errors = joint_errors(two_joints((4, 6), (1, 7), (9, 1)), np.zeros((1, 2, 3)))
    reprojected = np.array([[[(0, 0), (5, 5)], [(1, 0), (2, 2)], [(2, 0), (3, 3)]]], float)
    assert j_agg(errors, reprojected, np.array([[(0.1, 0), (2.9, 3)]])) == pytest.approx([(4 + 1) / 2])
    assert j_agg(errors, reprojected, np.array([[(np.nan, np.nan), (2.9, 3)]])) == pytest.approx([(4 + 1) / 2])
    assert j_agg(errors, reprojected, np.array([[(2, 0), (np.nan, np.nan)]])) == pytest.approx([(9 + 6) / 2])


def test_reprojection_is_that_of_a_pinhole_at_the_true_place():
    pose = np.array([[[[0, 0, 0], [0.5, -1.0, 1.0]]]])
    np.testing.assert_allclose(reproject(pose, np.array([[1.0, 2.0, 4.0]])), [[[[0.25, 0.5], [0.3, 0.2]]]])
    assert np.isfinite(reproject(pose, np.array([[0.0, 0.0, -3.0]]))).all()


def test_the_aggregate_is_the_mean_under_the_weights():
    weights = normalised(np.log([[1.0, 3.0]]) + 700)  # any constant cancels, also one that would overflow
    np.testing.assert_allclose(weights, [[0.25, 0.75]])
    np.testing.assert_allclose(weighted_mean(two_joints((4, 8), (0, 0)), weights), [[[1, 0, 0], [0, 2, 0]]])


def test_n_mpjpe_forgives_size_and_nothing_else():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 17, 3))
    np.testing.assert_allclose(n_mpjpe(0.3 * truth, truth), 0, atol=1e-12)
    predicted = truth + 0.2 * rng.normal(size=truth.shape)
    tried = np.array([np.linalg.norm(s * predicted - truth, axis=-1).mean(-1) for s in np.linspace(0.5, 1.5, 2001)])
    squares = np.array([((s * predicted - truth) ** 2).sum((-1, -2)) for s in np.linspace(0.5, 1.5, 2001)])
    best = np.take_along_axis(tried, squares.argmin(0)[None], 0)[0]  # least squares, by trying
    np.testing.assert_allclose(n_mpjpe(predicted, truth), best, rtol=1e-3)


def test_pck_and_auc_count_strictly_nearer_joints():
    errors = np.array([0.0, 0.0005, 0.15, 0.1499])
    assert pck(errors) == 0.75
    assert auc(errors) == pytest.approx((149 + 149 + 0 + 0) / (4 * 150))  # 0 mm is not nearer than 0 mm


@pytest.mark.shared
@pytest.mark.parametrize("step", [0, 1])
def test_aggregate_and_oracles_are_drposes(step):
    data = fixture("drpose")
    hypotheses, truth = data["pred"][:, step, :, 0].astype(np.float64), data["target"][:, 0].astype(np.float64)
    uniform = normalised(np.zeros(hypotheses.shape[:2]))
    mean = weighted_mean(hypotheses, uniform)
    np.testing.assert_allclose(p_mpjpe(mean, truth), data["p2_p_avg"][step], atol=1e-6)
    for protocol, aligned in (("p1", False), ("p2", True)):
        errors = joint_errors(hypotheses, truth, aligned)
        chosen = j_agg(errors, data["reproject_2d"][:, step, :, 0], data["input_2d"][:, 0])
        np.testing.assert_allclose(p_best(errors)[:, -1], data[f"{protocol}_p_best"][step], atol=1e-6)
        np.testing.assert_allclose(j_best(errors)[:, -1], data[f"{protocol}_j_best"][step], atol=1e-6)
        np.testing.assert_allclose(chosen, data[f"{protocol}_j_avg"][step], atol=1e-6)


@pytest.mark.shared
def test_pck_auc_and_best_of_h_are_prposes():
    data = fixture("prpose")
    target = data["target"].astype(np.float64)
    for pose, name in ((data["pred"][:, :1], ""), (data["pred3"], "_pred3")):
        errors = np.linalg.norm(pose - target, axis=-1)
        assert pck(errors).mean() == pytest.approx(data[f"pck_seq{name}"], abs=1e-6)
        assert auc(errors).mean() == pytest.approx(data[f"auc_seq{name}"], abs=1e-6)
    truth, hypotheses = target[:, 0], data["pred_multi"].astype(np.float64)
    errors = joint_errors(hypotheses, truth)
    np.testing.assert_allclose(pck(errors), data["pck_mutilhyp"], atol=1e-6)
    assert pck(errors).max(1).mean() == pytest.approx(data["multi_best_pck"], abs=1e-6)
    assert p_best(errors)[:, -1].mean() == pytest.approx(data["multi_best_p1"], abs=1e-6)
    aligned = joint_errors(hypotheses, truth, aligned=True)
    assert p_best(aligned)[:, -1].mean() == pytest.approx(data["multi_best_p2"], abs=1e-6)


@pytest.mark.shared
def test_bmvc_alignment_forgives_mirror_images():
    data = fixture("procrustes")
    truth, predicted = (np.swapaxes(data[k].reshape(-1, 3, 16), 1, 2) for k in ("x48", "y48"))
    aligned = procrustes(predicted, truth, reflection=True)
    found = np.linalg.norm(aligned - truth, axis=-1).mean(-1)
    scale = data["bmvc_err_procrustes"] / found
    np.testing.assert_allclose(scale, scale[0], rtol=1e-5)
    assert scale[0] in (pytest.approx(1), pytest.approx(1000))
    assert (p_mpjpe(predicted, truth) > found * 1.01).sum() >= len(found) // 4  # every fourth is a mirror image
