"""The fitted root against people placed at known positions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe.camera import from_fov, project
from posepipe.pipeline.refine.root import fit_root

CAMERA = from_fov(1280, 720, 60)


def person(seed: int) -> np.ndarray:
    joints = np.random.default_rng(seed).normal(0, 0.4, (17, 3))
    return joints - joints[:1]


@given(
    st.integers(0, 1000),
    st.floats(-1.5, 1.5),
    st.floats(-0.8, 0.8),
    st.floats(3.0, 12.0),
)
def test_exact_projection_gives_the_exact_root(seed, x, y, z):
    joints, root = person(seed), np.array([x, y, z])
    found = fit_root(joints, project(joints + root, CAMERA), np.ones(17), CAMERA)
    np.testing.assert_allclose(found, root, atol=1e-4 * z)


def test_unseen_joints_do_not_count():
    joints, root = person(1), np.array([0.2, 0.1, 4.0])
    keypoints, confidence = project(joints + root, CAMERA), np.ones(17)
    keypoints[3] = np.nan
    keypoints[5] += 500
    confidence[5] = 0
    np.testing.assert_allclose(fit_root(joints, keypoints, confidence, CAMERA), root, atol=1e-3)


@pytest.mark.parametrize("seen", [0, 1, 2])
def test_too_few_keypoints_give_nan(seen):
    confidence = np.zeros(17)
    confidence[:seen] = 1
    assert np.isnan(fit_root(person(2), np.zeros((17, 2)), confidence, CAMERA)).all()


def test_twice_the_focal_length_means_twice_the_distance():
    joints, root = 0.2 * person(3), np.array([0.0, 0.0, 8.0])
    pixels = project(joints + root, CAMERA)
    longer = from_fov(1280, 720, 2 * np.degrees(np.arctan(np.tan(np.radians(30)) / 2)))
    assert fit_root(joints, pixels, np.ones(17), longer)[2] == pytest.approx(16.0, rel=0.02)
