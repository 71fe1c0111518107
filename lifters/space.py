"""Input spaces: what a network is given instead of pixels, and the way back to the camera frame.

`person` (shipped weights): the camera is turned so that the person stands on its axis, then position and size are
removed. What is left does not depend on the resolution, nor on where in the image the person is, nor (but for the
strength of the perspective and the turn itself, which need the field of view) on the focal length.

`screen` (the published protocols): VideoPose3D's normalised screen coordinates, x / w * 2 - 1 and y / w * 2 - h / w
(Pavllo et al. 2019, common/camera.py, normalize_screen_coordinates).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, look_at, rays

SPACES = ("person", "screen")
MIN_CONFIDENCE = 0.05  # below it a keypoint counts as not seen


@dataclass(frozen=True)
class PersonView:
    """Keypoints in person space and how to come back.

    keypoints: (..., 17, 2), centred on the weighted mean of the visible joints, weighted RMS radius 1; 0 where unseen.
    confidence: (..., 17), 0 where unseen. rotation: (..., 3, 3), camera frame -> the frame of the turned camera.
    scale: (...), RMS radius of the person on the plane z = 1 (its angular size).
    """

    keypoints: NDArray[np.float32]
    confidence: NDArray[np.float32]
    rotation: NDArray[np.float32]
    scale: NDArray[np.float32]


def visible(keypoints: NDArray, confidence: NDArray) -> NDArray[np.bool_]:
    """(..., J) mask of keypoints that are finite and trusted enough to be used."""
    return np.isfinite(keypoints).all(-1) & (np.nan_to_num(confidence) >= MIN_CONFIDENCE)


def person_from_rays(points: NDArray, confidence: NDArray) -> PersonView:
    """(..., 17, 2) points on the plane z = 1 and (..., 17) confidences -> person space. A person with fewer than two
    visible joints gives zeros everywhere and the identity rotation."""
    seen = visible(points, confidence)
    xy = np.where(seen[..., None], points, 0.0).astype(np.float64)
    weight = np.where(seen, np.clip(np.nan_to_num(confidence), 0.0, 1.0), 0.0).astype(np.float64)
    weight = weight / np.maximum(weight.sum(-1, keepdims=True), 1e-9)
    # The mean of unit rays, unlike that of points on the plane z = 1, turns exactly as the camera does.
    lines = np.concatenate([xy, np.ones_like(xy[..., :1])], -1)
    centre = (weight[..., None] * lines / np.linalg.norm(lines, axis=-1, keepdims=True)).sum(-2)
    centre = np.where(seen.any(-1)[..., None], centre, [0.0, 0.0, 1.0])
    rotation = look_at(centre)
    turned = lines @ np.swapaxes(rotation, -1, -2)
    xy = turned[..., :2] / np.maximum(turned[..., 2:], 1e-3)
    xy = xy - (weight[..., None] * xy).sum(-2, keepdims=True)
    scale = np.sqrt((weight * (xy**2).sum(-1)).sum(-1))
    xy = np.where(seen[..., None], xy / np.maximum(scale, 1e-6)[..., None, None], 0.0)
    return PersonView(
        xy.astype(np.float32),
        np.where(seen, np.clip(np.nan_to_num(confidence), 0.0, 1.0), 0.0).astype(np.float32),
        rotation.astype(np.float32),
        scale.astype(np.float32),
    )


def to_person(keypoints: NDArray, confidence: NDArray, camera: Intrinsics) -> PersonView:
    """(..., 17, 2) pixels -> person space under the given (or assumed) intrinsics."""
    return person_from_rays(rays(np.asarray(keypoints, np.float64), camera), confidence)


def from_person(joints: NDArray, rotation: NDArray) -> NDArray:
    """(..., H, 17, 3) in the frame of the turned camera -> the camera frame; rotation is (..., 3, 3)."""
    return joints @ rotation[..., None, :, :]


def to_screen(keypoints: NDArray, width: int, height: int) -> NDArray[np.float32]:
    """(..., 17, 2) pixels -> normalised screen coordinates: x in -1..1, the same scale for y."""
    return (keypoints / width * 2 - np.array([1.0, height / width])).astype(np.float32)
