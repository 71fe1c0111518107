"""Person space: what it must not depend on, and the way back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posepipe.camera import from_fov, look_at, project
from posepipe.lifters.space import from_person, to_person, to_screen


def person(seed: int) -> np.ndarray:
    joints = np.random.default_rng(seed).normal(0, 0.35, (17, 3))
    return joints - joints[:1]


@given(st.integers(0, 500), st.integers(200, 4000))
def test_resolution_does_not_matter(seed, width):
    joints = person(seed) + [0.3, -0.2, 4]
    small, large = (from_fov(w, w // 2, 60) for w in (640, width * 2))
    a, b = (to_person(project(joints, c), np.ones(17), c) for c in (small, large))
    np.testing.assert_allclose(a.keypoints, b.keypoints, atol=1e-5)
    np.testing.assert_allclose(a.rotation, b.rotation, atol=1e-6)


@given(st.integers(0, 500), st.floats(-0.5, 0.5), st.floats(-0.4, 0.4))
@settings(deadline=None)
def test_turning_the_camera_does_not_matter(seed, right, down):
    """The same person seen by the same camera turned away: the same input but for a roll, the same depths."""
    camera = from_fov(1000, 1000, 90)
    joints = person(seed) + [0, 0, 5]
    turn = look_at(np.array([right, down, 1.0]))
    straight, aside = (to_person(project(j, camera), np.ones(17), camera) for j in (joints, joints @ turn.T))
    # Without roll only the part of the turn that keeps "up" up is undone, so compare through the way back.
    in_turned_frame = (person(seed) @ turn.T) @ aside.rotation.T
    in_straight_frame = person(seed) @ straight.rotation.T
    roll = np.abs(in_turned_frame[:, 2] - in_straight_frame[:, 2]).max()
    assert roll < 1e-5  # depths agree; image-plane axes may differ by the roll
    distances = [np.linalg.norm(v.keypoints[:, None] - v.keypoints[None], axis=-1) for v in (straight, aside)]
    np.testing.assert_allclose(*distances, atol=1e-5)


def test_normalisation_is_what_it_says():
    view = to_person(np.random.default_rng(0).uniform(0, 900, (5, 17, 2)), np.ones((5, 17)), from_fov(900, 900))
    np.testing.assert_allclose(view.keypoints.mean(1), 0, atol=1e-6)
    np.testing.assert_allclose((view.keypoints**2).sum(-1).mean(-1), 1, atol=1e-5)


@pytest.mark.parametrize("spoil", [np.nan, np.inf, -np.inf])
def test_unseen_keypoints_are_zero_and_change_nothing_else(spoil):
    camera = from_fov(900, 900)
    keypoints, confidence = np.random.default_rng(1).uniform(0, 900, (17, 2)), np.ones(17)
    confidence[4] = 0
    clean = to_person(keypoints, confidence, camera)
    keypoints[4] = spoil
    spoiled = to_person(keypoints, confidence, camera)
    np.testing.assert_array_equal(clean.keypoints, spoiled.keypoints)
    assert (spoiled.keypoints[4] == 0).all()
    assert spoiled.confidence[4] == 0
    confidence[4] = 1  # confident but not a number: the same
    np.testing.assert_array_equal(to_person(keypoints, confidence, camera).keypoints, clean.keypoints)


def test_nobody_seen_gives_zeros_and_no_turn():
    view = to_person(np.full((17, 2), np.nan), np.zeros(17), from_fov(900, 900))
    assert (view.keypoints == 0).all()
    np.testing.assert_allclose(view.rotation, np.eye(3), atol=1e-6)


def test_from_person_undoes_the_turn():
    joints, rotation = person(3), look_at(np.array([0.4, -0.3, 1.0]))
    turned = (joints @ rotation.T)[None, None]
    np.testing.assert_allclose(from_person(turned, rotation[None])[0, 0], joints, atol=1e-12)


def test_screen_space_is_videopose3ds():
    corners = np.array([[0, 0], [1000, 500], [500, 250]], float)
    np.testing.assert_allclose(to_screen(corners, 1000, 500), [[-1, -0.5], [1, 0.5], [0, 0]])
