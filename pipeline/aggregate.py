"""From hypotheses to the one pose a user takes, with its uncertainty. None of these ways looks at the truth.

`median` (default) and `mean` look at the hypotheses alone. `j-agg` and `p-agg` choose among them by how near they
reproject to the keypoints, joint by joint or as whole poses (D3DP, Shan et al. 2023: joint-wise reprojection-based
aggregation, and the same for whole poses). In the papers' tables P-Agg is the plain mean, which is `mean` here. The
papers reproject with the true root and camera of the laboratory; here both are the estimated ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.camera import Intrinsics, project
from posepipe.pipeline.refine.root import fit_root
from posepipe.point_estimate import geometric_median
from posepipe.types import Hypotheses, Pose2D

BY_REPROJECTION = ("j-agg", "p-agg")
AGGREGATES = ("median", "mean", *BY_REPROJECTION)


def aggregate(
    hypotheses: Hypotheses,
    residual_std: tuple[float, ...] = (),
    how: str = "median",
    misses: NDArray | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The pose that stands for the hypotheses (how: one of AGGREGATES), and the standard deviation around it.

    misses: (H, 17) from `reprojection_misses`; without it, or where nothing was seen, j-agg and p-agg give the median.
    Returns joints (17, 3) and joint_std (17) in metres; joint_std is the root of the weighted mean squared distance of
    the hypotheses. A single hypothesis has no spread: then residual_std, the lifter's RMS error per joint on validation
    data (from its checkpoint), is the uncertainty; NaN where the checkpoint has none.
    """
    weights = np.exp(hypotheses.log_weights - hypotheses.log_weights.max())
    weights = weights / weights.sum()
    joints = _joints(hypotheses, weights, how, misses)
    if len(hypotheses.log_weights) == 1:
        std = np.array(residual_std, np.float32) if residual_std else np.full(17, np.nan, np.float32)
        return joints, std
    square = ((hypotheses.joints - joints) ** 2).sum(-1)
    return joints, np.sqrt((weights[:, None] * square).sum(0)).astype(np.float32)


def reprojection_misses(hypotheses: Hypotheses, seen: Pose2D, camera: Intrinsics) -> NDArray[np.float64] | None:
    """(H, 17) pixels between the 2D keypoints and the hypotheses, all standing at the root of their median; NaN for
    keypoints that were not seen. None where the root cannot be found."""
    middle = geometric_median(hypotheses.joints, hypotheses.log_weights)
    root = fit_root(middle, seen.keypoints, seen.confidence, camera)
    if not np.isfinite(root).all():
        return None
    pixels = project((hypotheses.joints + root).astype(np.float64), camera)
    misses = np.linalg.norm(pixels - seen.keypoints, axis=-1)
    return np.where(np.nan_to_num(seen.confidence) > 0, misses, np.nan)


def _joints(hypotheses: Hypotheses, weights: NDArray, how: str, misses: NDArray | None) -> NDArray[np.float32]:
    if how == "mean":
        return np.einsum("h,hjc->jc", weights, hypotheses.joints).astype(np.float32)
    middle = geometric_median(hypotheses.joints, hypotheses.log_weights)
    if how == "median" or misses is None:
        return middle
    known = np.isfinite(misses).all(0)
    if not known.any():
        return middle
    if how == "p-agg":
        return hypotheses.joints[misses[:, known].mean(-1).argmin()]
    nearest = np.where(known, np.nan_to_num(misses, nan=np.inf), 0.0).argmin(0)
    return np.where(known[:, None], hypotheses.joints[nearest, np.arange(len(nearest))], middle)
