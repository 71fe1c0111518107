"""From hypotheses to the one pose a user takes, with its uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.point_estimate import geometric_median
from posepipe.types import Hypotheses


def aggregate(
    hypotheses: Hypotheses, residual_std: tuple[float, ...] = ()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted geometric median per joint, and the standard deviation around it; no oracle.

    Returns joints (17, 3) and joint_std (17) in metres; joint_std is the root of the weighted mean squared distance of
    the hypotheses. A single hypothesis has no spread: then residual_std, the lifter's RMS error per joint on validation
    data (from its checkpoint), is the uncertainty; NaN where the checkpoint has none.
    """
    joints = geometric_median(hypotheses.joints, hypotheses.log_weights)
    if len(hypotheses.log_weights) == 1:
        std = np.array(residual_std, np.float32) if residual_std else np.full(17, np.nan, np.float32)
        return joints, std
    weights = np.exp(hypotheses.log_weights - hypotheses.log_weights.max())
    square = ((hypotheses.joints - joints) ** 2).sum(-1)
    return joints, np.sqrt((weights[:, None] * square).sum(0) / weights.sum()).astype(np.float32)
