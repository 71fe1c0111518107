"""People for the accuracy gate: poses that nobody was trained on, because they are drawn here.

Every bone points where it points on a person who stands, turned at random (the more the farther out it is), and the
whole person turns and leans. Not natural motion, but of human size and shape, seen by a camera; the detector's noise
and its unseen joints are added. What the gate compares is one way of calculating with another on the same inputs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import from_fov, project
from posepipe.lifters.space import to_person, to_screen
from posepipe.skeleton import H36M_17

PEOPLE = 1000
_SIZE = 1000  # pixels, the picture's side

# joint -> (direction from its parent on a person who stands, x to the person's left, y up, z forward; length in metres;
# how far the bone strays, radians)
_BONES: dict[str, tuple[tuple[float, float, float], float, float]] = {
    "r_hip": ((-1, 0, 0), 0.13, 0.05),
    "r_knee": ((0, -1, 0.1), 0.44, 0.6),
    "r_ankle": ((0, -1, -0.2), 0.43, 0.6),
    "l_hip": ((1, 0, 0), 0.13, 0.05),
    "l_knee": ((0, -1, 0.1), 0.44, 0.6),
    "l_ankle": ((0, -1, -0.2), 0.43, 0.6),
    "spine": ((0, 1, 0), 0.24, 0.15),
    "thorax": ((0, 1, 0), 0.25, 0.2),
    "neck": ((0, 1, 0.2), 0.11, 0.25),
    "head": ((0, 1, 0), 0.11, 0.3),
    "l_shoulder": ((1, -0.1, 0), 0.15, 0.15),
    "l_elbow": ((0.3, -1, 0), 0.28, 1.0),
    "l_wrist": ((0.1, -1, 0.5), 0.25, 1.0),
    "r_shoulder": ((-1, -0.1, 0), 0.15, 0.15),
    "r_elbow": ((-0.3, -1, 0), 0.28, 1.0),
    "r_wrist": ((-0.1, -1, 0.5), 0.25, 1.0),
}


def poses(count: int, seed: int = 0) -> NDArray[np.float64]:
    """(count, 17, 3) metres, camera frame (x right, y down, z forward), hip at 0."""
    rng = np.random.default_rng(seed)
    joints = np.zeros((count, len(H36M_17), 3))
    for child, (name, parent) in enumerate(zip(H36M_17.joints, H36M_17.parents, strict=True)):
        if parent < 0:
            continue
        direction, length, stray = _BONES[name]
        rest = np.asarray(direction, float) / np.linalg.norm(direction)
        bone = rest + stray * rng.normal(size=(count, 3)) / np.sqrt(2)
        joints[:, child] = joints[:, parent] + length * bone / np.linalg.norm(bone, axis=1, keepdims=True)
    joints *= rng.uniform(0.85, 1.12, (count, 1, 1))
    turn = _about_y(rng.uniform(-np.pi, np.pi, count)) @ _about_x(rng.normal(0, 0.15, count))
    return (
        joints @ np.swapaxes(turn, 1, 2) * np.array([1.0, -1.0, -1.0])
    )  # at turn 0 facing the camera: left is right in the picture


def people(space: str, count: int = PEOPLE, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(count, 17, 2) keypoints in the input space of a lifter and (count, 17) confidences, as a detector gives them:
    3 pixels of noise in a person of some hundreds, one joint in twenty unseen."""
    rng = np.random.default_rng([seed, 1])
    camera = from_fov(_SIZE, _SIZE, 55.0)
    place = np.stack([rng.uniform(-0.6, 0.6, count), rng.uniform(-0.3, 0.3, count), rng.uniform(3.0, 6.0, count)], 1)
    pixels = project(poses(count, seed) + place[:, None], camera) + rng.normal(0, 3.0, (count, 17, 2))
    confidence = np.where(rng.uniform(size=(count, 17)) < 0.05, 0.0, rng.beta(8, 2, (count, 17)))
    if space == "person":
        view = to_person(pixels, confidence, camera)
        return view.keypoints, view.confidence
    return to_screen(pixels, _SIZE, _SIZE).astype(np.float32), confidence.astype(np.float32)


def _about_y(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, o, s, o, i, o, -s, o, c], -1).reshape(-1, 3, 3)


def _about_x(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    c, s, o, i = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([i, o, o, o, c, -s, o, s, c], -1).reshape(-1, 3, 3)
