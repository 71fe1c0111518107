"""From hypotheses to the one pose a user takes, with its uncertainty."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from posepipe.types import Hypotheses


def aggregate(
    hypotheses: Hypotheses, residual_std: tuple[float, ...] = ()
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weighted mean per joint ("P-Agg" without an oracle) and the standard deviation around it.

    Returns joints (17, 3) and joint_std (17) in metres; joint_std is the root of the weighted variance summed over x, y
    and z. A single hypothesis has no spread: then residual_std, the lifter's RMS error per joint on validation data
    (from its checkpoint), is the uncertainty; NaN where the checkpoint has none.
    """
    weights = np.exp(hypotheses.log_weights - hypotheses.log_weights.max())
    weights = (weights / weights.sum()).astype(np.float32)
    joints = np.einsum("h,hjc->jc", weights, hypotheses.joints).astype(np.float32)
    if len(weights) == 1:
        std = np.array(residual_std, np.float32) if residual_std else np.full(17, np.nan, np.float32)
        return joints, std
    variance = np.einsum("h,hjc->j", weights, (hypotheses.joints - joints) ** 2)
    return joints, np.sqrt(variance).astype(np.float32)
