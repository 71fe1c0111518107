"""Virtual-camera batches -> what a lifter in `person` space is trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.lifters.space import person_from_rays
from posepipe.training.detector_noise import NoiseTable, apply, yaw_of


@dataclass(frozen=True)
class PersonBatch:
    """keypoints (B,17,2) and confidence (B,17) in person space; joints (B,17,3) metres, hip-relative, in the frame of
    the camera turned towards the person as the *noisy* keypoints have it: all that a user's machine knows."""

    keypoints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    joints: NDArray[np.float32]


def person_batch(
    joints: NDArray[np.float32],
    points: NDArray[np.float32],
    table: NoiseTable | None,
    rng: np.random.Generator,
    clean_share: float = 0.25,
) -> PersonBatch:
    """joints (B,17,3) metres in the camera frame, points (B,17,2) their exact projection on z = 1.

    table None gives exact keypoints; otherwise a share of exact ones and the rest with 0.4 to 1.2 times the measured
    noise."""
    if table is None:
        confidence = np.ones(points.shape[:2], np.float32)
    else:
        strength = rng.uniform(0.4, 1.2, len(points)).astype(np.float32)
        strength[rng.random(len(points)) < clean_share] = 0.0
        points, confidence = apply(points, yaw_of(joints), table, rng, strength)
    view = person_from_rays(points, confidence)
    relative = joints - joints[:, :1]
    turned = relative @ np.swapaxes(view.rotation, -1, -2)
    return PersonBatch(view.keypoints, view.confidence, turned.astype(np.float32))
