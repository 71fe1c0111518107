"""Identities of several drawn people whose identity is known exactly: crossings, occlusion, leaving, any frame rate."""

import sys

import numpy as np
import pytest

from posepipe.errors import MissingDependencyError
from posepipe.pipeline.track.many import ManyTracker
from posepipe.types import Pose2D

pytest.importorskip("norfair")

FPS = 30.0
BODY = np.array(  # a standing person, RMS radius about 1: COCO's joints
    [(0, -2.0), (0.1, -2.1), (-0.1, -2.1), (0.2, -2.0), (-0.2, -2.0), (0.4, -1.6), (-0.4, -1.6)]
    + [(0.6, -0.9), (-0.6, -0.9)]
    + [(0.6, -0.3), (-0.6, -0.3), (0.3, -0.2), (-0.3, -0.2), (0.3, 0.8), (-0.3, 0.8), (0.3, 1.8), (-0.3, 1.8)]
)  # fmt: skip


def drawn(x: float, y: float, t: float, rng: np.random.Generator, size: float = 80.0, phase: float = 0.0) -> Pose2D:
    """A walker with swinging limbs, a detector's noise and two keypoints that it does not see."""
    body = BODY.copy()
    swing = 0.4 * np.sin(2 * np.pi * t + phase)
    body[[9, 15], 0] += swing
    body[[10, 16], 0] -= swing
    confidence = np.ones(17, np.float32)
    confidence[rng.choice(17, 2, replace=False)] = 0
    points = np.array([x, y]) + size * body + rng.normal(0, 0.03 * size, (17, 2))
    points[confidence == 0] = np.nan
    return Pose2D(points.astype(np.float32), confidence, "coco17")


def follow(people, times, seed=0, size=80.0):
    """people: {name: t -> (x, y) or None}. Returns {name: ids over the frames in which it was seen}."""
    rng, tracker = np.random.default_rng(seed), ManyTracker(1280)
    found = {name: [] for name in people}
    for t in times:
        names = [n for n, path in people.items() if path(t) is not None]
        names = [names[i] for i in rng.permutation(len(names))]
        poses = [drawn(*people[n](t), t, rng, size, phase=len(n)) for n in names]
        ids = tracker.assign(poses, t)
        assert len(set(ids)) == len(ids)
        for name, number in zip(names, ids, strict=True):
            found[name].append(number)
    return found


def steady(found) -> bool:
    return all(len(set(ids)) == 1 for ids in found.values()) and len({ids[0] for ids in found.values()}) == len(found)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("fps", [15.0, 40.0])
def test_four_people_who_all_cross_keep_their_ids(seed, fps):
    people = {
        "right": lambda t: (100 + 240 * t, 360),
        "left": lambda t: (1180 - 260 * t, 380),
        "still": lambda t: (640, 340),
        "slow": lambda t: (300 + 150 * t, 400),
    }
    assert steady(follow(people, np.arange(0, 4, 1 / fps), seed))


@pytest.mark.parametrize("seed", range(3))
def test_hidden_behind_another_for_0_4_s_while_crossing(seed):
    hidden = (1.8, 2.2)  # they meet at 2.0 s
    people = {
        "front": lambda t: (240 + 200 * t, 360),
        "behind": lambda t: None if hidden[0] < t < hidden[1] else (1040 - 200 * t, 350),
    }
    found = follow(people, np.arange(0, 4, 1 / FPS), seed)
    assert len(found["behind"]) < len(found["front"])
    assert steady(found)


@pytest.mark.parametrize(("gone", "same"), [(0.3, True), (0.45, True), (0.7, False), (2.0, False)])
def test_back_within_half_a_second_is_the_same_person_and_later_is_somebody_new(gone, same):
    people = {
        "stays": lambda t: (900, 360),
        "leaves": lambda t: None if 1.0 <= t < 1.0 + gone else (300 + 20 * t, 360),
    }
    found = follow(people, np.arange(0, 4, 1 / FPS))
    assert len(set(found["stays"])) == 1
    assert (len(set(found["leaves"])) == 1) is same
    assert not set(found["stays"]) & set(found["leaves"])


def test_a_newcomer_who_was_seen_once_keeps_the_id_as_well():
    """norfair on its own forgets young tracks within two frames."""
    people = {"new": lambda t: None if 0.01 < t < 0.4 else (300, 360)}
    assert steady(follow(people, np.arange(0, 1, 1 / FPS)))


def test_uneven_time_stamps_and_a_clock_that_stands_still():
    times = np.cumsum(np.random.default_rng(0).choice([0.0, 0.01, 0.033, 0.2], 120))
    people = {"a": lambda t: (100 + 60 * t, 360), "b": lambda t: (1100 - 60 * t, 360)}
    assert steady(follow(people, times))


def test_ids_do_not_depend_on_the_resolution_or_on_another_tracker():
    def ids(scale: float) -> list:
        rng, tracker = np.random.default_rng(1), ManyTracker(round(1280 * scale))
        result = []
        for i in range(40):
            poses = [drawn(100 + 8 * i, 360, i / FPS, rng), drawn(500 - 8 * i, 360, i / FPS, rng)]
            poses = [Pose2D(p.keypoints * np.float32(scale), p.confidence, p.skeleton) for p in poses]
            result.append(tracker.assign(poses, i / FPS))
        return result

    assert ids(1.0) == ids(3.0) == ids(1.0)
    assert ids(1.0)[0] == (0, 1)


def test_without_norfair_one_sentence_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "norfair", None)
    with pytest.raises(MissingDependencyError, match="norfair") as caught:
        ManyTracker(1280)
    assert "posepipe[people]" in caught.value.hint
