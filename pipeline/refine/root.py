"""Where the person stands: the hip in the camera frame, from 2D keypoints and a hip-relative pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, rays

_TRUSTED = 0.05  # confidence from which a keypoint takes part
_ROUNDS = 4
_OUTLIER = 0.05  # metres at the person's distance: a miss of this size counts a quarter of a hit
_NEAREST = 0.1  # metres: a joint nearer to the camera than this is a failed fit


def fit_root(joints: NDArray, keypoints: NDArray, confidence: NDArray, camera: Intrinsics) -> NDArray[np.float32]:
    """Translation t (..., 3) metres that makes joints (..., 17, 3) + t project onto keypoints (..., 17, 2) px. Leading
    axes broadcast, so that many poses can be placed against the same keypoints.

    Least squares of (X + t_x) - u (Z + t_z) = 0 and the same for y (u, v on the plane z = 1), weighted by confidence;
    linear in t, with a closed form. Solved a few times, each time with every joint weighted by its depth, which turns
    the error into one on the image plane, and by how well it fitted (Geman-McClure), since a wrong joint should not
    move the person. NaN where fewer than three keypoints are usable or the person would stand behind the camera.
    """
    uv = rays(np.asarray(keypoints, np.float64), camera)
    use = np.isfinite(uv).all(-1) & np.isfinite(joints).all(-1) & (np.nan_to_num(confidence) > _TRUSTED)
    uv = np.where(use[..., None], uv, 0.0)
    xyz = np.where(use[..., None], np.asarray(joints, np.float64), 0.0)
    target = uv * xyz[..., 2:] - xyz[..., :2]  # t_xy - uv t_z
    trust = np.where(use, np.nan_to_num(np.asarray(confidence, np.float64)), 0.0)
    weight = trust
    for _ in range(_ROUNDS):
        root = _solve(uv, target, weight)
        depth = np.maximum(xyz[..., 2] + root[..., 2:], _NEAREST)
        miss = root[..., None, :2] - uv * root[..., None, 2:] - target  # metres at the joint
        far = (miss**2).sum(-1) / _OUTLIER**2
        weight = trust / depth**2 / (1 + far) ** 2
    wrong = (use.sum(-1) < 3) | ~np.isfinite(root).all(-1) | ~(root[..., 2] > 0)
    return np.where(wrong[..., None], np.nan, root).astype(np.float32)


def _solve(uv: NDArray, target: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """(..., 3) t that minimises the weighted squares of t_xy - uv t_z - target: a line through (uv, target)."""
    share = (weight / np.maximum(weight.sum(-1, keepdims=True), 1e-12))[..., None]
    uv_mean, target_mean = (share * uv).sum(-2), (share * target).sum(-2)
    spread = uv - uv_mean[..., None, :]
    variance = (share * spread**2).sum((-1, -2))
    slope = (share * spread * (target - target_mean[..., None, :])).sum((-1, -2)) / np.maximum(variance, 1e-12)
    z = -slope
    return np.concatenate([target_mean + uv_mean * z[..., None], z[..., None]], -1)
