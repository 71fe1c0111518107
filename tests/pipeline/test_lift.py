"""Lifting of tracked people: frames of reference, keys, people of whom nothing is seen."""

import numpy as np
import pytest

from posepipe.camera import from_fov, look_at, project
from posepipe.lifters.checkpoint import Checkpoint
from posepipe.noise import NoiseKey
from posepipe.pipeline.lift import lift
from posepipe.types import Pose2D, Track

CAMERA = from_fov(1000, 1000, 70)


class Recorder:
    """A runner that answers with a fixed pose in the turned camera's frame, and remembers what it was asked."""

    contract = Checkpoint("fake", {}, "person", "blazepose33-h36m17@1", (), 1, residual_std=(0.05,) * 17)

    def __init__(self, pose):
        self.pose, self.calls = pose, []

    def sample(self, keypoints, confidence, keys, hypotheses):
        self.calls.append((keypoints, confidence, tuple(keys)))
        joints = np.broadcast_to(self.pose, (len(keypoints), hypotheses, 17, 3)).astype(np.float32)
        return joints, np.full((len(keypoints), hypotheses), -np.log(hypotheses), np.float32)


def person() -> np.ndarray:
    joints = np.random.default_rng(0).normal(0, 0.3, (17, 3))
    return joints - joints[0]


def track(joints, number=0) -> Track:
    pose = Pose2D(project(joints, CAMERA).astype(np.float32), np.ones(17, np.float32), "h36m17")
    return Track(number, pose, pose)


def key_in(frame: int):
    return lambda track: NoiseKey(7, "film", frame, track)


def test_poses_come_back_to_the_camera_frame_and_roots_are_found():
    joints = person()
    place = np.array([1.2, -0.4, 4.0])
    rays = (joints + place) / (joints + place)[:, 2:]
    turn = look_at((rays / np.linalg.norm(rays, axis=-1, keepdims=True)).sum(0))
    (lifted,) = lift(Recorder(joints @ turn.T), [track(joints + place)], CAMERA, key_in(3), 1)
    np.testing.assert_allclose(lifted.pose3d.joints, joints, atol=1e-5)
    np.testing.assert_allclose(lifted.pose3d.root, place, atol=2e-3)
    np.testing.assert_allclose(lifted.pose3d.joint_std, 0.05)


def test_noise_keys_name_source_frame_and_person():
    runner = Recorder(person())
    lift(runner, [track(person() + [0, 0, 4], 5), track(person() + [1, 0, 4], 2)], CAMERA, key_in(3), 2)
    assert [(k.seed, k.source, k.frame, k.track) for k in runner.calls[0][2]] == [(7, "film", 3, 5), (7, "film", 3, 2)]


@pytest.mark.parametrize("spoil", ["nan", "confidence"])
def test_people_of_whom_nothing_is_seen_pass_through(spoil):
    hidden, seen = track(person() + [0, 0, 4], 0), track(person() + [0, 0, 4], 1)
    if spoil == "nan":
        hidden.pose2d.keypoints[:] = np.nan
    else:
        hidden.pose2d.confidence[:] = 0
    runner = Recorder(person())
    first, second = lift(runner, [hidden, seen], CAMERA, key_in(0), 1)
    assert first.pose3d is None
    assert second.pose3d is not None
    assert len(runner.calls[0][0]) == 1
    assert lift(runner, [hidden], CAMERA, key_in(0), 1) == (hidden,)
    assert len(runner.calls) == 1
