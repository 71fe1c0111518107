"""Errors of poses, recomputed by SciPy, by known transforms, and against the published evaluation code's numbers."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from posepipe.metrics import best_of, coverage, mpjpe, p_mpjpe, procrustes

SHARED = Path(os.environ.get("POSEPIPE_SHARED", Path(__file__).parents[3] / "shared")) / "fixtures" / "metrics"
seeds = st.integers(0, 2**32 - 1)


def fixture(name: str) -> dict[str, np.ndarray]:
    path = SHARED / f"{name}.npz"
    if not path.is_file():
        pytest.skip("no ../shared data")
    return dict(np.load(path))


def by_scipy(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Best proper similarity: SciPy's rotation (Kabsch), then the scale that is optimal for that rotation."""
    p, t = predicted - predicted.mean(0), truth - truth.mean(0)
    turned = Rotation.align_vectors(t, p)[0].apply(p)
    return (t * turned).sum() / (p * p).sum() * turned + truth.mean(0)


def similarity(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    return rng.uniform(0.1, 10) * Rotation.random(random_state=rng).apply(points) + rng.normal(size=3)


def test_mpjpe_of_a_known_shift_is_its_length():
    truth = np.random.default_rng(0).normal(size=(5, 17, 3))
    np.testing.assert_allclose(mpjpe(truth + [3, 4, 12], truth), np.full(5, 13.0))


@given(seeds)
def test_procrustes_undoes_any_similarity(seed):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(17, 3))
    moved = similarity(rng, truth)
    np.testing.assert_allclose(procrustes(moved, truth), truth, atol=1e-9)
    assert p_mpjpe(moved, truth) < 1e-9


@given(seeds, st.booleans())
def test_procrustes_is_scipys_rotation_with_the_best_scale(seed, mirrored):
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(17, 3))
    predicted = truth * ([-1, 1, 1] if mirrored else [1, 1, 1]) + 0.3 * rng.normal(size=(17, 3))
    np.testing.assert_allclose(procrustes(predicted, truth), by_scipy(predicted, truth), atol=1e-5)


