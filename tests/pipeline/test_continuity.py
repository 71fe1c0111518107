"""Identities of people who walk, cross, leave and come back."""

import numpy as np

from posepipe.pipeline.track.continuity import TrackState, assign
from posepipe.types import Pose2D

SHAPE = np.random.default_rng(0).normal(0, 60, (17, 2)).astype(np.float32)


def at(x: float) -> Pose2D:
    return Pose2D(SHAPE + np.float32([x, 0]), np.ones(17, np.float32), "h36m17")


def ids_over_time(steps):
    state, result = TrackState(), []
    for pts, poses in steps:
        state, ids = assign(state, poses, pts)
        result.append(ids)
    return result


def test_a_person_who_moves_keeps_the_id():
    assert ids_over_time([(i / 30, [at(300 + 5 * i)]) for i in range(60)]) == [(0,)] * 60


def test_two_people_keep_theirs_whatever_the_order_of_detection():
    ids = ids_over_time([(i / 30, [at(100), at(800)] if i % 2 else [at(800), at(100)]) for i in range(10)])
    assert ids == [(0, 1) if i % 2 == 0 else (1, 0) for i in range(10)]


def test_back_within_half_a_second_is_the_same_person_and_later_is_not():
    assert ids_over_time([(0.0, [at(300)]), (0.2, []), (0.45, [at(310)]), (1.2, [at(310)])]) == [(0,), (), (0,), (1,)]


def test_a_jump_across_the_picture_is_another_person():
    assert ids_over_time([(0.0, [at(100)]), (0.03, [at(1500)])]) == [(0,), (1,)]


def test_nan_keypoints_neither_match_nor_raise():
    nothing = Pose2D(np.full((17, 2), np.nan, np.float32), np.zeros(17, np.float32), "h36m17")
    assert ids_over_time([(0.0, [at(1)]), (0.03, [nothing]), (0.06, [at(1)])]) == [(0,), (1,), (0,)]
