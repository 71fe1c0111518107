"""Errors of many hypotheses: the aggregate that a user gets, and the oracles that the papers report beside it.

Names as in DRPose (Kang et al. 2024, §4.1): p_ chooses a whole pose, j_ chooses joint by joint; _best chooses by the
truth, which only an evaluation has; j_agg by the reprojection, which needs the camera and the person's true place.
Under protocol 2 every hypothesis is aligned first. All in metres, in numpy; (N, H, J, 3) hypotheses, (N, J, 3) truth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.metrics import procrustes

Array = NDArray[np.floating]


def normalised(log_weights: Array) -> Array:
    """(..., H) log-weights, up to a constant -> weights with sum 1."""
    weights = np.exp(log_weights - log_weights.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def weighted_mean(hypotheses: Array, weights: Array) -> Array:
    """The aggregate: (..., H, J, 3), (..., H) with sum 1 -> (..., J, 3)."""
    return np.einsum("...h,...hjc->...jc", weights, hypotheses)


def joint_errors(hypotheses: Array, truth: Array, aligned: bool = False) -> Array:
    """(N, H, J, 3), (N, J, 3) -> (N, H, J) distances; aligned: each hypothesis after `procrustes` (protocol 2)."""
    target = truth[:, None]
    return np.linalg.norm((procrustes(hypotheses, target) if aligned else hypotheses) - target, axis=-1)


def p_best(errors: Array) -> Array:
    """(N, H, J) joint errors -> (N, H): error of the best whole pose among the first 1, 2, ... H hypotheses."""
    return np.minimum.accumulate(errors.mean(-1), axis=1)


def j_best(errors: Array) -> Array:
    """(N, H, J) joint errors -> (N, H): error of the pose put together of each joint's best among the first 1, ... H
    hypotheses. Such a pose need not be a possible one."""
    return np.minimum.accumulate(errors, axis=1).mean(-1)


def reproject(hypotheses: Array, root: Array) -> Array:
    """(N, H, J, 3) hip-relative in the camera frame, (N, 3) true place of the hip -> (N, H, J, 2) on the plane z = 1.
    What lies behind the camera is projected as if 5 cm before it."""
    placed = hypotheses + root[:, None, None]
    return placed[..., :2] / np.maximum(placed[..., 2:], 0.05)


def j_agg(errors: Array, reprojected: Array, keypoints: Array) -> Array:
    """(N, H, J) joint errors, (N, H, J, 2) reprojections, (N, J, 2) what was seen -> (N,): error of the pose put
    together of each joint's hypothesis that reprojects nearest to the 2D. NaN keypoints (unseen) take the first."""
    chosen = np.linalg.norm(reprojected - keypoints[:, None], axis=-1).argmin(1)
    return np.take_along_axis(errors, chosen[:, None], 1)[:, 0].mean(-1)