@given(seeds)
def test_p_mpjpe_ignores_place_size_and_heading_of_the_prediction(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.normal(size=(2, 17, 3))
    assert p_mpjpe(similarity(rng, predicted), truth) == pytest.approx(p_mpjpe(predicted, truth), rel=1e-6)


def test_a_mirror_image_is_not_a_match():
    truth = np.random.default_rng(3).normal(size=(17, 3))
    assert p_mpjpe(truth * [-1, 1, 1], truth) > 0.1
    flat = truth * [1, 1, 0]  # in a plane, a mirror image is only a turned one
    assert p_mpjpe(flat * [-1, 1, 1], flat) < 1e-9


def test_a_collapsed_prediction_gives_a_finite_error():
    truth = np.random.default_rng(4).normal(size=(17, 3))
    spread = np.linalg.norm(truth - truth.mean(0), axis=-1).mean()
    assert p_mpjpe(np.zeros((17, 3)), truth) == pytest.approx(spread)


def test_batches_are_the_same_as_one_at_a_time():
    rng = np.random.default_rng(5)
    predicted, truth = rng.normal(size=(2, 3, 4, 17, 3))
    single = [[p_mpjpe(p, t) for p, t in zip(ps, ts, strict=True)] for ps, ts in zip(predicted, truth, strict=True)]
    np.testing.assert_allclose(p_mpjpe(predicted, truth), single)


def test_best_of_is_the_smallest_error_of_a_whole_pose():
    rng = np.random.default_rng(6)
    truth = rng.normal(size=(4, 17, 3))
    hypotheses = truth[:, None] + rng.normal(size=(4, 6, 17, 3))
    hypotheses[:, 2] = truth + [0.01, 0, 0]
    np.testing.assert_allclose(best_of(hypotheses, truth), 0.01)
    assert best_of(hypotheses, truth, aligned=True).max() < 1e-9


@pytest.mark.shared
def test_p_mpjpe_is_the_published_one():
    martinez = fixture("procrustes")
    np.testing.assert_allclose(procrustes(martinez["Y"], martinez["X"]), martinez["martinez_scale1_Z"], atol=1e-6)
    np.testing.assert_allclose(p_mpjpe(martinez["Y"], martinez["X"]), martinez["martinez_pmpjpe"], rtol=1e-9)
    prpose = fixture("prpose")
    np.testing.assert_allclose(p_mpjpe(prpose["pred"], prpose["target"]), prpose["p_mpjpe_all"], atol=2e-6)


@pytest.mark.shared
def test_mean_and_best_of_are_the_published_ones():
    drpose = fixture("drpose")
    pred, target = drpose["pred"][:, :, :, 0].astype(np.float64), drpose["target"][:, 0].astype(np.float64)
    for step in range(pred.shape[1]):
        hypotheses = pred[:, step]
        np.testing.assert_allclose(mpjpe(hypotheses.mean(1), target), drpose["p1_p_avg"][step], atol=1e-6)
        np.testing.assert_allclose(best_of(hypotheses, target), drpose["p1_p_best"][step], atol=1e-6)
        np.testing.assert_allclose(best_of(hypotheses, target, aligned=True), drpose["p2_p_best"][step], atol=1e-6)


LEVELS = (0.1, 0.5, 0.68, 0.9, 0.95)


def test_honest_hypotheses_cover_what_they_claim():
    rng = np.random.default_rng(7)
    frames, count = 1500, 200
    spread = rng.uniform(0.01, 0.2, size=(frames, 1, 17, 3))  # another ellipsoid for every joint
    centre = rng.normal(size=(frames, 1, 17, 3))
    hypotheses = centre + spread * rng.normal(size=(frames, count, 17, 3))
    truth = (centre + spread * rng.normal(size=(frames, 1, 17, 3)))[:, 0]
    covered = coverage(hypotheses, np.full((frames, count), -np.log(count)), truth, LEVELS)
    np.testing.assert_allclose(covered, LEVELS, atol=0.02)


@pytest.mark.parametrize(("factor", "sign"), [(0.5, -1), (2.0, 1)])
def test_too_narrow_hypotheses_cover_less_and_too_wide_ones_more(factor, sign):
    rng = np.random.default_rng(8)
    hypotheses = factor * rng.normal(size=(300, 100, 17, 3))
    covered = coverage(hypotheses, np.zeros((300, 100)), rng.normal(size=(300, 17, 3)), LEVELS)
    assert (sign * (covered - LEVELS) > 0.02).all()


def test_weights_count_as_much_as_copies():
    """Hypotheses drawn too wide, with importance weights that say so, cover what the true distribution does."""
    rng = np.random.default_rng(9)
    frames, count = 1000, 400
    hypotheses = np.zeros((frames, count, 17, 3))
    hypotheses[:, :, 1] = 1.5 * rng.normal(size=(frames, count, 3))  # one joint that moves; the others never miss
    square = (hypotheses[:, :, 1] ** 2).sum(-1)
    log_weights = -0.5 * square + 0.5 * square / 1.5**2
    truth = np.zeros((frames, 17, 3))
    truth[:, 1] = rng.normal(size=(frames, 3))
    covered = coverage(hypotheses, log_weights, truth, LEVELS) * 16 - 15
    np.testing.assert_allclose(covered, LEVELS, atol=0.05)


def test_one_hypothesis_covers_only_itself():
    pose = np.random.default_rng(10).normal(size=(3, 17, 3))
    assert coverage(pose[:, None], np.zeros((3, 1)), pose, (0.5,)) == [1.0]
    assert coverage(pose[:, None], np.zeros((3, 1)), pose + 0.001, (0.5, 0.99)).tolist() == [0.0, 0.0]
