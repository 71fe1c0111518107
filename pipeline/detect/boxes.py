"""Where to look for people in the next picture: around the keypoints that they had in this one.

A detector of people need not run for every frame then. It is asked in the first, in every so-many-th, and whenever
nobody is followed; who is found again away from everybody followed joins them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from posepipe.types import Pose2D

FIND_EVERY = 10  # frames
MOST = 32  # people; more cannot be told apart in a picture
_SEEN = 0.2  # confidence of a keypoint that counts for the box
_LOST = 0.25  # mean confidence of somebody who is not there any more
_FEWEST = 4  # keypoints that make a person
_ENLARGED = 1.15  # from the outermost joints to the outline: crown, fingers, soles
_SLIMMEST = 0.3  # width of a box, as a share of its height: a person seen from the side has joints on a line
_SAME_BOX, _SAME_PERSON = 0.3, 0.1  # overlap of boxes; distance of joints, in heights of the person

Find = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # a picture -> boxes (N, 4)


@dataclass(frozen=True)
class Followed:
    """boxes: (N, 4) left, top, right, bottom, pixels, of those who were seen last. age: frames since somebody looked at
    the whole picture."""

    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    age: int = 0


def look_at(followed: Followed, image: NDArray[np.uint8], find: Find, every: int) -> tuple[Followed, NDArray]:
    """The boxes for this picture, at most MOST, and the state with `age` brought up to date."""
    boxes = followed.boxes
    age = followed.age + 1
    if not len(boxes) or age >= every:
        found = find(image).reshape(-1, 4)
        new = [box for box in found if not len(boxes) or overlaps(box, boxes).max() < _SAME_BOX]
        boxes, age = np.concatenate([boxes, np.array(new, np.float32).reshape(-1, 4)]), 0
    return Followed(followed.boxes, age), boxes[:MOST]


def follow(followed: Followed, poses: Sequence[Pose2D]) -> Followed:
    """Around whom to look next."""
    boxes = [box for box in (box_of(p) for p in poses) if box is not None]
    return Followed(np.array(boxes, np.float32).reshape(-1, 4), followed.age)


def people_among(poses: Sequence[Pose2D]) -> tuple[Pose2D, ...]:
    """Those that are people, each once: two boxes may have come to lie on the same person; the surer one stays."""
    kept: list[Pose2D] = []
    for pose in sorted(poses, key=lambda p: -float(p.confidence.mean())):
        box = box_of(pose)
        if box is None or pose.confidence.mean() < _LOST:
            continue
        height = box[3] - box[1]
        if all(_apart(pose, other) > _SAME_PERSON * height for other in kept):
            kept.append(pose)
    return tuple(p for p in poses if any(p is k for k in kept))


def box_of(pose: Pose2D) -> NDArray[np.float32] | None:
    """(4,) around the outline of a person, from the keypoints; None when too few were seen."""
    seen = np.isfinite(pose.keypoints).all(-1) & (pose.confidence >= _SEEN)
    if seen.sum() < _FEWEST:
        return None
    low, high = pose.keypoints[seen].min(0), pose.keypoints[seen].max(0)
    middle, half = (low + high) / 2, np.maximum((high - low) * _ENLARGED / 2, 2.0)
    half = np.maximum(half, half[::-1] * _SLIMMEST)
    return np.concatenate([middle - half, middle + half]).astype(np.float32)


def overlaps(box: NDArray, boxes: NDArray) -> NDArray:
    """(N,) intersection over union of a box (4,) with boxes (N, 4)."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.clip(high - low, 0, None).prod(1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (box[2:] - box[:2]).prod()
    return common / np.maximum(area - common, 1e-9)


def whole_picture(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(1, 4): one person who fills the picture."""
    height, width = image.shape[:2]
    return np.array([[0, 0, width, height]], np.float32)


def _apart(one: Pose2D, other: Pose2D) -> float:
    """Median distance of the joints, pixels."""
    distance = np.linalg.norm(one.keypoints - other.keypoints, axis=-1)
    finite = distance[np.isfinite(distance)]
    return float(np.median(finite)) if len(finite) else float("inf")
