"""Ground and stature against the drawn actor, whose world is known exactly, seen by cameras that look down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posepipe.errors import UsageError
from posepipe.pipeline.refine.ground import fit_ground, ground_from_json
from posepipe.pipeline.refine.stature import check_height, factor_to, seen_whole, stature, typical
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.source.actor_body import ActorBody
from posepipe.pipeline.source.actor_motion import pose_at

ANKLES = [3, 6]


def seen(motion="walk", pitch=15.0, frames=60, height=1.72, **more):
    """(joints in the camera frame (N,17,3), the same in the world, up in the camera frame, height of the camera)."""
    scene = ActorScene(motion, frames / 10, 10, 640, 480, 60, 30, pitch, body=ActorBody(height=height), **more)
    source = ActorSource(scene)
    truths = [source.truth(i) for i in range(frames)]
    joints, world = np.stack([t.joints_camera for t in truths]), np.stack([t.joints_world for t in truths])
    return joints, world, source.view.rotation @ [0, 1, 0], float(source.view.position[1])


def fitted(joints, rng=None, depth=0.0):
    """depth: error of the root along the line of sight, as a share of the distance."""
    root = joints[:, 0]
    if rng is not None:
        root = root * (1 + rng.normal(0, depth, (len(root), 1)))
    return fit_ground(joints - joints[:, :1], root)


def tilt(ground, up) -> float:
    return float(np.degrees(np.arccos(np.clip(np.dot(ground.up, up), -1, 1))))


@pytest.mark.parametrize("pitch", [0.0, 15.0, 40.0])
def test_a_walker_gives_the_plane_whatever_the_camera_looks_at(pitch):
    joints, _, up, height = seen(pitch=pitch)
    ground = fitted(joints)
    assert tilt(ground, up) < 1.0
    assert ground.height == pytest.approx(height, abs=0.03)


def test_a_root_that_errs_in_depth_tilts_it_little():
    joints, _, up, _ = seen()
    ground = fitted(joints, np.random.default_rng(0), 0.04)
    assert tilt(ground, up) < 2.5
    under = ground.heights(joints[:, ANKLES]).min(1)
    assert abs(np.median(under) - 0.08) < 0.03


def test_squats_do_not_move_the_ground_as_lowest_joints_would():
    joints, world, up, _ = seen("squat")
    noisy = joints + np.random.default_rng(1).normal(0, 0.02, joints.shape)
    ground = fitted(noisy)
    hips = ground.heights(joints[:, 0])
    assert np.abs((hips - hips.mean()) - (world[:, 0, 1] - world[:, 0, 1].mean())).mean() < 0.01
    assert tilt(ground, up) < 5


def test_a_jump_stays_a_jump():
    joints, _, up, _ = seen("wave", frames=60)
    height = np.zeros(60)
    height[30:42] = 0.4 * np.sin(np.linspace(0, np.pi, 12))
    jumping = joints + height[:, None, None] * up
    feet = fitted(jumping).heights(jumping[:, ANKLES]).min(1) - 0.08
    assert feet.max() == pytest.approx(0.4, abs=0.05)
    assert abs(np.median(feet)) < 0.03


def test_the_world_stands_on_the_ground_with_y_up():
    joints, world, _, _ = seen()
    ground = fitted(joints)
    found = ground.to_world(joints)
    np.testing.assert_allclose(found[..., 1], world[..., 1], atol=0.05)
    for a, b in ((0, 10), (3, 16)):
        np.testing.assert_allclose(
            np.linalg.norm(found[:, a] - found[:, b], axis=-1), np.linalg.norm(world[:, a] - world[:, b], axis=-1)
        )
    assert np.linalg.det(ground.rotation) == pytest.approx(1.0)
    assert (found[:, 0, 2] < 0).all(), "people are in front of the camera, towards -z"


def test_too_little_gives_none_and_unknown_places_do_not_count():
    joints, *_ = seen(frames=12)
    assert fitted(joints[:9]) is None
    lost = joints.copy()
    lost[:6, 0] = np.nan
    assert fit_ground(lost - lost[:, :1], lost[:, 0]) is None


def test_json_and_back():
    ground = fitted(seen()[0])
    assert ground_from_json(ground.to_json()) == ground
    for bad in ('{"up": [0, 1]}', "3", "no"):
        with pytest.raises(ValueError, match=r"."):
            ground_from_json(bad)


@given(st.floats(1.0, 2.1), st.sampled_from(["walk", "squat", "crossed"]), st.floats(0, 5))
def test_stature_is_the_bodys_height_whatever_it_does(height, motion, t):
    assert stature(pose_at(ActorBody(height=height), motion, t).joints) == pytest.approx(height, rel=0.01)


def test_the_factor_looks_at_frames_that_show_the_person_whole():
    tall = np.array([1.6] * 6 + [1.0] * 10 + [np.nan])
    confidence = np.ones((17, 17))
    confidence[6:16, 3] = 0.2
    whole = seen_whole(confidence)
    assert factor_to(1.8, tall, whole) == pytest.approx(1.8 / 1.6)
    assert typical(tall, np.zeros(17, bool)) == pytest.approx(1.0)
    assert factor_to(1.8, np.full(3, np.nan), np.ones(3, bool)) == 1.0


@pytest.mark.parametrize("height", [0.0, -1.75, 175.0, float("nan")])
def test_heights_of_no_person_are_refused(height):
    with pytest.raises(UsageError, match="metres"):
        check_height(height)
