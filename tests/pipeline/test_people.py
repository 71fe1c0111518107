"""People over time: the fan that moves instead of flickering, and what a person's poses depend on."""

from pathlib import Path

import numpy as np
import pytest

from posepipe.camera import from_fov
from posepipe.conversion import BLAZEPOSE33_H36M17
from posepipe.lifters.catalogue import entry
from posepipe.pipeline.people import Lifting, PeopleState, lifting_of, people_in
from posepipe.pipeline.settings import RunSettings
from posepipe.pipeline.smooth.people import SmoothState
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.trt_build.runners.ort import OrtRunner
from posepipe.types import Frame, Pose2D

FPS = 30.0
SCENE = ActorScene("walk", seconds=4, fps=FPS, width=720, height=720, fov_deg=55, yaw_deg=20)
SOURCE = ActorSource(SCENE)
PICTURE = np.zeros((2, 2, 3), np.uint8)


@pytest.fixture(scope="module")
def runner():
    with OrtRunner(Path(entry("mdn").graph_path)) as opened:
        yield opened


def detected(index: int, shift: float = 0.0, noise: float = 2.0) -> Pose2D:
    """What a detector without memory says of a frame: exact landmarks and noise of its own."""
    truth = SOURCE.truth(index).blazepose
    wrong = np.random.default_rng(index).normal(0, noise, truth.shape)
    return Pose2D((truth + wrong + [shift, 0]).astype(np.float32), np.ones(33, np.float32), "blazepose33")


def how(runner, **more) -> Lifting:
    return Lifting(runner, BLAZEPOSE33_H36M17, SCENE.intrinsics, "film", 0, 20, **more)


def follow(lifting, indices, still=False, people=1):
    state, result = PeopleState(), []
    for i in indices:
        poses = [detected(0 if still else i, 150.0 * k) for k in range(people)]
        state, tracks = people_in(state, Frame(i, i / FPS, PICTURE), poses, lifting)
        result.append(tracks)
    return result


def jump(frames) -> float:
    """Metres that a joint of a hypothesis moves from one frame to the next, on average."""
    fans = np.stack([tracks[0].hypotheses.joints for tracks in frames])
    return float(np.linalg.norm(np.diff(fans, axis=0), axis=-1).mean())


def test_the_fan_of_a_still_person_moves_instead_of_flickering(runner):
    held = follow(how(runner), range(40), still=True)
    fresh = follow(how(runner, noise_refresh=0), range(40), still=True)
    assert jump(fresh) > 0.05
    assert jump(held) < jump(fresh) / 10
    spread = [np.stack([t[0].hypotheses.joints for t in frames]).std(1).mean() for frames in (held, fresh)]
    assert spread[0] == pytest.approx(spread[1], rel=0.15), "as wide as before"


def test_held_noise_is_refreshed_within_seconds(runner):
    frames = follow(how(runner, noise_refresh=1.0), [0, 30, 60], still=True)
    first, second, third = (t[0].hypotheses.joints for t in frames)
    independent = jump(follow(how(runner, noise_refresh=0), range(20), still=True))
    for a, b in ((first, second), (second, third), (first, third)):
        assert np.linalg.norm(a - b, axis=-1).mean() > 0.6 * independent


def test_what_was_dropped_before_changes_nothing(runner):
    """Every frame, or one in three as a slow live machine has them: the same poses at the same times."""
    every, some = follow(how(runner), range(0, 31)), follow(how(runner), range(0, 31, 3))
    for a, b in zip(every[::3], some, strict=True):
        np.testing.assert_array_equal(a[0].hypotheses.joints, b[0].hypotheses.joints)
        np.testing.assert_array_equal(a[0].pose3d.joints, b[0].pose3d.joints)


def test_who_else_is_in_the_picture_changes_nothing_but_the_last_bits(runner):
    pytest.importorskip("norfair")
    alone = follow(how(runner, several=True), range(5))
    crowd = follow(how(runner, several=True), range(5), people=3)
    assert [[t.id for t in tracks] for tracks in crowd] == [[0, 1, 2]] * 5
    for a, b in zip(alone, crowd, strict=True):
        np.testing.assert_allclose(a[0].hypotheses.joints, b[0].hypotheses.joints, atol=1e-5)


def test_raw_stays_beside_smoothed_and_smoothing_calms(runner):
    smooth, raw = follow(how(runner), range(60)), follow(how(runner, smooth=False), range(60))
    assert all(t[0].smoothed3d is None and t[0].shown == t[0] for t in raw)
    for a, b in zip(smooth, raw, strict=True):
        np.testing.assert_array_equal(a[0].pose3d.joints, b[0].pose3d.joints)
        np.testing.assert_array_equal(a[0].shown.pose3d.joints, a[0].smoothed3d.joints)
    truth = np.stack([SOURCE.truth(i).joints_camera for i in range(60)])
    moved = {}
    for name, pose in (("raw", "pose3d"), ("smoothed", "smoothed3d")):
        poses = [getattr(t[0], pose) for t in smooth]
        joints, roots = np.stack([p.joints for p in poses]), np.stack([p.root for p in poses])
        moved[name] = [np.linalg.norm(np.diff(x, 2, axis=0), axis=-1).mean() for x in (joints, roots)]
        off = np.linalg.norm(joints - (truth - truth[:, :1]), axis=-1).mean()
        assert off < 0.12, "metres: smoothing must not cost accuracy"
    assert moved["smoothed"][0] < 0.5 * moved["raw"][0]
    assert moved["smoothed"][1] < 0.5 * moved["raw"][1]


def test_keypoints_are_smoothed_beside_lifting_or_before_it(runner):
    beside = follow(how(runner, smooth_keypoints=True), range(12))
    before = follow(how(runner, smooth_keypoints=True, lift_smoothed=True), range(12))
    raw = follow(how(runner), range(12))
    for a, b, c in zip(beside, before, raw, strict=True):
        np.testing.assert_array_equal(a[0].pose2d.keypoints, c[0].pose2d.keypoints)
        np.testing.assert_array_equal(a[0].smoothed2d.keypoints, b[0].smoothed2d.keypoints)
        np.testing.assert_array_equal(a[0].hypotheses.joints, c[0].hypotheses.joints)
    assert np.abs(before[-1][0].hypotheses.joints - raw[-1][0].hypotheses.joints).max() > 1e-3
    assert jump(before) < jump(raw)


def test_blazepose_which_smooths_itself_is_not_smoothed_twice():
    lifting = lifting_of(RunSettings(), None, BLAZEPOSE33_H36M17, from_fov(64, 64), "film", 5, lift_smoothed=True)
    assert (lifting.smooth, lifting.smooth_keypoints) == (True, False)
    assert not lifting_of(RunSettings(smooth=False), None, BLAZEPOSE33_H36M17, from_fov(64, 64), "film", 5).smooth


def test_a_person_who_leaves_is_forgotten(runner):
    lifting, state = how(runner, smooth_keypoints=True), PeopleState()
    state, _ = people_in(state, Frame(0, 0.0, PICTURE), [detected(0)], lifting)
    assert state.smooth.poses
    state, _ = people_in(state, Frame(30, 1.0, PICTURE), [], lifting)
    assert state.smooth == SmoothState()
