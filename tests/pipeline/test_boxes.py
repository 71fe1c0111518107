"""People followed by boxes: who is looked for where, who stays, who joins, who leaves."""

import numpy as np
import pytest

from posepipe.pipeline.detect.boxes import Followed, box_of, overlaps
from posepipe.pipeline.detect.people_finder import PeopleFinder
from posepipe.pipeline.detect.topdown import TopDown
from posepipe.pipeline.source.actor import ActorScene, ActorSource
from posepipe.skeleton import BLAZEPOSE_33, COCO_17
from posepipe.types import Frame, Pose2D

SCENE = ActorScene(motion="wave", seconds=1, width=320, height=320)
SOURCE = ActorSource(SCENE)
COCO = SOURCE.truth(0).blazepose[[BLAZEPOSE_33.index(n) for n in COCO_17.joints]].astype(np.float32)
IMAGE = np.zeros((320, 2000, 3), np.uint8)


class World:
    """People at places (pixels from the left) that change from frame to frame; finds and estimates as told."""

    skeleton = "coco17"

    def __init__(self, places):
        self.places, self.now, self.searches, self.boxes = places, 0, 0, []

    def find(self, image):
        self.searches += 1
        return np.array([box_of(self.pose(x)) for x in self.places[self.now]], np.float32).reshape(-1, 4)

    def pose(self, x):
        return Pose2D(COCO + np.array([x, 0], np.float32), np.ones(17, np.float32), "coco17")

    def poses(self, image, boxes):
        """A box gives the person whose middle is in it, or nobody."""
        self.boxes.append(boxes)
        points, scores = [], []
        for box in boxes:
            inside = [self.pose(x).keypoints for x in self.places[self.now]]
            inside = [p for p in inside if (box[:2] < p.mean(0)).all() and (p.mean(0) < box[2:]).all()]
            points.append(inside[0] if inside else np.full((17, 2), np.nan))
            scores.append(np.full(17, 0.9 if inside else 0.01))
        return np.array(points, np.float32), np.array(scores, np.float32)

    def close(self):
        pass


def run(places, every=10):
    world = World(places)
    seen = []
    with TopDown("world", world, world.find, every) as detector:
        for index in range(len(places)):
            world.now = index
            poses = detector.detect(Frame(index, index / 25, IMAGE))
            seen.append(sorted(round(float(p.keypoints[0, 0] - COCO[0, 0])) for p in poses))
    return seen, world


def test_people_are_followed_without_looking_at_the_whole_picture_again():
    seen, world = run([[10 * i, 1000 - 10 * i] for i in range(10)])
    assert seen == [sorted([10 * i, 1000 - 10 * i]) for i in range(10)]
    assert world.searches == 1


def test_whoever_comes_is_found_at_the_next_look_and_whoever_leaves_is_gone_at_once():
    seen, _ = run([[0], [0], [0, 900], [0, 900], [0, 900], [900], [900], [], [300]], every=4)
    assert seen[2] == [0]
    assert seen[4] == [0, 900]
    assert seen[5:8] == [[900], [900], []]
    assert seen[8] == [300], "with nobody to follow every picture is looked at"


def test_two_boxes_on_one_person_are_one_person():
    world = World([[0]])
    box = box_of(world.pose(0))
    detector = TopDown("world", world, lambda image: np.stack([box, box + 5]))
    assert len(detector.detect(Frame(0, 0.0, IMAGE))) == 1


def test_nobody_asks_the_estimator_nothing():
    seen, world = run([[], []])
    assert seen == [[], []]
    assert world.boxes == []


def test_unrelated_pictures_are_each_looked_at():
    _, world = run([[0], [0], [0]], every=1)
    assert world.searches == 3


def test_a_box_holds_the_person_and_needs_four_joints():
    pose = Pose2D(COCO, np.ones(17, np.float32), "coco17")
    box = box_of(pose)
    assert (box[:2] < COCO.min(0)).all()
    assert (box[2:] > COCO.max(0)).all()
    few = np.zeros(17, np.float32)
    few[:3] = 1
    assert box_of(Pose2D(COCO, few, "coco17")) is None
    assert overlaps(box, np.stack([box, box + 1000])).tolist() == [1.0, 0.0]
    assert len(Followed().boxes) == 0


def test_the_finder_finds_everybody_in_a_wide_picture():
    """Three actors side by side; independent truth: where they were drawn."""
    scenes = [
        ActorScene(motion=m, width=320, height=360, yaw_deg=y) for m, y in (("wave", 0), ("walk", 50), ("wave", 200))
    ]
    frames = [ActorSource(s).render(5) for s in scenes]
    image = np.concatenate([f.image for f, _ in frames], 1)
    finder = PeopleFinder()
    try:
        boxes = finder(image)
        assert len(finder(np.zeros_like(image))) == 0
    finally:
        finder.close()
    assert len(boxes) == 3
    for number, (_, truth) in enumerate(frames):
        hip = truth.keypoints[0] + [320 * number, 0]
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        assert np.linalg.norm(middles - hip, axis=1).min() == pytest.approx(0, abs=40)
