"""Pose errors as the field measures them, in numpy. Inputs in metres; the papers' tables are in millimetres."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def mpjpe(predicted: Array, truth: Array) -> Array:
    """Mean per-joint position error (protocol 1 after hip alignment): (..., J, 3), (..., J, 3) -> (...)."""
    return np.linalg.norm(predicted - truth, axis=-1).mean(-1)


def n_mpjpe(predicted: Array, truth: Array) -> Array:
    """MPJPE after the best scale about the origin, the hip (Rhodin et al. 2018): (..., J, 3), (..., J, 3) -> (...)."""
    scale = (predicted * truth).sum((-1, -2)) / np.maximum((predicted * predicted).sum((-1, -2)), 1e-12)
    return mpjpe(scale[..., None, None] * predicted, truth)


def pck(errors: Array, threshold: float = 0.15) -> Array:
    """Share of joints nearer than threshold, metres, to the truth: (..., J) distances -> (...). Of all joints that are
    given, as PRPose's evaluation code has it; the hip of hip-relative poses always counts as right."""
    return (errors < threshold).mean(-1)


def auc(errors: Array) -> Array:
    """Mean of `pck` over the thresholds 0, 1, ... 149 mm (PRPose's evaluation code): (..., J) metres -> (...)."""
    return np.mean([pck(errors, k / 1000) for k in range(150)], axis=0)


def procrustes(predicted: Array, truth: Array, reflection: bool = False) -> Array:
    """Best similarity transform (rotation, scale, translation) of predicted onto truth.

    (..., J, 3), (..., J, 3) -> (..., J, 3). Umeyama 1991; what "P-MPJPE" or protocol 2 aligns with. reflection: mirror
    images count as matches, as in the evaluation of Li & Lee, BMVC 2020 (lower numbers; only to compare with them)."""
    predicted, truth = np.broadcast_arrays(np.asarray(predicted, np.float64), np.asarray(truth, np.float64))
    mean_p, mean_t = predicted.mean(-2, keepdims=True), truth.mean(-2, keepdims=True)
    p, t = predicted - mean_p, truth - mean_t
    u, s, vt = np.linalg.svd(np.swapaxes(t, -1, -2) @ p)
    sign = np.ones(s.shape[:-1]) if reflection else np.sign(np.linalg.det(u @ vt))
    s = s.copy()
    s[..., -1] *= sign
    u = u.copy()
    u[..., :, -1] *= sign[..., None]
    rotation = u @ vt
    scale = s.sum(-1) / np.maximum((p**2).sum((-1, -2)), 1e-12)
    return scale[..., None, None] * p @ np.swapaxes(rotation, -1, -2) + mean_t


def p_mpjpe(predicted: Array, truth: Array) -> Array:
    """MPJPE after `procrustes` (protocol 2): (..., J, 3), (..., J, 3) -> (...)."""
    return mpjpe(procrustes(predicted, truth), truth)


def best_of(hypotheses: Array, truth: Array, aligned: bool = False) -> Array:
    """The oracle: error of the hypothesis that is nearest to the truth as a whole pose. (..., H, J, 3), (..., J, 3) ->
    (...). Never what a user gets, since choosing needs the truth."""
    measure = p_mpjpe if aligned else mpjpe
    return measure(hypotheses, truth[..., None, :, :]).min(-1)


def coverage(hypotheses: Array, log_weights: Array, truth: Array, levels: tuple[float, ...]) -> Array:
    """How often the truth lies where the hypotheses say it does.

    Per joint, the p region is the ball around the weighted mean that holds a share p of the hypotheses' weight. Returns
    (len(levels),): the share of (frame, joint) pairs, hip left out, whose truth lies in it; honest hypotheses give p.
    hypotheses (N,H,17,3), log_weights (N,H), truth (N,17,3).
    """
    weights = np.exp(log_weights - log_weights.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    mean = (weights[..., None, None] * hypotheses).sum(1, keepdims=True)
    spread = np.linalg.norm(hypotheses - mean, axis=-1)[..., 1:]
    miss = np.linalg.norm(truth - mean[:, 0], axis=-1)[..., 1:]
    order = np.argsort(spread, axis=1)
    ranked = np.take_along_axis(spread, order, 1)
    mass = np.take_along_axis(np.broadcast_to(weights[..., None], spread.shape), order, 1)
    position = np.cumsum(mass, 1) - 0.5 * mass  # mid-point rule: the k-th of H samples stands at (k - 1/2) / H
    result = []
    for level in levels:
        above = (position >= level).argmax(1)
        above = np.where((position < level).all(1), ranked.shape[1] - 1, above)
        below = np.maximum(above - 1, 0)
        p0, p1 = (np.take_along_axis(position, i[:, None], 1)[:, 0] for i in (below, above))
        r0, r1 = (np.take_along_axis(ranked, i[:, None], 1)[:, 0] for i in (below, above))
        share = np.clip((level - p0) / np.maximum(p1 - p0, 1e-9), 0.0, 1.0)
        result.append(float((miss <= r0 + share * (r1 - r0)).mean()))
    return np.array(result)
