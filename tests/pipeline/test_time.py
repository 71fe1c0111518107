"""What time does to people: frames dropped, rates that change, runs of hours, clocks that start anew."""

import numpy as np
import pytest

from posepipe.noise import held_key, normal
from posepipe.pipeline.smooth.people import SmoothState, smooth_poses
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.pipeline.track.many import ManyTracker
from posepipe.types import Pose2D, Pose3D, Track

SOURCE = ActorSource(ActorScene("walk", 4, 60, 640, 640, 60, 30, 8))
TRUTH = np.stack([SOURCE.truth(i).joints_camera for i in range(240)])
NOISE = np.random.default_rng(0).normal(0, 0.015, TRUTH.shape)
NOTHING = Pose2D(np.zeros((17, 2), np.float32), np.zeros(17, np.float32), "h36m17")


def smoothed(indices, times=None) -> np.ndarray:
    """(N, 17, 3) smoothed places of the walker's joints, at these of 60 frames a second."""
    state, result = SmoothState(), []
    for n, i in enumerate(indices):
        joints = (TRUTH + NOISE)[i]
        pose = Pose3D((joints - joints[:1]).astype(np.float32), np.full(17, 0.05, np.float32), joints[0])
        state, (track,) = smooth_poses(
            state, [Track(0, NOTHING, NOTHING, pose3d=pose)], i / 60 if times is None else times[n]
        )
        result.append(track.smoothed3d.joints + track.smoothed3d.root)
    return np.stack(result)


def off(a: np.ndarray, indices) -> float:
    """Mean distance from the exact joints, both from their own hip, metres, after the filter has settled."""
    b = TRUTH[list(indices)]
    return float(np.linalg.norm((a - a[:, :1]) - (b - b[:, :1]), axis=-1)[len(a) // 4 :].mean())


RAW = off(TRUTH + NOISE, range(240))


def test_the_rate_hardly_matters():
    """60, 30 and 15 frames a second of one motion: nearer to the truth than the raw poses at each, and a place that is
    at most 0.08 s late."""
    for step in (1, 2, 4):
        indices = list(range(0, 240, step))
        found = smoothed(indices)
        assert off(found, indices) < 0.85 * RAW
        speed = np.linalg.norm(np.diff(TRUTH[:, 0], axis=0), axis=-1).mean() * 60
        assert np.linalg.norm(found[:, 0] - TRUTH[indices, 0], axis=-1).mean() < 0.08 * speed + 0.01


def test_a_rate_that_changes_and_frames_that_are_dropped():
    rng = np.random.default_rng(1)
    steps = [*range(0, 80), *range(80, 160, 4), *np.sort(rng.choice(np.arange(160, 240), 30, replace=False))]
    assert off(smoothed(steps), steps) < 0.85 * RAW


def test_after_a_gap_of_0_4_s_the_shown_pose_is_the_new_one():
    """No glide from where the person was: at most what the noise makes, at once."""
    indices = [*range(0, 100), *range(124, 160)]
    first = smoothed(indices)[100]
    moved = np.linalg.norm(TRUTH[124] - TRUTH[99], axis=-1).mean()
    assert moved > 0.25
    assert np.linalg.norm(first - TRUTH[124], axis=-1).mean() < 0.35 * moved


def test_a_clock_that_starts_anew_takes_the_pose_as_it_is():
    indices, times = [*range(60), *range(200, 210)], [*(i / 60 for i in range(60)), *(i / 60 for i in range(10))]
    found = smoothed(indices, times)
    np.testing.assert_allclose(found[60], (TRUTH + NOISE)[200], atol=1e-5)


@pytest.mark.parametrize("hours", [0.0, 10.0, 1000.0])
def test_the_fan_turns_as_calmly_after_hours(hours):
    start = hours * 3600
    noise = np.stack([normal(held_key(3, "camera", start + i / 30, 7, 4.0), (5, 51)) for i in range(30)])
    step = np.abs(np.diff(noise, axis=0)).mean()
    assert 0 < step < 0.03, "a normal's own size is 0.8; a frame is a 120th of the refresh"
    assert noise.std() == pytest.approx(1, abs=0.2)


def test_hundreds_of_people_who_come_and_go_leave_nothing_behind():
    pytest.importorskip("norfair")
    tracker, shape = ManyTracker(1280), np.random.default_rng(0).normal(0, 60, (17, 2)).astype(np.float32)
    ids = set()
    for i in range(400):
        place = np.float32([200 + 900 * (i % 2), 300])
        pose = Pose2D(shape + place, np.ones(17, np.float32), "coco17")
        ids |= set(tracker.assign([pose] if i % 3 else [], i * 0.6))
    assert len(ids) == sum(1 for i in range(400) if i % 3)
    assert len(tracker._seen) <= 2
    assert len(tracker._tracker.tracked_objects) <= 2
