"""Where the person stands: the hip in the camera frame, from 2D keypoints and a hip-relative pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, rays


def fit_root(joints: NDArray, keypoints: NDArray, confidence: NDArray, camera: Intrinsics) -> NDArray[np.float32]:
    """Translation t (3,) metres that makes joints (17,3) + t project onto keypoints (17,2) px, weighted by confidence.

    Least squares of (X + t_x) - u (Z + t_z) = 0 and the same for y, linear in t (u, v on the plane z = 1), solved
    twice: the second time each row is divided by its joint's depth, which turns the error into one on the image plane.
    Returns NaN when fewer than three keypoints are usable or the person would stand behind the camera.
    """
    uv = rays(np.asarray(keypoints, np.float64), camera)
    use = np.isfinite(uv).all(-1) & np.isfinite(joints).all(-1) & (confidence > 0.05)
    if use.sum() < 3:
        return np.full(3, np.nan, np.float32)
    uv, xyz, weight = uv[use], np.asarray(joints, np.float64)[use], np.sqrt(np.asarray(confidence, np.float64)[use])
    zero, one = np.zeros(len(uv)), np.ones(len(uv))
    rows = np.concatenate([np.stack([one, zero, -uv[:, 0]], 1), np.stack([zero, one, -uv[:, 1]], 1)])
    target = np.concatenate([uv[:, 0] * xyz[:, 2] - xyz[:, 0], uv[:, 1] * xyz[:, 2] - xyz[:, 1]])
    depth = one
    for _ in range(2):
        scale = np.tile(weight / depth, 2)
        root = np.linalg.lstsq(rows * scale[:, None], target * scale, rcond=None)[0]
        depth = np.maximum(xyz[:, 2] + root[2], 0.1)
    if not np.isfinite(root).all() or root[2] <= 0:
        return np.full(3, np.nan, np.float32)
    return root.astype(np.float32)
