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


def test_a_bent_lens_that_is_known_costs_nothing():
    """The actor through a lens of 35 px distortion: the same place and the same person as without it."""
    from dataclasses import replace

    from posepipe.lifters.space import to_person
    from posepipe.pipeline.source.actor import ActorScene, ActorSource

    source = ActorSource(ActorScene("walk", 1, 10, 1280, 720, 75, 30, 10, distance=2.6))
    bent = replace(source.intrinsics, distortion=(-0.28, 0.09, 0.001, -0.0005, -0.01))
    joints = np.stack([source.truth(i).joints_camera for i in range(10)])
    plain, seen, sure = project(joints, source.intrinsics), project(joints, bent), np.ones((10, 17))
    assert np.abs(seen - plain).max() > 10
    relative = joints - joints[:, :1]
    np.testing.assert_allclose(fit_root(relative, seen, sure, bent), joints[:, 0], atol=1e-4)
    assert np.abs(fit_root(relative, seen, sure, source.intrinsics) - joints[:, 0]).max() > 0.02
    known, ideal = to_person(seen, sure, bent), to_person(plain, sure, source.intrinsics)
    np.testing.assert_allclose(known.keypoints, ideal.keypoints, atol=1e-5)
